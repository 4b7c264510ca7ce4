/*
 * breaches_ways.c
 *		Breaches of the laws about claims, timeouts, turns, methods and the clock, and
 *		of the others where those have a part in it.
 */
#include "breaches_inside.h"

#include <stdio.h>
#include <stdlib.h>

#include "laws_time.h"

/* ---- I5: order ---- */

/* In turns by weight nobody is passed by within the lane either. */
static void
pass_by_in_turns(Weather *weather)
{
	(void) breach_swap(weather, WEIGHTED_QUEUE, 120);
}

/*
 * Somebody who was readmitted, and stood by the old ticket, was called right after
 * somebody from further behind.
 */
static void
pass_by_readmitted(Weather *weather)
{
	const Case *it = &weather->it;
	int			n;
	Stand	   *stands = stands_of(it, CALLING_QUEUE, &n);

	for (int i = 0; i < n; i++)
	{
		Row		   *late = breach_row(weather, stands[i].session);
		int			n_visits;

		(void) case_visits(it, stands[i].session, &n_visits);
		if (n_visits < 2 || late->ready_at == 0 || stands[i].to != late->ready_at)
			continue;
		for (int s = 0; s < it->book->n_sessions; s++)
		{
			Row		   *early = it->book->sessions[s].queue == CALLING_QUEUE ? breach_row(weather, s) : NULL;
			int64_t		at = late->ready_at;
			int			n_of_other;

			if (early == NULL || line_key(early->lane, it->ranks[s]) < stands[i].key ||
				early->ready_at <= at || early->ready_at > at + SECOND ||
				(late->served_at != 0 && late->served_at < early->ready_at) ||
				(late->left_at != 0 && late->left_at < early->ready_at))
				continue;
			(void) case_visits(it, s, &n_of_other);
			if (n_of_other > 1 || it->book->sessions[s].known_at >= at)
				continue;
			late->ready_at = early->ready_at;
			early->ready_at = at;
			free(stands);
			return;
		}
	}
	die("the made-up storm calls nobody who was readmitted");
}

/* ---- I10: timeouts ---- */

static void
time_out_early(Weather *weather, Status status, int64_t by)
{
	breach_row(weather, breach_session(weather, CALLING_QUEUE, status, 120))->left_at -= by;
}

static void
abandon_early(Weather *weather)
{
	time_out_early(weather, ABANDONED, 1000);
}

static void
miss_early(Weather *weather)
{
	time_out_early(weather, NO_SHOW, 1);
}

static void
expire_early(Weather *weather)
{
	time_out_early(weather, EXPIRED, 1000);
}

/* Not so early, but the last sign of life came later. */
static void
abandon_alive(Weather *weather)
{
	int			session = breach_session(weather, CALLING_QUEUE, ABANDONED, 120);
	int64_t		at = breach_row(weather, session)->left_at - SECOND * 3 / 4;

	book_position_read(weather->book, session, 1, at, at + 1);
	book_was_alive(weather->book);
}

/* The sign of life came when the end was being written. */
static void
abandon_at_once(Weather *weather)
{
	int			session = breach_session(weather, CALLING_QUEUE, ABANDONED, 120);
	int64_t		at = breach_row(weather, session)->left_at - 2;

	book_position_read(weather->book, session, 1, at, at + 1);
	book_was_alive(weather->book);
}

/* The lease was extended, which the row has lost, and it ran out. */
static void
expire_extended(Weather *weather)
{
	int			session = breach_session(weather, CALLING_QUEUE, EXPIRED, 120);
	const Row  *row = breach_row(weather, session);
	int64_t		at = row->left_at - 100000;
	int			touch = book_touch_asked(weather->book, V_EXTEND, session, VIP, at);
	Place		place = {row->id, row->user_id, SERVING, row->lane, row->ticket, 0, -1, -1};

	book_step_answered(weather->book, touch, &place, row->served_at, NULL, at + 1);
	book_touch_over(weather->book, touch, COMMITTED, false, at + 1);
}

static void
no_timeouts(Weather *weather)
{
	weather->book->queues[CALLING_QUEUE].graces.list[0].claim_timeout = 0;
}

/* No queue lets anybody in any more, and so much time goes by. */
static void
go_by(Weather *weather, int64_t time)
{
	Setting		paused = {.open = false};

	for (int q = 0; q < weather->book->n_queues; q++)
	{
		Settings   *states = &weather->book->queues[q].states;

		settings_over(states, settings_asked(states, &paused, weather->it.judged_to), COMMITTED,
					  weather->it.judged_to + 1);
	}
	weather->it.judged_to += time;
}

/* Nothing happens any more, for long, and yet nobody's time is up. */
static void
live_on(Weather *weather)
{
	go_by(weather, 40 * SECOND);
}

/* The last one that ended in this way before a time. */
static Row *
last_ended(const Weather *weather, Status status, int64_t before)
{
	const Visits *visits = &weather->it.visits[CALLING_QUEUE];
	Row		   *last = NULL;

	for (int v = 0; v < visits->n; v++)
	{
		Row		   *row = visits->list[v].session < 0 ? NULL : breach_row(weather, visits->list[v].session);

		if (row != NULL && row == visits->list[v].row && row->status == status && row->left_at < before &&
			(last == NULL || row->left_at > last->left_at))
			last = row;
	}
	return last;
}

/* The same for a time that a busy machine may take, but some are ended again and again. */
static void
end_others(Weather *weather, int times)
{
	int64_t		end = weather->it.judged_to;

	go_by(weather, 10 * SECOND);
	for (int i = times; i > 0; i--)
		last_ended(weather, EXPIRED, end)->left_at = end + 7 * SECOND + i * SECOND / 2;
}

static void
live_on_forgotten(Weather *weather)
{
	end_others(weather, 3);
}

static void
live_on_busily(Weather *weather)
{
	end_others(weather, 2);
}

static void
live_on_for_ever(Weather *weather)
{
	Settings   *graces = &weather->book->queues[CALLING_QUEUE].graces;
	Setting		none = {0};

	settings_over(graces, settings_asked(graces, &none, weather->it.judged_to - 1), COMMITTED,
				  weather->it.judged_to);
	live_on(weather);
}

/* ---- I11: claims ---- */

static Touch *
find_claim(const Weather *weather)
{
	for (int t = 0; t < weather->book->n_touches; t++)
	{
		Touch	   *touch = &weather->book->touches[t];

		if (touch->verb == V_CLAIM && breach_row(weather, touch->session)->served_at == touch->served_at)
			return touch;
	}
	die("the made-up storm has no claim");
}

static void
come_unclaimed(Weather *weather)
{
	find_claim(weather)->deed.outcome = ROLLED_BACK;
}

static void
claim_in_vain(Weather *weather)
{
	find_claim(weather)->served_at++;
}

static void
claim_twice(Weather *weather)
{
	const Touch *touch = find_claim(weather);
	const Row  *row = breach_row(weather, touch->session);
	Place		place = {row->id, row->user_id, SERVING, row->lane, row->ticket, 0, -1, -1};

	book_place_seen(weather->book, &place, row->served_at + 7, row->served_at + 8, row->served_at + 9);
}

/* Who was called, and has not claimed yet, holds a slot like all others. */
static void
lower_cap_of_called(Weather *weather)
{
	weather->book->queues[CALLING_QUEUE].limits.list[0].cap--;
}

static void
slow_down_calls(Weather *weather)
{
	weather->book->queues[CALLING_QUEUE].limits.list[0].rate -= 5;
}

/* ---- I12: turns ---- */

static void
starve(Weather *weather)
{
	weather->book->queues[WEIGHTED_QUEUE].turns.list[0].weights[LOW] = 8;
}

static void
weigh_unsurely(Weather *weather)
{
	Settings   *turns = &weather->book->queues[WEIGHTED_QUEUE].turns;
	Setting		other = turns->list[0];

	starve(weather);
	settings_over(turns, settings_asked(turns, &other, WEATHER_BEGINS - SECOND), UNKNOWN, 0);
}

/* ---- I13: doors ---- */

/* What was set after so long may have been set a little earlier. */
static void
set_method_earlier(Weather *weather, int64_t after)
{
	Settings   *methods = &weather->book->queues[WEIGHTED_QUEUE].methods;

	for (int i = 1; i < methods->n; i++)
		if (methods->list[i].from == WEATHER_BEGINS + after)
		{
			methods->list[i].from -= 60000;
			methods->list[i - 1].to = methods->list[i].from;
			return;
		}
	die("the made-up storm has no such method");
}

static void
join_rejected(Weather *weather)
{
	set_method_earlier(weather, REJECTS_AFTER);
}

static void
wait_to_pass(Weather *weather)
{
	set_method_earlier(weather, PASSES_AFTER);
}

static void
shut_out(Weather *weather)
{
	weather->book->joins[breach_rolled_back(weather)].shut_out = true;
}

/* Who came in past rate and cap did so as all might. */
static void
pass_not(Weather *weather)
{
	Settings   *methods = &weather->book->queues[WEIGHTED_QUEUE].methods;

	for (int i = 0; i < methods->n; i++)
		methods->list[i].passes = false;
}

/* ---- I14: the clock ---- */

static Moment *
some_moment(const Weather *weather)
{
	return &weather->book->queues[WEIGHTED_QUEUE].moments[1];
}

static void
open_early(Weather *weather)
{
	some_moment(weather)->done_at = some_moment(weather)->at - 1;
}

static void
open_late(Weather *weather)
{
	some_moment(weather)->done_at += 5 * SECOND / 2;
}

static void
open_never(Weather *weather)
{
	some_moment(weather)->done_at = 0;
	some_moment(weather)->seen_at += 5 * SECOND / 2;
}

/* ---- readmissions ---- */

int
breach_readmitted(const Weather *weather)
{
	for (int s = 0; s < weather->book->n_sessions; s++)
	{
		int			n;

		(void) case_visits(&weather->it, s, &n);
		if (n > 1 && weather->book->sessions[s].ended_events == n &&
			weather->book->sessions[s].released_events > 0)
			return s;
	}
	die("the made-up storm has nobody who was readmitted and ended");
}

static void
end_once(Weather *weather)
{
	weather->book->sessions[breach_readmitted(weather)].ended_events--;
}

static void
release_once_more(Weather *weather)
{
	weather->book->sessions[breach_readmitted(weather)].released_events++;
}

static const Breach ways[] = {
	{"a later ticket let in first, in turns by weight", "I5", pass_by_in_turns},
	{"a later ticket called before one that was readmitted, who then had less time", "I5 I10", pass_by_readmitted},
	{"called ones beyond the cap", "I3", lower_cap_of_called},
	{"calls faster than the rate", "I4", slow_down_calls},
	{"an abandonment before time", "I10", abandon_early},
	{"a no-show before time", "I10", miss_early},
	{"a lease that ends before time", "I10", expire_early},
	{"an abandonment of somebody who gave a sign of life", "I10", abandon_alive},
	{"a sign of life that came too late", "", abandon_at_once},
	{"a lease that ends though it was extended", "I10", expire_extended},
	{"a no-show where claims were never set", "I10 I11", no_timeouts},
	{"somebody who lives on", "I10", live_on},
	{"somebody who lives on while others, who held slots for longer, are ended", "I3 I10", live_on_forgotten},
	{"the same where it may have been one look at all of them", "I3", live_on_busily},
	{"the same without timeouts", "", live_on_for_ever},
	{"somebody inside who was called and did not claim", "I11", come_unclaimed},
	{"a claim without effect", "I11", claim_in_vain},
	{"a claim that counts twice", "I2", claim_twice},
	{"a lane that starves", "I12", starve},
	{"the same where weights may have changed", "", weigh_unsurely},
	{"a join where newcomers are rejected", "I13", join_rejected},
	{"a wait where all pass", "I13", wait_to_pass},
	{"a refusal where all may join", "I13", shut_out},
	{"a rush where rate and cap hold", "I3 I4", pass_not},
	{"a queue that opens before time", "I14", open_early},
	{"a queue that opens late", "I14", open_late},
	{"a queue that does not open", "I14", open_never},
	{"an end told once of two", "I7", end_once},
	{"a release told once too often", "I7", release_once_more},
};

const Breach *
breaches_of_ways(int *n)
{
	*n = sizeof(ways) / sizeof(ways[0]);
	return ways;
}
