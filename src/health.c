/*
 * health.c
 *		What is said of shared memory, the background processes and the library.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "fmgr.h"
#include "funcapi.h"
#include "guc.h"
#include "miscadmin.h"
#include "queue.h"
#include "shmem.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* A worker that has made no round for so long (microseconds) is not well: the longest rest is 10 seconds. */
#define ROUND_PATIENCE INT64CONST(30000000)

/* What is known of the worker of this database. */
typedef struct WorkerState
{
	int			pid;
	TimestampTz last_round;
	uint64		rounds;
	int64		round_end;
	int64		round_usecs;
	bool		refused;
} WorkerState;

static int
launcher_pid(void)
{
	int			pid;

	SpinLockAcquire(&vq_shared->mutex);
	pid = vq_shared->launcher_pid;
	SpinLockRelease(&vq_shared->mutex);
	return pid;
}

static void
get_worker_state(VqDatabase *db, WorkerState *state)
{
	SpinLockAcquire(&db->mutex);
	state->pid = db->worker_pid;
	state->last_round = db->last_round;
	state->rounds = db->rounds;
	state->round_end = db->round_end;
	state->round_usecs = db->round_usecs;
	state->refused = db->refused;
	SpinLockRelease(&db->mutex);
}

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

	vq_must_watch();
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
	static const char *const lines[] = {"stale", "building", "building", "ready"};
	VqDatabase *db = vq_database();
	Datum		values[8];
	bool		nulls[8] = {false};
	int			launcher = launcher_pid();
	WorkerState state;

	vq_must_watch();
	get_worker_state(db, &state);
	values[0] = Int32GetDatum(launcher);
	nulls[0] = launcher == 0;
	values[1] = Int32GetDatum(state.pid);
	nulls[1] = state.pid == 0;
	values[2] = TimestampTzGetDatum(state.last_round);
	nulls[2] = state.last_round == 0;
	values[3] = Int64GetDatum(state.rounds);
	values[4] = BoolGetDatum(state.refused);
	values[5] = CStringGetTextDatum(lines[pg_atomic_read_u32(&db->line_state)]);
	values[6] = Float8GetDatum((vq_now().mono - state.round_end) / (double) USECS_PER_SEC);
	nulls[6] = state.round_end == 0;
	values[7] = Float8GetDatum(state.round_usecs / (double) USECS_PER_SEC);
	return record(fcinfo, values, nulls);
}

/*
 * Whether people are being let in, as far as the processes go; true on a standby,
 * where none run.  A worker that has just signed on has until its first round.
 */
PG_FUNCTION_INFO_V1(vqueue_is_healthy);
Datum
vqueue_is_healthy(PG_FUNCTION_ARGS)
{
	WorkerState state;

	if (RecoveryInProgress())
		PG_RETURN_BOOL(true);
	get_worker_state(vq_database(), &state);
	PG_RETURN_BOOL(launcher_pid() != 0 && state.pid != 0 &&
				   vq_now().mono - state.round_end < ROUND_PATIENCE);
}

PG_FUNCTION_INFO_V1(vqueue_library_version);
Datum
vqueue_library_version(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(VQ_VERSION));
}
