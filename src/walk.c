/*
 * walk.c
 *		Walks through the tables: all rows that a snapshot sees, or those of one queue.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "walk.h"

/* Below this share of live rows the index of live sessions is the shorter way. */
#define LIVE_SHARE 0.2

/* Of a block that is full, about. */
#define ROWS_A_BLOCK 40.0

/* Hardly any row has one, and the null bitmap says so without a look at the columns before it. */
static int64
place_key_in(TupleTableSlot *slot)
{
	bool		isnull = false;
	Datum		value = (Datum) 0;

	if (TTS_IS_BUFFERTUPLE(slot))
		isnull = heap_attisnull(((HeapTupleTableSlot *) slot)->tuple, Anum_sessions_place_key,
								slot->tts_tupleDescriptor);
	if (!isnull)
		value = slot_getattr(slot, Anum_sessions_place_key, &isnull);
	return isnull ? 0 : DatumGetInt64(value);
}

static void
scan_by_table(Relation rel, Snapshot snapshot, VqRowCallback callback, void *arg)
{
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);
	VqRow		row;

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		slot_getsomeattrs(slot, Anum_sessions_priority);
		if (!slot->tts_isnull[Anum_sessions_left_at - 1])
			continue;
		vq_row_of(slot->tts_values, slot->tts_isnull, &slot->tts_tid, &row);
		if (row.status == VQ_WAITING)
			row.place_key = place_key_in(slot);
		callback(&row, arg);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
}

static void
scan_by_index(Relation rel, Snapshot snapshot, VqRowCallback callback, void *arg)
{
	SysScanDesc scan = systable_beginscan(rel, vq_relation(VQ_SESSIONS_LIVE), true, snapshot, 0, NULL);
	HeapTuple	tuple;
	VqRow		row;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		vq_read_row(tuple, RelationGetDescr(rel), &row);
		callback(&row, arg);
	}
	systable_endscan(scan);
}

/* Whether the planner's figures say that few of the rows are live. */
static bool
few_live(Relation rel)
{
	Relation	index = index_open(vq_relation(VQ_SESSIONS_LIVE), AccessShareLock);
	float4		live = index->rd_rel->reltuples;
	float4		all = rel->rd_rel->reltuples;

	index_close(index, NoLock);
	return live >= 0 && all > 10000 && live < LIVE_SHARE * all;
}

void
vq_scan_live(Snapshot snapshot, VqRowCallback callback, void *arg)
{
	Relation	rel = table_open(vq_relation(VQ_SESSIONS), AccessShareLock);

	if (few_live(rel))
		scan_by_index(rel, snapshot, callback, arg);
	else
		scan_by_table(rel, snapshot, callback, arg);
	table_close(rel, NoLock);
}

void
vq_scan_table(Snapshot snapshot, VqRowCallback callback, void *arg)
{
	Relation	rel = table_open(vq_relation(VQ_SESSIONS), AccessShareLock);

	scan_by_table(rel, snapshot, callback, arg);
	table_close(rel, NoLock);
}

void
vq_scan_tickets(const pg_uuid_t *queue_id, int64 from, Snapshot snapshot, VqRowCallback callback, void *arg)
{
	Relation	rel = table_open(vq_relation(VQ_SESSIONS), AccessShareLock);
	Relation	index = index_open(vq_relation(VQ_SESSIONS_TICKET), AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	VqRow		row;

	ScanKeyInit(&keys[0], Anum_sessions_queue_id, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(queue_id));
	ScanKeyInit(&keys[1], Anum_sessions_ticket, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(from));
	scan = systable_beginscan_ordered(rel, index, snapshot, 2, keys);
	while ((tuple = systable_getnext_ordered(scan, ForwardScanDirection)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		vq_read_row(tuple, RelationGetDescr(rel), &row);
		callback(&row, arg);
	}
	systable_endscan_ordered(scan);
	index_close(index, NoLock);
	table_close(rel, NoLock);
}

bool
vq_few_of_all(int64 rows)
{
	Relation	rel = table_open(vq_relation(VQ_SESSIONS), AccessShareLock);
	double		all = Max(rel->rd_rel->reltuples, RelationGetNumberOfBlocks(rel) * ROWS_A_BLOCK);

	table_close(rel, NoLock);
	return rows < LIVE_SHARE * all;
}

void
vq_scan_queues(Snapshot snapshot, VqQueueCallback callback, void *arg)
{
	Relation	rel = table_open(vq_relation(VQ_QUEUES), AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, vq_relation(VQ_QUEUES_PKEY), true, snapshot, 0, NULL);
	HeapTuple	tuple;
	VqSettings	settings;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		id = heap_getattr(tuple, Anum_queues_id, RelationGetDescr(rel), &isnull);

		vq_read_settings(tuple, RelationGetDescr(rel), &settings);
		callback(DatumGetUUIDP(id), &settings, arg);
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
}
