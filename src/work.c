/*
 * work.c
 *		Transactions of the worker.
 *
 * The worker is a superuser's process, and what it writes may run code of others:
 * triggers, defaults, expressions of indexes.  So from the beginning of a
 * transaction to its end it is the owner of the tables, as autovacuum is, in an
 * operation that is restricted: such code cannot leave anything behind in the
 * session, or be deferred to a moment when the worker is itself again.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "statement.h"
#include "storage/lmgr.h"
#include "table.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "work.h"

/* Who the worker is outside, and what level of settings is taken back. */
static VqCaller self;
static int	settings_level;

void
vq_begin_work(const char *activity)
{
	SetCurrentStatementStartTimestamp();
	pgstat_report_activity(STATE_RUNNING, activity);
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	GetUserIdAndSecContext(&self.userid, &self.context);
	if (vq_installed())
		SetUserIdAndSecContext(vq_owner(), self.context | SECURITY_RESTRICTED_OPERATION);
	settings_level = NewGUCNestLevel();
}

void
vq_end_work(void)
{
	AtEOXact_GUC(false, settings_level);
	PopActiveSnapshot();
	CommitTransactionCommand();
	SetUserIdAndSecContext(self.userid, self.context);
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
