/*
 * naive.c
 *		Tests the clever checks against simple ones that look at every pair.
 */
#include "naive.h"

#include <string.h>

#include "tap.h"
#include "world.h"

#define WORLDS		400
#define SESSIONS	120

/* ---- the simple checks ---- */

static bool
naive_order(const World *world)
{
	for (int a = 0; a < world->n; a++)
		for (int b = 0; b < world->n; b++)
		{
			const Row  *early = &world->rows[a];
			const Row  *late = &world->rows[b];
			const Record *record = &world->ledger->records[a];
			int64_t		seen_at = world->ledger->records[b].seen_serving_at;

			if (early->lane != late->lane || late->served_at == 0 || late->ticket <= early->ticket ||
				late->served_at <= record->answered_at)
				continue;
			if (early->served_at != 0)
			{
				if (late->served_at < early->served_at)
					return false;
			}
			else if (late->served_at < early->left_at && seen_at < record->leave_asked_at &&
					 late->served_at < record->leave_asked_at)
				return false;
		}
	return true;
}

static bool
naive_rate(const World *world)
{
	const Evidence *evidence = &world->evidence;

	for (int a = 0; a < world->n; a++)
		for (int b = 0; b < world->n; b++)
		{
			int64_t		from = world->rows[a].served_at;
			int64_t		to = world->rows[b].served_at;
			int			n = 0;

			if (from == 0 || to < from)
				continue;
			for (int c = 0; c < world->n; c++)
				if (world->rows[c].served_at >= from && world->rows[c].served_at <= to)
					n++;
			if ((n - evidence->burst) * MINUTE > evidence->rate_per_minute * (to - from))
				return false;
		}
	return true;
}

static bool
naive_cap(const World *world)
{
	for (int a = 0; a < world->n; a++)
	{
		int64_t		at = world->rows[a].served_at;
		int			inside = 0;

		for (int b = 0; at != 0 && b < world->n; b++)
			if (world->rows[b].served_at != 0 && world->rows[b].served_at <= at &&
				world->rows[b].left_at > at)
				inside++;
		if (inside > world->evidence.cap)
			return false;
	}
	return true;
}

static bool
naive_arrival(const World *world)
{
	const Record *records = world->ledger->records;

	for (int a = 0; a < world->n; a++)
		for (int b = 0; b < world->n; b++)
		{
			if (records[a].answered_at < records[b].asked_at && records[a].ticket >= records[b].ticket)
				return false;
			if (records[a].batch == records[b].batch &&
				records[a].place_in_batch < records[b].place_in_batch &&
				records[a].ticket >= records[b].ticket)
				return false;
		}
	return true;
}

/* ---- spoiling ---- */

/* A few small changes, of which some break something and some do not. */
static void
jog(World *world, Random *random)
{
	int			changes = random_between(random, 0, 2);

	for (int i = 0; i < changes; i++)
	{
		int			a = random_between(random, 0, world->n - 1);
		Row		   *row = &world->rows[a];
		Record	   *record = &world->ledger->records[a];
		int64_t		by = random_between(random, -3000, 3000);

		switch (random_between(random, 0, 3))
		{
			case 0:
				if (row->served_at != 0)
					row->served_at += by;
				break;
			case 1:
				row->left_at += by;
				if (row->status == LEFT)
					record->leave_asked_at += random_between(random, 0, 50) * by;
				break;
			case 2:
				record->asked_at += 5 * by;
				record->answered_at += 5 * by;
				break;
			case 3:
				record->answered_at += by > 0 ? by : -by;
				break;
		}
	}
}

typedef struct Pair
{
	const char *name;
	bool		(*naive) (const World *world);
	int			agreed;
	int			held;
} Pair;

static bool
clever(const World *world, const char *name)
{
	for (int c = 0; c < checks_count(); c++)
		if (strcmp(check_name(c), name) == 0)
		{
			Verdict		verdict;

			check_run(c, &world->evidence, &verdict);
			return verdict.holds;
		}
	die("there is no check %s", name);
}

void
test_against_naive(void)
{
	Pair		pairs[] = {{"order", naive_order, 0, 0}, {"rate", naive_rate, 0, 0},
	{"cap", naive_cap, 0, 0}, {"arrival", naive_arrival, 0, 0}};
	const int	n = sizeof(pairs) / sizeof(pairs[0]);
	Random		random = random_start(7);

	for (int w = 0; w < WORLDS; w++)
	{
		World	   *world = world_make(SESSIONS, w);

		jog(world, &random);
		evidence_index(&world->evidence);
		for (int p = 0; p < n; p++)
		{
			bool		holds = pairs[p].naive(world);

			pairs[p].held += holds;
			pairs[p].agreed += holds == clever(world, pairs[p].name);
		}
		evidence_forget(&world->evidence);
		world_free(world);
	}
	for (int p = 0; p < n; p++)
	{
		tap(pairs[p].agreed == WORLDS, "check %s agrees with looking at every pair, %d times of %d",
			pairs[p].name, pairs[p].agreed, WORLDS);
		tap(pairs[p].held > WORLDS / 20 && pairs[p].held < WORLDS * 19 / 20,
			"of those, %d held and %d did not", pairs[p].held, WORLDS - pairs[p].held);
	}
}
