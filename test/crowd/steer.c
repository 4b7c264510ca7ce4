/*
 * steer.c
 *		The operator of a storm: changes settings, one after the other, and notes
 *		which may have been in force when.
 */
#include "steer.h"

#include <stdio.h>
#include <stdlib.h>

#include "checks.h"

struct Steer
{
	Storm	   *storm;
	Link	   *link;
	Random		random;
	int64_t		next;			/* steady time */
	Settings   *changing;		/* what the change under way is noted in, or NULL */
	int			change;
	bool		in_rollback;	/* the change is made in a transaction that is rolled back */
	int			stage;
	char		sql[300];
	int			paused;			/* a queue that is to be resumed, or -1 */
	bool		resuming;
	int64_t		changes;
};

Setting
steer_beginning(const StormOptions *options)
{
	Setting		setting = {.rate = options->rate,.cap = options->cap,.open = true};

	setting.burst = default_burst(options->rate);
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
	if (steer->resuming && outcome == COMMITTED)
		steer->paused = -1;
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
	if (!steer->in_rollback)
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
	if (steer->changing != NULL)
		over(steer, steer->in_rollback ? ROLLED_BACK : UNKNOWN, at);
}

Steer *
steer_open(Storm *storm)
{
	Steer	   *steer = get_memory(sizeof(Steer));
	LinkOwner	owner = {steer, ready, answered, lost, NULL};

	steer->storm = storm;
	steer->random = random_start(storm->options->seed * 1000 + 999);
	steer->paused = -1;
	steer->link = link_open(storm->name, &owner);
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
	return steer->changing == NULL && steer->paused < 0;
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
	steer->in_rollback = !steer->resuming && random_chance(&steer->random, 0.15);
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

int64_t
steer_go_on(Steer *steer, int64_t now)
{
	Book	   *book = steer->storm->book;
	int			queue = random_between(&steer->random, 0, book->n_queues - 1);

	if (steer->changing != NULL || !link_is_ready(steer->link))
		return NEVER;
	if (now < steer->next)
		return steer->next;
	if (steer->paused < 0 && (steer->storm->holding || !steer->storm->options->settings))
		return NEVER;
	steer->resuming = steer->paused >= 0;
	if (steer->resuming)
		change_state(steer, &book->queues[steer->paused], true);
	else if (random_chance(&steer->random, 0.25))
	{
		steer->paused = queue;
		change_state(steer, &book->queues[queue], false);
	}
	else
		change_limits(steer, &book->queues[queue]);
	return NEVER;
}
