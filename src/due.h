/*
 * due.h
 *		When the worker has to look at a queue, and how it is told.
 */
#ifndef VQ_DUE_H
#define VQ_DUE_H

#include "shmem.h"

/* Events wait this long (microseconds) for others, to go together. */
#define VQ_EVENT_DELAY	10000

/* "moved" events of a queue are this far apart (microseconds) at the least. */
#define VQ_MOVED_DELAY	1000000

/* Memory is given back so much later (microseconds), if nothing else calls the worker. */
#define VQ_TRIM_DELAY	50000

/* Sessions that stand in all lanes, uncommitted joins included.  Caller holds the lock. */
extern int64 vq_standing(const VqQueue *queue);

/* Whether the worker should raise the ceiling: never above the last ticket there may be.  Caller holds the lock. */
static inline bool
vq_wants_ceiling(const VqQueue *queue)
{
	return queue->ceiling < VQ_MAX_TICKET &&
		queue->ceiling - queue->next_ticket < VQ_CEILING_STEP / 2;
}

/* Count n in the present second. */
extern void vq_ring_add(VqRing *ring, VqNow now, int n);

/* What was counted in so many full seconds (up to VQ_SECONDS - 4) before now. */
extern int	vq_ring_sum(const VqRing *ring, VqNow now, int seconds);

/*
 * Have the worker look at the queue no later than mono time due.  Caller holds
 * the queue's lock exclusively; the latch is set only if that is earlier than
 * the worker planned.
 */
extern void vq_call_worker(VqQueue *queue, int64 due);

/* When the queue could next release somebody: a mono time, or VQ_NEVER.  Caller holds the lock. */
extern int64 vq_release_due(const VqQueue *queue, VqNow now);

/*
 * See whether somebody could be let in, so that it is known since when nobody
 * was.  Caller holds the lock exclusively.
 */
extern void vq_note_able(VqQueue *queue, VqNow now);

/* For how long (microseconds) somebody could have been let in, and nobody was; 0 if that is not so. */
extern int64 vq_release_lag(const VqQueue *queue, VqNow now);

/*
 * When the worker should look at it next: for events and ceilings, and for
 * releases unless there is nobody it could release now.  Caller holds the lock.
 */
extern int64 vq_next_due(const VqQueue *queue, VqNow now, bool releases);

/*
 * Give back chunks that are not used any more; returns how many.  Does nothing
 * during a rebuild, which marks in them what it must not load.  Caller holds
 * the lock exclusively.
 */
extern int	vq_trim(VqQueue *queue);

/* Take up to n of the queues that wait for attention; returns how many. */
extern int	vq_take_attention(VqDatabase *db, VqQueue **queues, int n);

extern void vq_wake_worker(VqDatabase *db);
extern void vq_wake_launcher(void);

#endif							/* VQ_DUE_H */
