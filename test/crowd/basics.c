/*
 * basics.c
 *		What every part of the crowd needs: memory, clocks, random numbers, ids.
 */
#include "basics.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void
die(const char *format,...)
{
	va_list		args;

	fflush(stdout);
	fputs("crowd: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(2);
}

/* ---- memory ---- */

void *
get_memory(size_t size)
{
	void	   *memory = calloc(1, size > 0 ? size : 1);

	if (memory == NULL)
		die("out of memory");
	return memory;
}

void *
more_memory(void *old, size_t size)
{
	void	   *memory = realloc(old, size);

	if (memory == NULL)
		die("out of memory");
	return memory;
}

void *
grow(void *array, int used, int *room, size_t element)
{
	if (used < *room)
		return array;
	*room = *room > 0 ? 2 * *room : 64;
	return more_memory(array, *room * element);
}

/* ---- clocks ---- */

static int64_t
read_clock(clockid_t clock)
{
	struct timespec now;

	if (clock_gettime(clock, &now) != 0)
		die("could not read the clock");
	return (int64_t) now.tv_sec * SECOND + now.tv_nsec / 1000;
}

int64_t
steady_time(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

int64_t
wall_time(void)
{
	return read_clock(CLOCK_REALTIME);
}

/* ---- random numbers: a counter, well mixed ---- */

Random
random_start(uint64_t seed)
{
	Random		random = {seed};

	return random;
}

uint64_t
random_bits(Random *random)
{
	uint64_t	x;

	random->state += UINT64_C(0x9e3779b97f4a7c15);
	x = random->state;
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

int64_t
random_between(Random *random, int64_t low, int64_t high)
{
	return low + (int64_t) (random_bits(random) % (uint64_t) (high - low + 1));
}

bool
random_chance(Random *random, double probability)
{
	return (double) (random_bits(random) >> 11) / (double) (UINT64_C(1) << 53) < probability;
}

/* ---- ids ---- */

Uuid
uuid_random(Random *random)
{
	Uuid		uuid;
	uint64_t	halves[2] = {random_bits(random), random_bits(random)};

	memcpy(uuid.bytes, halves, sizeof(uuid.bytes));
	uuid.bytes[6] = (uuid.bytes[6] & 0x0f) | 0x40;
	uuid.bytes[8] = (uuid.bytes[8] & 0x3f) | 0x80;
	return uuid;
}

bool
uuid_equal(const Uuid *a, const Uuid *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

bool
uuid_parse(const char *text, size_t length, Uuid *uuid)
{
	size_t		at = 0;

	if (length != UUID_TEXT - 1)
		return false;
	for (int i = 0; i < 16; i++)
	{
		int			high;
		int			low;

		if ((i == 4 || i == 6 || i == 8 || i == 10) && text[at++] != '-')
			return false;
		high = hex_digit(text[at]);
		low = hex_digit(text[at + 1]);
		if (high < 0 || low < 0)
			return false;
		uuid->bytes[i] = high << 4 | low;
		at += 2;
	}
	return true;
}

char *
uuid_print(const Uuid *uuid, char text[UUID_TEXT])
{
	char	   *at = text;

	for (int i = 0; i < 16; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*at++ = '-';
		at += sprintf(at, "%02x", uuid->bytes[i]);
	}
	return text;
}

/* ---- numbers ---- */

bool
parse_number(const char *text, size_t length, int64_t *number)
{
	size_t		at = 0;
	bool		negative = length > 0 && text[0] == '-';

	if (negative)
		at++;
	if (at == length || length - at > 19)
		return false;
	for (*number = 0; at < length; at++)
	{
		if (text[at] < '0' || text[at] > '9')
			return false;
		if (__builtin_mul_overflow(*number, 10, number) || __builtin_add_overflow(*number, text[at] - '0', number))
			return false;
	}
	if (negative)
		*number = -*number;
	return true;
}

int
compare_numbers(int64_t a, int64_t b)
{
	return a < b ? -1 : a > b;
}
