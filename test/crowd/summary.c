/*
 * summary.c
 *		Tells in figures how a run went, and what held.
 */
#include "summary.h"

#include <stdio.h>
#include <stdlib.h>

static double
seconds(int64_t microseconds)
{
	return (double) microseconds / SECOND;
}

static double
milliseconds(int64_t microseconds)
{
	return (double) microseconds / 1000;
}

static void
print_statuses(const Evidence *evidence)
{
	int			counts[STATUSES] = {0};
	const char *separator = "";

	for (int i = 0; i < evidence->n_rows; i++)
		counts[evidence->rows[i].status]++;
	printf("sessions   %d in all: ", evidence->n_rows);
	for (int s = 0; s < STATUSES; s++)
		if (counts[s] > 0)
		{
			printf("%s%d %s", separator, counts[s], status_names[s]);
			separator = ", ";
		}
	putchar('\n');
}

static void
print_waits(const Evidence *evidence)
{
	Samples		waits = {0};
	Samples		errors = {0};
	int			at_once = 0;

	for (int i = 0; i < evidence->n_rows; i++)
	{
		const Row  *row = &evidence->rows[i];
		const Record *record = ledger_find(evidence->ledger, &row->id);
		int64_t		waited = row->served_at - row->joined_at;

		if (row->served_at == 0)
			continue;
		samples_add(&waits, waited);
		if (waited == 0)
			at_once++;
		if (record != NULL && record->first_estimate >= 0 && waited > 0)
			samples_add(&errors, llabs(waited - record->first_estimate));
	}
	samples_sort(&waits);
	samples_sort(&errors);
	printf("waits      of %d let in, %d of them at once: p50 %.2f s, p90 %.2f s, p99 %.2f s, max %.2f s\n",
		   waits.n, at_once, seconds(samples_percentile(&waits, 0.5)),
		   seconds(samples_percentile(&waits, 0.9)), seconds(samples_percentile(&waits, 0.99)),
		   seconds(samples_percentile(&waits, 1)));
	printf("estimates  given on joining, off by p50 %.2f s, p90 %.2f s\n",
		   seconds(samples_percentile(&errors, 0.5)), seconds(samples_percentile(&errors, 0.9)));
	samples_free(&waits);
	samples_free(&errors);
}

static void
print_times(const char *name, Samples *times)
{
	samples_sort(times);
	printf("%-10s %d answers: p50 %.2f ms, p99 %.2f ms, max %.2f ms\n", name, times->n,
		   milliseconds(samples_percentile(times, 0.5)),
		   milliseconds(samples_percentile(times, 0.99)), milliseconds(samples_percentile(times, 1)));
}

static void
print_events(const Listener *listener)
{
	printf("events     %lld released, %lld ended, %lld moved, %lld state\n",
		   (long long) listener_events(listener, RELEASED_EVENT),
		   (long long) listener_events(listener, ENDED_EVENT),
		   (long long) listener_events(listener, MOVED_EVENT),
		   (long long) listener_events(listener, STATE_EVENT));
}

void
summary_print(const RunFigures *run, const Evidence *evidence)
{
	printf("run        %.1f s, %d arrivals, %d statements of several, longest line seen %lld\n",
		   seconds(run->took), run->crowd->arrived, run->crowd->bursts,
		   (long long) run->longest_line);
	print_statuses(evidence);
	print_waits(evidence);
	print_times("join", run->crowd->join_times);
	print_times("poll", run->crowd->poll_times);
	print_events(run->listener);
}

int
verdicts_print(const Evidence *evidence)
{
	int			failed = 0;

	for (int c = 0; c < checks_count(); c++)
	{
		Verdict		verdict;

		check_run(c, evidence, &verdict);
		printf("%s - %s (%s)\n", verdict.holds ? "ok" : "not ok", verdict.claim, verdict.figures);
		if (!verdict.holds)
			failed++;
	}
	printf("demo: %d passed, %d failed\n", checks_count() - failed, failed);
	return failed;
}
