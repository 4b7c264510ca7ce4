/*
 * rebuild.h
 *		Memory from the tables: at first use after a start, and on demand.
 *
 * Whoever needs the lines first builds them; others wait.  Nothing is locked
 * out: what is being changed in memory meanwhile is newer than the builder's
 * snapshot and stays (see vq_line_wipe and VQ_TOUCHED).
 */
#ifndef VQ_REBUILD_H
#define VQ_REBUILD_H

#include "shmem.h"
#include "table.h"

/*
 * This database's entry with its lines ready.  Errors: 53200 out of memory;
 * 55000 memory is stale, this transaction may not build it, and no worker does.
 */
extern VqDatabase *vq_ready(void);

/*
 * Lock a queue with its line whole: a rebuild may begin after vq_ready, and there is
 * hardly anybody in the line then.  For who takes what memory does not have for what
 * there is not.  Errors: as vq_ready.
 */
extern void vq_lock_whole(VqQueue *queue, LWLockMode mode);

/* The tables have just been created by this transaction: there is nothing to build from. */
extern void vq_begin_empty(void);

/*
 * The tables are not there: take the lines out of memory.  Not if they are
 * ready, as then a transaction that we cannot see yet has created the tables
 * and may be using them.
 */
extern void vq_end_empty(VqDatabase *db);

/* Have memory built anew, whatever it is now. */
extern void vq_demand_rebuild(void);

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

#endif							/* VQ_REBUILD_H */
