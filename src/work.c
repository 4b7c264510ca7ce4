/*
 * work.c
 *		Transactions of the worker.
 */
#include "postgres.h"

#include "access/xact.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "table.h"
#include "utils/snapmgr.h"
#include "work.h"

void
vq_begin_work(const char *activity)
{
	SetCurrentStatementStartTimestamp();
	pgstat_report_activity(STATE_RUNNING, activity);
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
}

void
vq_end_work(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
}

char *
vq_abort_work(MemoryContext context, int *sqlerrcode)
{
	ErrorData  *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	AbortCurrentTransaction();
	pgstat_report_activity(STATE_IDLE, NULL);
	*sqlerrcode = error->sqlerrcode;
	return error->message ? error->message : "unknown error";
}

bool
vq_lock_tables(void)
{
	return ConditionalLockRelationOid(vq_relation(VQ_SESSIONS), RowExclusiveLock) &&
		ConditionalLockRelationOid(vq_relation(VQ_CEILINGS), RowExclusiveLock) &&
		ConditionalLockRelationOid(vq_relation(VQ_EVENTS), RowExclusiveLock) &&
		ConditionalLockRelationOid(vq_relation(VQ_MARKS), RowExclusiveLock) &&
		ConditionalLockRelationOid(vq_relation(VQ_LOG), RowExclusiveLock) &&
		ConditionalLockRelationOid(vq_relation(VQ_STATS), RowExclusiveLock) &&
		ConditionalLockRelationOid(vq_relation(VQ_QUEUES), AccessShareLock) &&
		ConditionalLockRelationOid(vq_relation(VQ_TENANTS), AccessShareLock);
}
