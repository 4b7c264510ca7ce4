/*
 * guc.h
 *		The settings of vqueue.
 */
#ifndef VQ_GUC_H
#define VQ_GUC_H

extern char *vq_tenant;			/* vqueue.tenant: name of the current tenant */
extern int	vq_memory_limit;	/* vqueue.memory_limit: MB of all lines together */
extern int	vq_release_batch;	/* vqueue.release_batch: sessions a transaction of the worker */
extern int	vq_old_snapshot;	/* vqueue.old_snapshot: seconds */

extern void vq_guc_init(void);

#endif							/* VQ_GUC_H */
