/*
 * tap.c
 *		Results of tests, one a line, in the Test Anything Protocol.
 */
#include "tap.h"

#include <stdarg.h>
#include <stdio.h>

/* The one piece of state that tests share. */
static int	run;
static int	failed;

void
tap(bool passed, const char *format,...)
{
	va_list		args;

	run++;
	if (!passed)
		failed++;
	printf("%sok %d - ", passed ? "" : "not ", run);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

void
tap_note(const char *format,...)
{
	va_list		args;

	fputs("# ", stdout);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

int
tap_done(void)
{
	printf("1..%d\n", run);
	return failed > 0 || run == 0 ? 1 : 0;
}
