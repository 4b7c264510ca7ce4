/*
 * worker.h
 *		The background processes: one launcher, and a worker in each database
 *		that has the extension.
 */
#ifndef VQ_WORKER_H
#define VQ_WORKER_H

#include "shmem.h"

/* Register the launcher; at server start only. */
extern void vq_launcher_init(void);

/* Install the hooks that keep workers out of the way of DDL on databases. */
extern void vq_ddl_init(void);

/* Entry points. */
extern PGDLLEXPORT void vqueue_launcher_main(Datum arg);
extern PGDLLEXPORT void vqueue_worker_main(Datum arg);

#endif							/* VQ_WORKER_H */
