/*
 * trigger.c
 *		The row triggers by which memory learns of every change of the tables,
 *		whoever makes it: our functions, plain SQL, COPY, a restore, replication.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "change.h"
#include "client.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "hold.h"
#include "miscadmin.h"
#include "note.h"
#include "pending.h"
#include "queue.h"
#include "quota.h"
#include "rebuild.h"
#include "reserve.h"
#include "roster.h"
#include "standing.h"
#include "statement.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/timestamp.h"

/* Bytes of a session's texts. */
#define MAX_TEXT 1000

static void
misused(const char *how)
{
	ereport(ERROR,
			(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
			 errmsg("function was not called %s", how)));
}

static TriggerData *
trigger_data(FunctionCallInfo fcinfo)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		misused("by a trigger");
	return (TriggerData *) fcinfo->context;
}

/* Rows are read by the numbers of their columns, so they must be those of the right table. */
static TriggerData *
row_trigger_data(FunctionCallInfo fcinfo, VqRelation table)
{
	TriggerData *data = trigger_data(fcinfo);

	if (!TRIGGER_FIRED_FOR_ROW(data->tg_event) ||
		RelationGetRelid(data->tg_relation) != vq_relation(table))
		misused("by a row trigger of its table");
	return data;
}

/*
 * Memory of a row's queue, with the queue kept from being dropped.  NULL if a
 * replica does not have it yet: memory is then built anew after the commit.
 */
static VqQueue *
queue_of_row(const pg_uuid_t *id)
{
	VqQueue    *queue;

	vq_ready();
	vq_lock_against_drop(id);
	queue = vq_find_queue(id);
	if (queue != NULL && !queue->gone)
		return queue;
	if (!vq_is_replica())
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("queue \"%s\" does not exist", vq_uuid_text(id)),
				 errdetail("A session must belong to a queue."),
				 errhint("Insert the row of vqueue.queues first.")));
	vq_note_stale();
	return NULL;
}

/* ---- sessions ---- */

static Datum
column(HeapTuple tuple, TupleDesc desc, int attnum, bool *isnull)
{
	return heap_getattr(tuple, attnum, desc, isnull);
}

/* A row inserted by hand without a ticket gets one. */
static HeapTuple
give_ticket(HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;
	Datum		queue_id = column(tuple, desc, Anum_sessions_queue_id, &isnull);
	Datum		priority;
	text	   *name;
	int			lane;
	int			attnums[2] = {Anum_sessions_ticket, Anum_sessions_place_key};
	Datum		values[2];
	bool		nulls[2];
	VqRow		row;
	VqQueue    *queue;

	if (isnull)
		return tuple;			/* fails on the column's constraint */
	priority = column(tuple, desc, Anum_sessions_priority, &isnull);
	if (isnull)
		return tuple;

	/* Others' queues are as unknown as those there are not: row-level security refuses both. */
	if (!vq_may_queue(DatumGetUUIDP(queue_id), VQ_MAY_STEER) &&
		check_enable_rls(vq_relation(VQ_SESSIONS), InvalidOid, true) == RLS_ENABLED)
		return tuple;
	name = DatumGetTextPP(priority);
	lane = vq_parse_lane(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
	if (lane < 0)
		ereport(ERROR,
				(errcode(ERRCODE_CHECK_VIOLATION),
				 errmsg("priority \"%s\" is not known", text_to_cstring(name)),
				 errhint("Use low, normal, high or vip.")));
	queue = queue_of_row(DatumGetUUIDP(queue_id));
	if (queue == NULL)
		return tuple;
	row.queue_id = *DatumGetUUIDP(queue_id);
	row.lane = lane;
	if (vq_issue_tickets(queue, false, VQ_NO_QUOTA, &row, 1) != VQ_ISSUED)
		vq_out_of_memory();
	values[0] = Int64GetDatum(row.ticket);
	nulls[0] = false;
	values[1] = Int64GetDatum(row.place_key);
	nulls[1] = row.place_key == 0;
	return heap_modify_tuple_by_cols(tuple, desc, 2, attnums, values, nulls);
}

static void
check_identity(const VqRow *old, const VqRow *new)
{
	if (old->ticket == new->ticket &&
		memcmp(&old->queue_id, &new->queue_id, sizeof(pg_uuid_t)) == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("queue and ticket of a session cannot be changed"),
			 errdetail("A ticket belongs to one session of one queue for good."),
			 errhint("End the session and join anew.")));
}

/* A changed status brings its times along where they were not given. */
static HeapTuple
give_times(HeapTuple tuple, TupleDesc desc, const VqRow *old, VqRow new)
{
	int			attnums[4] = {Anum_sessions_served_at, Anum_sessions_left_at,
	Anum_sessions_ready_at, Anum_sessions_extended_at};
	Datum		values[4];
	bool		nulls[4];

	if (old->status == new.status)
		return tuple;
	if (new.status == VQ_WAITING)
		new.served_at = new.ready_at = new.extended_at = 0;
	else if (new.status == VQ_IS_READY)
	{
		new.served_at = new.extended_at = 0;
		if (new.ready_at == 0)
			new.ready_at = GetCurrentTimestamp();
	}
	else if (new.served_at == 0 &&
			 (new.status == VQ_SERVING || new.status == VQ_COMPLETED || new.status == VQ_EXPIRED))
		new.served_at = GetCurrentTimestamp();
	if (vq_is_live(&new))
		new.left_at = 0;
	else if (new.left_at == 0)
		new.left_at = GetCurrentTimestamp();
	values[0] = TimestampTzGetDatum(new.served_at);
	values[1] = TimestampTzGetDatum(new.left_at);
	values[2] = TimestampTzGetDatum(new.ready_at);
	values[3] = TimestampTzGetDatum(new.extended_at);
	nulls[0] = new.served_at == 0;
	nulls[1] = new.left_at == 0;
	nulls[2] = new.ready_at == 0;
	nulls[3] = new.extended_at == 0;
	return heap_modify_tuple_by_cols(tuple, desc, 4, attnums, values, nulls);
}

/* Who waits in another lane now is a newcomer there, unless the place was given by hand. */
static HeapTuple
give_place(HeapTuple tuple, TupleDesc desc, const VqRow *old, VqRow new)
{
	int			attnum = Anum_sessions_place_key;
	Datum		value;
	bool		isnull;
	VqQueue    *queue;

	if (vq_is_replica() || new.status != VQ_WAITING || new.lane == old->lane ||
		new.place_key != old->place_key || (queue = vq_find_queue(&new.queue_id)) == NULL)
		return tuple;
	new.place_key = vq_place_newcomer(queue, &new.queue_id, new.lane);
	if (new.place_key == old->place_key)
		return tuple;
	value = Int64GetDatum(new.place_key);
	isnull = new.place_key == 0;
	return heap_modify_tuple_by_cols(tuple, desc, 1, &attnum, &value, &isnull);
}

/* ---- what a session may be ---- */

static void
violation(const char *what, const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_CHECK_VIOLATION),
			 errmsg("%s", what),
			 errdetail("%s", detail),
			 errhint("%s", hint)));
}

static int
known_name(HeapTuple tuple, TupleDesc desc, int attnum, int (*parse) (const char *, int))
{
	bool		isnull;
	Datum		value = column(tuple, desc, attnum, &isnull);
	text	   *name;

	if (isnull)
		return -1;				/* fails on the column's constraint */
	name = DatumGetTextPP(value);
	return parse(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
}

static void
check_names(HeapTuple tuple, TupleDesc desc)
{
	if (known_name(tuple, desc, Anum_sessions_status, vq_parse_status) < 0)
		violation("session has an unknown status",
				  "A status is one of waiting, ready, serving, completed, left, abandoned, no_show, expired, removed.",
				  "Write one of them.");
	if (known_name(tuple, desc, Anum_sessions_priority, vq_parse_lane) < 0)
		violation("session has an unknown priority",
				  "A priority is one of low, normal, high, vip.",
				  "Write one of them.");
}

static void
check_texts(HeapTuple tuple, TupleDesc desc)
{
	for (int attnum = Anum_sessions_user_name; attnum <= Anum_sessions_reason; attnum++)
	{
		bool		isnull;
		Datum		value = column(tuple, desc, attnum, &isnull);

		if (!isnull && toast_raw_datum_size(value) - VARHDRSZ > MAX_TEXT)
			violation("text of a session is too long",
					  "Names, e-mail addresses and reasons have at most 1000 bytes.",
					  "Shorten it.");
	}
}

static void
check_row(const VqRow *row)
{
	bool		was_in = row->status == VQ_SERVING || row->status == VQ_COMPLETED ||
	row->status == VQ_EXPIRED;

	if (row->ticket <= 0 || row->ticket > VQ_MAX_TICKET)
		violation("ticket of a session is out of range",
				  "Tickets are numbered from 1, and none is above 2 to the power of 60.",
				  "Leave the ticket null to have one issued.");
	if (row->place_key < 0 || row->place_key > VQ_MAX_KEY)
		violation("place_key of a session is out of range",
				  "It is null, or from 1 to 2 to the power of 62.",
				  "Leave it null.");
	if (vq_is_live(row) != (row->left_at == 0))
		violation("left_at of a session does not fit its status",
				  "It is there exactly if the session has ended.",
				  "Change the status alone: its time comes along.");
	if ((was_in && row->served_at == 0) ||
		((row->status == VQ_WAITING || row->status == VQ_IS_READY) && row->served_at != 0))
		violation("served_at of a session does not fit its status",
				  "It is there if the session was let in, and not while it waits.",
				  "Change the status alone: its time comes along.");
	if ((row->status == VQ_IS_READY && row->ready_at == 0) || (row->status == VQ_WAITING && row->ready_at != 0))
		violation("ready_at of a session does not fit its status",
				  "It is there if the session was called, and not while it waits.",
				  "Change the status alone: its time comes along.");
}

/* Read a new row, having made sure that it is one that may be. */
static void
read_checked_row(HeapTuple tuple, TupleDesc desc, VqRow *row)
{
	check_names(tuple, desc);
	check_texts(tuple, desc);
	vq_read_row(tuple, desc, row);
	check_row(row);
}

/* Whether the row can be read, for the trigger that comes before all checks. */
static bool
is_readable(HeapTuple tuple, TupleDesc desc)
{
	for (int attnum = Anum_sessions_id; attnum <= Anum_sessions_joined_at; attnum++)
		if (heap_attisnull(tuple, attnum, desc))
			return false;
	return known_name(tuple, desc, Anum_sessions_priority, vq_parse_lane) >= 0 &&
		known_name(tuple, desc, Anum_sessions_status, vq_parse_status) >= 0;
}

PG_FUNCTION_INFO_V1(vqueue_session_before);
Datum
vqueue_session_before(PG_FUNCTION_ARGS)
{
	TriggerData *data = row_trigger_data(fcinfo, VQ_SESSIONS);
	TupleDesc	desc = RelationGetDescr(data->tg_relation);
	HeapTuple	tuple;
	VqRow		old;
	VqRow		new;

	/* Now, as it may have to build, which a transaction that has written cannot. */
	vq_ready();
	if (TRIGGER_FIRED_BY_DELETE(data->tg_event))
		return PointerGetDatum(data->tg_trigtuple);
	if (TRIGGER_FIRED_BY_INSERT(data->tg_event))
		return PointerGetDatum(heap_attisnull(data->tg_trigtuple, Anum_sessions_ticket, desc) ?
							   give_ticket(data->tg_trigtuple, desc) : data->tg_trigtuple);
	if (!is_readable(data->tg_newtuple, desc))
		return PointerGetDatum(data->tg_newtuple);
	vq_read_row(data->tg_trigtuple, desc, &old);
	vq_read_row(data->tg_newtuple, desc, &new);
	check_identity(&old, &new);
	tuple = give_times(data->tg_newtuple, desc, &old, new);
	return PointerGetDatum(give_place(tuple, desc, &old, new));
}

PG_FUNCTION_INFO_V1(vqueue_session_after);
Datum
vqueue_session_after(PG_FUNCTION_ARGS)
{
	TriggerData *data = row_trigger_data(fcinfo, VQ_SESSIONS);
	TupleDesc	desc = RelationGetDescr(data->tg_relation);
	VqRow		row;
	VqRow		new;
	VqQueue    *queue;

	if (TRIGGER_FIRED_BY_INSERT(data->tg_event))
	{
		read_checked_row(data->tg_trigtuple, desc, &row);
		queue = queue_of_row(&row.queue_id);
		if (queue == NULL)
			return PointerGetDatum(NULL);
		if (!vq_is_live(&row))
			vq_note_ticket(queue, row.ticket);
		else if (vq_note_step(queue, NULL, &row))
			return PointerGetDatum(NULL);
		if (vq_let_in_at(&row) != 0)
			vq_note_let_in(queue, &row.queue_id, vq_let_in_at(&row));
		return PointerGetDatum(NULL);
	}

	vq_read_row(data->tg_trigtuple, desc, &row);
	if (TRIGGER_FIRED_BY_UPDATE(data->tg_event))
		read_checked_row(data->tg_newtuple, desc, &new);
	vq_ready();
	queue = vq_find_queue(&row.queue_id);
	if (queue == NULL)
	{
		/* Its queue is being deleted with it, or was not replicated yet. */
		vq_note_stale();
		return PointerGetDatum(NULL);
	}
	if (TRIGGER_FIRED_BY_UPDATE(data->tg_event))
	{
		vq_note_change(queue, &row, &new);
		if (vq_is_replica() && vq_let_in_at(&new) != 0 && vq_let_in_at(&new) != vq_let_in_at(&row))
			vq_note_let_in(queue, &row.queue_id, vq_let_in_at(&new));
	}
	else if (vq_is_live(&row))
		vq_note_remove(queue, &row, vq_row_kind(&row), 0, -1);
	return PointerGetDatum(NULL);
}

/* ---- queues ---- */

static bool
queue_id(HeapTuple tuple, TupleDesc desc, pg_uuid_t *id)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, Anum_queues_id, desc, &isnull);

	if (!isnull)
		*id = *DatumGetUUIDP(value);
	return !isnull;
}

/*
 * A queue that comes to a tenant by plain SQL is bound by the quota too, unless the
 * owner brings it, as a restore must succeed.
 */
static void
admit_queue(const TriggerData *data, TupleDesc desc)
{
	bool		insert = TRIGGER_FIRED_BY_INSERT(data->tg_event);
	HeapTuple	tuple = insert ? data->tg_trigtuple : data->tg_newtuple;
	bool		isnull;
	pg_uuid_t	tenant;

	if (TRIGGER_FIRED_BY_DELETE(data->tg_event) || vq_is_replica() || has_privs_of_role(GetUserId(), vq_owner()))
		return;
	tenant = *DatumGetUUIDP(column(tuple, desc, Anum_queues_tenant_id, &isnull));
	if (isnull || (!insert && memcmp(&tenant, DatumGetUUIDP(column(data->tg_trigtuple, desc, Anum_queues_tenant_id, &isnull)), UUID_LEN) == 0))
		return;
	vq_admit_queue(&tenant);
}

PG_FUNCTION_INFO_V1(vqueue_queue_before);
Datum
vqueue_queue_before(PG_FUNCTION_ARGS)
{
	TriggerData *data = row_trigger_data(fcinfo, VQ_QUEUES);
	TupleDesc	desc = RelationGetDescr(data->tg_relation);
	int			attnums[2] = {Anum_queues_version, Anum_queues_updated_at};
	bool		nulls[2] = {false, false};
	Datum		values[2];
	pg_uuid_t	id;
	pg_uuid_t	new_id;

	vq_ready();
	admit_queue(data, desc);
	if (TRIGGER_FIRED_BY_INSERT(data->tg_event))
		return PointerGetDatum(data->tg_trigtuple);
	(void) queue_id(data->tg_trigtuple, desc, &id);
	if (TRIGGER_FIRED_BY_DELETE(data->tg_event))
	{
		vq_lock_against_joins(&id);
		return PointerGetDatum(data->tg_trigtuple);
	}
	if (!queue_id(data->tg_newtuple, desc, &new_id))
		return PointerGetDatum(data->tg_newtuple);	/* fails on the column's constraint */
	if (memcmp(&id, &new_id, sizeof(id)) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("id of a queue cannot be changed"),
				 errhint("Make a new queue, or rename this one.")));
	if (vq_is_replica())
		return PointerGetDatum(data->tg_newtuple);
	values[0] = Int64GetDatum(DatumGetInt64(column(data->tg_trigtuple, desc, Anum_queues_version, &nulls[0])) + 1);
	values[1] = TimestampTzGetDatum(GetCurrentTimestamp());
	return PointerGetDatum(heap_modify_tuple_by_cols(data->tg_newtuple, desc, 2, attnums, values, nulls));
}

/* Events begin from the state that a queue is made in, which none tells. */
static void
insert_mark(const pg_uuid_t *id, VqState state)
{
	Datum		values[2] = {UUIDPGetDatum(id), CStringGetTextDatum(vq_state_name(state))};
	VqCaller	caller;

	vq_execute(VQ_INSERT_MARK, values, NULL, &caller);
	vq_executed(&caller);
}

PG_FUNCTION_INFO_V1(vqueue_queue_after);
Datum
vqueue_queue_after(PG_FUNCTION_ARGS)
{
	TriggerData *data = row_trigger_data(fcinfo, VQ_QUEUES);
	TupleDesc	desc = RelationGetDescr(data->tg_relation);
	VqSettings	settings;
	VqQueue    *queue;
	pg_uuid_t	id;
	bool		made;

	vq_ready();
	(void) queue_id(data->tg_trigtuple, desc, &id);
	if (TRIGGER_FIRED_BY_INSERT(data->tg_event))
	{
		vq_read_settings(data->tg_trigtuple, desc, &settings);
		queue = vq_make_queue(&id, &made);
		vq_note_queue(queue, &settings, made);
		if (made && vq_is_replica())
		{
			/* Its sessions may have been replicated before it, and let in until now. */
			vq_note_let_in(queue, &id, vq_now().wall);
			vq_note_stale();
		}
		vq_begin_ceiling(&id, VQ_CEILING_STEP);
		insert_mark(&id, settings.state);
		return PointerGetDatum(NULL);
	}
	if (TRIGGER_FIRED_BY_DELETE(data->tg_event) && !vq_is_replica())
		vq_forget_clients(&id);
	queue = vq_find_queue(&id);
	if (queue == NULL)
		vq_note_stale();
	else if (TRIGGER_FIRED_BY_UPDATE(data->tg_event))
	{
		VqSettings	before;

		vq_read_settings(data->tg_trigtuple, desc, &before);
		vq_read_settings(data->tg_newtuple, desc, &settings);
		if (!vq_is_replica() && (before.state & VQ_RELEASES) == 0 && (settings.state & VQ_RELEASES) != 0)
			vq_hold_draw(queue, &id);
		vq_note_queue(queue, &settings, false);

		/* To whom its sessions count is changed by a rebuild alone. */
		if (memcmp(&before.tenant_id, &settings.tenant_id, UUID_LEN) != 0)
			vq_note_stale();
	}
	else
		vq_note_queue_gone(queue);
	return PointerGetDatum(NULL);
}

PG_FUNCTION_INFO_V1(vqueue_ceiling_after);
Datum
vqueue_ceiling_after(PG_FUNCTION_ARGS)
{
	TriggerData *data = row_trigger_data(fcinfo, VQ_CEILINGS);
	TupleDesc	desc = RelationGetDescr(data->tg_relation);
	HeapTuple	tuple = TRIGGER_FIRED_BY_UPDATE(data->tg_event) ? data->tg_newtuple : data->tg_trigtuple;
	bool		isnull;
	Datum		id = heap_getattr(tuple, Anum_ceilings_queue_id, desc, &isnull);
	Datum		ceiling = heap_getattr(tuple, Anum_ceilings_ceiling, desc, &isnull);
	VqQueue    *queue;

	vq_ready();
	queue = vq_find_queue(DatumGetUUIDP(id));
	if (queue == NULL)
		vq_note_stale();
	else
		vq_note_ceiling(queue, DatumGetInt64(ceiling), vq_writing_ceiling());
	return PointerGetDatum(NULL);
}

/* A draw that is written past us changes the order of those who were drawn. */
PG_FUNCTION_INFO_V1(vqueue_draw_changed);
Datum
vqueue_draw_changed(PG_FUNCTION_ARGS)
{
	TriggerData *data = row_trigger_data(fcinfo, VQ_DRAWS);
	TupleDesc	desc = RelationGetDescr(data->tg_relation);
	bool		drawn = !heap_attisnull(data->tg_trigtuple, Anum_draws_drawn_at, desc);
	VqSettings	settings;
	bool		isnull;

	if (TRIGGER_FIRED_BY_UPDATE(data->tg_event))
		drawn |= !heap_attisnull(data->tg_newtuple, Anum_draws_drawn_at, desc);
	vq_ready();

	/* With its queue it goes out of memory by itself. */
	if (TRIGGER_FIRED_BY_DELETE(data->tg_event) && drawn)
		drawn = vq_fetch_queue(DatumGetUUIDP(column(data->tg_trigtuple, desc, Anum_draws_queue_id, &isnull)), &settings);
	if (drawn && !vq_holding_draw())
		vq_note_stale();
	return PointerGetDatum(NULL);
}

/* ---- whole tables ---- */

PG_FUNCTION_INFO_V1(vqueue_table_changed);
Datum
vqueue_table_changed(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo);

	if (TRIGGER_FIRED_BY_TRUNCATE(data->tg_event) && !vq_is_replica() &&
		RelationGetRelid(data->tg_relation) == vq_relation(VQ_QUEUES))
		vq_forget_clients(NULL);
	if (TRIGGER_FIRED_BY_TRUNCATE(data->tg_event) && RelationGetRelid(data->tg_relation) != vq_relation(VQ_ACCESS))
		vq_note_stale();
	else
		vq_note_names();
	return PointerGetDatum(NULL);
}
