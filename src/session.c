/*
 * session.c
 *		Looking at a session: poll, status, heartbeat and position.
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
#include "session.h"
#include "standing.h"
#include "statement.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

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

void
vq_get_session(FunctionCallInfo fcinfo, bool as_is_now, VqPlace *place)
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

	vq_get_session(fcinfo, false, &place);
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

	vq_get_session(fcinfo, false, &place);
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
	VqRow		row;

	row.place_key = 0;
	LWLockAcquire(&queue->lock, LW_SHARED);
	if (!vq_knows_key(queue, ticket))
	{
		LWLockRelease(&queue->lock);
		if (!vq_fetch_ticket(queue_id, ticket, NULL, &row))
			return VQ_POSITION_NONE;
		LWLockAcquire(&queue->lock, LW_SHARED);
	}
	if (vq_is_queue(queue, queue_id))
		position = vq_position_in(queue, ticket, row.place_key);
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
