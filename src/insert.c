/*
 * insert.c
 *		Writing the rows of sessions that join, past the executor.
 *
 * This is "INSERT ... ON CONFLICT DO NOTHING" by its steps: look for a live
 * session of the user, insert speculatively, and take that back if the index
 * of live sessions says that somebody else was faster.  A join is short, and
 * starting and ending the executor would be a good part of it.
 *
 * Many rows at once are written as COPY writes them, a page at a time.  What is
 * not speculative cannot be taken back one by one, but only together with its
 * subtransaction: then they are written one by one after all.
 *
 * To look for a session of each user costs a fifth of writing the rows.  Who only
 * ever has newcomers join is therefore trusted to go on so: the rows are written at
 * once, and if the index says otherwise they are taken back, and then it is looked.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "change.h"
#include "commands/trigger.h"
#include "compat.h"
#include "executor/tuptable.h"
#include "insert.h"
#include "miscadmin.h"
#include "pending.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

/* ---- whether this is all there is to do ---- */

/* Ours only tell us what we know, and those of our foreign key see to a column that we do not change. */
static bool
is_our_trigger(const Trigger *trigger)
{
	return strcmp(trigger->tgname, "session_before") == 0 || strcmp(trigger->tgname, "session_after") == 0 ||
		(trigger->tgisinternal && trigger->tgfoid == F_RI_FKEY_CHECK_UPD);
}

/* Whether no trigger fires on an insert, or an update, but ours. */
static bool
only_our_triggers(const TriggerDesc *triggers, bool update)
{
	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		if (trigger->tgenabled != TRIGGER_DISABLED && !is_our_trigger(trigger) &&
			(update ? TRIGGER_FOR_UPDATE(trigger->tgtype) : TRIGGER_FOR_INSERT(trigger->tgtype)))
			return false;
	}
	return true;
}

static bool
only_our_indexes(Relation rel)
{
	List	   *indexes = RelationGetIndexList(rel);
	bool		ours = list_length(indexes) == 4 &&
	list_member_oid(indexes, vq_relation(VQ_SESSIONS_PKEY)) &&
	list_member_oid(indexes, vq_relation(VQ_SESSIONS_TICKET)) &&
	list_member_oid(indexes, vq_relation(VQ_SESSIONS_LIVE)) &&
	list_member_oid(indexes, vq_relation(VQ_SESSIONS_LEFT));	/* which has no entry of a live one */

	list_free(indexes);
	return ours;
}

/* Whether the columns are of the types and may be null as the install script has them. */
static bool
only_our_columns(TupleDesc desc)
{
	static const struct
	{
		Oid			type;
		bool		not_null;
	}			ours[Natts_sessions] =

	{
		{UUIDOID, true}, {UUIDOID, true}, {UUIDOID, true}, {INT8OID, true},
		{TIMESTAMPTZOID, true}, {TIMESTAMPTZOID, false}, {TIMESTAMPTZOID, false},
		{TEXTOID, true}, {TEXTOID, true}, {TEXTOID, false}, {TEXTOID, false}, {TEXTOID, false},
		{TIMESTAMPTZOID, false}, {TIMESTAMPTZOID, false}, {INT8OID, false}
	};

	if (desc->natts != Natts_sessions)
		return false;
	for (int i = 0; i < desc->natts; i++)
		if (TupleDescAttr(desc, i)->atttypid != ours[i].type ||
			(TupleDescAttr(desc, i)->attnotnull && !ours[i].not_null))
			return false;
	return desc->constr == NULL || (desc->constr->num_check == 0 && !desc->constr->has_generated_stored);
}

/* Whether rows may be inserted, or updated, past the executor. */
static bool
may_write(bool update)
{
	static uint64 version = 0;
	static bool may_insert = false;
	static bool may_update = false;

	/* What such a transaction cannot see is not to be found here either. */
	if (IsolationUsesXactSnapshot())
		return false;
	(void) vq_relation(VQ_SESSIONS);
	if (version != vq_relations_version())
	{
		Relation	rel = table_open(vq_relation(VQ_SESSIONS), RowExclusiveLock);
		bool		may = only_our_indexes(rel) && only_our_columns(RelationGetDescr(rel)) &&
		rel->rd_rules == NULL && !rel->rd_rel->relforcerowsecurity &&
		rel->rd_tableam == GetHeapamTableAmRoutine();

		may_insert = may && only_our_triggers(rel->trigdesc, false);
		may_update = may && only_our_triggers(rel->trigdesc, true) &&
			rel->rd_rel->relreplident != REPLICA_IDENTITY_NOTHING;
		table_close(rel, NoLock);
		version = vq_relations_version();
	}
	return update ? may_update : may_insert;
}

bool
vq_may_insert(void)
{
	return may_write(false);
}

bool
vq_may_update(void)
{
	return may_write(true) && !vq_is_replica();
}

/* ---- conflicts ---- */

/* Somebody who is about to give a user a session, or to end it. */
typedef struct Rival
{
	TransactionId xid;			/* invalid: nobody */
	uint32		token;			/* of an insertion that is not certain yet, or 0 */
} Rival;

static void
live_keys(const VqRow *row, AttrNumber queue_id, AttrNumber user_id, ScanKeyData *keys)
{
	ScanKeyInit(&keys[0], queue_id, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(&row->queue_id));
	ScanKeyInit(&keys[1], user_id, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(&row->user_id));
}

/* Whether the user has a live session, or there is a rival. */
static bool
has_live_session(Relation rel, const VqRow *row, Rival *rival)
{
	SnapshotData dirty;
	ScanKeyData keys[2];
	SysScanDesc scan;
	bool		found;

	InitDirtySnapshot(dirty);
	live_keys(row, Anum_sessions_queue_id, Anum_sessions_user_id, keys);
	scan = systable_beginscan(rel, vq_relation(VQ_SESSIONS_LIVE), true, &dirty, 2, keys);
	found = systable_getnext(scan) != NULL;
	rival->xid = !found ? InvalidTransactionId : TransactionIdIsValid(dirty.xmin) ? dirty.xmin : dirty.xmax;
	rival->token = found ? dirty.speculativeToken : 0;
	systable_endscan(scan);
	return found;
}

/* False once it is certain that the user has a live session. */
static bool
await_no_session(Relation rel, const VqRow *row)
{
	Rival		rival;

	while (has_live_session(rel, row, &rival))
	{
		if (!TransactionIdIsValid(rival.xid))
			return false;

		/* One who may yet take the row back is not to be waited for to the end. */
		if (rival.token != 0)
			SpeculativeInsertionWait(rival.xid, rival.token);
		else
			XactLockTableWait(rival.xid, NULL, NULL, XLTW_None);
	}
	return true;
}

/* ---- writing ---- */

void
vq_open_book(VqBook *book)
{
	book->table = table_open(vq_relation(VQ_SESSIONS), RowExclusiveLock);
	book->pkey = index_open(vq_relation(VQ_SESSIONS_PKEY), RowExclusiveLock);
	book->ticket = index_open(vq_relation(VQ_SESSIONS_TICKET), RowExclusiveLock);
	book->live = index_open(vq_relation(VQ_SESSIONS_LIVE), RowExclusiveLock);
}

void
vq_close_book(VqBook *book)
{
	index_close(book->live, NoLock);
	index_close(book->ticket, NoLock);
	index_close(book->pkey, NoLock);
	table_close(book->table, NoLock);
}

static void
put_values(const VqRow *row, Datum status, Datum priority, Datum user_name, Datum user_email,
		   Datum *values, bool *nulls)
{
	memset(nulls, false, Natts_sessions * sizeof(bool));
	values[Anum_sessions_id - 1] = UUIDPGetDatum(&row->id);
	values[Anum_sessions_queue_id - 1] = UUIDPGetDatum(&row->queue_id);
	values[Anum_sessions_user_id - 1] = UUIDPGetDatum(&row->user_id);
	values[Anum_sessions_ticket - 1] = Int64GetDatum(row->ticket);
	values[Anum_sessions_joined_at - 1] = TimestampTzGetDatum(row->joined_at);
	values[Anum_sessions_served_at - 1] = TimestampTzGetDatum(row->served_at);
	nulls[Anum_sessions_served_at - 1] = row->served_at == 0;
	nulls[Anum_sessions_left_at - 1] = true;
	values[Anum_sessions_status - 1] = status;
	values[Anum_sessions_priority - 1] = priority;
	values[Anum_sessions_user_name - 1] = user_name;
	nulls[Anum_sessions_user_name - 1] = user_name == (Datum) 0;
	values[Anum_sessions_user_email - 1] = user_email;
	nulls[Anum_sessions_user_email - 1] = user_email == (Datum) 0;
	nulls[Anum_sessions_reason - 1] = true;
	values[Anum_sessions_ready_at - 1] = TimestampTzGetDatum(row->ready_at);
	nulls[Anum_sessions_ready_at - 1] = row->ready_at == 0;
	nulls[Anum_sessions_extended_at - 1] = true;
	values[Anum_sessions_place_key - 1] = Int64GetDatum(row->place_key);
	nulls[Anum_sessions_place_key - 1] = row->place_key == 0;
}

static TupleTableSlot *
slot_of(Relation rel, const VqRow *row, Datum user_name, Datum user_email)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);

	put_values(row, CStringGetTextDatum(vq_status_names[row->status]), CStringGetTextDatum(vq_lane_names[row->lane]),
			   user_name, user_email, slot->tts_values, slot->tts_isnull);
	ExecStoreVirtualTuple(slot);
	return slot;
}

static bool
insert_key(Relation rel, Relation index, IndexUniqueCheck check, Datum first, Datum second,
		   const ItemPointerData *tid)
{
	Datum		values[2] = {first, second};
	bool		nulls[2] = {false, false};
	ItemPointerData place = *tid;

	return index_insert(index, values, nulls, &place, rel, check, false, NULL);
}

/* False, or an error, as the check says, if the user got a live session meanwhile. */
static bool
insert_live_key(VqBook *book, const VqRow *row, IndexUniqueCheck check)
{
	return insert_key(book->table, book->live, check,
					  UUIDPGetDatum(&row->queue_id), UUIDPGetDatum(&row->user_id), &row->tid);
}

static void
insert_other_keys(VqBook *book, const VqRow *row)
{
	(void) insert_key(book->table, book->pkey, UNIQUE_CHECK_YES, UUIDPGetDatum(&row->id), (Datum) 0, &row->tid);
	(void) insert_key(book->table, book->ticket, UNIQUE_CHECK_YES,
					  UUIDPGetDatum(&row->queue_id), Int64GetDatum(row->ticket), &row->tid);
}

void
vq_insert_keys(VqBook *book, const VqRow *row)
{
	insert_other_keys(book, row);
	(void) insert_live_key(book, row, UNIQUE_CHECK_YES);
}

/* Insert the row, and take it back if the user got a live session meanwhile. */
static bool
insert_speculatively(VqBook *book, TupleTableSlot *slot, VqRow *row)
{
	uint32		token = SpeculativeInsertionLockAcquire(GetCurrentTransactionId());
	bool		alone;

	table_tuple_insert_speculative(book->table, slot, GetCurrentCommandId(true), 0, NULL, token);
	row->tid = slot->tts_tid;
	insert_other_keys(book, row);
	alone = insert_live_key(book, row, UNIQUE_CHECK_PARTIAL);
	table_tuple_complete_speculative(book->table, slot, token, alone);
	SpeculativeInsertionLockRelease(GetCurrentTransactionId());
	return alone;
}

/* Insert the row of a user who can have no session: there is nothing to take back. */
static void
insert_plainly(VqBook *book, TupleTableSlot *slot, VqRow *row)
{
	table_tuple_insert(book->table, slot, GetCurrentCommandId(true), 0, NULL);
	row->tid = slot->tts_tid;
	vq_insert_keys(book, row);
}

static bool
insert_one(VqQueue *queue, VqBook *book, VqRow *row, bool new_user, Datum user_name, Datum user_email)
{
	bool		written = false;

	while (!written && (new_user || await_no_session(book->table, row)))
	{
		TupleTableSlot *slot = slot_of(book->table, row, user_name, user_email);

		written = new_user || insert_speculatively(book, slot, row);
		if (new_user)
			insert_plainly(book, slot, row);
		ExecDropSingleTupleTableSlot(slot);
	}
	if (written)
	{
		(void) vq_note_add(queue, row, vq_row_kind(row), 0, false);
		CommandCounterIncrement();
	}
	return written;
}

bool
vq_insert_session(VqQueue *queue, VqRow *row, bool new_user, Datum user_name, Datum user_email)
{
	VqBook		book;
	bool		written;

	vq_open_book(&book);
	written = insert_one(queue, &book, row, new_user, user_name, user_email);
	vq_close_book(&book);
	return written;
}

/* ---- many at once ---- */

/* Rows written together, so many at a time; fewer than this are not worth a subtransaction. */
#define BATCH		256
#define FEW			4

/* Subtransactions of one transaction, beyond which every snapshot of all others would pay for more. */
#define MANY_SUBTRANSACTIONS (PGPROC_MAX_CACHED_SUBXIDS / 2)

static HeapTuple
form_row(Relation rel, const VqRow *row)
{
	Datum		values[Natts_sessions];
	bool		nulls[Natts_sessions];

	put_values(row, CStringGetTextDatum(vq_status_names[row->status]), CStringGetTextDatum(vq_lane_names[row->lane]),
			   (Datum) 0, (Datum) 0, values, nulls);
	return heap_form_tuple(RelationGetDescr(rel), values, nulls);
}

/* False if the user of one of them got a live session meanwhile. */
static bool
insert_batch(VqBook *book, VqRow **rows, int n, TupleTableSlot **slots)
{
	for (int i = 0; i < n; i++)
		ExecStoreHeapTuple(form_row(book->table, rows[i]), slots[i], true);
	table_multi_insert(book->table, slots, n, GetCurrentCommandId(true), 0, NULL);
	for (int i = 0; i < n; i++)
		rows[i]->tid = slots[i]->tts_tid;
	for (int i = 0; i < n; i++)
		if (!insert_live_key(book, rows[i], UNIQUE_CHECK_PARTIAL))
			return false;
	for (int i = 0; i < n; i++)
		insert_other_keys(book, rows[i]);
	return true;
}

static bool
insert_batches(VqBook *book, VqRow **rows, int n)
{
	TupleTableSlot *slots[BATCH];
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "vqueue batch", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = CurrentMemoryContext;
	int			n_slots = Min(n, BATCH);
	bool		alone = true;

	for (int i = 0; i < n_slots; i++)
		slots[i] = MakeSingleTupleTableSlot(RelationGetDescr(book->table), &TTSOpsHeapTuple);
	MemoryContextSwitchTo(context);
	for (int done = 0; done < n && alone; done += BATCH)
	{
		CHECK_FOR_INTERRUPTS();
		alone = insert_batch(book, rows + done, Min(n - done, BATCH), slots);
		for (int i = 0; i < n_slots; i++)
			ExecClearTuple(slots[i]);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old);
	for (int i = 0; i < n_slots; i++)
		ExecDropSingleTupleTableSlot(slots[i]);
	MemoryContextDelete(context);
	return alone;
}

/* The same in a subtransaction, which is rolled back if it is false. */
static bool
insert_together(VqBook *book, VqRow **rows, int n)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool alone = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		alone = insert_batches(book, rows, n);
		if (alone)
			ReleaseCurrentSubTransaction();
		else
			RollbackAndReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		ReThrowError(error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return alone;
}

static bool
is_worth_subtransaction(int n)
{
	return n >= FEW && !MyProc->subxidStatus.overflowed && MyProc->subxidStatus.count < MANY_SUBTRANSACTIONS;
}

/*
 * Leave out those whose users have a live session, zeroing their tickets; returns
 * how many are left in wanted.  Before anything is written, as who wants to write for
 * one of the users would have to wait for us.
 */
static int
find_newcomers(VqBook *book, VqRow *rows, int n, VqRow **wanted)
{
	TupleTableSlot *slot = table_slot_create(book->table, NULL);
	int			n_wanted = 0;
	SnapshotData dirty;
	ScanKeyData keys[2];
	IndexScanDesc scan;

	InitDirtySnapshot(dirty);
	live_keys(&rows[0], 1, 2, keys);	/* of the index's columns */
	scan = vq_index_beginscan(book->table, book->live, &dirty, 2);
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		keys[1].sk_argument = UUIDPGetDatum(&rows[i].user_id);	/* all are of one queue */
		index_rescan(scan, keys, 2, NULL, 0);
		if (index_getnext_slot(scan, ForwardScanDirection, slot))
		{
			/* No buffer stays pinned while somebody is waited for. */
			ExecClearTuple(slot);
			index_rescan(scan, keys, 2, NULL, 0);
			if (!await_no_session(book->table, &rows[i]))
			{
				rows[i].ticket = 0;
				continue;
			}
		}
		wanted[n_wanted++] = &rows[i];
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	return n_wanted;
}

/*
 * Calls of this process in a row in which all were newcomers.  After so many the next
 * one is taken to be alike; it leaves dead rows behind if not, so it must not be large.
 */
#define TRUSTED		8
#define MOST_TRUSTED 10000

static int	calls_of_newcomers = 0;

/* Write all of them together without a look; false if that was not tried, or taken back. */
static bool
insert_trusting(VqBook *book, VqRow *rows, int n, VqRow **wanted)
{
	if (calls_of_newcomers < TRUSTED || n > MOST_TRUSTED || !is_worth_subtransaction(n))
		return false;
	for (int i = 0; i < n; i++)
		wanted[i] = &rows[i];
	return insert_together(book, wanted, n);
}

void
vq_insert_sessions(VqQueue *queue, VqRow *rows, int n)
{
	VqRow	  **wanted = MemoryContextAllocHuge(CurrentMemoryContext, n * sizeof(VqRow *));
	int			n_wanted = n;
	bool		together;
	VqBook		book;

	vq_open_book(&book);
	together = insert_trusting(&book, rows, n, wanted);
	if (!together)
	{
		n_wanted = find_newcomers(&book, rows, n, wanted);
		together = is_worth_subtransaction(n_wanted) && insert_together(&book, wanted, n_wanted);
	}
	calls_of_newcomers = together && n_wanted == n ? Min(calls_of_newcomers + 1, TRUSTED) : 0;
	for (int i = 0; i < n_wanted; i++)
	{
		if (together)
			(void) vq_note_add(queue, wanted[i], vq_row_kind(wanted[i]), 0, false);
		else if (!insert_one(queue, &book, wanted[i], false, (Datum) 0, (Datum) 0))
			wanted[i]->ticket = 0;
	}
	CommandCounterIncrement();
	vq_close_book(&book);
	pfree(wanted);
}
