/*
 * guc.h
 *		The settings of vqueue.
 */
#ifndef VQ_GUC_H
#define VQ_GUC_H

extern char *vq_tenant;			/* vqueue.tenant: name of the current tenant */
extern int	vq_memory_limit;	/* vqueue.memory_limit: MB of all lines together */
extern int	vq_poll_budget;		/* vqueue.poll_budget: polls a second in a database; 0: any number */
extern int	vq_release_batch;	/* vqueue.release_batch: sessions a transaction of the worker */
extern int	vq_old_snapshot;	/* vqueue.old_snapshot: seconds */

extern int	vq_stats_retention; /* vqueue.stats_retention: seconds, 0 for no statistics */
extern int	vq_audit_retention; /* seconds */
extern int	vq_event_retention; /* vqueue.event_retention: seconds, 0 for no log */

/* Whether events are logged: for listeners, or until they are counted. */
extern bool vq_logging(void);

extern void vq_guc_init(void);

#endif							/* VQ_GUC_H */
