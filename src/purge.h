/*
 * purge.h
 *		Deleting sessions that ended long ago: a chore of the worker.
 *
 * The function vqueue.purge() does the same by hand.
 */
#ifndef VQ_PURGE_H
#define VQ_PURGE_H

#include "shmem.h"

/* When the worker should look for such sessions: a mono time, or VQ_NEVER.  Caller holds the lock. */
extern int64 vq_purge_due(const VqQueue *queue);

/*
 * Delete the sessions of a queue that ended longer ago than its
 * session_retention, the oldest first and a batch at the most, in the current
 * transaction; returns the mono time when to look again, 0 if there are more.
 * What it found is remembered by vq_purged, after the commit.
 */
extern int64 vq_purge(VqQueue *queue, const pg_uuid_t *id);
extern void vq_purged(VqQueue *queue, int64 next);

#endif							/* VQ_PURGE_H */
