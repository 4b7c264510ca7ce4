/*
 * insert.c
 *		Writing the row of one session that joins, past the executor.
 *
 * This is "INSERT ... ON CONFLICT DO NOTHING" by its steps: look for a live
 * session of the user, insert speculatively, and take that back if the index
 * of live sessions says that somebody else was faster.  A join is short, and
 * starting and ending the executor would be a good part of it.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/tuptable.h"
#include "insert.h"
#include "pending.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* ---- whether this is all there is to do ---- */

/* Whether no trigger fires on an insert but ours, which only tell us what we know. */
static bool
only_our_triggers(const TriggerDesc *triggers)
{
	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		if (trigger->tgenabled != TRIGGER_DISABLED && TRIGGER_FOR_INSERT(trigger->tgtype) &&
			strcmp(trigger->tgname, "session_before") != 0 && strcmp(trigger->tgname, "session_after") != 0)
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

bool
vq_may_insert(void)
{
	static uint64 version = 0;
	static bool may = false;

	/* What such a transaction cannot see is not to be found here either. */
	if (IsolationUsesXactSnapshot())
		return false;
	(void) vq_relation(VQ_SESSIONS);
	if (version != vq_relations_version())
	{
		Relation	rel = table_open(vq_relation(VQ_SESSIONS), RowExclusiveLock);

		may = only_our_triggers(rel->trigdesc) && only_our_indexes(rel) &&
			only_our_columns(RelationGetDescr(rel)) && rel->rd_rules == NULL && !rel->rd_rel->relforcerowsecurity &&
			rel->rd_tableam == GetHeapamTableAmRoutine();
		table_close(rel, NoLock);
		version = vq_relations_version();
	}
	return may;
}

/* ---- conflicts ---- */

/* Somebody who is about to give a user a session, or to end it. */
typedef struct Rival
{
	TransactionId xid;			/* invalid: nobody */
	uint32		token;			/* of an insertion that is not certain yet, or 0 */
} Rival;

/* Whether the user has a live session, or there is a rival. */
static bool
has_live_session(Relation rel, const VqRow *row, Rival *rival)
{
	SnapshotData dirty;
	ScanKeyData keys[2];
	SysScanDesc scan;
	bool		found;

	InitDirtySnapshot(dirty);
	ScanKeyInit(&keys[0], Anum_sessions_queue_id, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(&row->queue_id));
	ScanKeyInit(&keys[1], Anum_sessions_user_id, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(&row->user_id));
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

static TupleTableSlot *
slot_of(Relation rel, const VqRow *row, Datum user_name, Datum user_email)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);
	Datum	   *values = slot->tts_values;

	memset(slot->tts_isnull, false, Natts_sessions * sizeof(bool));
	values[Anum_sessions_id - 1] = UUIDPGetDatum(&row->id);
	values[Anum_sessions_queue_id - 1] = UUIDPGetDatum(&row->queue_id);
	values[Anum_sessions_user_id - 1] = UUIDPGetDatum(&row->user_id);
	values[Anum_sessions_ticket - 1] = Int64GetDatum(row->ticket);
	values[Anum_sessions_joined_at - 1] = TimestampTzGetDatum(row->joined_at);
	values[Anum_sessions_served_at - 1] = TimestampTzGetDatum(row->served_at);
	slot->tts_isnull[Anum_sessions_served_at - 1] = row->served_at == 0;
	slot->tts_isnull[Anum_sessions_left_at - 1] = true;
	values[Anum_sessions_status - 1] = CStringGetTextDatum(vq_status_names[row->status]);
	values[Anum_sessions_priority - 1] = CStringGetTextDatum(vq_lane_names[row->lane]);
	values[Anum_sessions_user_name - 1] = user_name;
	slot->tts_isnull[Anum_sessions_user_name - 1] = user_name == (Datum) 0;
	values[Anum_sessions_user_email - 1] = user_email;
	slot->tts_isnull[Anum_sessions_user_email - 1] = user_email == (Datum) 0;
	slot->tts_isnull[Anum_sessions_reason - 1] = true;
	values[Anum_sessions_ready_at - 1] = TimestampTzGetDatum(row->ready_at);
	slot->tts_isnull[Anum_sessions_ready_at - 1] = row->ready_at == 0;
	slot->tts_isnull[Anum_sessions_extended_at - 1] = true;
	values[Anum_sessions_place_key - 1] = Int64GetDatum(row->place_key);
	slot->tts_isnull[Anum_sessions_place_key - 1] = row->place_key == 0;
	ExecStoreVirtualTuple(slot);
	return slot;
}

static bool
insert_key(Relation rel, VqRelation which, IndexUniqueCheck check, Datum first, Datum second,
		   const ItemPointerData *tid)
{
	Relation	index = index_open(vq_relation(which), RowExclusiveLock);
	Datum		values[2] = {first, second};
	bool		nulls[2] = {false, false};
	ItemPointerData place = *tid;
	bool		alone = index_insert(index, values, nulls, &place, rel, check, false, NULL);

	index_close(index, NoLock);
	return alone;
}

/* Enter a row that is there in the indexes; false if the user got a live session meanwhile. */
static bool
insert_keys(Relation rel, const VqRow *row, const ItemPointerData *tid)
{
	Datum		queue_id = UUIDPGetDatum(&row->queue_id);

	(void) insert_key(rel, VQ_SESSIONS_PKEY, UNIQUE_CHECK_YES, UUIDPGetDatum(&row->id), (Datum) 0, tid);
	(void) insert_key(rel, VQ_SESSIONS_TICKET, UNIQUE_CHECK_YES, queue_id, Int64GetDatum(row->ticket), tid);
	return insert_key(rel, VQ_SESSIONS_LIVE, UNIQUE_CHECK_PARTIAL, queue_id, UUIDPGetDatum(&row->user_id), tid);
}

/* Insert the row, and take it back if the user got a live session meanwhile. */
static bool
insert_speculatively(Relation rel, TupleTableSlot *slot, VqRow *row)
{
	uint32		token = SpeculativeInsertionLockAcquire(GetCurrentTransactionId());
	bool		alone;

	table_tuple_insert_speculative(rel, slot, GetCurrentCommandId(true), 0, NULL, token);
	row->tid = slot->tts_tid;
	alone = insert_keys(rel, row, &slot->tts_tid);
	table_tuple_complete_speculative(rel, slot, token, alone);
	SpeculativeInsertionLockRelease(GetCurrentTransactionId());
	return alone;
}

bool
vq_insert_session(VqQueue *queue, VqRow *row, bool new_user, Datum user_name, Datum user_email)
{
	Relation	rel = table_open(vq_relation(VQ_SESSIONS), RowExclusiveLock);
	TupleTableSlot *slot = NULL;
	bool		written = false;

	while (!written && (new_user || await_no_session(rel, row)))
	{
		new_user = false;
		if (slot != NULL)
			ExecDropSingleTupleTableSlot(slot);
		slot = slot_of(rel, row, user_name, user_email);
		written = insert_speculatively(rel, slot, row);
	}
	if (slot != NULL)
		ExecDropSingleTupleTableSlot(slot);
	table_close(rel, NoLock);
	if (written)
	{
		(void) vq_note_add(queue, row, vq_row_kind(row), 0, false);
		CommandCounterIncrement();
	}
	return written;
}
