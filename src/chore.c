/*
 * chore.c
 *		What the worker does that nobody waits for, between its visits.
 */
#include "postgres.h"

#include "chore.h"
#include "miscadmin.h"
#include "purge.h"
#include "table.h"
#include "utils/memutils.h"
#include "work.h"

/* After a step, rest for so many times as long as it took. */
#define REST 9

/* When the tables are locked by somebody (microseconds). */
#define LOCKED_DELAY INT64CONST(1000000)

/* After a failure: the first wait, doubled each time, up to the longest (microseconds). */
#define FIRST_BACKOFF INT64CONST(1000000)
#define LONGEST_BACKOFF INT64CONST(3600000000)

/* A queue with sessions to purge. */
typedef struct Chore
{
	VqQueue    *queue;
	pg_uuid_t	id;
	int			failures;		/* in a row */
	int64		at;				/* mono time */
} Chore;

static List *chores = NIL;		/* the one to be done first is first */
static int64 rested_at = 0;		/* mono time */

void
vq_add_chore(VqQueue *queue, const pg_uuid_t *id)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	Chore	   *chore = palloc0(sizeof(Chore));

	chore->queue = queue;
	chore->id = *id;
	chores = lappend(chores, chore);
	MemoryContextSwitchTo(old);
}

void
vq_forget_chores(void)
{
	list_free_deep(chores);
	chores = NIL;
}

int64
vq_chore_due(void)
{
	int64		due = VQ_NEVER;
	ListCell   *cell;

	foreach(cell, chores)
	{
		due = Min(due, ((Chore *) lfirst(cell))->at);
		if (due == 0)
			break;
	}
	return due == VQ_NEVER ? due : Max(due, rested_at);
}

static Chore *
take_chore(void)
{
	int64		now = vq_now().mono;
	ListCell   *cell;

	foreach(cell, chores)
	{
		Chore	   *chore = lfirst(cell);

		if (chore->at <= now)
		{
			chores = foreach_delete_current(chores, cell);
			return chore;
		}
	}
	return NULL;
}

/* Do it later again, when others have had their turn. */
static void
put_back(Chore *chore, int64 at)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	chore->at = at;
	chores = lappend(chores, chore);
	MemoryContextSwitchTo(old);
}

static void
report_failure(Chore *chore, const char *message)
{
	int			failures = ++chore->failures;

	if ((failures & (failures - 1)) == 0)
		ereport(LOG,
				(errmsg("vqueue: sessions of queue \"%s\" could not be deleted: %s",
						vq_uuid_text(&chore->id), message),
				 errdetail("It has failed %d times in a row and is tried again later.", failures),
				 errhint("A foreign key or trigger of another table may keep them, or set session_retention to 0.")));
}

/* Returns when to look again, 0 for at once and -1 where the tables were locked. */
static int64
purge(Chore *chore)
{
	MemoryContext old = CurrentMemoryContext;
	volatile int64 next = -1;

	PG_TRY();
	{
		vq_begin_work("deleting sessions");
		if (vq_installed() && vq_lock_tables())
			next = vq_purge(chore->queue, &chore->id);
		vq_end_work();
		chore->failures = 0;
	}
	PG_CATCH();
	{
		int			code;
		char	   *message = vq_abort_work(old, &code);

		report_failure(chore, message);
		next = -1;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	return next;
}

VqQueue *
vq_do_chore(void)
{
	Chore	   *chore = take_chore();
	int64		began = vq_now().mono;
	VqQueue    *queue;
	bool		same;
	int64		next;
	int64		now;

	if (chore == NULL)
		return NULL;
	queue = chore->queue;
	LWLockAcquire(&queue->lock, LW_SHARED);
	same = vq_is_queue(queue, &chore->id);
	LWLockRelease(&queue->lock);
	next = same ? purge(chore) : VQ_NEVER;
	now = vq_now().mono;
	rested_at = now + REST * (now - began);
	if (next >= 0 && same)
		vq_purged(queue, next == 0 ? VQ_NEVER : next);
	if (next == 0)
		put_back(chore, 0);
	else if (next < 0)
		put_back(chore, now + (chore->failures == 0 ? LOCKED_DELAY :
							   Min(FIRST_BACKOFF << Min(chore->failures - 1, 20), LONGEST_BACKOFF)));
	else
		pfree(chore);
	return next > 0 && same ? queue : NULL;
}
