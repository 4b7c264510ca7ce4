/*
 * quota.h
 *		What a tenant may have: so many queues, so many waiting sessions.
 *
 * Queues are counted in their table, as they are few and seldom made.  Waiting
 * sessions are counted in shared memory, in one word a tenant.  Each queue knows
 * how many of its own are in that word, and settles the difference whenever its
 * line has changed, before its lock is let go; so the word is the sum of what the
 * lines have, and no join updates a row for it.  What is reserved and not
 * committed counts.
 */
#ifndef VQ_QUOTA_H
#define VQ_QUOTA_H

#include "shmem.h"

/* Without a limit. */
#define VQ_NO_QUOTA (-1)

/*
 * A tenant's word.  It is in the registry beside the queues while some queue in
 * memory is the tenant's.
 */
typedef struct VqTenant
{
	Oid			dboid;			/* constant, as is the id */
	pg_uuid_t	id;
	int			queues;			/* in memory; VqShared.lock */
	pg_atomic_uint64 waiting;	/* by whoever holds the lock of one of its queues */
} VqTenant;

/*
 * Count a queue's sessions for this tenant from now on; for a queue that is the
 * tenant's already this does nothing.  Errors: 53200 out of memory.
 */
extern void vq_join_tenant(VqQueue *queue, const pg_uuid_t *tenant_id);

/* A queue goes out of memory.  Caller holds VqShared.lock exclusively, not the queue's.  Never fails. */
extern void vq_leave_tenant(VqQueue *queue);

/*
 * Bring the tenant's word up to date with a queue's line.  Caller holds the queue's
 * lock exclusively.  While memory is built anew it is left alone, and settled at the end.
 */
extern void vq_settle(VqQueue *queue);

/* The same whatever happens to memory; for who has built it. */
extern void vq_settle_built(VqQueue *queue);

/* Count one more who is about to stand in a queue's line; false where the quota has no room. */
extern bool vq_count_in(VqQueue *queue, int64 quota);

/* How many of a tenant wait, by its word; the queue is one of its.  For check(). */
extern int64 vq_tenant_waiting(VqQueue *queue);

/* How many sessions of a tenant may wait, VQ_NO_QUOTA for any number. */
extern int64 vq_waiting_quota(const pg_uuid_t *tenant_id);

/* Raise 53000 as the tenant of this name has as many waiting sessions as it may have. */
pg_noreturn extern void vq_refuse_waiting(const pg_uuid_t *tenant_id, int64 quota);

/*
 * Have room for another queue of a tenant until the end of this transaction.
 * Errors: 53000 it has as many as it may have.
 */
extern void vq_admit_queue(const pg_uuid_t *tenant_id);

#endif							/* VQ_QUOTA_H */
