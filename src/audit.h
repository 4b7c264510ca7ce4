/*
 * audit.h
 *		The log of what operators do.
 *
 * An entry is written in the transaction of the action, as the owner of the
 * tables, and tells the session's user and its role, whoever's rights the
 * action is done with.
 */
#ifndef VQ_AUDIT_H
#define VQ_AUDIT_H

#include "table.h"

/* An action that is no change of a row of settings; what is NULL is not told. */
typedef struct VqAction
{
	const char *action;
	const pg_uuid_t *tenant_id;
	const pg_uuid_t *queue_id;
	const char *queue;			/* its name */
	const char *object;
	const char *before;			/* JSON */
	const char *after;			/* JSON */
	const text *reason;
} VqAction;

/* Log an action. */
extern void vq_audit(const VqAction *action);

/* Log a step of a session of the current tenant, from what it was to what it is. */
extern void vq_audit_step(const char *action, const char *queue, const VqRow *before, const VqRow *after,
						  const text *reason);

/* Delete a batch of old entries; returns when to go on, 0 for at once, -1 where the log is locked. */
extern int64 vq_trim_audit(void);

#endif							/* VQ_AUDIT_H */
