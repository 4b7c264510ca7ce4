/*
 * table.c
 *		The rows of vqueue's tables as C sees them.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "table.h"
#include "trial.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

const char *const vq_status_names[VQ_STATUSES] = {
	"waiting", "ready", "serving",
	"completed", "expired", "left", "abandoned", "no_show", "removed"
};

const char *const vq_lane_names[VQ_LANES] = {"vip", "high", "normal", "low"};

/* In the order of VqState's values. */
static const char *const state_names[] = {"closed", "paused", "draining", "open"};

/* In the order of VqMethod's values. */
static const char *const method_names[VQ_METHODS] = {"fifo", "passthrough", "reject", "random"};

char *
vq_uuid_text(const pg_uuid_t *id)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id)));
}

/* ---- reading rows ---- */

static int
parse_name(const char *const *names, int n, const char *name, int len)
{
	for (int i = 0; i < n; i++)
		if (strncmp(names[i], name, len) == 0 && names[i][len] == '\0')
			return i;
	return -1;
}

int
vq_parse_lane(const char *name, int len)
{
	return parse_name(vq_lane_names, VQ_LANES, name, len);
}

int
vq_parse_status(const char *name, int len)
{
	return parse_name(vq_status_names, VQ_STATUSES, name, len);
}

static Datum
get_attribute(HeapTuple tuple, TupleDesc desc, int attnum)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, attnum, desc, &isnull);

	return isnull ? (Datum) 0 : value;
}

/* A name that was met before, and its number. */
typedef struct Met
{
	int			number;
	int			length;			/* 0: none yet */
	char		name[20];
} Met;

/*
 * The name's number; the constraints let no other be.  It is likely that of the
 * row before.
 */
static int
number_of(Datum value, bool isnull, const char *const *names, int n, Met *last)
{
	text	   *name;
	int			length;

	if (isnull)
		elog(ERROR, "unexpected null for one of the names from \"%s\" on", names[0]);
	name = DatumGetTextPP(value);
	length = VARSIZE_ANY_EXHDR(name);
	if (length == last->length && memcmp(VARDATA_ANY(name), last->name, length) == 0)
		return last->number;
	last->length = 0;
	last->number = parse_name(names, n, VARDATA_ANY(name), length);
	if (last->number < 0)
		elog(ERROR, "unexpected name where one from \"%s\" on was", names[0]);
	strlcpy(last->name, names[last->number], sizeof(last->name));
	last->length = length;
	return last->number;
}

/* 0 stands for null, so the one moment that is 0 is taken for the microsecond after it. */
static TimestampTz
time_of(Datum value, bool isnull)
{
	TimestampTz time = isnull ? 0 : DatumGetTimestampTz(value);

	return !isnull && time == 0 ? 1 : time;
}

void
vq_row_of(const Datum *values, const bool *nulls, const ItemPointerData *tid, VqRow *row)
{
	static Met	last_status;
	static Met	last_lane;

	row->tid = *tid;
	row->id = *DatumGetUUIDP(values[Anum_sessions_id - 1]);
	row->queue_id = *DatumGetUUIDP(values[Anum_sessions_queue_id - 1]);
	row->user_id = *DatumGetUUIDP(values[Anum_sessions_user_id - 1]);
	row->ticket = DatumGetInt64(values[Anum_sessions_ticket - 1]);
	row->joined_at = DatumGetTimestampTz(values[Anum_sessions_joined_at - 1]);
	row->served_at = time_of(values[Anum_sessions_served_at - 1], nulls[Anum_sessions_served_at - 1]);
	row->left_at = time_of(values[Anum_sessions_left_at - 1], nulls[Anum_sessions_left_at - 1]);
	row->ready_at = row->extended_at = row->place_key = 0;
	row->status = number_of(values[Anum_sessions_status - 1], nulls[Anum_sessions_status - 1],
							vq_status_names, VQ_STATUSES, &last_status);
	row->lane = number_of(values[Anum_sessions_priority - 1], nulls[Anum_sessions_priority - 1],
						  vq_lane_names, VQ_LANES, &last_lane);
}

void
vq_whole_row_of(const Datum *values, const bool *nulls, const ItemPointerData *tid, VqRow *row)
{
	vq_row_of(values, nulls, tid, row);
	row->ready_at = time_of(values[Anum_sessions_ready_at - 1], nulls[Anum_sessions_ready_at - 1]);
	row->extended_at = time_of(values[Anum_sessions_extended_at - 1], nulls[Anum_sessions_extended_at - 1]);
	row->place_key = nulls[Anum_sessions_place_key - 1] ? 0 : DatumGetInt64(values[Anum_sessions_place_key - 1]);
}

void
vq_read_row(HeapTuple tuple, TupleDesc desc, VqRow *row)
{
	Datum		values[MaxHeapAttributeNumber];
	bool		nulls[MaxHeapAttributeNumber];

	heap_deform_tuple(tuple, desc, values, nulls);
	vq_whole_row_of(values, nulls, &tuple->t_self, row);
}

/* Microseconds, of months by 30 days; the constraints let none be negative. */
static int64
read_interval(HeapTuple tuple, TupleDesc desc, int attnum)
{
	Interval   *interval = DatumGetIntervalP(get_attribute(tuple, desc, attnum));

	return interval->time + (interval->day + interval->month * INT64CONST(30)) * USECS_PER_DAY;
}

static TimestampTz
read_time(HeapTuple tuple, TupleDesc desc, int attnum)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, attnum, desc, &isnull);

	return time_of(value, isnull);
}

static void
read_weights(HeapTuple tuple, TupleDesc desc, int32 *weights)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, Anum_queues_lane_weights, desc, &isnull);

	if (!isnull)
		memcpy(weights, ARR_DATA_PTR(DatumGetArrayTypeP(value)), VQ_LANES * sizeof(int32));
}

void
vq_read_settings(HeapTuple tuple, TupleDesc desc, VqSettings *settings)
{
	static Met	last_state;
	static Met	last_method;
	text	   *name = DatumGetTextPP(get_attribute(tuple, desc, Anum_queues_name));

	memset(settings, 0, sizeof(*settings));
	settings->tenant_id = *DatumGetUUIDP(get_attribute(tuple, desc, Anum_queues_tenant_id));
	text_to_cstring_buffer(name, settings->name, VQ_NAME_SIZE);
	settings->max_concurrent_users =
		DatumGetInt32(get_attribute(tuple, desc, Anum_queues_max_concurrent_users));
	settings->rate_per_minute =
		DatumGetInt32(get_attribute(tuple, desc, Anum_queues_release_rate_per_minute));
	settings->burst = DatumGetInt32(get_attribute(tuple, desc, Anum_queues_burst));
	settings->max_waiting = DatumGetInt32(get_attribute(tuple, desc, Anum_queues_max_waiting));
	settings->method = number_of(get_attribute(tuple, desc, Anum_queues_method), false,
								 method_names, VQ_METHODS, &last_method);
	read_weights(tuple, desc, settings->weights);
	settings->waiting_timeout = read_interval(tuple, desc, Anum_queues_waiting_timeout);
	settings->serving_timeout = read_interval(tuple, desc, Anum_queues_serving_timeout);
	settings->claim_timeout = read_interval(tuple, desc, Anum_queues_claim_timeout);
	settings->session_retention = read_interval(tuple, desc, Anum_queues_session_retention);
	settings->pass_lifetime = read_interval(tuple, desc, Anum_queues_pass_lifetime);
	settings->client_limit = DatumGetInt32(get_attribute(tuple, desc, Anum_queues_client_limit));
	settings->client_window = read_interval(tuple, desc, Anum_queues_client_window);
	settings->prequeue_at = read_time(tuple, desc, Anum_queues_prequeue_at);
	settings->opens_at = read_time(tuple, desc, Anum_queues_opens_at);
	settings->closes_at = read_time(tuple, desc, Anum_queues_closes_at);
	settings->state = number_of(get_attribute(tuple, desc, Anum_queues_state), false,
								state_names, lengthof(state_names), &last_state);
	settings->version = DatumGetInt64(get_attribute(tuple, desc, Anum_queues_version));
	vq_read_trial(DatumGetUUIDP(get_attribute(tuple, desc, Anum_queues_id)), settings);
}

const char *
vq_state_name(VqState state)
{
	return state_names[state];
}

int32
vq_burst(const VqSettings *settings)
{
	return settings->burst > 0 ? settings->burst : vq_pacer_default_burst(settings->rate_per_minute);
}

/* What is done with a tuple that was found. */
typedef void (*Reader) (HeapTuple tuple, TupleDesc desc, void *result);

/* Fetch by a unique index; false if there is none. */
static bool
fetch(VqRelation table, VqRelation index, ScanKey keys, int n_keys, Snapshot snapshot,
	  Reader reader, void *result)
{
	Relation	rel = table_open(vq_relation(table), AccessShareLock);
	SysScanDesc scan;
	HeapTuple	tuple;

	/* A parallel query's snapshot is all there may be. */
	if (snapshot == NULL)
		snapshot = IsInParallelMode() ? GetActiveSnapshot() : GetLatestSnapshot();
	snapshot = RegisterSnapshot(snapshot);
	scan = systable_beginscan(rel, vq_relation(index), true, snapshot, n_keys, keys);
	tuple = systable_getnext(scan);
	if (tuple != NULL)
		reader(tuple, RelationGetDescr(rel), result);
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, NoLock);
	return tuple != NULL;
}

static void
read_row(HeapTuple tuple, TupleDesc desc, void *result)
{
	vq_read_row(tuple, desc, result);
}

static bool
fetch_row(VqRelation index, ScanKey keys, int n_keys, Snapshot snapshot, VqRow *row)
{
	return fetch(VQ_SESSIONS, index, keys, n_keys, snapshot, read_row, row);
}

static void
read_id(HeapTuple tuple, TupleDesc desc, void *result)
{
	/* Column 1 of both tenants and queues. */
	*(pg_uuid_t *) result = *DatumGetUUIDP(get_attribute(tuple, desc, Anum_queues_id));
}

/* A secret of a known length. */
typedef struct Secret
{
	void	   *key;
	Size		length;
	bool		fits;
} Secret;

static void
read_secret(HeapTuple tuple, TupleDesc desc, void *result)
{
	Secret	   *secret = result;
	bytea	   *value = DatumGetByteaPP(get_attribute(tuple, desc, Anum_secrets_value));

	secret->fits = VARSIZE_ANY_EXHDR(value) == secret->length;
	if (secret->fits)
		memcpy(secret->key, VARDATA_ANY(value), secret->length);
}

static int64
read_quota(HeapTuple tuple, TupleDesc desc, int attnum)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, attnum, desc, &isnull);

	return isnull ? -1 : DatumGetInt32(value);
}

static void
read_quotas(HeapTuple tuple, TupleDesc desc, void *result)
{
	VqQuotas   *quotas = result;

	quotas->queues = read_quota(tuple, desc, Anum_tenants_max_queues);
	quotas->waiting = read_quota(tuple, desc, Anum_tenants_max_waiting_sessions);
}

static void
read_tenant_name(HeapTuple tuple, TupleDesc desc, void *result)
{
	*(char **) result = TextDatumGetCString(get_attribute(tuple, desc, Anum_tenants_name));
}

static void
read_settings(HeapTuple tuple, TupleDesc desc, void *result)
{
	vq_read_settings(tuple, desc, result);
}

static void
key_uuid(ScanKey key, AttrNumber attnum, const pg_uuid_t *id)
{
	ScanKeyInit(key, attnum, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(id));
}

bool
vq_fetch_session(const pg_uuid_t *id, Snapshot snapshot, VqRow *row)
{
	ScanKeyData key;

	key_uuid(&key, Anum_sessions_id, id);
	return fetch_row(VQ_SESSIONS_PKEY, &key, 1, snapshot, row);
}

bool
vq_fetch_ticket(const pg_uuid_t *queue_id, int64 ticket, Snapshot snapshot, VqRow *row)
{
	ScanKeyData keys[2];

	key_uuid(&keys[0], Anum_sessions_queue_id, queue_id);
	ScanKeyInit(&keys[1], Anum_sessions_ticket, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(ticket));
	return fetch_row(VQ_SESSIONS_TICKET, keys, 2, snapshot, row);
}

/*
 * A column of the first row, in a direction, that an index finds by these keys;
 * false if it finds none.
 */
static bool
fetch_end(VqRelation which, ScanKeyData *keys, int n_keys, Snapshot snapshot, ScanDirection direction,
		  int attnum, Datum *value)
{
	Relation	rel = table_open(vq_relation(VQ_SESSIONS), AccessShareLock);
	Relation	index = index_open(vq_relation(which), AccessShareLock);
	SysScanDesc scan = systable_beginscan_ordered(rel, index, snapshot, n_keys, keys);
	HeapTuple	tuple = systable_getnext_ordered(scan, direction);

	if (tuple != NULL)
		*value = get_attribute(tuple, RelationGetDescr(rel), attnum);
	systable_endscan_ordered(scan);
	index_close(index, NoLock);
	table_close(rel, NoLock);
	return tuple != NULL;
}

int64
vq_fetch_last_ticket(const pg_uuid_t *queue_id, Snapshot snapshot)
{
	ScanKeyData key;
	Datum		ticket;

	key_uuid(&key, Anum_sessions_queue_id, queue_id);
	if (!fetch_end(VQ_SESSIONS_TICKET, &key, 1, snapshot, BackwardScanDirection, Anum_sessions_ticket, &ticket))
		return 0;
	return DatumGetInt64(ticket);
}

TimestampTz
vq_fetch_first_left(const pg_uuid_t *queue_id, TimestampTz from)
{
	ScanKeyData keys[2];
	Datum		left_at;

	key_uuid(&keys[0], Anum_sessions_queue_id, queue_id);
	ScanKeyInit(&keys[1], Anum_sessions_left_at, BTGreaterEqualStrategyNumber, F_TIMESTAMPTZ_GE,
				TimestampTzGetDatum(from));
	if (!fetch_end(VQ_SESSIONS_LEFT, keys, 2, GetActiveSnapshot(), ForwardScanDirection, Anum_sessions_left_at,
				   &left_at))
		return DT_NOEND;
	return DatumGetTimestampTz(left_at);
}

void
vq_scan_ended(const pg_uuid_t *queue_id, TimestampTz since, Snapshot snapshot,
			  VqEndedCallback callback, void *arg)
{
	Relation	rel = table_open(vq_relation(VQ_SESSIONS), AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	VqRow		row;

	key_uuid(&keys[0], Anum_sessions_queue_id, queue_id);
	ScanKeyInit(&keys[1], Anum_sessions_left_at, BTGreaterEqualStrategyNumber, F_TIMESTAMPTZ_GE,
				TimestampTzGetDatum(since));
	scan = systable_beginscan(rel, vq_relation(VQ_SESSIONS_LEFT), true, snapshot, 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		vq_read_row(tuple, RelationGetDescr(rel), &row);
		callback(&row, arg);
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
}

bool
vq_fetch_last_event(int64 *seq, TimestampTz *at)
{
	Relation	rel = table_open(vq_relation(VQ_EVENTS), AccessShareLock);
	Relation	index = index_open(vq_relation(VQ_EVENTS_PKEY), AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = systable_beginscan_ordered(rel, index, snapshot, 0, NULL);
	HeapTuple	tuple = systable_getnext_ordered(scan, BackwardScanDirection);
	bool		found = tuple != NULL;

	if (found)
	{
		*seq = DatumGetInt64(get_attribute(tuple, RelationGetDescr(rel), Anum_events_seq));
		*at = DatumGetTimestampTz(get_attribute(tuple, RelationGetDescr(rel), Anum_events_at));
	}
	systable_endscan_ordered(scan);
	UnregisterSnapshot(snapshot);
	index_close(index, NoLock);
	table_close(rel, NoLock);
	return found;
}

bool
vq_fetch_live(const pg_uuid_t *queue_id, const pg_uuid_t *user_id, Snapshot snapshot, VqRow *row)
{
	ScanKeyData keys[2];

	key_uuid(&keys[0], Anum_sessions_queue_id, queue_id);
	key_uuid(&keys[1], Anum_sessions_user_id, user_id);
	return fetch_row(VQ_SESSIONS_LIVE, keys, 2, snapshot, row);
}

bool
vq_await_live(const pg_uuid_t *queue_id, const pg_uuid_t *user_id)
{
	Relation	rel = table_open(vq_relation(VQ_SESSIONS), AccessShareLock);
	SnapshotData dirty;
	ScanKeyData keys[2];
	SysScanDesc scan;
	TransactionId inserter = InvalidTransactionId;

	InitDirtySnapshot(dirty);
	key_uuid(&keys[0], Anum_sessions_queue_id, queue_id);
	key_uuid(&keys[1], Anum_sessions_user_id, user_id);
	scan = systable_beginscan(rel, vq_relation(VQ_SESSIONS_LIVE), true, &dirty, 2, keys);
	if (systable_getnext(scan) != NULL)
		inserter = dirty.xmin;
	systable_endscan(scan);
	table_close(rel, NoLock);
	if (!TransactionIdIsValid(inserter))
		return false;
	XactLockTableWait(inserter, NULL, NULL, XLTW_None);
	return true;
}

static void
key_text(ScanKey key, AttrNumber attnum, const char *value)
{
	ScanKeyEntryInitialize(key, 0, attnum, BTEqualStrategyNumber, InvalidOid,
						   DEFAULT_COLLATION_OID, F_TEXTEQ, CStringGetTextDatum(value));
}

bool
vq_fetch_tenant(const char *name, pg_uuid_t *id)
{
	ScanKeyData key;

	key_text(&key, Anum_tenants_name, name);
	return fetch(VQ_TENANTS, VQ_TENANTS_NAME, &key, 1, NULL, read_id, id);
}

bool
vq_fetch_secret(const char *name, void *key, Size length)
{
	Secret		secret = {key, length, false};
	ScanKeyData scan_key;

	key_text(&scan_key, Anum_secrets_name, name);
	return fetch(VQ_SECRETS, VQ_SECRETS_PKEY, &scan_key, 1, NULL, read_secret, &secret) && secret.fits;
}

char *
vq_fetch_tenant_name(const pg_uuid_t *id)
{
	ScanKeyData key;
	char	   *name;

	key_uuid(&key, Anum_tenants_id, id);
	if (!fetch(VQ_TENANTS, VQ_TENANTS_PKEY, &key, 1, NULL, read_tenant_name, &name))
		return NULL;
	return name;
}

void
vq_fetch_quotas(const pg_uuid_t *tenant_id, VqQuotas *quotas)
{
	ScanKeyData key;

	key_uuid(&key, Anum_tenants_id, tenant_id);
	if (!fetch(VQ_TENANTS, VQ_TENANTS_PKEY, &key, 1, NULL, read_quotas, quotas))
		quotas->queues = quotas->waiting = -1;
}

bool
vq_fetch_queue_name(const pg_uuid_t *tenant_id, const char *name, pg_uuid_t *id)
{
	ScanKeyData keys[2];

	key_uuid(&keys[0], Anum_queues_tenant_id, tenant_id);
	key_text(&keys[1], Anum_queues_name, name);
	return fetch(VQ_QUEUES, VQ_QUEUES_NAME, keys, 2, NULL, read_id, id);
}

bool
vq_fetch_queue(const pg_uuid_t *id, VqSettings *settings)
{
	ScanKeyData key;

	key_uuid(&key, Anum_queues_id, id);
	return fetch(VQ_QUEUES, VQ_QUEUES_PKEY, &key, 1, NULL, read_settings, settings);
}
