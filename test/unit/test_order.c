/*
 * test_order.c
 *		The order: examples of its contract, then random operations by the model.
 */
#include "arena.h"
#include "model_order.h"
#include "order.h"
#include "tap.h"

static TestArena arena;
static VqOrder order;

#define ARENA	(&arena.arena)

static void
begin(void)
{
	arena_init(&arena, true);
	memset(&order, 0, sizeof(order));
}

static void
end(const char *what)
{
	vq_order_destroy(&order, ARENA);
	ok(arena_close(&arena), "%s: no memory is left", what);
}

static void
enter(int64 key, int64 ticket)
{
	if (!vq_order_reserve(&order, ARENA, key, ticket) || !vq_order_insert(&order, ARENA, key, ticket))
	{
		fprintf(stderr, "ticket " INT64_FORMAT " could not enter\n", ticket);
		abort();
	}
}

static void
test_nothing(void)
{
	VqStand		stand;

	begin();
	is(vq_order_rank(&order, ARENA, 5, 5), 0, "nobody is ahead in a zeroed order");
	is(vq_order_select(&order, ARENA, 0, &stand, 1), 0, "nobody to select");
	ok(!vq_order_remove(&order, ARENA, 5, 5), "nobody to remove");
	ok(!vq_order_remove_ticket(&order, ARENA, 5), "nor by the ticket");
	ok(!vq_order_insert(&order, ARENA, 5, 5), "nobody is inserted without room");
	vq_order_trim(&order, ARENA);
	is(arena.allocs, 0, "none of it allocated");
	end("a zeroed order");
}

static void
test_ties(void)
{
	VqStand		stands[4];

	begin();
	enter(7, 1);
	enter(7, 3);
	enter(7, 2);
	enter(-7, 9);
	is(vq_order_select(&order, ARENA, 0, stands, 4), 4, "four stand");
	ok(stands[0].ticket == 9 && stands[1].ticket == 1 && stands[2].ticket == 2 && stands[3].ticket == 3,
	   "by their keys, then by their tickets");
	is(vq_order_rank(&order, ARENA, 7, 0), 1, "before all of the same key");
	is(vq_order_rank(&order, ARENA, 8, 0), 4, "after all of the same key");
	end("ties");
}

/* What is appended fills its blocks; what is inserted at random does so by two thirds. */
static void
test_many(void)
{
	Source		source = source_of_seed(7, 0);
	const int	n = 300000;

	begin();
	for (int i = 0; i < n; i++)
	{
		VqStand		stand = {i - n / 2, i + 1};

		vq_order_append(&order, ARENA, &stand, 1);
	}
	is(order.count, n, "many were appended");
	ok(arena.bytes < 18 * (size_t) n, "they take " UINT64_FORMAT " bytes each at the most", (uint64) arena.bytes / n + 1);
	is(vq_order_rank(&order, ARENA, 0, 0), n / 2, "half of them are before the middle");
	vq_order_destroy(&order, ARENA);
	for (int i = 0; i < n; i++)
		enter(source_bits(&source, 0) >> 2, i + 1);
	is(order.count, n, "many were inserted at random");
	ok(arena.bytes < 28 * (size_t) n, "they take " UINT64_FORMAT " bytes each at the most", (uint64) arena.bytes / n + 1);
	end("many");
}

/* What was reserved is inserted without fail, even in an arena that has no more. */
static void
test_failures(void)
{
	Source		source = source_of_seed(8, 0);
	int			refused = 0;

	begin();
	for (int i = 1; i <= 20000; i++)
	{
		int64		key = source_bits(&source, 0) >> 2;

		arena.fail_after = i % 3 == 0 ? (i / 3) % 2 : -1;
		if (!vq_order_reserve(&order, ARENA, key, i))
		{
			refused++;
			continue;
		}
		arena.fail_after = 0;
		if (!vq_order_insert(&order, ARENA, key, i))
		{
			fprintf(stderr, "what was reserved was not inserted\n");
			abort();
		}
	}
	ok(refused > 0, "%d were refused for lack of memory", refused);
	is(order.count, 20000 - refused, "and all others are there");
	arena.fail_after = -1;
	end("failures");
}

static void
test_random(uint64 seed, int lives, uint64 choices)
{
	uint64		done = 0;

	for (int i = 0; i < lives; i++)
	{
		Source		source = source_of_seed(seed + i, choices);

		done += model_order_run(&source);
	}
	ok(done > 0, UINT64_FORMAT " random operations agree with the model", done);
}

int
main(int argc, char **argv)
{
	uint64		seed = tap_seed(argc, argv, 20260301);
	bool		small = getenv("VQ_EFFORT") != NULL;

	test_nothing();
	test_ties();
	test_failures();
	if (!small)
		test_many();
	test_random(seed, small ? 4 : 60, small ? 10000 : 20000);
	return tap_done();
}
