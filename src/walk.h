/*
 * walk.h
 *		Walks through the tables: all rows that a snapshot sees, or those of one queue.
 */
#ifndef VQ_WALK_H
#define VQ_WALK_H

#include "shmem.h"
#include "table.h"
#include "utils/snapshot.h"

/*
 * Call with every live session that the snapshot sees.  The tuples are read
 * in the table's order, or by the index of live ones where that is shorter.
 */
typedef void (*VqRowCallback) (const VqRow *row, void *arg);
extern void vq_scan_live(Snapshot snapshot, VqRowCallback callback, void *arg);

/* The same in the table's order, for who knows that many of its rows are live. */
extern void vq_scan_table(Snapshot snapshot, VqRowCallback callback, void *arg);

/*
 * Call with every session of one queue, from this ticket on, that the snapshot
 * sees, finished ones too, in the order of tickets.
 */
extern void vq_scan_tickets(const pg_uuid_t *queue_id, int64 from, Snapshot snapshot,
							VqRowCallback callback, void *arg);

/* Whether one queue's so many rows are better read so than with all live ones. */
extern bool vq_few_of_all(int64 rows);

/* Call with every queue that the snapshot sees. */
typedef void (*VqQueueCallback) (const pg_uuid_t *id, const VqSettings *settings, void *arg);
extern void vq_scan_queues(Snapshot snapshot, VqQueueCallback callback, void *arg);

#endif							/* VQ_WALK_H */
