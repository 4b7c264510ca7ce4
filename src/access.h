/*
 * access.h
 *		Who may do what in which tenant.
 *
 * C functions go past the executor, and so past privileges and row-level
 * security: each asks here.  A role has a level in a tenant if it has the
 * privileges of a role in vqueue.access.  Superusers, and who has the privileges
 * of the tables' owner, have all levels in all tenants, and members of pg_monitor
 * may watch all of them.
 */
#ifndef VQ_ACCESS_H
#define VQ_ACCESS_H

#include "shmem.h"

/* Levels, as bits.  Who is an operator has the first two as well, an admin the first three. */
#define VQ_APP			0x01
#define VQ_MONITOR		0x02
#define VQ_OPERATOR		0x04
#define VQ_ADMIN		0x08
#define VQ_OWNER		0x10	/* in all tenants, and of what belongs to none */
#define VQ_ANY_LEVEL	(VQ_APP | VQ_MONITOR | VQ_OPERATOR | VQ_ADMIN)

/* What the functions of SQL that are C ask of their caller: one of these levels, in the tenant concerned. */
#define VQ_MAY_JOIN		VQ_APP	/* join, join_many */
#define VQ_MAY_LOOK		VQ_APP	/* poll, status, heartbeat, position(s), board_number */
#define VQ_MAY_MOVE		VQ_APP	/* leave, complete, claim, extend */
#define VQ_MAY_PASS		VQ_APP	/* pass, verify_pass */
#define VQ_MAY_NAME		VQ_ANY_LEVEL	/* user_id, jwks, _tenant, _queue */
#define VQ_MAY_SHOW		(VQ_APP | VQ_MONITOR)	/* board, position of a ticket */
#define VQ_MAY_WATCH	VQ_MONITOR	/* _counters, _figures, _sample, _worker, memory */
#define VQ_MAY_STEER	VQ_OPERATOR /* release, remove, readmit, set_priority, forget_user, _audit, _lock_queue, _delete_queue,
									 * _delete_ended, _untold,
									 * _draw_tickets, _order_key */
#define VQ_MAY_ROTATE	VQ_ADMIN	/* rotate_key */
#define VQ_MAY_GRANT	VQ_ADMIN	/* grant_access, revoke_access */
/* check, rebuild and _count_now call vq_must_own; is_healthy and pure computations ask nothing. */

/* The levels that the current user has in a tenant, and those in all of them. */
extern int	vq_levels(const pg_uuid_t *tenant_id);
extern int	vq_levels_everywhere(void);

/* Whether the current user has one of the levels in a queue's tenant; false for an unknown queue, but for the owner. */
extern bool vq_may_queue(const pg_uuid_t *queue_id, int levels);

/* The same of a queue in memory.  Caller holds no lock. */
extern bool vq_may_see(VqQueue *queue, int levels);

/* Which levels a level's name asks for: that one, and for "any" all; 0 if it is not known. */
extern int	vq_asked_levels(const text *name);

/* Raise 42501: the current user has none of these levels in the tenant of this name. */
pg_noreturn extern void vq_refuse_level(const char *tenant, int levels);

/* Errors: 42501 the current user has not the rights of the extension's owner. */
extern void vq_must_own(const char *function);

/*
 * The version as of which what names and access mean may be remembered, 0 if not
 * now.  It has to be read before they are looked up: what changes after that
 * changes it too.
 */
extern uint64 vq_version_to_remember(void);

#endif							/* VQ_ACCESS_H */
