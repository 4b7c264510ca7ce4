/*
 * basics.h
 *		What every part of the crowd needs: memory, clocks, random numbers, ids.
 *
 * All times are in microseconds.
 */
#ifndef CROWD_BASICS_H
#define CROWD_BASICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECOND		INT64_C(1000000)
#define MINUTE		(60 * SECOND)
#define NEVER		INT64_MAX

#define UUID_TEXT	37			/* room for an id as text */

typedef struct Uuid
{
	unsigned char bytes[16];
} Uuid;

typedef struct Random
{
	uint64_t	state;
} Random;

/* Print a message and exit with status 2: the crowd itself could not do its work. */
extern void die(const char *format,...) __attribute__((noreturn, format(printf, 1, 2)));

/* Memory, or die. */
extern void *get_memory(size_t size);	/* zeroed */
extern void *more_memory(void *old, size_t size);

/* Make room for one more element in an array that has used of *room elements. */
extern void *grow(void *array, int used, int *room, size_t element);

extern int64_t steady_time(void);	/* for waiting: never set back */
extern int64_t wall_time(void); /* for comparing with the server's times; since 1970 */

extern Random random_start(uint64_t seed);
extern uint64_t random_bits(Random *random);
extern int64_t random_between(Random *random, int64_t low, int64_t high);	/* both included */
extern bool random_chance(Random *random, double probability);

extern Uuid uuid_random(Random *random);
extern bool uuid_equal(const Uuid *a, const Uuid *b);
extern bool uuid_parse(const char *text, size_t length, Uuid *uuid);
extern char *uuid_print(const Uuid *uuid, char text[UUID_TEXT]);

/* All of the text as a number; false if it is anything else. */
extern bool parse_number(const char *text, size_t length, int64_t *number);

extern int	compare_numbers(int64_t a, int64_t b);

#endif							/* CROWD_BASICS_H */
