/*
 * bench_line.c
 *		What rank costs at several lengths of the line: prints, judges nothing.
 */
#include "arena.h"
#include "rank.h"

#include <time.h>

#include "source.h"

#define ROUNDS		5000000

static double
nanoseconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e9 + ts.tv_nsec;
}

/* A line of n tickets one after the other; nanoseconds a rank of a random one. */
static void
measure(int64 n)
{
	TestArena	arena;
	VqLine		line;
	Source		source = source_of_seed(n, PG_UINT64_MAX);
	double		empty;
	double		start;
	double		each;
	volatile int64 sink = 0;

	arena_init(&arena, false);
	memset(&line, 0, sizeof(line));
	start = nanoseconds();
	for (int64 ticket = 1; ticket <= n; ticket++)
	{
		if (!vq_line_reserve(&line, &arena.arena, ticket))
			abort();
		vq_line_set(&line, &arena.arena, VQ_LANE_NORMAL, ticket);
	}
	each = (nanoseconds() - start) / n;

	/* What picking the ticket costs is not rank's. */
	start = nanoseconds();
	for (int i = 0; i < ROUNDS; i++)
		sink += 1 + source_below(&source, n);
	empty = nanoseconds() - start;
	start = nanoseconds();
	for (int i = 0; i < ROUNDS; i++)
		sink += vq_line_rank(&line, &arena.arena, VQ_LANE_NORMAL, 1 + source_below(&source, n));
	printf("%10lld waiting: rank %6.1f ns, reserve and set %6.1f ns, %.2f bytes a ticket\n",
		   (long long) n, (nanoseconds() - start - empty) / ROUNDS, each, (double) arena.rounded / n);
	vq_line_destroy(&line, &arena.arena);
	arena_close(&arena);
}

int
main(void)
{
	measure(1000);
	measure(1000000);
	measure(10000000);
	return 0;
}
