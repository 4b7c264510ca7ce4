/*
 * vqueue.c
 *		A virtual waiting room: module magic and start.
 */
#include "postgres.h"

#include "fmgr.h"
#include "guc.h"
#include "miscadmin.h"
#include "pending.h"
#include "scan.h"
#include "shmem.h"
#include "worker.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("vqueue must be loaded by shared_preload_libraries"),
				 errdetail("It keeps its waiting lines in shared memory, which is laid out at server start."),
				 errhint("Add vqueue to shared_preload_libraries in postgresql.conf and restart the server.")));
	vq_guc_init();
	vq_shmem_init();
	vq_pending_init();
	vq_ddl_init();
	vq_scan_init();
	vq_launcher_init();
}
