/*
 * session.c
 *		What a session's user does: poll, leave, complete; and an operator's
 *		remove.  Joining is in join.c.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "guc.h"
#include "lookup.h"
#include "pending.h"
#include "place.h"
#include "queue.h"
#include "rebuild.h"
#include "roster.h"
#include "statement.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define MAX_REASON 1000

static void
unknown_session(const pg_uuid_t *id)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("session \"%s\" does not exist", vq_uuid_text(id)),
			 errdetail("There is no such session in tenant \"%s\".", vq_tenant),
			 errhint("Join again with vqueue.join(), and check that vqueue.tenant is set as it was then.")));
}

/* Name and tenant of the session's queue; false if it is gone. */
static bool
read_queue(VqPlace *place, pg_uuid_t *tenant)
{
	const pg_uuid_t *id = &place->row.queue_id;
	VqSettings	settings;
	VqQueue    *queue;

	if (place->by_table)
	{
		if (!vq_fetch_queue(id, &settings))
			return false;
		*tenant = settings.tenant_id;
		strlcpy(place->queue, settings.name, VQ_NAME_SIZE);
		return true;
	}
	queue = vq_find_queue(id);
	if (queue == NULL)
		return false;
	vq_label_of(queue, place->queue, tenant);
	return true;
}

/* Note the name of the session's queue, if that is one of the current tenant. */
static bool
name_queue(VqPlace *place)
{
	pg_uuid_t	current;
	pg_uuid_t	tenant;

	vq_current_tenant(&current);
	return read_queue(place, &tenant) && memcmp(&current, &tenant, sizeof(tenant)) == 0;
}

/* The session that the first argument means; as it is now, or as lookup.h says. */
static void
get_session(FunctionCallInfo fcinfo, bool as_is_now, VqPlace *place)
{
	pg_uuid_t  *id;
	bool		found;

	if (PG_ARGISNULL(0))
		vq_null_argument("session");
	id = PG_GETARG_UUID_P(0);
	place->by_table = RecoveryInProgress();
	if (!place->by_table)
		vq_ready();
	if (place->by_table || as_is_now)
		found = vq_fetch_session(id, NULL, &place->row);
	else
		found = vq_look_up_session(id, &place->row);
	if (!found || !name_queue(place))
		unknown_session(id);
}

static Datum
look(FunctionCallInfo fcinfo, bool alive)
{
	VqPlace		place;

	get_session(fcinfo, false, &place);
	vq_locate(&place, alive);
	return vq_place_datum(fcinfo, &place);
}

PG_FUNCTION_INFO_V1(vqueue_poll);
Datum
vqueue_poll(PG_FUNCTION_ARGS)
{
	return look(fcinfo, true);
}

PG_FUNCTION_INFO_V1(vqueue_status);
Datum
vqueue_status(PG_FUNCTION_ARGS)
{
	return look(fcinfo, false);
}

static Datum
look_at_position(FunctionCallInfo fcinfo, bool alive)
{
	VqPlace		place;
	int64		position;

	get_session(fcinfo, false, &place);
	position = vq_locate_position(&place, alive);
	if (position < 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(position);
}

PG_FUNCTION_INFO_V1(vqueue_heartbeat);
Datum
vqueue_heartbeat(PG_FUNCTION_ARGS)
{
	return look_at_position(fcinfo, true);
}

PG_FUNCTION_INFO_V1(vqueue_position);
Datum
vqueue_position(PG_FUNCTION_ARGS)
{
	return look_at_position(fcinfo, false);
}

/* ---- positions of tickets ---- */

static Datum
position_datum(FunctionCallInfo fcinfo, int64 position)
{
	if (position < 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(position);
}

static int64
position_in_memory(VqQueue *queue, const pg_uuid_t *queue_id, int64 ticket)
{
	int64		position = VQ_POSITION_NONE;

	LWLockAcquire(&queue->lock, LW_SHARED);
	if (vq_is_queue(queue, queue_id))
		position = vq_position_in(queue, ticket);
	LWLockRelease(&queue->lock);
	return position;
}

/* On a standby. */
static int64
position_in_table(const pg_uuid_t *queue_id, int64 ticket)
{
	VqRow		row;

	if (!vq_fetch_ticket(queue_id, ticket, NULL, &row))
		return VQ_POSITION_NONE;
	return vq_count_position(&row);
}

PG_FUNCTION_INFO_V1(vqueue_position_of_ticket);
Datum
vqueue_position_of_ticket(PG_FUNCTION_ARGS)
{
	pg_uuid_t	id;
	VqQueue    *queue;

	if (PG_ARGISNULL(0))
		vq_null_argument("queue");
	if (PG_ARGISNULL(1))
		vq_null_argument("ticket");
	if (RecoveryInProgress())
	{
		vq_resolve_queue(PG_GETARG_TEXT_PP(0), &id);
		return position_datum(fcinfo, position_in_table(&id, PG_GETARG_INT64(1)));
	}
	queue = vq_queue_of(PG_GETARG_TEXT_PP(0), &id);
	return position_datum(fcinfo, position_in_memory(queue, &id, PG_GETARG_INT64(1)));
}

PG_FUNCTION_INFO_V1(vqueue_position_of_ticket_by_id);
Datum
vqueue_position_of_ticket_by_id(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id;
	VqQueue    *queue;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	id = PG_GETARG_UUID_P(0);
	if (RecoveryInProgress())
		return position_datum(fcinfo, position_in_table(id, PG_GETARG_INT64(1)));
	vq_ready();
	queue = vq_find_queue(id);
	if (queue == NULL)
		PG_RETURN_NULL();
	return position_datum(fcinfo, position_in_memory(queue, id, PG_GETARG_INT64(1)));
}

/* ---- endings ---- */

static void
must_not_wait(const VqRow *row)
{
	if (row->status != VQ_WAITING)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("session \"%s\" is still waiting", vq_uuid_text(&row->id)),
			 errdetail("Only a session that was let in can be completed."),
			 errhint("Call vqueue.leave() for a user who walks away from the line.")));
}

/*
 * Try to end a live session; false if somebody else was faster.  The row is then
 * as it was written: it may have been let in, or moved, while we waited for it.
 */
static bool
write_end(VqRow *row, VqStatus status, TimestampTz left_at, Datum reason)
{
	Datum		values[5];
	const char *nulls = reason == (Datum) 0 ? "   n " : NULL;
	VqCaller	caller;
	uint64		n;

	values[0] = UUIDPGetDatum(&row->id);
	values[1] = CStringGetTextDatum(vq_status_names[status]);
	values[2] = TimestampTzGetDatum(left_at);
	values[3] = reason;
	values[4] = BoolGetDatum(status != VQ_COMPLETED);
	n = vq_execute(VQ_END_SESSION, values, nulls, &caller);
	if (n > 0)
		vq_read_row(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, row);
	vq_executed(&caller);
	return n > 0;
}

static Datum
end_session(FunctionCallInfo fcinfo, const char *function, VqStatus status, Datum reason)
{
	VqPlace		place;

	PreventCommandIfReadOnly(function);
	for (int tries = 0;; tries++)
	{
		TimestampTz left_at = GetCurrentTimestamp();

		CHECK_FOR_INTERRUPTS();
		get_session(fcinfo, true, &place);
		if (!vq_is_live(&place.row))
		{
			ereport(NOTICE,
					(errmsg("session \"%s\" has already ended", vq_uuid_text(&place.row.id)),
					 errdetail("Its status is %s.", vq_status_names[place.row.status])));
			break;
		}
		if (status == VQ_COMPLETED)
			must_not_wait(&place.row);
		if (write_end(&place.row, status, left_at, reason))
			break;

		/* A transaction with one snapshot may never get to see the row as it is. */
		if (IsolationUsesXactSnapshot() && tries > 0)
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not serialize access to session \"%s\"", vq_uuid_text(&place.row.id)),
					 errhint("Run the transaction again.")));
	}
	vq_locate(&place, false);
	return vq_place_datum(fcinfo, &place);
}

PG_FUNCTION_INFO_V1(vqueue_leave);
Datum
vqueue_leave(PG_FUNCTION_ARGS)
{
	return end_session(fcinfo, "vqueue.leave()", VQ_LEFT, (Datum) 0);
}

PG_FUNCTION_INFO_V1(vqueue_complete);
Datum
vqueue_complete(PG_FUNCTION_ARGS)
{
	return end_session(fcinfo, "vqueue.complete()", VQ_COMPLETED, (Datum) 0);
}

PG_FUNCTION_INFO_V1(vqueue_remove);
Datum
vqueue_remove(PG_FUNCTION_ARGS)
{
	text	   *reason = PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1);

	if (reason && VARSIZE_ANY_EXHDR(reason) > MAX_REASON)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("reason is too long"),
				 errdetail("It has %d bytes, the limit is %d.", (int) VARSIZE_ANY_EXHDR(reason), MAX_REASON),
				 errhint("Shorten it.")));
	return end_session(fcinfo, "vqueue.remove()", VQ_REMOVED, PointerGetDatum(reason));
}
