/*
 * chore.h
 *		What the worker does that nobody waits for, between its visits: deleting
 *		sessions that ended long ago, old events and old statistics, writing new
 *		ones, and looking after settings on trial.
 *
 * Each step of a chore is a transaction of its own, short, and followed by a
 * rest, so that visits come first.
 */
#ifndef VQ_CHORE_H
#define VQ_CHORE_H

#include "shmem.h"

/* There may be sessions of this queue to purge. */
extern void vq_add_chore(VqQueue *queue, const pg_uuid_t *id);

/* Begin with the chores of the database; those of queues are added anew. */
extern void vq_begin_chores(void);

/* When the next step is to be made: a mono time, or VQ_NEVER. */
extern int64 vq_chore_due(void);

/* Make it; returns the queue that it has been done for, whose due moment may have changed, or NULL. */
extern VqQueue *vq_do_chore(VqDatabase *db);

/* Have what there is counted now. */
extern void vq_hasten_counting(void);

#endif							/* VQ_CHORE_H */
