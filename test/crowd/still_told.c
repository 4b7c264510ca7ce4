/*
 * still_told.c
 *		Reads the log of events and the statistics in the end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "still_inside.h"

/* Events that are asked for at a time: few, so that many pages are turned. */
#define PAGE 500

/* How long the worker may take to tell, and to count, what has happened. */
#define TELLING_PATIENCE (30 * SECOND)

/* A number that a query without parameters returns, or that of true and false. */
static int64_t
ask_number(Still *still, const char *sql)
{
	PGresult   *result = still_ask(still, sql, 0, NULL);
	int64_t		number = number_field(result, 0, 0, 0);

	PQclear(result);
	return number;
}

/* 0: nothing is logged, or nothing is counted. */
static bool
is_kept(Still *still, const char *setting)
{
	char		sql[200];

	snprintf(sql, sizeof(sql), "SELECT (setting <> '0')::int FROM pg_settings WHERE name = '%s'", setting);
	return ask_number(still, sql) != 0;
}

/* A log that was begun at another time is another server's. */
static int64_t
log_begun(Still *still)
{
	return ask_number(still, "SELECT begun FROM vqueue.event_log");
}

void
still_mark_log(Still *still)
{
	still->log_begun = log_begun(still);
	still->cursor = ask_number(still, "SELECT vqueue.event_cursor()");
}

/* ---- the log ---- */

/* One event of the log, or die: a form that nobody can read is no answer of the storm's. */
static void
take_event(Still *still, const PGresult *result, int row)
{
	Book	   *book = still->storm->book;
	const char *expected;
	Event		event;

	if (!event_parse_logged(PQgetvalue(result, row, 3), &event, &expected) ||
		event.seq != number_field(result, row, 0, -1) ||
		strcmp(event_type_names[event.type], PQgetvalue(result, row, 2)) != 0)
		book->malformed++;
	else
		book_logged(book, &event, number_field(result, row, 1, 0));
}

/* All events of a queue, page by page. */
static void
read_queue(Still *still, const char *queue)
{
	int64_t		cursor = still->cursor;
	int			n;

	do
	{
		char		from[30];
		char		page[30];
		const char *params[] = {queue, from, page};
		PGresult   *result;

		snprintf(from, sizeof(from), "%lld", (long long) cursor);
		snprintf(page, sizeof(page), "%d", PAGE);
		result = still_ask(still, "SELECT seq, " MICROSECONDS("at") ", event, payload"
						   " FROM vqueue.events_since($1, $2::bigint, $3::int)", 3, params);
		n = PQntuples(result);
		for (int i = 0; i < n; i++)
			take_event(still, result, i);
		if (n > 0)
			cursor = number_field(result, n - 1, 0, cursor);
		PQclear(result);
	} while (n == PAGE);
}

static void
read_state(Still *still, BookQueue *queue)
{
	const char *name = queue->name;
	PGresult   *result = still_ask(still, "SELECT state FROM vqueue.queues WHERE name = $1", 1, &name);

	if (PQntuples(result) != 1 || !state_parse(PQgetvalue(result, 0, 0), &queue->state))
		die("queue %s has no state", name);
	PQclear(result);
}

/* Whether the worker has told, and counted, all there is of the storm's queues; false if it takes too long. */
static bool
await(Still *still, const char *sql, const char *param)
{
	int64_t		give_up_at = steady_time() + TELLING_PATIENCE;

	for (;;)
	{
		PGresult   *result = still_ask(still, sql, 1, &param);
		bool		done = number_field(result, 0, 0, 0) == 0;

		PQclear(result);
		if (done || steady_time() > give_up_at)
			return done;
		still_nap();
	}
}

/* ---- statistics ---- */

static void
read_figures(Still *still, BookQueue *queue)
{
	const char *name = queue->name;
	PGresult   *result = still_ask(still, "SELECT sum(joined)::bigint, sum(released)::bigint, sum(completed)::bigint,"
								   " sum(\"left\")::bigint, sum(abandoned)::bigint, sum(no_shows)::bigint,"
								   " sum(expired)::bigint, sum(removed)::bigint"
								   " FROM vqueue.stats s WHERE s.queue = $1", 1, &name);

	for (int f = 0; f < FIGURES; f++)
		queue->figures[f] = number_field(result, 0, f, 0);
	PQclear(result);
}

static void
read_statistics(Still *still)
{
	Book	   *book = still->storm->book;
	PGresult   *result = still_ask(still, "SELECT clock_timestamp()", 0, NULL);
	const char *now = PQgetvalue(result, 0, 0);

	still_tell(still, "SELECT vqueue._count_now()");
	book->counted = await(still, "SELECT count(*) FROM vqueue.event_log WHERE counted_at < $1::timestamptz", now);
	if (!book->counted)
		storm_refused(still->storm, "", "statistics were not counted", VERBS);
	for (int q = 0; q < book->n_queues; q++)
		read_figures(still, &book->queues[q]);
	PQclear(result);
}

void
still_read_told(Still *still)
{
	Book	   *book = still->storm->book;

	for (int q = 0; q < book->n_queues; q++)
		read_state(still, &book->queues[q]);
	book->log_read = is_kept(still, "vqueue.event_retention") && log_begun(still) == still->log_begun;
	if (!book->log_read)
		return;

	/* What is not told after so long is for the law to say. */
	for (int q = 0; q < book->n_queues; q++)
		(void) await(still, "SELECT count(*) FROM vqueue.user_sessions s JOIN vqueue.queues q ON q.id = s.queue_id"
					 " WHERE q.name = $1 AND vqueue._untold(q.id, s.ticket, '-infinity')", book->queues[q].name);
	for (int q = 0; q < book->n_queues; q++)
		read_queue(still, book->queues[q].name);
	if (is_kept(still, "vqueue.stats_retention"))
		read_statistics(still);
}
