/*
 * checks_time.c
 *		The checks that go by tickets and times.
 *
 * Times of the table are the server's, times of the ledger the crowd's; both
 * come from the clock of the one machine that they run on.
 */
#include "checks_time.h"
#include "highest.h"

#include <stdio.h>
#include <stdlib.h>

#include "samples.h"
#include "steps.h"

/* ---- tickets ---- */

static int
count_repeated(Samples *tickets)
{
	int			repeated = 0;

	samples_sort(tickets);
	for (int i = 1; i < tickets->n; i++)
		if (tickets->values[i] == tickets->values[i - 1])
			repeated++;
	samples_free(tickets);
	return repeated;
}

/* No ticket comes twice, neither in the table nor in the answers. */
void
check_tickets(const Evidence *evidence, Verdict *verdict)
{
	const Ledger *ledger = evidence->ledger;
	Samples		written = {0};
	Samples		answered = {0};
	int			bad = 0;
	int			twice;

	for (int i = 0; i < evidence->n_rows; i++)
	{
		samples_add(&written, evidence->rows[i].ticket);
		if (evidence->rows[i].ticket < 1)
			bad++;
	}
	for (int i = 0; i < ledger->n_records; i++)
		if (ledger->records[i].answered_at != 0)
			samples_add(&answered, ledger->records[i].ticket);
	twice = count_repeated(&written) + count_repeated(&answered);
	verdict_say(verdict, twice + bad == 0, "%d tickets; %d given twice, %d not positive",
				evidence->n_rows, twice, bad);
}

/* ---- order of arrival ---- */

static int
by_asked(const void *a, const void *b)
{
	return compare_numbers((*(const Record *const *) a)->asked_at, (*(const Record *const *) b)->asked_at);
}

static int
by_answered(const void *a, const void *b)
{
	return compare_numbers((*(const Record *const *) a)->answered_at,
						   (*(const Record *const *) b)->answered_at);
}

static int
by_batch(const void *a, const void *b)
{
	const Record *x = *(const Record *const *) a;
	const Record *y = *(const Record *const *) b;
	int			order = compare_numbers(x->batch, y->batch);

	return order != 0 ? order : compare_numbers(x->place_in_batch, y->place_in_batch);
}

/* The records of answered joins, sorted. */
static const Record **
sorted_records(const Ledger *ledger, int (*compare) (const void *, const void *), int *n)
{
	const Record **records = get_memory(ledger->n_records * sizeof(Record *));

	*n = 0;
	for (int i = 0; i < ledger->n_records; i++)
		if (ledger->records[i].answered_at != 0)
			records[(*n)++] = &ledger->records[i];
	qsort(records, *n, sizeof(Record *), compare);
	return records;
}

/* How many have no higher ticket than somebody whose join was answered before theirs was asked. */
static int
count_overtakers(const Ledger *ledger)
{
	int			n;
	const Record **asked = sorted_records(ledger, by_asked, &n);
	const Record **answered = sorted_records(ledger, by_answered, &n);
	int64_t		highest = 0;
	int			overtakers = 0;

	for (int i = 0, done = 0; i < n; i++)
	{
		for (; done < n && answered[done]->answered_at < asked[i]->asked_at; done++)
			if (answered[done]->ticket > highest)
				highest = answered[done]->ticket;
		if (asked[i]->ticket <= highest)
			overtakers++;
	}
	free(asked);
	free(answered);
	return overtakers;
}

/* How many of those who joined in one statement have a ticket out of the order given. */
static int
count_disordered(const Ledger *ledger, int *in_batches)
{
	int			n;
	const Record **records = sorted_records(ledger, by_batch, &n);
	int			disordered = 0;

	*in_batches = 0;
	for (int i = 1; i < n; i++)
	{
		if (records[i]->batch != records[i - 1]->batch)
			continue;
		*in_batches += records[i]->place_in_batch == 1 ? 2 : 1;
		if (records[i]->ticket <= records[i - 1]->ticket)
			disordered++;
	}
	free(records);
	return disordered;
}

void
check_arrival(const Evidence *evidence, Verdict *verdict)
{
	int			in_batches;
	int			disordered = count_disordered(evidence->ledger, &in_batches);
	int			overtakers = count_overtakers(evidence->ledger);

	verdict_say(verdict, overtakers + disordered == 0,
				"%d went before somebody answered earlier; %d of %d out of order in one statement",
				overtakers, disordered, in_batches);
}

/* ---- order of release ---- */

typedef struct Release
{
	int64_t		served_at;
	int64_t		seen_at;		/* when the crowd first knew */
	int64_t		ticket;
} Release;

/* The releases of one lane by time, and the highest tickets among them. */
typedef struct Releases
{
	Release    *list;
	int			n;
	Highest    *highest;
} Releases;

static int
by_served(const void *a, const void *b)
{
	return compare_numbers(((const Release *) a)->served_at, ((const Release *) b)->served_at);
}

static Releases
get_releases(const Evidence *evidence, Lane lane)
{
	Releases	releases = {.list = get_memory(evidence->n_rows * sizeof(Release))};

	for (int i = 0; i < evidence->n_rows; i++)
	{
		const Row  *row = &evidence->rows[i];
		const Record *record = ledger_find(evidence->ledger, &row->id);
		bool		seen = record != NULL && record->seen_serving_at != 0;
		Release    *release = &releases.list[releases.n];

		if (row->lane != lane || row->served_at == 0)
			continue;
		release->served_at = row->served_at;
		release->seen_at = seen ? record->seen_serving_at : row->served_at;
		release->ticket = row->ticket;
		releases.n++;
	}
	qsort(releases.list, releases.n, sizeof(Release), by_served);
	releases.highest = highest_make(releases.n);
	for (int i = 0; i < releases.n; i++)
		highest_add(releases.highest, releases.list[i].served_at, releases.list[i].ticket);
	return releases;
}

static void
free_releases(Releases *releases)
{
	highest_free(releases->highest);
	free(releases->list);
}

/*
 * A release that was made although this session, with an earlier ticket, had
 * been answered before and still waited; or NULL.
 *
 * A session that left may have asked to while the other's release was on its
 * way; then either may have been first.  Only a release that the crowd had
 * seen before the session asked to leave counts.
 */
static const Release *
find_passer(const Releases *releases, const Row *row, const Record *record)
{
	int64_t		until = row->served_at != 0 ? row->served_at : row->left_at != 0 ? row->left_at : NEVER;
	int64_t		seen_until = NEVER;
	int			from = highest_first(releases->highest, record->answered_at + 1);
	int			to;

	if (row->served_at == 0 && record->leave_asked_at != 0)
	{
		seen_until = record->leave_asked_at;
		if (seen_until < until)
			until = seen_until;
	}
	to = highest_first(releases->highest, until);
	if (highest_between(releases->highest, from, to) <= row->ticket)
		return NULL;
	for (int i = from; i < to; i++)
		if (releases->list[i].ticket > row->ticket && releases->list[i].seen_at < seen_until)
			return &releases->list[i];
	return NULL;
}

/* One that was passed by, in words. */
static void
describe_passing(const Row *row, const Record *record, const Release *passer, char text[200])
{
	int			length;

	length = snprintf(text, 200, "ticket %lld, answered %.3f ms before, by ticket %lld",
					  (long long) row->ticket,
					  (double) (passer->served_at - record->answered_at) / 1000,
					  (long long) passer->ticket);
	if (row->served_at != 0)
		snprintf(text + length, 200 - length, ", %.3f ms before it was let in",
				 (double) (row->served_at - passer->served_at) / 1000);
}

void
check_order(const Evidence *evidence, Verdict *verdict)
{
	int			passed = 0;
	int			served = 0;
	char		first[200] = "";

	for (int lane = 0; lane < LANES; lane++)
	{
		Releases	releases = get_releases(evidence, lane);

		served += releases.n;
		for (int i = 0; i < evidence->n_rows; i++)
		{
			const Row  *row = &evidence->rows[i];
			const Record *record = ledger_find(evidence->ledger, &row->id);
			const Release *passer;

			if ((int) row->lane != lane || record == NULL || record->answered_at == 0)
				continue;
			passer = find_passer(&releases, row, record);
			if (passer != NULL && passed++ == 0)
				describe_passing(row, record, passer, first);
		}
		free_releases(&releases);
	}
	verdict_say(verdict, passed == 0, "%d releases; %d passed by%s%s", served, passed,
				passed > 0 ? ", the first: " : "", first);
}

/* ---- rate ---- */

/* How many releases the settings allow in a window of this length. */
static int64_t
allowed(const Evidence *evidence, int64_t window)
{
	return evidence->burst + evidence->rate_per_minute * window / MINUTE;
}

/* The most releases in any window of this length, both its ends included. */
static int
most_in_window(const Samples *times, int64_t window)
{
	int			most = 0;

	for (int last = 0, first = 0; last < times->n; last++)
	{
		while (times->values[last] - times->values[first] > window)
			first++;
		if (last - first + 1 > most)
			most = last - first + 1;
	}
	return most;
}

/*
 * The window, of any length, that comes nearest to the bound or exceeds it
 * most.  Counted in units of which a release costs MINUTE and a microsecond
 * earns rate_per_minute, so that nothing is rounded.
 */
static void
find_tightest(const Evidence *evidence, const Samples *times, int *releases, int64_t *window)
{
	int			first = 0;
	int64_t		lowest = NEVER;
	int64_t		worst = -NEVER;

	*releases = 0;
	*window = 0;
	for (int i = 0; i < times->n; i++)
	{
		int64_t		earned = evidence->rate_per_minute * (times->values[i] - times->values[0]);

		if (i * MINUTE - earned < lowest)
		{
			lowest = i * MINUTE - earned;
			first = i;
		}
		if ((i + 1) * MINUTE - earned - lowest > worst)
		{
			worst = (i + 1) * MINUTE - earned - lowest;
			*releases = i - first + 1;
			*window = times->values[i] - times->values[first];
		}
	}
}

void
check_rate(const Evidence *evidence, Verdict *verdict)
{
	Samples		times = {0};
	int			tightest;
	int64_t		window;
	int			second;
	int			minute;

	for (int i = 0; i < evidence->n_rows; i++)
		if (evidence->rows[i].served_at != 0)
			samples_add(&times, evidence->rows[i].served_at);
	samples_sort(&times);
	second = most_in_window(&times, SECOND);
	minute = most_in_window(&times, MINUTE);
	find_tightest(evidence, &times, &tightest, &window);
	verdict_say(verdict,
				second <= allowed(evidence, SECOND) && minute <= allowed(evidence, MINUTE) &&
				tightest <= allowed(evidence, window),
				"highest in 1 s %d of %lld, in 60 s %d of %lld; nearest to the bound %d of %lld in %.3f s",
				second, (long long) allowed(evidence, SECOND),
				minute, (long long) allowed(evidence, MINUTE),
				tightest, (long long) allowed(evidence, window), (double) window / SECOND);
	samples_free(&times);
}

/* ---- cap ---- */

void
check_cap(const Evidence *evidence, Verdict *verdict)
{
	int			n;
	Step	   *steps = steps_of(evidence->rows, evidence->n_rows, &n);
	int			inside = 0;
	int			most = 0;

	for (int i = 0; i < n; i++)
	{
		inside += steps[i].change;
		if (inside > most)
			most = inside;
	}
	free(steps);
	verdict_say(verdict, most <= evidence->cap, "highest %d of %lld", most, (long long) evidence->cap);
}
