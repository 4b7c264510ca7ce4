/*
 * tap.h
 *		A harness for test programs: results in the Test Anything Protocol.
 */
#ifndef VQ_TAP_H
#define VQ_TAP_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static int	tap_count;
static int	tap_failed;

/* Report a test under the text. */
#define ok(condition, ...) tap_ok((condition), __FILE__, __LINE__, __VA_ARGS__)

/* Report a test that two integers are equal. */
#define is(got, wanted, ...) tap_is((got), (wanted), __FILE__, __LINE__, __VA_ARGS__)

static inline int __attribute__((format(printf, 4, 5)))
tap_ok(int condition, const char *file, int line, const char *text, ...)
{
	va_list		args;

	printf("%sok %d - ", condition ? "" : "not ", ++tap_count);
	va_start(args, text);
	vprintf(text, args);
	va_end(args);
	printf("\n");
	if (!condition)
	{
		tap_failed++;
		printf("# failed at %s:%d\n", file, line);
	}
	fflush(stdout);
	return condition;
}

static inline int __attribute__((format(printf, 5, 6)))
tap_is(long long got, long long wanted, const char *file, int line, const char *text, ...)
{
	char		buffer[256];
	va_list		args;

	va_start(args, text);
	vsnprintf(buffer, sizeof(buffer), text, args);
	va_end(args);
	if (tap_ok(got == wanted, file, line, "%s", buffer))
		return 1;
	printf("# got %lld, wanted %lld\n", got, wanted);
	return 0;
}

/* Print the plan; the value is the program's exit status. */
static inline int
tap_done(void)
{
	printf("1..%d\n", tap_count);
	if (tap_failed > 0)
		printf("# %d of %d failed\n", tap_failed, tap_count);
	return tap_failed > 0 ? 1 : 0;
}

/* The seed: the first argument, else VQ_SEED, else one of its own. */
static inline unsigned long long
tap_seed(int argc, char **argv, unsigned long long otherwise)
{
	const char *text = argc > 1 ? argv[1] : getenv("VQ_SEED");
	unsigned long long seed = text != NULL && *text != '\0' ? strtoull(text, NULL, 0) : otherwise;

	printf("# seed %llu (repeat with it as argument or in VQ_SEED)\n", seed);
	fflush(stdout);
	return seed;
}

#endif							/* VQ_TAP_H */
