/*
 * admit.c
 *		Writing the rows of those who are let in, past the executor.
 *
 * This is "UPDATE ... FOR UPDATE SKIP LOCKED" by its steps, but for the lock: a row
 * that is updated at once, or not at all, seldom needs one before, with its WAL.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "admit.h"
#include "change.h"
#include "compat.h"
#include "executor/tuptable.h"
#include "insert.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* How often a row is looked up again that has been changed since. */
#define MAX_TRIES 100

typedef struct Admission
{
	VqQueue    *queue;
	const pg_uuid_t *id;
	int64		at;
	bool		called;
	VqBook		book;
	Snapshot	snapshot;
	ScanKeyData keys[2];		/* by the columns of the index of tickets */
	TupleTableSlot *found;		/* the row as it was, */
	Datum		values[Natts_sessions]; /* and its columns, which point into it */
	bool		nulls[Natts_sessions];
	Datum		status;			/* that of those let in */
	TupleTableSlot *written;
	MemoryContext row_context;	/* for what one row takes; not for the scan, which goes on */
} Admission;

/* ---- looking up ---- */

static void
begin_scan(Admission *admission, IndexScanDesc *scan)
{
	admission->snapshot = RegisterSnapshot(GetLatestSnapshot());
	*scan = vq_index_beginscan(admission->book.table, admission->book.ticket, admission->snapshot, 2);
}

static void
end_scan(Admission *admission, IndexScanDesc scan)
{
	ExecClearTuple(admission->found);
	index_endscan(scan);
	UnregisterSnapshot(admission->snapshot);
}

/* False if no such session waits. */
static bool
find_waiting(Admission *admission, IndexScanDesc scan, int64 ticket, VqRow *row)
{
	HeapTuple	tuple;
	bool		ours;

	admission->keys[1].sk_argument = Int64GetDatum(ticket);
	index_rescan(scan, admission->keys, 2, NULL, 0);
	if (!index_getnext_slot(scan, ForwardScanDirection, admission->found))
		return false;
	tuple = ExecFetchSlotHeapTuple(admission->found, false, &ours);
	heap_deform_tuple(tuple, RelationGetDescr(admission->book.table), admission->values, admission->nulls);
	vq_whole_row_of(admission->values, admission->nulls, &tuple->t_self, row);
	return row->status == VQ_WAITING;
}

/* ---- writing ---- */

/* The row found, as it is once it is let in. */
static HeapTuple
form_admitted(Admission *admission, const VqRow *old, VqRow *new)
{
	Datum	   *values = admission->values;
	bool	   *nulls = admission->nulls;

	*new = *old;
	new->status = admission->called ? VQ_IS_READY : VQ_SERVING;
	new->served_at = admission->called ? 0 : admission->at;
	new->ready_at = admission->called ? admission->at : 0;
	values[Anum_sessions_status - 1] = admission->status;
	values[Anum_sessions_served_at - 1] = values[Anum_sessions_ready_at - 1] = TimestampTzGetDatum(admission->at);
	nulls[Anum_sessions_served_at - 1] = admission->called;
	nulls[Anum_sessions_ready_at - 1] = !admission->called;
	return heap_form_tuple(RelationGetDescr(admission->book.table), values, nulls);
}

/*
 * Update a row without waiting for anybody.  One that is locked, maybe by this very
 * transaction or in a way that does not matter, is locked by us too, if that can be
 * had at once; then there is nobody left to wait for.
 */
static TM_Result
update_row(Admission *admission, ItemPointer tid, bool *moved)
{
	Relation	rel = admission->book.table;
	TM_Result	result = vq_tuple_update(rel, tid, admission->written, admission->snapshot, false, moved);
	TM_FailureData failure;

	if (result != TM_BeingModified)
		return result;
	result = table_tuple_lock(rel, tid, admission->snapshot, admission->found, GetCurrentCommandId(true),
							  LockTupleNoKeyExclusive, LockWaitSkip, 0, &failure);
	if (result == TM_Ok)
		result = vq_tuple_update(rel, tid, admission->written, admission->snapshot, true, moved);
	return result;
}

/* Write a row; TM_Ok if it was, and is noted for memory. */
static TM_Result
write_row(Admission *admission, const VqRow *old)
{
	MemoryContext context = MemoryContextSwitchTo(admission->row_context);
	ItemPointerData tid = old->tid;
	bool		moved;
	TM_Result	result;
	VqRow		new;

	ExecStoreHeapTuple(form_admitted(admission, old, &new), admission->written, true);
	result = update_row(admission, &tid, &moved);
	if (result == TM_Ok)
	{
		new.tid = admission->written->tts_tid;
		if (moved)
			vq_insert_keys(&admission->book, &new);
		vq_note_change(admission->queue, old, &new);
	}
	ExecClearTuple(admission->written);
	MemoryContextSwitchTo(context);
	MemoryContextReset(admission->row_context);
	return result;
}

/* Let one in; false if somebody else has the row in hand, or it does not wait. */
static bool
admit(Admission *admission, IndexScanDesc *scan, int64 ticket, VqRow *row)
{
	for (int tries = 0; tries < MAX_TRIES; tries++)
	{
		if (!find_waiting(admission, *scan, ticket, row))
			return false;
		switch (write_row(admission, row))
		{
			case TM_Ok:
				return true;
			case TM_Updated:
			case TM_Deleted:
				/* It may still wait: nobody is to be passed over for a new name. */
				CHECK_FOR_INTERRUPTS();
				end_scan(admission, *scan);
				begin_scan(admission, scan);
				break;
			default:
				return false;
		}
	}
	return false;
}

int
vq_admit_rows(VqQueue *queue, const pg_uuid_t *id, const int64 *tickets, int n,
			  int64 at, bool called, VqReleased *released)
{
	Admission	admission = {.queue = queue, .id = id, .at = at, .called = called};
	IndexScanDesc scan;
	int			done = 0;

	vq_open_book(&admission.book);
	ScanKeyInit(&admission.keys[0], 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(id));
	ScanKeyInit(&admission.keys[1], 2, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(0));
	admission.status = CStringGetTextDatum(vq_status_names[called ? VQ_IS_READY : VQ_SERVING]);
	admission.row_context = AllocSetContextCreate(CurrentMemoryContext, "vqueue row", ALLOCSET_DEFAULT_SIZES);
	admission.found = table_slot_create(admission.book.table, NULL);
	admission.written = MakeSingleTupleTableSlot(RelationGetDescr(admission.book.table), &TTSOpsHeapTuple);
	begin_scan(&admission, &scan);
	for (int i = 0; i < n; i++)
	{
		VqRow		row;

		CHECK_FOR_INTERRUPTS();
		if (!admit(&admission, &scan, tickets[i], &row))
			continue;
		released[done].id = row.id;
		released[done].user_id = row.user_id;
		released[done].ticket = row.ticket;
		released[done++].at = at;
	}
	end_scan(&admission, scan);
	ExecDropSingleTupleTableSlot(admission.written);
	ExecDropSingleTupleTableSlot(admission.found);
	vq_close_book(&admission.book);
	MemoryContextDelete(admission.row_context);
	CommandCounterIncrement();
	return done;
}
