/*
 * clock.h
 *		Moving a queue's state when its moment has come: a step of the worker.
 *
 * The moments prequeue_at, opens_at and closes_at are those of the row; each is
 * taken away by the change of state that it brings, so that it comes once.
 */
#ifndef VQ_CLOCK_H
#define VQ_CLOCK_H

#include "shmem.h"

/* When the worker should look at the queue's clock: a mono time, or VQ_NEVER.  Caller holds the lock. */
extern int64 vq_clock_due(const VqQueue *queue, VqNow now);

/*
 * Move the state of a queue one of whose moments has come, in the current
 * transaction; false if its row is locked, or its table, and it has to be tried again.
 */
extern bool vq_move_by_clock(const pg_uuid_t *id, const VqSettings *settings);

#endif							/* VQ_CLOCK_H */
