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

#endif							/* VQ_REBUILD_H */
