/*
 * round.c
 *		One round of the worker: visits of the queues that are due.
 *
 * They share a transaction; if that fails, the sick one is backed off, and each of
 * the others gets its own.
 */
#include "postgres.h"

#include "chore.h"
#include "diary.h"
#include "event.h"
#include "guc.h"
#include "miscadmin.h"
#include "relation.h"
#include "round.h"
#include "roster.h"
#include "storage/lwlock.h"
#include "utils/memutils.h"
#include "visit.h"
#include "work.h"

/* Queues that one transaction visits at the most. */
#define MAX_VISITS 100

/*
 * While other queues are due or will be so soon (microseconds), a round lets in and
 * announces no more than so many in all, and at least so many of each queue.
 */
#define SOON	INT64CONST(1000000)
#define ROUND_SHARE 500
#define LEAST_SHARE 5

/* When the tables are locked by somebody (microseconds). */
#define RETRY_DELAY	INT64CONST(50000)

/* When to report that they are. */
#define LOCKED_PATIENCE INT64CONST(1000000)

static MemoryContext round_context = NULL;
static int64 locked_since = 0;	/* mono time since when the tables are locked, 0 if they are not */
static bool locked_told;

typedef enum RoundEnd
{
	ROUND_DONE,
	ROUND_LOCKED,				/* others have locked the tables */
	ROUND_STALE,				/* somebody's commit has made memory stale in the middle */
	ROUND_FAILED
} RoundEnd;

/*
 * Make the visits in one transaction.  If it failed, with the message, and with
 * the visit that failed, or -1 if it cannot be said which.
 */
static RoundEnd
try_visits(VqVisit *visits, int n, int *failed, char **message)
{
	MemoryContext old = CurrentMemoryContext;
	volatile RoundEnd end = ROUND_DONE;
	volatile int at = -1;

	*failed = -1;
	PG_TRY();
	{
		vq_begin_work("visiting queues");
		MemoryContextSwitchTo(round_context);
		vq_begin_events();
		if (vq_installed() && vq_lock_tables())
		{
			for (int i = 0; i < n; i++)
			{
				at = i;
				vq_make_visit(&visits[i]);
			}
			at = -1;			/* what follows is done for all */
			vq_log_events();
		}
		else
			end = ROUND_LOCKED;
		vq_end_work();
	}
	PG_CATCH();
	{
		int			code;

		*message = vq_abort_work(round_context, &code);
		end = pg_atomic_read_u32(&vq_database()->line_state) != VQ_READY ? ROUND_STALE : ROUND_FAILED;

		/* Whoever cancels the worker does not mean the queue it is at. */
		if (code != ERRCODE_QUERY_CANCELED)
			*failed = at;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	return end;
}

/* Report a failing queue: the first time, and whenever the failures have doubled. */
static void
report_failure(VqVisit *visit, const char *message)
{
	int			failures = visit->queue->failures;

	if ((failures & (failures - 1)) == 0)
		ereport(LOG,
				(errmsg("vqueue: queue \"%s\" could not be moved: %s",
						visit->queue->settings.name, message),
				 errdetail("It has failed %d times in a row and is tried again later.", failures),
				 errhint("See last_error in vqueue.overview.")));
}

/* Report, once, that tables stay locked: nobody is let in meanwhile. */
static void
report_lock(bool locked)
{
	int64		now = vq_now().mono;

	if (!locked || locked_since == 0)
	{
		locked_since = locked ? now : 0;
		locked_told = false;
	}
	else if (!locked_told && now - locked_since >= LOCKED_PATIENCE)
	{
		locked_told = true;
		ereport(LOG,
				(errmsg("vqueue: nobody can be let in while tables of vqueue are locked"),
				 errdetail("Another transaction has them locked for more than a second; it is tried again all the time."),
				 errhint("See the check \"worker\" in vqueue.health().")));
	}
}

/* Visit the queues, all together or else, but for the one that failed, one by one. */
static void
make_visits(VqVisit *visits, int n)
{
	int			failed;
	char	   *message = NULL;
	RoundEnd	end = try_visits(visits, n, &failed, &message);

	if (end != ROUND_FAILED)
	{
		report_lock(end == ROUND_LOCKED);
		for (int i = 0; i < n; i++)
		{
			if (end != ROUND_DONE)
				vq_undo_visit(&visits[i]);
			vq_note_due(visits[i].queue, end == ROUND_DONE ? vq_end_visit(&visits[i]) :
					vq_now().mono + RETRY_DELAY);
			if (visits[i].purge)
				vq_add_chore(visits[i].queue, &visits[i].id);
		}
		return;
	}
	for (int i = 0; i < n; i++)
		vq_undo_visit(&visits[i]);
	if (n == 1)
		failed = 0;
	if (failed >= 0)
	{
		vq_note_due(visits[failed].queue, vq_fail_visit(&visits[failed], message));
		report_failure(&visits[failed], message);
	}
	for (int i = 0; i < n; i++)
	{
		VqVisit		again;

		if (i == failed)
			continue;
		CHECK_FOR_INTERRUPTS();
		if (vq_begin_visit(&again, visits[i].queue))
		{
			again.share = visits[i].share;
			make_visits(&again, 1);
		}
	}
}

/*
 * What each of n visits may do: all that one transaction should hold, unless that
 * would keep others waiting.
 */
static int
share_of(int n, int64 now)
{
	if (n <= 1 && !vq_any_in_turn() && vq_first_due() > now + SOON)
		return vq_release_batch;
	return Min(vq_release_batch, Max(ROUND_SHARE / Max(n, 1), LEAST_SHARE));
}

/*
 * A queue that has failed before may fail again, after a wait for a lock: it is visited
 * alone, when the well ones have been, and only one such a round.
 */
bool
vq_make_round(void)
{
	VqVisit    *visits;
	VqQueue    *sick = NULL;
	VqQueue    *queue;
	int64		now = vq_now().mono;
	bool		any;
	int			share;
	int			n = 0;

	if (round_context == NULL)
		round_context = AllocSetContextCreate(TopMemoryContext, "vqueue round", ALLOCSET_DEFAULT_SIZES);
	visits = MemoryContextAlloc(round_context, (MAX_VISITS + 1) * sizeof(VqVisit));
	vq_begin_turns(now);
	any = vq_any_in_turn();
	while (n < MAX_VISITS && (queue = vq_next_in_turn()) != NULL)
	{
		if (queue->failures > 0 && sick != NULL)
			vq_note_due(queue, now + 1);
		else if (queue->failures > 0)
			sick = queue;
		else if (vq_begin_visit(&visits[n], queue))
			n++;
		else
			vq_strike_queue(queue);
	}
	share = share_of(n + (sick != NULL), now);
	for (int i = 0; i < n; i++)
		visits[i].share = share;
	if (n > 0)
		make_visits(visits, n);
	if (sick != NULL)
	{
		if (vq_begin_visit(&visits[n], sick))
		{
			visits[n].share = share;
			make_visits(&visits[n], 1);
		}
		else
			vq_strike_queue(sick);
	}
	MemoryContextReset(round_context);
	return any;
}
