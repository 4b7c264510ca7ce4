/*
 * breaches.c
 *		Tests that each law of a storm catches what it is there for.
 *
 * Each test makes a right storm, spoils one thing in it, and wants exactly the
 * named laws to fail: a law that sees nothing fails the test, and so does one
 * that sees ghosts.
 */
#include "breaches.h"

#include <stdio.h>
#include <string.h>

#include "breaches_inside.h"
#include "tap.h"

#define SEED	1
#define SEEDS	20				/* right storms */

/* In a queue, a session of this status that was not moved, from the middle of the storm. */
int
breach_session(const Weather *weather, int queue, Status status, int from)
{
	const Case *it = &weather->it;

	for (int s = from; s < it->book->n_sessions; s++)
	{
		const Row  *row = it->book->sessions[s].queue == queue ? case_row(it, s) : NULL;
		bool		moved = false;

		if (row == NULL || row->status != status || it->book->sessions[s].known_at == NEVER)
			continue;
		for (int t = it->first_touch[s]; t < it->first_touch[s + 1]; t++)
			moved |= it->book->touches[it->touches[t]].verb == V_MOVE;
		if (!moved)
			return s;
	}
	die("the made-up storm has no %s session", status_names[status]);
}

int
breach_served(const Weather *weather)
{
	return breach_session(weather, 0, COMPLETED, 120);
}

int
breach_waiting(const Weather *weather)
{
	return breach_session(weather, 0, WAITING, 120);
}

Row *
breach_row(const Weather *weather, int session)
{
	return (Row *) case_row(&weather->it, session);
}

/* The server and all answers say that it came in at another time. */
void
breach_serve_at(const Weather *weather, int session, int64_t at)
{
	breach_row(weather, session)->served_at = at;
	for (int i = 0; i < weather->book->n_servings; i++)
		if (weather->book->servings[i].session == session)
			weather->book->servings[i].served_at = at;
}

int
breach_rolled_back(const Weather *weather)
{
	const Book *book = weather->book;

	for (int j = 120; j < book->n_joins; j++)
		if (book->joins[j].deed.outcome == ROLLED_BACK &&
			book->sessions[book->joins[j].session].known_at == NEVER)
			return j;
	die("the made-up storm has no join that was rolled back");
}

/* ---- stalls ---- */

static void
excuse_stall(Weather *weather)
{
	spans_add(&weather->book->stalled, WEATHER_BEGINS + STALL_AFTER,
			  WEATHER_BEGINS + STALL_AFTER + STALL_LASTS);
}

/* Nobody knows whether an operator has paused it. */
static void
pause_unsurely(Weather *weather)
{
	Settings   *states = &weather->book->queues[0].states;
	Setting		setting = {.open = false};

	settings_over(states, settings_asked(states, &setting, WEATHER_BEGINS + STALL_AFTER), UNKNOWN, 0);
	states->list[states->n - 1].to = WEATHER_BEGINS + STALL_AFTER + STALL_LASTS;
}

static void
change_nothing(Weather *weather)
{
	(void) weather;
}

/* Breaches of a storm with a stall. */
static const Breach stalls[] = {
	{"a stall of a little more than a second", "I9", change_nothing},
	{"the same while the machine stood still", "", excuse_stall},
	{"the same while it may have been paused", "", pause_unsurely},
};

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* The names of the laws that fail, in their order. */
static void
list_failing(const Case *it, char *list, size_t size)
{
	size_t		length = 0;

	list[0] = '\0';
	for (int law = 0; law < laws_count(); law++)
	{
		Verdict		verdict;

		law_run(law, it, &verdict);
		if (!verdict.holds)
			length += snprintf(list + length, size - length, "%s%s", length > 0 ? " " : "", law_name(law));
	}
}

static void
judge(Weather *weather, const char *what, const char *caught_by)
{
	char		failing[200];

	weather->it.silent = true;
	case_open(&weather->it, weather->book);
	list_failing(&weather->it, failing, sizeof(failing));
	case_close(&weather->it);
	tap(strcmp(failing, caught_by) == 0, "storm, %s: caught by %s", what,
		caught_by[0] ? caught_by : "none");
	if (strcmp(failing, caught_by) != 0)
		tap_note("it was caught by: %s", failing);
}

static void
test_breach(const Breach *breach, bool stall)
{
	Weather    *weather = weather_make(SEED, stall);

	case_open(&weather->it, weather->book);
	breach->spoil(weather);
	case_close(&weather->it);
	judge(weather, breach->what, breach->caught_by);
	weather_free(weather);
}

/* All breaches of a storm without a stall. */
static const Breach *(*const lists[]) (int *n) =
{
	breaches_of_sessions, breaches_of_lines, breaches_of_told, breaches_of_ways
};

static bool
has_breach(const Breach *breaches, int n, const char *law)
{
	for (int b = 0; b < n; b++)
		if (strcmp(breaches[b].caught_by, law) == 0)
			return true;
	return false;
}

/* No law is without a breach that it catches. */
static void
test_all_can_fail(void)
{
	for (int law = 0; law < laws_count(); law++)
	{
		bool		can_fail = has_breach(stalls, LENGTH(stalls), law_name(law));

		for (size_t l = 0; l < LENGTH(lists); l++)
		{
			int			n;
			const Breach *breaches = lists[l] (&n);

			can_fail |= has_breach(breaches, n, law_name(law));
		}
		tap(can_fail, "law %s has a breach to catch", law_name(law));
	}
}

void
test_breaches(void)
{
	for (int seed = 1; seed <= SEEDS; seed++)
	{
		Weather    *weather = weather_make(seed, false);

		judge(weather, "a right one", "");
		weather_free(weather);
	}
	for (size_t l = 0; l < LENGTH(lists); l++)
	{
		int			n;
		const Breach *breaches = lists[l] (&n);

		for (int b = 0; b < n; b++)
			test_breach(&breaches[b], false);
	}
	for (size_t b = 0; b < LENGTH(stalls); b++)
		test_breach(&stalls[b], true);
	test_all_can_fail();
}
