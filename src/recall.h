/*
 * recall.h
 *		What the last server had not told of when it went down.
 *
 * Which sessions are yet to be told of only memory knows.  When it is built for
 * a queue that was not there, rows that changed shortly before the last event
 * of the log, or after it, are taken to be untold; before the worker first visits
 * the queue it compares them with the log.  Nobody but the worker tells, so
 * nothing is told before that, and nothing twice.
 *
 * Not found are changes that a transaction made more than VQ_RECALL_MARGIN before
 * the last event, if it committed just before the server went down, those more
 * than VQ_RECALL_LONGEST ago, and those that the row does not show any more.
 */
#ifndef VQ_RECALL_H
#define VQ_RECALL_H

#include "shmem.h"
#include "table.h"

/* How long (microseconds) a transaction may take from a change to its commit. */
#define VQ_RECALL_MARGIN (5 * USECS_PER_MINUTE)

/* How far back at the most, as the log may have been off. */
#define VQ_RECALL_LONGEST (7 * USECS_PER_DAY)

/*
 * Since when rows count as untold, 0 if none does as there is no log.
 * Caller builds memory.
 */
extern TimestampTz vq_recall_since(void);

/* A live row was loaded, of a queue that was not there before.  Caller holds the queue's lock exclusively. */
extern void vq_recall_live(VqQueue *queue, const VqRow *row);

/* Load its rows that have ended.  False if memory did not suffice. */
extern bool vq_recall_ended(VqQueue *queue, Snapshot snapshot);

/* By the worker, before anything is told of the queue: strike out what the log says was told. */
extern void vq_recall(VqQueue *queue, const pg_uuid_t *id);

#endif							/* VQ_RECALL_H */
