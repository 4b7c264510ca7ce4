/*
 * draws.c
 *		The draws of queues: their rows, and the places that follow from them.
 *
 * What is computed here is also in the documents, in Python, for everybody to
 * recompute: change neither.
 */
#include "postgres.h"

#include "access.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "draw.h"
#include "draws.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "table.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* How many go into an array, of a gigabyte at the most. */
#define MAX_LISTED 100000000

/* ---- the list of tickets ---- */

bytea *
vq_pack_tickets(const int64 *tickets, uint32 n)
{
	StringInfoData list;
	int64		before = 0;
	bytea	   *packed;

	initStringInfo(&list);
	for (uint32 i = 0; i < n; i++)
	{
		uint64		step = (uint64) (tickets[i] - before);

		for (; step >= 0x80; step >>= 7)
			appendStringInfoCharMacro(&list, (char) (0x80 | (step & 0x7f)));
		appendStringInfoCharMacro(&list, (char) step);
		before = tickets[i];
	}
	packed = MemoryContextAllocHuge(CurrentMemoryContext, VARHDRSZ + (Size) list.len);
	SET_VARSIZE(packed, VARHDRSZ + list.len);
	memcpy(VARDATA(packed), list.data, list.len);
	pfree(list.data);
	return packed;
}

/* NULL if the list is not one of n tickets. */
static int64 *
unpack_tickets(const bytea *packed, int64 n)
{
	const uint8 *byte = (const uint8 *) VARDATA_ANY(packed);
	const uint8 *end = byte + VARSIZE_ANY_EXHDR(packed);
	int64	   *tickets;
	uint64		ticket = 0;
	int64		found = 0;

	if (n < 0 || n > end - byte)
		return NULL;
	tickets = MemoryContextAllocHuge(CurrentMemoryContext, (n + 1) * sizeof(int64));
	while (byte < end)
	{
		uint64		step = 0;
		int			shift = 0;

		for (; byte < end && (*byte & 0x80) && shift < 56; shift += 7)
			step |= (uint64) (*byte++ & 0x7f) << shift;
		if (byte == end || (*byte & 0x80) || found == n)
			break;
		step |= ((uint64) byte[0]) << shift;
		ticket += step;
		if (step == 0 || ticket > VQ_MAX_TICKET)
			break;
		byte++;
		tickets[found++] = (int64) ticket;
	}
	if (byte == end && found == n)
		return tickets;
	pfree(tickets);
	return NULL;
}

/* ---- rows ---- */

static void
read_draw(HeapTuple tuple, TupleDesc desc, VqDrawRow *row)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, Anum_draws_seed, desc, &isnull);
	bytea	   *bytes = isnull ? NULL : DatumGetByteaPP(value);

	memset(row, 0, sizeof(*row));
	if (bytes != NULL && VARSIZE_ANY_EXHDR(bytes) == VQ_SEED_LEN)
		memcpy(row->seed, VARDATA_ANY(bytes), VQ_SEED_LEN);
	value = heap_getattr(tuple, Anum_draws_beacon, desc, &isnull);
	row->beacon = isnull ? pstrdup("") : TextDatumGetCString(value);
	(void) heap_getattr(tuple, Anum_draws_drawn_at, desc, &isnull);
	row->drawn = !isnull;
	if (!row->drawn)
		return;
	value = heap_getattr(tuple, Anum_draws_entrants, desc, &isnull);
	row->n = isnull ? 0 : DatumGetInt64(value);
	value = heap_getattr(tuple, Anum_draws_entrants_hash, desc, &isnull);
	row->hash = isnull ? pstrdup("") : TextDatumGetCString(value);
	value = heap_getattr(tuple, Anum_draws_tickets, desc, &isnull);
	if (!isnull && row->n <= VQ_MAX_ENTRANTS)
		row->tickets = unpack_tickets(DatumGetByteaPP(value), row->n);
}

/* What is done with a draw's row. */
typedef void (*Reader) (HeapTuple tuple, TupleDesc desc, VqDrawRow *row);

static bool
fetch(const pg_uuid_t *queue_id, Snapshot snapshot, Reader reader, VqDrawRow *row)
{
	Relation	rel = table_open(vq_relation(VQ_DRAWS), AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (snapshot == NULL)
		snapshot = IsInParallelMode() ? GetActiveSnapshot() : GetLatestSnapshot();
	snapshot = RegisterSnapshot(snapshot);
	ScanKeyInit(&key, Anum_draws_queue_id, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(queue_id));
	scan = systable_beginscan(rel, vq_relation(VQ_DRAWS_PKEY), true, snapshot, 1, &key);
	tuple = systable_getnext(scan);
	if (tuple != NULL)
		reader(tuple, RelationGetDescr(rel), row);
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, NoLock);
	return tuple != NULL;
}

bool
vq_fetch_draw(const pg_uuid_t *queue_id, Snapshot snapshot, VqDrawRow *row)
{
	return fetch(queue_id, snapshot, read_draw, row);
}

static void
read_whether_drawn(HeapTuple tuple, TupleDesc desc, VqDrawRow *row)
{
	row->drawn = !heap_attisnull(tuple, Anum_draws_drawn_at, desc);
}

bool
vq_has_drawn(const pg_uuid_t *queue_id)
{
	VqDrawRow	row;

	return fetch(queue_id, NULL, read_whether_drawn, &row) && row.drawn;
}

void
vq_scan_draws(Snapshot snapshot, VqDrawCallback callback)
{
	Relation	rel = table_open(vq_relation(VQ_DRAWS), AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, snapshot, 0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		id = heap_getattr(tuple, Anum_draws_queue_id, RelationGetDescr(rel), &isnull);
		Datum		last = heap_getattr(tuple, Anum_draws_last_ticket, RelationGetDescr(rel), &isnull);

		if (!isnull && !heap_attisnull(tuple, Anum_draws_drawn_at, RelationGetDescr(rel)))
			callback(DatumGetUUIDP(id), DatumGetInt64(last));
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
}

/* ---- from the seed to the places ---- */

void
vq_draw_key(const uint8 *seed, int64 n, const char *hash, const char *beacon, uint8 *key)
{
	char		seed_text[VQ_DIGEST_TEXT];
	char	   *all;

	vq_digest_text(seed, seed_text);
	all = psprintf("vqueue draw 1\n%s\n" INT64_FORMAT "\n%s\n%s", seed_text, n, hash, beacon);
	vq_sha256(all, strlen(all), key);
	pfree(all);
}

/* What a key says in a round of a value: the first 64 bits of SHA-256(key, round, value). */
static uint64
ask_key(void *ctx, int round, uint32 value)
{
	uint8		question[VQ_DIGEST_LEN + 5];
	uint8		answer[VQ_DIGEST_LEN];
	uint64		number = 0;

	memcpy(question, ctx, VQ_DIGEST_LEN);
	question[VQ_DIGEST_LEN] = round;
	for (int i = 0; i < 4; i++)
		question[VQ_DIGEST_LEN + 1 + i] = value >> (24 - 8 * i) & 0xff;
	vq_sha256(question, sizeof(question), answer);
	for (int i = 0; i < 8; i++)
		number = number << 8 | answer[i];
	return number;
}

static void
begin_draw(VqDraw *draw, const uint8 *key, uint64 n)
{
	uint32	   *steps;

	vq_draw_shape(draw, n);
	steps = MemoryContextAllocHuge(CurrentMemoryContext, vq_draw_steps(draw) * sizeof(uint32));
	vq_draw_fill(draw, steps, ask_key, (void *) key);
	draw->steps = steps;
}

uint32 *
vq_draw_all(const uint8 *key, uint32 n)
{
	uint32	   *places = MemoryContextAllocHuge(CurrentMemoryContext, Max(n, 1) * sizeof(uint32));
	VqDraw		draw;

	if (n == 0)
		return places;
	begin_draw(&draw, key, n);
	for (uint32 i = 0; i < n; i++)
	{
		if (i % 65536 == 0)
			CHECK_FOR_INTERRUPTS();
		places[i] = (uint32) vq_draw_place(&draw, i);
	}
	pfree((void *) draw.steps);
	return places;
}

bool
vq_fetch_entrants(const pg_uuid_t *queue_id, Snapshot snapshot, VqEntrants *entrants)
{
	uint8		key[VQ_DIGEST_LEN];
	VqDrawRow	row;

	if (!vq_fetch_draw(queue_id, snapshot, &row) || row.tickets == NULL)
		return false;
	vq_draw_key(row.seed, row.n, row.hash, row.beacon, key);
	entrants->n = (uint32) row.n;
	entrants->tickets = row.tickets;
	entrants->places = vq_draw_all(key, entrants->n);
	return true;
}

int64
vq_find_entrant(const VqEntrants *entrants, int64 ticket)
{
	int64		low = 0;
	int64		high = entrants->n;

	while (low < high)
	{
		int64		middle = (low + high) / 2;

		if (entrants->tickets[middle] < ticket)
			low = middle + 1;
		else
			high = middle;
	}
	return low < entrants->n && entrants->tickets[low] == ticket ? low : -1;
}

void
vq_free_entrants(VqEntrants *entrants)
{
	pfree(entrants->tickets);
	pfree(entrants->places);
	memset(entrants, 0, sizeof(*entrants));
}

/* ---- SQL functions ---- */

static void
bad_key(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("a draw has a key of %d bytes, and from 1 to %d entrants", VQ_DIGEST_LEN, VQ_MAX_ENTRANTS)));
}

static const uint8 *
key_argument(FunctionCallInfo fcinfo, int n)
{
	bytea	   *key = PG_GETARG_BYTEA_PP(n);

	if (VARSIZE_ANY_EXHDR(key) != VQ_DIGEST_LEN)
		bad_key();
	return (const uint8 *) VARDATA_ANY(key);
}

/* The place of one, from 1, of n: by its number in the list, from 1. */
PG_FUNCTION_INFO_V1(vqueue_draw_place);
Datum
vqueue_draw_place(PG_FUNCTION_ARGS)
{
	const uint8 *key = key_argument(fcinfo, 0);
	int64		n = PG_GETARG_INT64(1);
	int64		number = PG_GETARG_INT64(2);
	VqDraw		draw;

	if (n < 1 || n > VQ_MAX_ENTRANTS || number < 1 || number > n)
		bad_key();
	begin_draw(&draw, key, n);
	PG_RETURN_INT64(vq_draw_place(&draw, number - 1) + 1);
}

static void
check_array(int64 n)
{
	if (n > MAX_LISTED)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many entrants to be listed"),
				 errdetail("There are " INT64_FORMAT " of them, and at most %d fit into an array.", n, MAX_LISTED)));
}

static Datum
int8_array(Datum *elements, int64 n)
{
	return PointerGetDatum(construct_array(elements, (int) n, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* The places of all n, from 1, in the order of the list. */
PG_FUNCTION_INFO_V1(vqueue_draw_places);
Datum
vqueue_draw_places(PG_FUNCTION_ARGS)
{
	const uint8 *key = key_argument(fcinfo, 0);
	int64		n = PG_GETARG_INT64(1);
	Datum	   *elements;
	uint32	   *places;

	if (n < 0 || n > VQ_MAX_ENTRANTS)
		bad_key();
	check_array(n);
	places = vq_draw_all(key, (uint32) n);
	elements = MemoryContextAllocHuge(CurrentMemoryContext, Max(n, 1) * sizeof(Datum));
	for (int64 i = 0; i < n; i++)
		elements[i] = Int64GetDatum((int64) places[i] + 1);
	PG_RETURN_DATUM(int8_array(elements, n));
}

/* The tickets of a queue's entrants; null if it had no draw, or the list is damaged. */
PG_FUNCTION_INFO_V1(vqueue_draw_tickets);
Datum
vqueue_draw_tickets(PG_FUNCTION_ARGS)
{
	Datum	   *elements;
	VqDrawRow	row;

	if (!vq_may_queue(PG_GETARG_UUID_P(0), VQ_MAY_STEER) ||
		!vq_fetch_draw(PG_GETARG_UUID_P(0), NULL, &row) || row.tickets == NULL)
		PG_RETURN_NULL();
	check_array(row.n);
	elements = MemoryContextAllocHuge(CurrentMemoryContext, Max(row.n, 1) * sizeof(Datum));
	for (int64 i = 0; i < row.n; i++)
		elements[i] = Int64GetDatum(row.tickets[i]);
	PG_RETURN_DATUM(int8_array(elements, row.n));
}

/* The draw of the queue that a statement last asked for. */
typedef struct KnownDraw
{
	pg_uuid_t	queue_id;
	VqEntrants	entrants;
} KnownDraw;

/* By what a session stands, counted in the tables. */
PG_FUNCTION_INFO_V1(vqueue_order_key);
Datum
vqueue_order_key(PG_FUNCTION_ARGS)
{
	KnownDraw  *known = fcinfo->flinfo->fn_extra;
	int64		at;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	if (known == NULL)
		known = fcinfo->flinfo->fn_extra = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(KnownDraw));
	if (memcmp(&known->queue_id, PG_GETARG_UUID_P(0), sizeof(pg_uuid_t)) != 0)
	{
		MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);

		if (known->entrants.tickets != NULL)
			vq_free_entrants(&known->entrants);
		if (!vq_may_queue(PG_GETARG_UUID_P(0), VQ_MAY_STEER) ||
			!vq_fetch_entrants(PG_GETARG_UUID_P(0), GetActiveSnapshot(), &known->entrants))
			memset(&known->entrants, 0, sizeof(VqEntrants));
		known->queue_id = *PG_GETARG_UUID_P(0);
		MemoryContextSwitchTo(old);
	}
	at = vq_find_entrant(&known->entrants, PG_GETARG_INT64(1));
	if (at >= 0)
		PG_RETURN_INT64(VQ_DRAWN_KEY(known->entrants.places[at]));
	PG_RETURN_INT64(PG_ARGISNULL(2) ? 0 : PG_GETARG_INT64(2));
}
