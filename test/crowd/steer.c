/*
 * steer.c
 *		The operator of a storm: changes settings, one after the other, and notes
 *		which may have been in force when.
 *
 * What would stop a queue, a pause or another method, is undone with the next change.
 * A queue is closed by the clock in steer_clock.c.
 */
#include "steer_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checks.h"

Setting
steer_beginning(const StormOptions *options, Kind kind)
{
	Setting		setting = {.rate = options->rate,.cap = options->cap,.open = kind != DRAWN,.random = kind == RANDOM};
	static const int weights[LANES] = {8, 4, 2, 1};

	setting.burst = default_burst(options->rate);
	if (kind == CALLING || kind == CLOCKED || kind == RANDOM)
	{
		setting.waiting_timeout = 3 * SECOND;
		setting.serving_timeout = 2 * SECOND;
		setting.claim_timeout = SECOND;
	}
	for (int lane = 0; lane < LANES && kind == WEIGHTED; lane++)
		setting.weights[lane] = weights[lane];
	return setting;
}

static void
ready(void *owner)
{
	Steer	   *steer = owner;

	steer->next = steady_time();
}

/* The statements of a change that is rolled back. */
enum
{
	BEGUN, MADE, UNDONE
};

static void
over(Steer *steer, Outcome outcome, int64_t at)
{
	settings_over(steer->changing, steer->change, outcome, at);
	if (outcome == COMMITTED)
		steer->changes++;
	if (steer->undoing && outcome == COMMITTED)
		steer->changed_queue = -1;
	steer->changing = NULL;
	steer->in_rollback = false;
	steer->next = steady_time() + random_between(&steer->random, 100000, 900000);
}

static void
answered(void *owner, const PGresult *result, int64_t at)
{
	Steer	   *steer = owner;
	ExecStatusType status = PQresultStatus(result);
	bool		good = status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;

	if (!good)
		storm_refused(steer->storm, PQresultErrorField(result, PG_DIAG_SQLSTATE),
					  PQresultErrorMessage(result), VERBS);
	if (steer->clock.asking)
		clock_answered(steer, good ? result : NULL, at);
	else if (!steer->in_rollback)
		over(steer, good ? COMMITTED : ROLLED_BACK, at);
	else if (steer->stage == UNDONE)
		over(steer, ROLLED_BACK, at);
	else
	{
		(void) link_ask(steer->link, steer->stage == BEGUN ? steer->sql : "ROLLBACK", 0, NULL);
		steer->stage++;
	}
}

static void
lost(void *owner, int64_t at)
{
	Steer	   *steer = owner;

	steer->storm->losses++;
	if (!steer->storm->options->faults)
		storm_refused(steer->storm, "08006", link_complaint(steer->link), VERBS);
	if (steer->clock.asking)
		clock_lost(steer);
	else if (steer->changing != NULL)
		over(steer, steer->in_rollback ? ROLLED_BACK : UNKNOWN, at);
}

Steer *
steer_open(Storm *storm)
{
	Steer	   *steer = get_memory(sizeof(Steer));
	LinkOwner	owner = {steer, ready, answered, lost, NULL};

	steer->storm = storm;
	steer->random = random_start(storm->options->seed * 1000 + 999);
	steer->changed_queue = -1;
	steer->clock.queue = -1;
	steer->link = link_open(NULL, storm->name, &owner);
	return steer;
}

void
steer_close(Steer *steer)
{
	link_close(steer->link);
	free(steer);
}

Link *
steer_link(const Steer *steer)
{
	return steer->link;
}

bool
steer_is_idle(const Steer *steer)
{
	return steer->changing == NULL && steer->changed_queue < 0 && steer->clock.queue < 0;
}

int64_t
steer_changes(const Steer *steer)
{
	return steer->changes;
}

/* ---- changing ---- */

static void
begin_change(Steer *steer, Settings *settings, const Setting *setting)
{
	steer->changing = settings;
	steer->change = settings_asked(settings, setting, wall_time());
	steer->in_rollback = !steer->undoing && random_chance(&steer->random, 0.15);
	steer->stage = BEGUN;
	(void) link_ask(steer->link, steer->in_rollback ? "BEGIN" : steer->sql, 0, NULL);
}

static void
change_limits(Steer *steer, BookQueue *queue)
{
	const StormOptions *options = steer->storm->options;
	static const int bursts[] = {0, 0, 1, 5, 20};
	int			burst = bursts[random_between(&steer->random, 0, 4)];
	Setting		setting = {0};

	setting.rate = options->rate * random_between(&steer->random, 5, 20) / 10;
	setting.cap = options->cap * random_between(&steer->random, 5, 15) / 10;
	setting.rate = setting.rate > 0 ? setting.rate : 1;
	setting.cap = setting.cap > 0 ? setting.cap : 1;
	setting.burst = burst > 0 ? burst : default_burst(setting.rate);
	snprintf(steer->sql, sizeof(steer->sql), "SELECT vqueue.alter_queue('%s', %lld, %lld, burst => %d)",
			 queue->name, (long long) setting.rate, (long long) setting.cap, burst);
	begin_change(steer, &queue->limits, &setting);
}

static void
change_state(Steer *steer, BookQueue *queue, bool open)
{
	Setting		setting = {.open = open};

	snprintf(steer->sql, sizeof(steer->sql), "SELECT vqueue.%s('%s')", open ? "resume" : "pause",
			 queue->name);
	begin_change(steer, &queue->states, &setting);
}

static void
change_method(Steer *steer, BookQueue *queue, const char *method)
{
	Setting		setting = {.passes = strcmp(method, "passthrough") == 0,.shut = strcmp(method, "reject") == 0,
	.random = strcmp(method, "random") == 0};

	snprintf(steer->sql, sizeof(steer->sql), "SELECT vqueue.alter_queue('%s', method => '%s')", queue->name, method);
	begin_change(steer, &queue->methods, &setting);
}

/* A fifth of the time it goes back to strict priority. */
static void
change_weights(Steer *steer, BookQueue *queue)
{
	Setting		setting = {0};

	if (random_chance(&steer->random, 0.2))
		snprintf(steer->sql, sizeof(steer->sql), "SELECT vqueue.alter_queue('%s', lane_weights => '{}')", queue->name);
	else
	{
		for (int lane = 0; lane < LANES; lane++)
			setting.weights[lane] = random_between(&steer->random, 1, random_chance(&steer->random, 0.3) ? 30 : 5);
		snprintf(steer->sql, sizeof(steer->sql), "SELECT vqueue.alter_queue('%s', lane_weights => '{%d,%d,%d,%d}')",
				 queue->name, setting.weights[0], setting.weights[1], setting.weights[2], setting.weights[3]);
	}
	begin_change(steer, &queue->turns, &setting);
}

/* A few seconds, or, now and then, for ever. */
static int64_t
some_timeout(Steer *steer, int64_t most)
{
	return random_chance(&steer->random, 0.15) ? 0 : random_between(&steer->random, 2, most) * SECOND / 2;
}

static void
change_graces(Steer *steer, BookQueue *queue)
{
	Setting		setting = {0};

	setting.waiting_timeout = some_timeout(steer, 8);
	setting.serving_timeout = some_timeout(steer, 6);
	setting.claim_timeout = some_timeout(steer, 4);
	snprintf(steer->sql, sizeof(steer->sql), "SELECT vqueue.alter_queue('%s', waiting_timeout => '%lld us',"
			 " serving_timeout => '%lld us', claim_timeout => '%lld us')", queue->name,
			 (long long) setting.waiting_timeout, (long long) setting.serving_timeout,
			 (long long) setting.claim_timeout);
	begin_change(steer, &queue->graces, &setting);
}

static void
undo_change(Steer *steer)
{
	BookQueue  *queue = &steer->storm->book->queues[steer->changed_queue];

	if (steer->changed_method)
		change_method(steer, queue, storm_kind(steer->storm->options, steer->changed_queue) == RANDOM ? "random" : "fifo");
	else
		change_state(steer, queue, true);
}

/* What is changed of a queue, by its kind: of a hundred times so many. */
typedef struct Habit
{
	int			pause;
	int			graces;
	int			weights;
	int			method;
	int			clock;			/* else limits */
} Habit;

static const Habit habits[KINDS] = {
	[PLAIN] = {25, 0, 0, 0, 0},
	[CALLING] = {15, 40, 0, 0, 0},
	[WEIGHTED] = {15, 0, 40, 0, 0},
	[CLOCKED] = {10, 15, 0, 40, 20},
	[RANDOM] = {15, 20, 0, 25, 0},
	[DRAWN] = {20, 35, 0, 0, 0}
};

static const char *
other_method(Steer *steer, int number)
{
	if (storm_kind(steer->storm->options, number) == RANDOM)
		return "fifo";
	return random_chance(&steer->random, 0.5) ? "passthrough" : "reject";
}

static void
change_something(Steer *steer, int number)
{
	BookQueue  *queue = &steer->storm->book->queues[number];
	const Habit *habit = &habits[storm_kind(steer->storm->options, number)];
	int			r = random_between(&steer->random, 0, 99);

	if (r < habit->pause)
	{
		steer->changed_queue = number;
		steer->changed_method = false;
		change_state(steer, queue, false);
	}
	else if ((r -= habit->pause) < habit->graces)
		change_graces(steer, queue);
	else if ((r -= habit->graces) < habit->weights)
		change_weights(steer, queue);
	else if ((r -= habit->weights) < habit->method)
	{
		steer->changed_queue = number;
		steer->changed_method = true;
		change_method(steer, queue, other_method(steer, number));
	}
	else if ((r -= habit->method) < habit->clock)
		clock_begin(steer, number);
	else
		change_limits(steer, queue);
}

int64_t
steer_go_on(Steer *steer, int64_t now)
{
	int			queue = random_between(&steer->random, 0, steer->storm->book->n_queues - 1);

	if (steer->changing != NULL || steer->clock.asking || !link_is_ready(steer->link))
		return NEVER;
	if (now < steer->next)
		return steer->next;
	if (steer_is_idle(steer) && (steer->storm->holding || !steer->storm->options->settings))
		return NEVER;
	steer->undoing = steer->changed_queue >= 0;
	if (steer->clock.queue >= 0)
		clock_go_on(steer);
	else if (steer->undoing)
		undo_change(steer);
	else
		change_something(steer, queue);
	return NEVER;
}
