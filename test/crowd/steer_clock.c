/*
 * steer_clock.c
 *		The operator of a storm has a queue close by the clock, let people join again,
 *		and open: and looks when it does.
 *
 * What the clock is to change may be in force from its moment on, and what was in
 * force before may be until the change was seen.  Whatever goes wrong, the queue is
 * opened by hand in the end.
 */
#include "steer_inside.h"

#include <stdio.h>

/* Between looks, and how long it is looked for. */
#define LOOK_INTERVAL	(SECOND / 30)
#define LOOK_PATIENCE	(20 * SECOND)

enum
{
	CLOSE, AWAIT_CLOSED, PREPARE, AWAIT_OPEN, OPEN_BY_HAND
};

static BookQueue *
queue_of(const Steer *steer)
{
	return &steer->storm->book->queues[steer->clock.queue];
}

static void
ask(Steer *steer)
{
	steer->clock.asking = true;
	steer->clock.asked_at = link_ask(steer->link, steer->sql, 0, NULL);
}

/* Note a change that is to come. */
static void
add_moment(Steer *steer, int64_t at, bool open, bool shut)
{
	Clock	   *clock = &steer->clock;
	BookQueue  *queue = queue_of(steer);
	Setting		setting = {.open = open,.shut = shut};

	clock->changes[clock->n] = settings_asked(&queue->states, &setting, at);
	queue->moments = grow(queue->moments, queue->n_moments, &queue->moments_room, sizeof(Moment));
	queue->moments[queue->n_moments] = (Moment) {at, 0, 0};
	clock->moments[clock->n++] = queue->n_moments++;
}

/* The moments of this stage do not count: refused, or nobody knows. */
static void
drop_moments(Steer *steer, Outcome outcome)
{
	Clock	   *clock = &steer->clock;

	for (int i = 0; i < clock->n; i++)
		settings_over(&queue_of(steer)->states, clock->changes[i], outcome, 0);
	queue_of(steer)->n_moments -= clock->n;
	clock->n = 0;
	clock->stage = OPEN_BY_HAND;
}

void
clock_begin(Steer *steer, int queue)
{
	steer->clock.queue = queue;
	steer->clock.stage = CLOSE;
	clock_go_on(steer);
}

static void
close_queue(Steer *steer)
{
	int64_t		at = wall_time() + random_between(&steer->random, 100000, 500000);

	add_moment(steer, at, false, true);
	snprintf(steer->sql, sizeof(steer->sql),
			 "SELECT vqueue.alter_queue('%s', closes_at => timestamptz 'epoch' + interval '%lld us')",
			 queue_of(steer)->name, (long long) at);
	ask(steer);
}

static void
prepare_queue(Steer *steer)
{
	int64_t		joins_at = wall_time() + random_between(&steer->random, 100000, 400000);
	int64_t		opens_at = joins_at + random_between(&steer->random, 100000, 500000);

	add_moment(steer, joins_at, false, false);
	add_moment(steer, opens_at, true, false);
	snprintf(steer->sql, sizeof(steer->sql),
			 "SELECT vqueue.alter_queue('%s', prequeue_at => timestamptz 'epoch' + interval '%lld us',"
			 " opens_at => timestamptz 'epoch' + interval '%lld us')",
			 queue_of(steer)->name, (long long) joins_at, (long long) opens_at);
	ask(steer);
}

static void
open_by_hand(Steer *steer)
{
	Setting		setting = {.open = true};

	steer->clock.changes[0] = settings_asked(&queue_of(steer)->states, &setting, wall_time());
	snprintf(steer->sql, sizeof(steer->sql),
			 "SELECT vqueue.alter_queue('%s', prequeue_at => 'infinity', opens_at => 'infinity',"
			 " closes_at => 'infinity'), vqueue.open('%s')", queue_of(steer)->name, queue_of(steer)->name);
	ask(steer);
}

static void
look(Steer *steer)
{
	snprintf(steer->sql, sizeof(steer->sql),
			 "SELECT (closes_at IS NOT NULL)::int + (prequeue_at IS NOT NULL)::int + (opens_at IS NOT NULL)::int,"
			 " " MICROSECONDS("updated_at") " FROM vqueue.queues WHERE name = '%s'", queue_of(steer)->name);
	ask(steer);
}

void
clock_go_on(Steer *steer)
{
	if (steer->clock.stage == CLOSE)
		close_queue(steer);
	else if (steer->clock.stage == PREPARE)
		prepare_queue(steer);
	else if (steer->clock.stage == OPEN_BY_HAND)
		open_by_hand(steer);
	else
		look(steer);
}

/* So many changes are still to come: those that are not any more were seen to be made. */
static void
take_look(Steer *steer, const PGresult *result, int64_t at)
{
	Clock	   *clock = &steer->clock;
	BookQueue  *queue = queue_of(steer);
	int			rest = number_field(result, 0, 0, 0);
	int			done = clock->n - rest;

	for (int i = 0; i < clock->n; i++)
		queue->moments[clock->moments[i]].seen_at = i < done ? at : clock->asked_at;
	if (done > 0)
	{
		/* The row tells the time of the last one only. */
		queue->moments[clock->moments[done - 1]].done_at = number_field(result, 0, 1, 0);
		settings_over(&queue->states, clock->changes[done - 1], COMMITTED, at);
		steer->changes += done;
		for (int i = done; i < clock->n; i++)
		{
			clock->changes[i - done] = clock->changes[i];
			clock->moments[i - done] = clock->moments[i];
		}
		clock->n = rest;
	}
	if (rest > 0 && steady_time() > clock->give_up_at)
	{
		/* That it does not come is for the law to say. */
		clock->n = 0;
		clock->stage = OPEN_BY_HAND;
	}
	else if (rest == 0 && clock->stage == AWAIT_CLOSED)
		clock->stage = PREPARE;
	else if (rest == 0)
		clock->queue = -1;
}

void
clock_answered(Steer *steer, const PGresult *result, int64_t at)
{
	Clock	   *clock = &steer->clock;
	bool		unsure = link_is_unsure(steer->link);

	clock->asking = false;
	steer->next = steady_time() + LOOK_INTERVAL;
	switch (clock->stage)
	{
		case CLOSE:
		case PREPARE:
			clock->give_up_at = steady_time() + LOOK_PATIENCE;
			if (result == NULL || unsure)
				drop_moments(steer, result == NULL ? ROLLED_BACK : UNKNOWN);
			else
				clock->stage++;
			break;
		case OPEN_BY_HAND:
			settings_over(&queue_of(steer)->states, clock->changes[0],
						  result == NULL ? ROLLED_BACK : unsure ? UNKNOWN : COMMITTED, at);
			if (result != NULL && !unsure)
				clock->queue = -1;
			break;
		default:
			if (result != NULL && PQntuples(result) == 1)
				take_look(steer, result, at);
			break;
	}
}

void
clock_lost(Steer *steer)
{
	Clock	   *clock = &steer->clock;

	clock->asking = false;
	if (clock->stage == CLOSE || clock->stage == PREPARE)
		drop_moments(steer, UNKNOWN);
	/* Looks, and opening by hand, are done again. */
}
