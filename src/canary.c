/*
 * canary.c
 *		Looking after settings that are on trial: a chore of the worker.
 *
 * What is counted and decided is SQL, as it is short, rare and worth reading.  Here
 * is what it takes to call it without waiting for anybody.
 */
#include "postgres.h"

#include "canary.h"
#include "clock.h"
#include "executor/spi.h"
#include "statement.h"
#include "storage/lmgr.h"
#include "table.h"
#include "utils/guc.h"

/* Where the SQL knows no canaries, look again so often (microseconds). */
#define NO_CANARIES (10 * USECS_PER_SEC)

int64
vq_watch_canaries(void)
{
	VqCaller	caller;
	bool		isnull;
	int64		rest;
	int			level;

	if (!vq_has_relation(VQ_QUEUE_CANARIES))
		return vq_now().mono + NO_CANARIES;
	if (!ConditionalLockRelationOid(vq_relation(VQ_QUEUE_CANARIES), RowExclusiveLock) ||
		!ConditionalLockRelationOid(vq_relation(VQ_QUEUES), RowExclusiveLock))
		return -1;
	level = vq_force_index_plans();
	(void) vq_execute(VQ_WATCH_CANARIES, NULL, NULL, &caller);
	rest = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	vq_executed(&caller);
	AtEOXact_GUC(true, level);
	return rest == 0 ? 0 : vq_now().mono + rest;
}
