/*
 * laws_time.c
 *		The laws of a storm that go by times: cap and rate.
 *
 * ready_at, or else served_at, is the moment at which slot and token were taken, and
 * left_at comes before the slot is free again, so counting by them never finds more
 * than there were.  Where settings changed, the most generous that may have been in force counts.
 */
#include "laws_time.h"

#include <stdlib.h>

#include "checks_time.h"
#include "samples.h"
#include "steps.h"

/* How long a release, or a join that came straight in, may take to commit. */
#define COMMIT_PATIENCE (5 * SECOND)

/* ---- I3: the cap ---- */

/* How often somebody came in, or was called, beyond the cap. */
static int
count_beyond_cap(const Case *it, int q, int *most)
{
	const BookQueue *queue = &it->book->queues[q];
	int			n;
	Row		   *rows = case_visit_rows(it, q, &n);
	Step	   *steps = steps_of(rows, n, &n);
	int			inside = 0;
	int			beyond = 0;

	for (int i = 0; i < n; i++)
	{
		inside += steps[i].change;
		if (inside > *most)
			*most = inside;
		if (steps[i].change > 0 && inside > settings_highest_cap(&queue->limits, steps[i].at, steps[i].at) &&
			!queue_may_pass(queue, steps[i].at, steps[i].at))
			beyond++;
	}
	free(rows);
	free(steps);
	return beyond;
}

/*
 * In how many snapshots more were inside than the cap allowed, and more than in
 * the one before: lowering the cap sends nobody away.
 */
static int
count_snapshots_beyond(const BookQueue *queue)
{
	int			beyond = 0;

	for (int i = 0; i < queue->n_snapshots; i++)
	{
		const Snapshot *snapshot = &queue->snapshots[i];
		const Snapshot *before = i > 0 ? snapshot - 1 : snapshot;

		if (snapshot->serving > settings_highest_cap(&queue->limits, before->asked_at - COMMIT_PATIENCE,
													 snapshot->answered_at) &&
			(i == 0 || snapshot->serving > before->serving) &&
			!queue_may_pass(queue, before->asked_at - COMMIT_PATIENCE, snapshot->answered_at))
			beyond++;
	}
	return beyond;
}

void
law_cap(const Case *it, Verdict *verdict)
{
	int			beyond = 0;
	int			snapshots = 0;
	int			snapshots_beyond = 0;
	int			most = 0;

	for (int q = 0; q < it->book->n_queues; q++)
	{
		beyond += count_beyond_cap(it, q, &most);
		snapshots += it->book->queues[q].n_snapshots;
		snapshots_beyond += count_snapshots_beyond(&it->book->queues[q]);
	}
	verdict_say(verdict, beyond + snapshots_beyond == 0,
				"highest %d; %d came in beyond it; %d snapshots, %d beyond it",
				most, beyond, snapshots, snapshots_beyond);
}

/* ---- I4: the rate ---- */

/* What the rate allowed, added up from the first time on. */
typedef struct Allowance
{
	int64_t    *from;
	int64_t    *rate;			/* a minute, from then on */
	int64_t    *before;			/* allowed until then, in units of which MINUTE make a release */
	int			n;
} Allowance;

static int64_t
highest_rate(const Settings *settings, int64_t from, int64_t to)
{
	int64_t		highest = 0;

	for (int i = 0; i < settings->n; i++)
		if (settings->list[i].from < to && settings->list[i].to > from &&
			settings->list[i].rate > highest)
			highest = settings->list[i].rate;
	return highest;
}

static Allowance
get_allowance(const Settings *settings)
{
	Samples		times = {0};
	Allowance	allowance;

	for (int i = 0; i < settings->n; i++)
	{
		samples_add(&times, settings->list[i].from);
		if (settings->list[i].to > settings->list[i].from && settings->list[i].to != NEVER)
			samples_add(&times, settings->list[i].to);
	}
	samples_sort(&times);
	allowance.n = times.n;
	allowance.from = times.values;
	allowance.rate = get_memory(times.n * sizeof(int64_t));
	allowance.before = get_memory(times.n * sizeof(int64_t));
	for (int i = 0; i < times.n; i++)
	{
		allowance.rate[i] = highest_rate(settings, times.values[i],
										 i + 1 < times.n ? times.values[i + 1] : NEVER);
		if (i > 0)
			allowance.before[i] = allowance.before[i - 1] +
				allowance.rate[i - 1] * (times.values[i] - times.values[i - 1]);
	}
	return allowance;
}

static void
free_allowance(Allowance *allowance)
{
	free(allowance->from);
	free(allowance->rate);
	free(allowance->before);
}

static int64_t
allowed_until(const Allowance *allowance, int64_t at)
{
	int			i = 0;

	while (i + 1 < allowance->n && allowance->from[i + 1] <= at)
		i++;
	return allowance->before[i] + allowance->rate[i] * (at - allowance->from[i]);
}

typedef struct Pace
{
	int			beyond;			/* releases that a window ends with that has too many */
	int			most_second;
	int			most_minute;
	int64_t		nearest;		/* to the bound, in units: the least that was left of it */
} Pace;

static int
most_within(const Samples *times, int64_t window)
{
	int			most = 0;

	for (int from = 0, to = 0; to < times->n; to++)
	{
		while (times->values[to] - times->values[from] >= window)
			from++;
		if (to - from + 1 > most)
			most = to - from + 1;
	}
	return most;
}

/*
 * Releases from i to j are at most the burst at i and what the rate allowed from i
 * to j.  That is for all pairs at once: i minus what was allowed until i, plus the
 * burst, is kept at its lowest.
 */
static void
look_at_pace(const BookQueue *queue, const Samples *times, Pace *pace)
{
	Allowance	allowance = get_allowance(&queue->limits);
	int64_t		lowest = NEVER;

	for (int j = 0; j < times->n; j++)
	{
		int64_t		at = times->values[j];
		int64_t		used = j * MINUTE - allowed_until(&allowance, at);
		int64_t		start = used + settings_highest_burst(&queue->limits, at, at) * MINUTE;

		if (start < lowest)
			lowest = start;
		if (lowest - used - MINUTE < 0)
			pace->beyond++;
		if (lowest - used - MINUTE < pace->nearest)
			pace->nearest = lowest - used - MINUTE;
	}
	free_allowance(&allowance);
}

/* Whether releases surely did not go on. */
static bool
surely_paused(const Settings *states, int64_t at)
{
	for (int i = 0; i < states->n; i++)
		if (states->list[i].open && states->list[i].from <= at && states->list[i].to >= at)
			return false;
	return states->n > 0;
}

void
law_rate(const Case *it, Verdict *verdict)
{
	Pace		pace = {.nearest = NEVER};
	int			releases = 0;
	int			paused = 0;
	int			passed = 0;

	for (int q = 0; q < it->book->n_queues; q++)
	{
		const BookQueue *queue = &it->book->queues[q];
		Samples		times = {0};
		int			most;

		for (int v = 0; v < it->visits[q].n; v++)
		{
			int64_t		at = row_let_in_at(it->visits[q].list[v].row);

			if (at == 0)
				continue;
			paused += surely_paused(&queue->states, at);
			if (queue_may_pass(queue, at, at))
				passed++;
			else
				samples_add(&times, at);
		}
		samples_sort(&times);
		releases += times.n;
		look_at_pace(queue, &times, &pace);
		most = most_within(&times, SECOND);
		pace.most_second = most > pace.most_second ? most : pace.most_second;
		most = most_within(&times, MINUTE);
		pace.most_minute = most > pace.most_minute ? most : pace.most_minute;
		samples_free(&times);
	}
	verdict_say(verdict, pace.beyond + paused == 0,
				"%d releases, most of a queue %d in 1 s, %d in 60 s; %d beyond the bound, "
				"nearest to it by %.3f of a release; %d while all may pass; %d while paused",
				releases, pace.most_second, pace.most_minute, pace.beyond,
				releases > 0 ? (double) pace.nearest / MINUTE : 0, passed, paused);
}
