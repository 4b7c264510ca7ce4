/*
 * naive_laws.c
 *		Tests the storm's clever laws against simple ones that look at every pair.
 */
#include "naive_laws.h"

#include <stdlib.h>
#include <string.h>

#include "laws_time.h"
#include "tap.h"
#include "weather.h"

#define STORMS	40

/* The simple ones know nothing of other ways than the first two queues have, but of random places and of calls. */
static const int plain[] = {0, 1, RANDOM_QUEUE};
static const int capped[] = {0, 1, RANDOM_QUEUE, CALLING_QUEUE};

#define PLAIN_QUEUES	3
#define CAPPED_QUEUES	4

/* ---- the simple laws ---- */

static bool
naive_cap(const Case *it)
{
	bool		holds = true;

	for (int q = 0; q < CAPPED_QUEUES; q++)
	{
		const BookQueue *queue = &it->book->queues[capped[q]];
		int			n;
		Row		   *rows = case_visit_rows(it, capped[q], &n);

		for (int a = 0; a < n; a++)
		{
			int64_t		at = row_let_in_at(&rows[a]);
			int			inside = 0;

			for (int b = 0; at != 0 && b < n; b++)
				if (row_let_in_at(&rows[b]) != 0 && row_let_in_at(&rows[b]) <= at &&
					(rows[b].left_at == 0 || rows[b].left_at > at))
					inside++;
			holds &= inside <= settings_highest_cap(&queue->limits, at, at);
		}
		free(rows);
	}
	return holds;
}

/* What the rate allowed between two times, step by step from one change to the next. */
static int64_t
allowed_between(const Settings *limits, int64_t from, int64_t to)
{
	int64_t		allowed = 0;

	while (from < to)
	{
		int64_t		next = to;
		int64_t		rate = 0;

		for (int i = 0; i < limits->n; i++)
		{
			const Setting *setting = &limits->list[i];

			if (setting->from <= from && setting->to > from && setting->rate > rate)
				rate = setting->rate;
			if (setting->from > from && setting->from < next)
				next = setting->from;
			if (setting->to > from && setting->to < next)
				next = setting->to;
		}
		allowed += rate * (next - from);
		from = next;
	}
	return allowed;
}

static bool
is_paused(const Settings *states, int64_t at)
{
	bool		open = false;

	for (int i = 0; i < states->n; i++)
		open |= states->list[i].open && states->list[i].from <= at && states->list[i].to >= at;
	return !open;
}

static bool
naive_rate(const Case *it)
{
	for (int q = 0; q < PLAIN_QUEUES; q++)
	{
		const BookQueue *queue = &it->book->queues[plain[q]];

		for (int a = 0; a < queue->n_rows; a++)
		{
			int64_t		from = queue->rows[a].served_at;

			if (from != 0 && is_paused(&queue->states, from))
				return false;
			for (int b = 0; from != 0 && b < queue->n_rows; b++)
			{
				int64_t		to = queue->rows[b].served_at;
				int64_t		n = 0;

				/* Longer windows break the bound only if a shorter one does, or nearly. */
				if (to < from || to > from + SECOND / 4)
					continue;
				for (int c = 0; c < queue->n_rows; c++)
					n += queue->rows[c].served_at >= from && queue->rows[c].served_at <= to;
				if ((n - settings_highest_burst(&queue->limits, from, from)) * MINUTE >
					allowed_between(&queue->limits, from, to))
					return false;
			}
		}
	}
	return true;
}

/* Whether a session came in from further behind than somebody stood, of whom this is the row. */
static bool
came_from_behind(const Row *row, const Row *stood, int lane)
{
	if (row->lane != (Lane) lane || row_let_in_at(row) == row->joined_at)
		return row->lane > (Lane) lane || (row->lane == (Lane) lane && row_let_in_at(row) == row->joined_at);
	if (row->order_key != stood->order_key)
		return row->order_key > stood->order_key;
	return row->ticket > stood->ticket;
}

/* Where places are random, who was moved may have had another before. */
static bool
was_moved(const Book *book, int session)
{
	for (int t = 0; t < book->n_touches; t++)
		if (book->touches[t].session == session && book->touches[t].verb == V_MOVE &&
			book->touches[t].deed.outcome != ROLLED_BACK)
			return true;
	return false;
}

static bool
moves_about(const Book *book, const Session *session, int64_t from, int64_t to)
{
	for (int t = 0; t < book->n_touches; t++)
		if (book->touches[t].session == session - book->sessions && book->touches[t].verb == V_MOVE &&
			book->touches[t].deed.asked_at <= to && book->touches[t].deed.ended_at >= from)
			return true;
	return false;
}

static bool
naive_order_of(const Case *it, int q)
{
	bool		holds = true;
	int			n;
	Stand	   *stands = stands_of(it, q, &n);

	for (int s = 0; s < it->book->n_sessions; s++)
	{
		const Session *session = &it->book->sessions[s];
		const Row  *row = session->queue == q ? case_row(it, s) : NULL;

		if (row == NULL || row->served_at == 0 ||
			moves_about(it->book, session, row->served_at, session->seen_serving_at))
			continue;
		for (int i = 0; i < n; i++)
		{
			int			lane = stands[i].key >> 61;

			if (row->served_at <= stands[i].from || row->served_at >= stands[i].to ||
				session->seen_serving_at >= stands[i].seen_to)
				continue;
			if (q == RANDOM_QUEUE && (int) row->lane == lane &&
				(was_moved(it->book, s) || was_moved(it->book, stands[i].session)))
				continue;
			if (came_from_behind(row, case_row(it, stands[i].session), lane))
				holds = false;
		}
	}
	free(stands);
	return holds;
}

static bool
naive_order(const Case *it)
{
	bool		holds = true;

	for (int q = 0; q < PLAIN_QUEUES; q++)
		holds &= naive_order_of(it, plain[q]);
	return holds;
}

/* ---- spoiling ---- */

/* A few small changes, of which some break something and some do not. */
static void
jog(Weather *weather, Random *random)
{
	int			changes = random_between(random, 0, 3);

	for (int i = 0; i < changes; i++)
	{
		BookQueue  *queue = &weather->book->queues[plain[random_between(random, 0, PLAIN_QUEUES - 1)]];
		Row		   *row = &queue->rows[random_between(random, 0, queue->n_rows - 1)];
		int64_t		by = random_between(random, -3, 3) * (random_chance(random, 0.5) ? 1 : 4000);

		if (row->served_at == 0)
			continue;
		if (random_chance(random, 0.6))
			row->served_at += by;
		else if (row->left_at != 0)
			row->left_at += by;
	}
}

typedef struct Pair
{
	const char *name;
	bool		(*naive) (const Case *it);
	int			agreed;
	int			held;
} Pair;

static bool
clever(const Case *it, const char *name)
{
	for (int law = 0; law < laws_count(); law++)
		if (strcmp(law_name(law), name) == 0)
		{
			Verdict		verdict;

			law_run(law, it, &verdict);
			return verdict.holds;
		}
	die("there is no law %s", name);
}

void
test_laws_against_naive(void)
{
	Pair		pairs[] = {{"I3", naive_cap, 0, 0}, {"I4", naive_rate, 0, 0}, {"I5", naive_order, 0, 0}};
	const int	n = sizeof(pairs) / sizeof(pairs[0]);
	Random		random = random_start(8);

	for (int w = 0; w < STORMS; w++)
	{
		Weather    *weather = weather_make(w, false);

		jog(weather, &random);
		weather->it.silent = true;
		case_open(&weather->it, weather->book);
		for (int p = 0; p < n; p++)
		{
			bool		holds = pairs[p].naive(&weather->it);

			pairs[p].held += holds;
			pairs[p].agreed += holds == clever(&weather->it, pairs[p].name);
		}
		case_close(&weather->it);
		weather_free(weather);
	}
	for (int p = 0; p < n; p++)
	{
		tap(pairs[p].agreed == STORMS, "law %s agrees with looking at every pair, %d times of %d",
			pairs[p].name, pairs[p].agreed, STORMS);
		tap(pairs[p].held > STORMS / 20 && pairs[p].held < STORMS,
			"of those, %d held and %d did not", pairs[p].held, STORMS - pairs[p].held);
	}
}
