/*
 * due.c
 *		When the worker has to look at a queue, and how it is told.
 */
#include "postgres.h"

#include "clock.h"
#include "due.h"
#include "miscadmin.h"
#include "outlook.h"
#include "purge.h"
#include "reaper.h"
#include "standing.h"

int64
vq_standing(const VqQueue *queue)
{
	int64		n = 0;

	for (int lane = 0; lane < VQ_LANES; lane++)
		n += queue->line.count[lane];
	return n;
}

int64
vq_release_due(const VqQueue *queue, VqNow now)
{
	if ((queue->settings.state & VQ_RELEASES) == 0 || queue->nascent ||
		vq_standing(queue) == 0)
		return VQ_NEVER;
	if (vq_lets_all_in(queue))
		return Max(now.mono, queue->retry_at);
	if (queue->line.count[VQ_INSIDE] >= queue->settings.max_concurrent_users)
		return VQ_NEVER;
	return Max(vq_pacer_due(&queue->pacer, now, 1), queue->retry_at);
}

/*
 * When the next one could be let in, were the worker there and well.  Those who
 * stand may not have committed, so there must be more of them than of the HELD.
 */
static int64
able_at(const VqQueue *queue, VqNow now)
{
	if ((queue->settings.state & VQ_RELEASES) == 0 || queue->nascent || queue->gone ||
		vq_standing(queue) <= queue->line.count[VQ_HELD])
		return VQ_NEVER;
	if (vq_lets_all_in(queue))
		return now.mono;
	if (queue->line.count[VQ_INSIDE] >= queue->settings.max_concurrent_users)
		return VQ_NEVER;
	return vq_pacer_due(&queue->pacer, now, 1);
}

void
vq_note_able(VqQueue *queue, VqNow now)
{
	VqFigures  *figures = &queue->figures;
	int64		at = able_at(queue, now);

	if (at == VQ_NEVER)
		figures->able_since = 0;
	else if (figures->able_since == 0 || figures->able_released != queue->released_total)
		figures->able_since = at;
	else
		figures->able_since = Min(figures->able_since, at);
	figures->able_released = queue->released_total;
}

int64
vq_release_lag(const VqQueue *queue, VqNow now)
{
	if (queue->figures.able_since == 0 || able_at(queue, now) > now.mono)
		return 0;
	return Max(now.mono - queue->figures.able_since, 0);
}

int64
vq_next_due(const VqQueue *queue, VqNow now, bool releases)
{
	int64		due = releases ? vq_release_due(queue, now) : VQ_NEVER;

	if (queue->gone)
		return now.mono;
	if (queue->nascent)
		return VQ_NEVER;
	if (vq_wants_ceiling(queue))
		return now.mono;
	if (queue->recall_since != 0)
		due = Min(due, now.mono);
	if (queue->state_news)
		due = Min(due, now.mono);
	due = Min(due, vq_reap_due(queue));
	due = Min(due, vq_clock_due(queue, now));
	due = Min(due, vq_purge_due(queue));
	if (queue->line.count[VQ_RELEASED] > 0 || queue->line.count[VQ_ENDED] > 0)
		due = Min(due, now.mono + VQ_EVENT_DELAY);
	due = Min(due, Max(vq_outlook_due(queue), now.mono));
	if (queue->moved)
		due = Min(due, Max(now.mono, queue->announced_at + VQ_MOVED_DELAY));
	if (queue->line.empty > 1 || vq_standing_wants_trim(queue))
		due = Min(due, now.mono + VQ_TRIM_DELAY);	/* one may be where tickets are issued */
	return Max(due, queue->retry_at);
}

/* ---- counts a second ---- */

static int64
ring_second(VqNow now)
{
	return now.mono / USECS_PER_SEC;
}

void
vq_ring_add(VqRing *ring, VqNow now, int n)
{
	int64		second = ring_second(now);

	if (second - ring->second >= VQ_SECONDS)
		memset(ring->count, 0, sizeof(ring->count));
	else
		for (int64 s = ring->second + 1; s <= second; s++)
			ring->count[s % VQ_SECONDS] = 0;
	ring->second = Max(ring->second, second);
	ring->count[second % VQ_SECONDS] += n;
}

int
vq_ring_sum(const VqRing *ring, VqNow now, int seconds)
{
	int64		second = ring_second(now);
	int			sum = 0;

	for (int64 s = Max(second - seconds, ring->second - VQ_SECONDS + 1); s < second; s++)
		if (s <= ring->second && s >= 0)
			sum += ring->count[s % VQ_SECONDS];
	return sum;
}

/* ---- calling the worker ---- */

int
vq_trim(VqQueue *queue)
{
	bool		standing = vq_standing_wants_trim(queue);

	/*
	 * One may be where tickets are issued.  A rebuild that begins after this
	 * look comes to this queue after us, as it takes the lock.
	 */
	if ((queue->line.empty == 0 && !standing) || !vq_is_whole())
		return 0;
	if (standing)
		vq_trim_standing(queue);
	return vq_line_trim(&queue->line, vq_arena(), queue->next_ticket);
}

/* Only touches memory that the caller has mapped: it runs after commits. */
void
vq_call_worker(VqQueue *queue, int64 due)
{
	VqDatabase *db = vq_database();
	bool		called = false;

	if (due >= queue->due)
		return;
	queue->due = due;
	LWLockAcquire(&db->lock, LW_EXCLUSIVE);
	if (!queue->attention)
	{
		queue->attention = called = true;
		queue->next_attention = db->attention;
		db->attention = queue->self;
	}
	LWLockRelease(&db->lock);
	if (called)
		vq_wake_worker(db);
}

int
vq_take_attention(VqDatabase *db, VqQueue **queues, int n)
{
	const VqArena *arena = vq_arena();
	int			taken = 0;

	LWLockAcquire(&db->lock, LW_EXCLUSIVE);
	while (taken < n && DsaPointerIsValid(db->attention))
	{
		VqQueue    *queue = arena->addr(arena->ctx, db->attention);

		db->attention = queue->next_attention;
		queue->attention = false;
		queues[taken++] = queue;
	}
	LWLockRelease(&db->lock);
	return taken;
}

void
vq_wake_worker(VqDatabase *db)
{
	Latch	   *latch;

	SpinLockAcquire(&db->mutex);
	latch = db->worker_latch;
	SpinLockRelease(&db->mutex);
	if (latch)
		SetLatch(latch);
}

void
vq_wake_launcher(void)
{
	Latch	   *latch;

	SpinLockAcquire(&vq_shared->mutex);
	latch = vq_shared->launcher_latch;
	SpinLockRelease(&vq_shared->mutex);
	if (latch)
		SetLatch(latch);
}
