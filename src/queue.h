/*
 * queue.h
 *		Queues and tenants by their names.
 */
#ifndef VQ_QUEUE_H
#define VQ_QUEUE_H

#include "access.h"
#include "shmem.h"
#include "table.h"

/*
 * The queue that a SQL argument means: the name of one in the current tenant,
 * or an id.  Errors: as vq_current_tenant; 42704 there is none, or it is another
 * tenant's.
 */
extern void vq_resolve_queue(int levels, const text *arg, pg_uuid_t *id);

/* The same, with its memory; the lines are ready. */
extern VqQueue *vq_queue_of(int levels, const text *arg, pg_uuid_t *id);

/*
 * Id of the tenant that vqueue.tenant names, in which the caller must have one of
 * the levels.  Errors: 42704 there is none, or the caller has no level there; 42501
 * the caller has others only.
 */
extern void vq_current_tenant(int levels, pg_uuid_t *id);

/* Make sure that the caller may watch, all tenants or the current one.  Errors: the same. */
extern void vq_must_watch(void);

/*
 * Lock a queue against being dropped (shared, which joins do), or against
 * joins, until the end of the transaction.
 */
extern void vq_lock_against_drop(const pg_uuid_t *id);
extern void vq_lock_against_joins(const pg_uuid_t *id);

#endif							/* VQ_QUEUE_H */
