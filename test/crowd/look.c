/*
 * look.c
 *		The onlookers of a storm: one takes snapshots of the tables, one listens.
 */
#include "look.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_INTERVAL	(SECOND / 10)
#define ASK_INTERVAL	(SECOND / 4)

static void
loss(Storm *storm, const Link *link)
{
	storm->losses++;
	if (!storm->options->faults)
		storm_refused(storm, "08006", link_complaint(link), VERBS);
}

/* ---- the counter ---- */

struct Counter
{
	Storm	   *storm;
	Link	   *link;
	int64_t		next;			/* steady time */
	int64_t		asked_at;
};

static void
counter_ready(void *owner)
{
	((Counter *) owner)->next = steady_time();
}

static void
add_snapshot(BookQueue *queue, const Counter *counter, int64_t serving, int64_t doubles, int64_t at)
{
	Snapshot   *snapshot;

	queue->snapshots = grow(queue->snapshots, queue->n_snapshots, &queue->snapshots_room,
							sizeof(Snapshot));
	snapshot = &queue->snapshots[queue->n_snapshots++];
	snapshot->asked_at = counter->asked_at;
	snapshot->answered_at = at;
	snapshot->serving = serving;
	snapshot->doubles = doubles;
}

static void
counter_answered(void *owner, const PGresult *result, int64_t at)
{
	Counter    *counter = owner;
	Book	   *book = counter->storm->book;

	counter->next = steady_time() + COUNT_INTERVAL;
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
	{
		storm_refused(counter->storm, PQresultErrorField(result, PG_DIAG_SQLSTATE),
					  PQresultErrorMessage(result), VERBS);
		return;
	}
	for (int i = 0; i < PQntuples(result); i++)
		for (int q = 0; q < book->n_queues; q++)
			if (strcmp(PQgetvalue(result, i, 0), book->queues[q].name) == 0)
				add_snapshot(&book->queues[q], counter, number_field(result, i, 1, 0),
							 number_field(result, i, 2, 0), at);
}

static void
counter_lost(void *owner, int64_t at)
{
	Counter    *counter = owner;

	(void) at;
	loss(counter->storm, counter->link);
}

Counter *
counter_open(Storm *storm)
{
	Counter    *counter = get_memory(sizeof(Counter));
	LinkOwner	owner = {counter, counter_ready, counter_answered, counter_lost, NULL};

	counter->storm = storm;
	counter->link = link_open(storm->options->direct, "crowd counter", &owner);
	return counter;
}

void
counter_close(Counter *counter)
{
	link_close(counter->link);
	free(counter);
}

Link *
counter_link(const Counter *counter)
{
	return counter->link;
}

int64_t
counter_go_on(Counter *counter, int64_t now)
{
	if (!link_is_ready(counter->link))
		return NEVER;
	if (now < counter->next)
		return counter->next;
	counter->asked_at = link_ask(counter->link,
								 "SELECT q.name, count(*) FILTER (WHERE s.status IN ('ready', 'serving')),"
								 " count(*) - count(DISTINCT s.user_id)"
								 " FROM vqueue.user_sessions s JOIN vqueue.queues q ON q.id = s.queue_id"
								 " WHERE s.left_at IS NULL GROUP BY q.name", 0, NULL);
	return NEVER;
}

/* ---- the hearer ---- */

struct Hearer
{
	Storm	   *storm;
	Link	   *link;
	int64_t		next;			/* steady time */
	bool		listening;
	int64_t		asked_at;
	int64_t		sure_until;		/* everything sent before has arrived */
	int64_t		events;
};

static void
hearer_ready(void *owner)
{
	Hearer	   *hearer = owner;

	hearer->asked_at = link_ask(hearer->link, "LISTEN vqueue", 0, NULL);
}

static void
hearer_answered(void *owner, const PGresult *result, int64_t at)
{
	Hearer	   *hearer = owner;
	ExecStatusType status = PQresultStatus(result);

	hearer->next = steady_time() + ASK_INTERVAL;
	if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
		storm_refused(hearer->storm, PQresultErrorField(result, PG_DIAG_SQLSTATE),
					  PQresultErrorMessage(result), VERBS);
	else if (hearer->listening)
		hearer->sure_until = hearer->asked_at;
	else
	{
		spans_add(&hearer->storm->book->away, hearer->sure_until, at);
		hearer->sure_until = at;
		hearer->listening = true;
	}
}

static void
hearer_lost(void *owner, int64_t at)
{
	Hearer	   *hearer = owner;

	(void) at;
	hearer->listening = false;
	loss(hearer->storm, hearer->link);
}

static void
hearer_notified(void *owner, const PGnotify *notify, int64_t at)
{
	Hearer	   *hearer = owner;
	Event		event;
	const char *expected;

	hearer->events++;
	if (event_parse(notify->extra, &event, &expected))
		book_heard(hearer->storm->book, &event, at);
	else
		hearer->storm->book->malformed++;
}

Hearer *
hearer_open(Storm *storm)
{
	Hearer	   *hearer = get_memory(sizeof(Hearer));
	LinkOwner	owner = {hearer, hearer_ready, hearer_answered, hearer_lost, hearer_notified};

	hearer->storm = storm;
	hearer->link = link_open(storm->options->direct, "crowd hearer", &owner);
	return hearer;
}

void
hearer_close(Hearer *hearer)
{
	if (!hearer->listening)
		spans_add(&hearer->storm->book->away, hearer->sure_until, NEVER);
	link_close(hearer->link);
	free(hearer);
}

Link *
hearer_link(const Hearer *hearer)
{
	return hearer->link;
}

int64_t
hearer_go_on(Hearer *hearer, int64_t now)
{
	if (!link_is_ready(hearer->link))
		return NEVER;
	if (now < hearer->next)
		return hearer->next;
	hearer->asked_at = link_ask(hearer->link, hearer->listening ? "SELECT 1" : "LISTEN vqueue", 0, NULL);
	return NEVER;
}

bool
hearer_listens(const Hearer *hearer)
{
	return hearer->listening;
}

int64_t
hearer_heard(const Hearer *hearer)
{
	return hearer->events;
}
