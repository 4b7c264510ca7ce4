/*
 * health.c
 *		What is said of shared memory and the background processes.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "guc.h"
#include "miscadmin.h"
#include "shmem.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

static Datum
record(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

PG_FUNCTION_INFO_V1(vqueue_memory);
Datum
vqueue_memory(PG_FUNCTION_ARGS)
{
	Datum		values[4];
	bool		nulls[4] = {false};
	int			databases = 0;

	LWLockAcquire(vq_shared->lock, LW_SHARED);
	for (int i = 0; i < vq_shared->n_databases; i++)
		databases += OidIsValid(vq_shared->databases[i].oid);
	LWLockRelease(vq_shared->lock);
	values[0] = Int64GetDatum(pg_atomic_read_u64(&vq_shared->memory_used));
	values[1] = Int64GetDatum((int64) vq_memory_limit * 1024 * 1024);
	values[2] = Int32GetDatum(pg_atomic_read_u32(&vq_shared->queue_count));
	values[3] = Int32GetDatum(databases);
	return record(fcinfo, values, nulls);
}

PG_FUNCTION_INFO_V1(vqueue_worker_state);
Datum
vqueue_worker_state(PG_FUNCTION_ARGS)
{
	static const char *const lines[] = {"stale", "building", "ready"};
	VqDatabase *db = vq_database();
	Datum		values[6];
	bool		nulls[6] = {false};
	int			launcher;
	int			pid;
	TimestampTz last_round;
	uint64		rounds;
	bool		refused;

	SpinLockAcquire(&vq_shared->mutex);
	launcher = vq_shared->launcher_pid;
	SpinLockRelease(&vq_shared->mutex);
	SpinLockAcquire(&db->mutex);
	pid = db->worker_pid;
	last_round = db->last_round;
	rounds = db->rounds;
	refused = db->refused;
	SpinLockRelease(&db->mutex);

	values[0] = Int32GetDatum(launcher);
	nulls[0] = launcher == 0;
	values[1] = Int32GetDatum(pid);
	nulls[1] = pid == 0;
	values[2] = TimestampTzGetDatum(last_round);
	nulls[2] = last_round == 0;
	values[3] = Int64GetDatum(rounds);
	values[4] = BoolGetDatum(refused);
	values[5] = CStringGetTextDatum(lines[pg_atomic_read_u32(&db->line_state)]);
	return record(fcinfo, values, nulls);
}
