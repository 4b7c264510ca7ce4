/*
 * visit.c
 *		What the worker does with one queue that is due.
 */
#include "postgres.h"

#include "clock.h"
#include "due.h"
#include "event.h"
#include "guc.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "outlook.h"
#include "place.h"
#include "purge.h"
#include "rank.h"
#include "recall.h"
#include "reaper.h"
#include "release.h"
#include "roster.h"
#include "statement.h"
#include "table.h"
#include "visit.h"

/* When to look again at rows that were locked (microseconds). */
#define LOCKED_DELAY	50000

/* Waits after failures: the first, doubled each time, up to the longest (microseconds). */
#define FIRST_BACKOFF	INT64CONST(100000)
#define LONGEST_BACKOFF	INT64CONST(60000000)

/* Sessions announced, and ended, in one visit at the most; and as many as that in any case. */
#define MAX_TOLD 10000
#define LEAST_TOLD 50

bool
vq_begin_visit(VqVisit *visit, VqQueue *queue)
{
	bool		here;
	bool		gone;

	memset(visit, 0, sizeof(*visit));
	visit->queue = queue;
	LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
	visit->id = queue->id;
	here = queue->dboid == MyDatabaseId;
	gone = queue->gone;
	queue->due = VQ_NEVER;		/* so that whoever calls during the visit is heard */
	visit->reap_at = queue->reap_at;
	queue->reap_at = VQ_NEVER;	/* and new settings as well */
	LWLockRelease(&queue->lock);
	if (here && gone)
		vq_forget_queue(queue);
	return here && !gone;
}

/* ---- releases ---- */

static void
visit_releases(VqVisit *visit, const VqSettings *settings)
{
	VqQueue    *queue = visit->queue;
	VqReleased *released;
	VqNow		now = vq_now();
	int64		due;
	bool		whole;

	/* While memory is being built nobody could be let in, which tells nothing of those who stand. */
	LWLockAcquire(&queue->lock, LW_SHARED);
	due = vq_release_due(queue, now);
	whole = vq_is_whole();
	LWLockRelease(&queue->lock);
	if (due > now.mono || !whole)
		return;
	visit->tried = true;
	visit->released = vq_release_step(queue, &visit->id, visit->share, false,
									  &released, &visit->passed);
	if (visit->released > 0)
		vq_tell_released(&visit->id, settings, released, visit->released);
	pfree(released);
}

/* ---- ceiling ---- */

static void
visit_ceiling(VqVisit *visit)
{
	VqQueue    *queue = visit->queue;
	int64		wanted = 0;

	LWLockAcquire(&queue->lock, LW_SHARED);
	if (vq_wants_ceiling(queue))
	{
		/* The faster they come, the further ahead: about a second's worth of joins. */
		int64		standing = vq_standing(queue);

		wanted = queue->next_ticket + VQ_CEILING_STEP + Min(standing / 8, 16 * VQ_CEILING_STEP);
		wanted = Min(wanted, VQ_MAX_TICKET);
	}
	LWLockRelease(&queue->lock);
	visit->ceiling_locked = wanted > 0 && !vq_write_ceiling(&visit->id, wanted);
}

/* ---- time ---- */

static void
visit_clock(VqVisit *visit, const VqSettings *settings)
{
	visit->clock_locked = !vq_move_by_clock(&visit->id, settings);
}

static void
visit_silent(VqVisit *visit, const VqSettings *settings)
{
	if (visit->reap_at <= vq_now().mono)
		visit->reap_at = vq_reap(visit->queue, &visit->id, settings, Max(visit->share, LEAST_TOLD));
}

/* ---- estimates ---- */

/* As often as "moved" is told, or if it is time to. */
static void
visit_outlook(VqVisit *visit)
{
	VqQueue    *queue = visit->queue;
	VqNow		now = vq_now();
	bool		wanted;

	LWLockAcquire(&queue->lock, LW_SHARED);
	wanted = vq_is_whole() &&
		(vq_outlook_due(queue) <= now.mono || queue->forecast.at == 0 ||
		 (queue->moved && now.mono >= queue->announced_at + VQ_MOVED_DELAY));
	LWLockRelease(&queue->lock);
	if (wanted)
		vq_look_out(queue);
}

/* ---- events ---- */

/*
 * Collect whom to tell of: those let in by joins and by hand, and those who have
 * ended.  Both at once, for of nobody the end is told before the release: whose
 * release is yet to be told after this has its end told later still.
 */
static void
collect_news(VqVisit *visit)
{
	VqQueue    *queue = visit->queue;
	int			most = Min(Max(visit->share, LEAST_TOLD), MAX_TOLD);
	int			released;
	int			ended;

	visit->told_until = vq_now().wall;
	LWLockAcquire(&queue->lock, LW_SHARED);
	released = Min(queue->line.count[VQ_RELEASED], most);
	ended = Min(queue->line.count[VQ_ENDED], most);
	LWLockRelease(&queue->lock);
	visit->told_all = released == 0 && ended == 0;
	if (visit->told_all)
		return;
	visit->told_released = palloc(Max(released, 1) * sizeof(int64));
	visit->told_ended = palloc(Max(ended, 1) * sizeof(int64));
	LWLockAcquire(&queue->lock, LW_SHARED);
	visit->n_told_released = released == 0 ? 0 :
		vq_line_collect(&queue->line, vq_arena(), VQ_RELEASED, 1, visit->told_released, released);
	if (ended > 0 && queue->line.count[VQ_RELEASED] == visit->n_told_released)
		visit->n_told_ended =
			vq_line_collect(&queue->line, vq_arena(), VQ_ENDED, 1, visit->told_ended, ended);
	visit->told_all = queue->line.count[VQ_RELEASED] == visit->n_told_released &&
		queue->line.count[VQ_ENDED] == visit->n_told_ended;
	LWLockRelease(&queue->lock);
}

/*
 * Announce those let in by joins and by hand.  Their rows are read by the
 * latest snapshot: that of our transaction may be older than their bits.
 */
static void
visit_released(VqVisit *visit, const VqSettings *settings)
{
	VqReleased *released;
	int			found = 0;
	int			n;

	n = visit->n_told_released;
	if (n == 0)
		return;
	released = palloc(n * sizeof(VqReleased));
	for (int i = 0; i < n; i++)
	{
		VqRow		row;

		if (!vq_fetch_ticket(&visit->id, visit->told_released[i], NULL, &row))
			continue;			/* deleted by hand */
		released[found].id = row.id;
		released[found].user_id = row.user_id;
		released[found].at = vq_let_in_at(&row);
		released[found++].ticket = row.ticket;
	}
	vq_tell_released(&visit->id, settings, released, found);
	pfree(released);
}

static void
visit_ended(VqVisit *visit, const VqSettings *settings)
{
	VqRow	   *rows;
	int			found = 0;
	int			n;

	n = visit->n_told_ended;
	if (n == 0)
		return;
	rows = palloc(n * sizeof(VqRow));
	for (int i = 0; i < n; i++)
		if (vq_fetch_ticket(&visit->id, visit->told_ended[i], NULL, &rows[found]) &&
			!vq_is_live(&rows[found]))
			found++;
	vq_tell_ended(&visit->id, settings, rows, found);
	pfree(rows);
}

static void
visit_figures(VqVisit *visit)
{
	VqQueue    *queue = visit->queue;
	VqSettings	settings;
	VqNow		now = vq_now();
	int64		waiting;
	int64		serving;
	int64		head;
	int			last_minute;

	LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
	settings = queue->settings;
	visit->told_state = queue->state_news;
	queue->state_news = false;
	visit->told_moved = queue->moved && vq_is_whole() && now.mono >= queue->announced_at + VQ_MOVED_DELAY;
	if (visit->told_moved)
	{
		queue->moved = false;
		queue->announced_at = now.mono;
	}
	waiting = vq_standing(queue) - visit->released; /* whose lane bits go at the commit */
	serving = queue->line.count[VQ_INSIDE];
	head = vq_head(queue);
	last_minute = vq_ring_sum(&queue->released, now, 60);
	LWLockRelease(&queue->lock);

	if (visit->told_state)
		vq_tell_state(&visit->id, &settings);
	if (visit->told_moved)
		vq_tell_moved(&visit->id, &settings, waiting, serving, head, last_minute);
}

/* ---- the visit ---- */

void
vq_make_visit(VqVisit *visit)
{
	VqQueue    *queue = visit->queue;
	VqSettings	settings;
	bool		recall;

	LWLockAcquire(&queue->lock, LW_SHARED);
	settings = queue->settings;
	recall = queue->recall_since != 0;
	LWLockRelease(&queue->lock);
	if (recall)
		vq_recall(queue, &visit->id);

	/* What was let in earlier is told earlier. */
	visit_ceiling(visit);
	visit_clock(visit, &settings);
	collect_news(visit);
	visit_released(visit, &settings);
	visit_releases(visit, &settings);
	visit_silent(visit, &settings);
	visit_ended(visit, &settings);
	visit_outlook(visit);
	visit_figures(visit);
}

static void
take_off(VqQueue *queue, VqKind kind, const int64 *tickets, int n)
{
	for (int i = 0; i < n; i++)
		vq_line_clear(&queue->line, vq_arena(), kind, tickets[i]);
}

int64
vq_end_visit(VqVisit *visit)
{
	VqQueue    *queue = visit->queue;
	bool		stuck = visit->tried && visit->released == 0;
	VqNow		now = vq_now();
	int64		due;

	LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
	take_off(queue, VQ_RELEASED, visit->told_released, visit->n_told_released);
	take_off(queue, VQ_ENDED, visit->told_ended, visit->n_told_ended);
	if (visit->told_all)
		queue->told_until = visit->told_until;
	(void) vq_trim(queue);

	/* Before its time only something else was done, for example tickets provided. */
	if (now.mono >= queue->retry_at)
	{
		queue->failures = 0;
		queue->retry_at = 0;
		queue->last_error[0] = '\0';
	}

	/*
	 * Nobody could be released though it seemed so: they are uncommitted, and
	 * their commit will call us, or locked, which we have to look at again.
	 */
	queue->reap_at = Min(queue->reap_at, visit->reap_at);
	if (vq_purge_due(queue) <= now.mono)
	{
		/* Not here: it is a chore, with a transaction of its own. */
		visit->purge = true;
		queue->purge_at = VQ_NEVER;
	}
	vq_note_able(queue, now);
	due = vq_next_due(queue, now, !stuck);
	if (visit->passed > 0)
		due = Min(due, now.mono + LOCKED_DELAY);
	if (!visit->told_all)
		due = Min(due, Max(now.mono, queue->retry_at));
	if (visit->ceiling_locked || visit->clock_locked)
		due = Max(due, now.mono + LOCKED_DELAY);
	queue->due = Min(queue->due, due);
	due = queue->due;
	LWLockRelease(&queue->lock);
	return due;
}

void
vq_undo_visit(VqVisit *visit)
{
	VqQueue    *queue = visit->queue;

	LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
	queue->state_news |= visit->told_state;
	queue->moved |= visit->told_moved;
	queue->reap_at = 0;
	LWLockRelease(&queue->lock);
}

int64
vq_fail_visit(VqVisit *visit, const char *message)
{
	VqQueue    *queue = visit->queue;
	VqNow		now = vq_now();
	int64		backoff;
	int			length = pg_mbcliplen(message, strlen(message), VQ_ERROR_SIZE - 1);

	LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
	backoff = FIRST_BACKOFF << Min(queue->failures, 20);
	queue->failures++;
	queue->retry_at = now.mono + Min(backoff, LONGEST_BACKOFF);
	strlcpy(queue->last_error, message, length + 1);
	queue->due = queue->retry_at;
	LWLockRelease(&queue->lock);
	return queue->retry_at;
}
