/*
 * trial.c
 *		Settings on trial for a share of a queue's newcomers.
 */
#include "postgres.h"

#include "access.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "change.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "pending.h"
#include "rebuild.h"
#include "roster.h"
#include "statement.h"
#include "trial.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* ---- asking ---- */

int64
vq_timeout(const VqSettings *settings, VqStatus status, bool on_trial)
{
	const VqTrial *trial = &settings->trial;

	switch (status)
	{
		case VQ_WAITING:
			return on_trial ? trial->waiting_timeout : settings->waiting_timeout;
		case VQ_IS_READY:
			return on_trial ? trial->claim_timeout : settings->claim_timeout;
		case VQ_SERVING:
			return on_trial ? trial->serving_timeout : settings->serving_timeout;
		default:
			return 0;
	}
}

int64
vq_timeout_of(const VqSettings *settings, VqStatus status, int64 ticket)
{
	return vq_timeout(settings, status, vq_is_on_trial(settings, ticket));
}

int64
vq_shortest_patience(const VqSettings *settings)
{
	int64		patience = settings->waiting_timeout;
	int64		tried = vq_has_trial(settings) ? settings->trial.waiting_timeout : 0;

	return patience == 0 || (tried > 0 && tried < patience) ? tried : patience;
}

/* ---- reading ---- */

static Datum
column(HeapTuple tuple, TupleDesc desc, int attnum, bool *isnull)
{
	return heap_getattr(tuple, attnum, desc, isnull);
}

/* A timeout that is tried, in microseconds; the table's constraint lets no other value be. */
static int64
tried_timeout(Jsonb *settings, const char *name, int64 otherwise)
{
	JsonbValue	room;
	JsonbValue *value = getKeyJsonValueFromContainer(&settings->root, name, strlen(name), &room);
	Interval   *interval;
	int64		timeout;

	if (value == NULL || value->type != jbvString)
		return otherwise;
	interval = DatumGetIntervalP(DirectFunctionCall3(interval_in,
													 CStringGetDatum(pnstrdup(value->val.string.val, value->val.string.len)),
													 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	timeout = interval->time + (interval->day + interval->month * INT64CONST(30)) * USECS_PER_DAY;
	return Min(Max(timeout, 0), USECS_PER_DAY);
}

/* What the row of a canary tries, unless it tries it on all. */
static void
read_row(HeapTuple tuple, TupleDesc desc, VqSettings *settings)
{
	VqTrial    *trial = &settings->trial;
	bool		isnull;
	double		size = DatumGetFloat8(column(tuple, desc, Anum_canaries_share, &isnull));
	Datum		from = column(tuple, desc, Anum_canaries_from_ticket, &isnull);
	pg_uuid_t  *id;
	Jsonb	   *tried;

	if (isnull || size >= 1)
		return;
	id = DatumGetUUIDP(column(tuple, desc, Anum_canaries_id, &isnull));
	tried = DatumGetJsonbP(column(tuple, desc, Anum_canaries_settings, &isnull));
	if (!JB_ROOT_IS_OBJECT(tried))
		return;
	vq_share_begin(&trial->share, size, DatumGetInt64(from), id->data);
	trial->waiting_timeout = tried_timeout(tried, "waiting_timeout", settings->waiting_timeout);
	trial->serving_timeout = tried_timeout(tried, "serving_timeout", settings->serving_timeout);
	trial->claim_timeout = tried_timeout(tried, "claim_timeout", settings->claim_timeout);
}

void
vq_read_trial(const pg_uuid_t *queue_id, VqSettings *settings)
{
	Relation	rel;
	Snapshot	snapshot;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	memset(&settings->trial, 0, sizeof(settings->trial));

	/* Gone meanwhile, on the way back to an earlier version, it says nothing. */
	if (!vq_has_relation(VQ_QUEUE_CANARIES) ||
		(rel = try_table_open(vq_relation(VQ_QUEUE_CANARIES), AccessShareLock)) == NULL)
		return;

	/* A parallel query's snapshot is all there may be. */
	snapshot = RegisterSnapshot(IsInParallelMode() ? GetActiveSnapshot() : GetLatestSnapshot());
	ScanKeyInit(&key, Anum_canaries_queue_id, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(queue_id));
	scan = systable_beginscan(rel, vq_relation(VQ_QUEUE_CANARIES_WATCHING), true, snapshot, 1, &key);
	tuple = systable_getnext(scan);
	if (tuple != NULL)
		read_row(tuple, RelationGetDescr(rel), settings);
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);

	/* As it is given back at once, nobody who drops the table waits for us while we wait for him. */
	table_close(rel, AccessShareLock);
}

/* ---- writing ---- */

/* Whether the row is of a share that is under settings on trial. */
static bool
is_trial(HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;
	double		size = DatumGetFloat8(column(tuple, desc, Anum_canaries_share, &isnull));
	char	   *state = TextDatumGetCString(column(tuple, desc, Anum_canaries_state, &isnull));

	return size < 1 && strcmp(state, "watching") == 0;
}

/* Have the queue's row written, and so its settings read anew, with the trial. */
static void
touch_queue(HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;
	Datum		id = column(tuple, desc, Anum_canaries_queue_id, &isnull);
	VqCaller	caller;

	vq_execute(VQ_TOUCH_QUEUE, &id, NULL, &caller);
	vq_executed(&caller);
}

/*
 * A new trial is noted without that, for a restore is to bring rows back as they were.
 * Nobody else writes the queue's row meanwhile; if it comes later, it brings the trial.
 */
static void
note_trial(HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;
	Datum		id = column(tuple, desc, Anum_canaries_queue_id, &isnull);
	VqQueue    *queue = vq_find_queue(DatumGetUUIDP(id));
	VqSettings	settings;
	VqCaller	caller;

	if (queue == NULL)
		return;
	vq_execute(VQ_HOLD_QUEUE, &id, NULL, &caller);
	vq_executed(&caller);
	if (vq_fetch_queue(DatumGetUUIDP(id), &settings))
		vq_note_queue(queue, &settings, false);
}

/* A canary of a share came, went or changed; its table's trigger calls this only where that matters. */
PG_FUNCTION_INFO_V1(vqueue_canary_changed);
Datum
vqueue_canary_changed(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	TupleDesc	desc;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_ROW(data->tg_event) ||
		!vq_has_relation(VQ_QUEUE_CANARIES) ||
		RelationGetRelid(data->tg_relation) != vq_relation(VQ_QUEUE_CANARIES))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function is only for the trigger of vqueue.queue_canaries"),
				 errhint("Change the table, and it is called.")));
	desc = RelationGetDescr(data->tg_relation);
	if (!is_trial(data->tg_trigtuple, desc) &&
		!(TRIGGER_FIRED_BY_UPDATE(data->tg_event) && is_trial(data->tg_newtuple, desc)))
		return PointerGetDatum(NULL);

	/* A replica gets the queue's row as it was written elsewhere, before or after. */
	vq_ready();
	if (vq_is_replica())
	{
		vq_note_stale();
		return PointerGetDatum(NULL);
	}
	if (TRIGGER_FIRED_BY_INSERT(data->tg_event))
		note_trial(data->tg_trigtuple, desc);
	else
		touch_queue(data->tg_trigtuple, desc);
	if (TRIGGER_FIRED_BY_UPDATE(data->tg_event))
		touch_queue(data->tg_newtuple, desc);
	return PointerGetDatum(NULL);
}

/* ---- SQL functions ---- */

/* By what a canary's row says; null arguments are not asked about. */
PG_FUNCTION_INFO_V1(vqueue_on_trial);
Datum
vqueue_on_trial(PG_FUNCTION_ARGS)
{
	VqShare		share;

	vq_share_begin(&share, PG_GETARG_FLOAT8(1), PG_GETARG_INT64(2), PG_GETARG_UUID_P(0)->data);
	PG_RETURN_BOOL(vq_share_has(&share, PG_GETARG_INT64(3)));
}

/* The ticket that the queue's next newcomer gets; null where that is not known, or not the caller's business. */
PG_FUNCTION_INFO_V1(vqueue_next_ticket);
Datum
vqueue_next_ticket(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id = PG_GETARG_UUID_P(0);
	VqQueue    *queue;
	int64		ticket;

	vq_ready();
	if (!vq_may_queue(id, VQ_MAY_STEER) || (queue = vq_find_queue(id)) == NULL)
		PG_RETURN_NULL();
	LWLockAcquire(&queue->lock, LW_SHARED);
	ticket = queue->next_ticket;
	LWLockRelease(&queue->lock);
	PG_RETURN_INT64(ticket);
}
