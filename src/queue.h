/*
 * queue.h
 *		Queues and tenants by their names.
 */
#ifndef VQ_QUEUE_H
#define VQ_QUEUE_H

#include "shmem.h"
#include "table.h"

/*
 * The queue that a SQL argument means: the name of one in the current tenant,
 * or an id.  Errors: 42704 there is none, or it is another tenant's.
 */
extern void vq_resolve_queue(const text *arg, pg_uuid_t *id);

/* The same, with its memory; the lines are ready. */
extern VqQueue *vq_queue_of(const text *arg, pg_uuid_t *id);

/* Id of the tenant that vqueue.tenant names.  Errors: 42704 there is none. */
extern void vq_current_tenant(pg_uuid_t *id);

/*
 * The version as of which names may be remembered, 0 if not now.  It has to be
 * read before a name is looked up: what changes after that changes it too.
 */
extern uint64 vq_version_to_remember(void);

/*
 * Lock a queue against being dropped (shared, which joins do), or against
 * joins, until the end of the transaction.
 */
extern void vq_lock_against_drop(const pg_uuid_t *id);
extern void vq_lock_against_joins(const pg_uuid_t *id);

#endif							/* VQ_QUEUE_H */
