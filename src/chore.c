/*
 * chore.c
 *		What the worker does that nobody waits for, between its visits.
 */
#include "postgres.h"

#include "audit.h"
#include "canary.h"
#include "chore.h"
#include "client.h"
#include "miscadmin.h"
#include "purge.h"
#include "stats.h"
#include "table.h"
#include "trim.h"
#include "utils/memutils.h"
#include "work.h"

/* After a step, rest for so many times as long as it took. */
#define REST 9

/* When the tables are locked by somebody (microseconds). */
#define LOCKED_DELAY INT64CONST(1000000)

/* After a failure: the first wait, doubled each time, up to the longest (microseconds). */
#define FIRST_BACKOFF INT64CONST(1000000)
#define LONGEST_BACKOFF INT64CONST(3600000000)

typedef enum Kind
{
	PURGE,						/* sessions of a queue */
	TRIM_EVENTS,
	TRIM_STATS,
	TRIM_AUDIT,
	TRIM_CLIENTS,
	WATCH,						/* settings on trial */
	COUNT
} Kind;

static const char *const failures_of[] = {
	"sessions could not be deleted",
	"old events could not be deleted",
	"old statistics could not be deleted",
	"old entries of the audit log could not be deleted",
	"old joins of clients could not be deleted",
	"settings on trial could not be looked after",
	"statistics could not be written"
};

typedef struct Chore
{
	Kind		kind;
	VqQueue    *queue;			/* of PURGE */
	pg_uuid_t	id;
	int			failures;		/* in a row */
	int64		at;				/* mono time */
} Chore;

static List *chores = NIL;		/* the one to be done first is first */
static int64 rested_at = 0;		/* mono time */

/* ---- the list ---- */

/* Do it at that time, when others that are due have had their turn. */
static void
put_back(Chore *chore, int64 at)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	chore->at = at;
	chores = lappend(chores, chore);
	MemoryContextSwitchTo(old);
}

static Chore *
add_chore(Kind kind)
{
	Chore	   *chore = MemoryContextAllocZero(TopMemoryContext, sizeof(Chore));

	chore->kind = kind;
	put_back(chore, 0);
	return chore;
}

void
vq_add_chore(VqQueue *queue, const pg_uuid_t *id)
{
	Chore	   *chore = add_chore(PURGE);

	chore->queue = queue;
	chore->id = *id;
}

void
vq_begin_chores(void)
{
	list_free_deep(chores);
	chores = NIL;
	vq_count_failed();			/* the queues that it goes by may be others now */
	for (Kind kind = TRIM_EVENTS; kind <= COUNT; kind++)
		(void) add_chore(kind);
}

void
vq_hasten_counting(void)
{
	ListCell   *cell;

	foreach(cell, chores)
	{
		Chore	   *chore = lfirst(cell);

		if (chore->kind == COUNT)
			chore->at = 0;
	}
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

/* ---- a step ---- */

static void
report_failure(Chore *chore, const char *message)
{
	int			failures = ++chore->failures;

	if ((failures & (failures - 1)) != 0)
		return;
	ereport(LOG,
			(errmsg("vqueue: %s: %s", failures_of[chore->kind], message),
			 chore->kind == PURGE ? errdetail("This is about queue \"%s\". It has failed %d times in a row and is tried again later.",
											  vq_uuid_text(&chore->id), failures) :
			 errdetail("It has failed %d times in a row and is tried again later.", failures),
			 chore->kind == PURGE ?
			 errhint("A foreign key or trigger of another table may keep them; or set session_retention to 0.") : 0));
}

static const char *
activity_of(Kind kind)
{
	return kind == COUNT ? "writing statistics" : kind == WATCH ? "looking after settings on trial" : "deleting old rows";
}

static int64
do_step(VqDatabase *db, Chore *chore)
{
	switch (chore->kind)
	{
		case PURGE:
			return vq_purge(chore->queue, &chore->id);
		case TRIM_EVENTS:
			return vq_trim_events();
		case TRIM_STATS:
			return vq_trim_stats();
		case TRIM_AUDIT:
			return vq_trim_audit();
		case TRIM_CLIENTS:
			return vq_trim_clients();
		case WATCH:
			return vq_watch_canaries();
		default:
			return vq_count_step(db);
	}
}

/* In a transaction; returns when to go on, 0 for at once and -1 where it could not be done. */
static int64
make_step(VqDatabase *db, Chore *chore)
{
	MemoryContext old = CurrentMemoryContext;
	volatile int64 next = -1;

	PG_TRY();
	{
		vq_begin_work(activity_of(chore->kind));
		if (vq_installed() && vq_lock_tables())
			next = do_step(db, chore);
		vq_end_work();
		if (chore->kind == COUNT && next >= 0)
			vq_count_done();
		chore->failures = 0;
	}
	PG_CATCH();
	{
		int			code;
		char	   *message = vq_abort_work(old, &code);

		if (chore->kind == COUNT)
			vq_count_failed();
		report_failure(chore, message);
		next = -1;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	return next;
}

static bool
is_there(Chore *chore)
{
	bool		same;

	if (chore->queue == NULL)
		return true;
	LWLockAcquire(&chore->queue->lock, LW_SHARED);
	same = vq_is_queue(chore->queue, &chore->id);
	LWLockRelease(&chore->queue->lock);
	return same;
}

VqQueue *
vq_do_chore(VqDatabase *db)
{
	Chore	   *chore = take_chore();
	int64		began = vq_now().mono;
	VqQueue    *queue;
	int64		next;
	int64		now;

	if (chore == NULL)
		return NULL;
	queue = chore->queue;
	if (!is_there(chore))
	{
		pfree(chore);
		return NULL;
	}
	next = make_step(db, chore);
	now = vq_now().mono;
	rested_at = now + REST * (now - began);
	if (next >= 0 && queue != NULL)
		vq_purged(queue, next == 0 ? VQ_NEVER : next);
	if (next < 0)
		next = now + (chore->failures == 0 ? LOCKED_DELAY :
					  Min(FIRST_BACKOFF << Min(chore->failures - 1, 20), LONGEST_BACKOFF));
	else if (next > 0 && queue != NULL)
	{
		pfree(chore);			/* the queue's visit brings it back when it is due */
		return queue;
	}
	put_back(chore, next);
	return NULL;
}
