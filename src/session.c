/*
 * session.c
 *		Looking at a session: poll, status, heartbeat and position.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
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
#include "utils/array.h"
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

/* The queue of the session asked for last, as most ask for those of one queue. */
static struct
{
	uint64		version;		/* of the names as of which it is right; 0: none */
	pg_uuid_t	id;
	pg_uuid_t	tenant;
	char		name[VQ_NAME_SIZE];
}			last_queue;

/* Find out name and tenant of a queue; false if it is gone. */
static bool
read_queue(const pg_uuid_t *id, bool by_table)
{
	VqSettings	settings;
	VqQueue    *queue;

	last_queue.version = 0;
	last_queue.id = *id;
	if (by_table)
	{
		if (!vq_fetch_queue(id, &settings))
			return false;
		last_queue.tenant = settings.tenant_id;
		strlcpy(last_queue.name, settings.name, VQ_NAME_SIZE);
		return true;
	}
	queue = vq_find_queue(id);
	if (queue == NULL)
		return false;
	vq_label_of(queue, last_queue.name, &last_queue.tenant);
	return true;
}

/*
 * Note the name of the session's queue, if that is one of the current tenant.  It is
 * remembered until any name may have changed, or a queue has gone.
 */
static bool
name_queue(const pg_uuid_t *current, VqPlace *place)
{
	const pg_uuid_t *id = &place->row.queue_id;
	uint64		version = place->by_table ? 0 : vq_version_to_remember();

	if (version == 0 || last_queue.version != version || memcmp(&last_queue.id, id, sizeof(*id)) != 0)
	{
		if (!read_queue(id, place->by_table))
			return false;
		last_queue.version = version;
	}
	strlcpy(place->queue, last_queue.name, VQ_NAME_SIZE);
	return memcmp(current, &last_queue.tenant, sizeof(*current)) == 0;
}

/* False if there is no such session in the current tenant, which the caller has found out before. */
static bool
find_session(const pg_uuid_t *id, const pg_uuid_t *current, bool as_is_now, VqPlace *place)
{
	bool		found;

	if (place->by_table || as_is_now)
		found = vq_fetch_session(id, NULL, &place->row);
	else
		found = vq_look_up_session(id, &place->row);
	return found && name_queue(current, place);
}

/* Decide where to look. */
static void
choose_source(VqPlace *place)
{
	place->by_table = RecoveryInProgress();
	if (!place->by_table)
		vq_ready();
}

void
vq_get_session(FunctionCallInfo fcinfo, int levels, bool as_is_now, VqPlace *place)
{
	pg_uuid_t  *id;
	pg_uuid_t	current;

	if (PG_ARGISNULL(0))
		vq_null_argument("session");
	id = PG_GETARG_UUID_P(0);
	choose_source(place);
	vq_current_tenant(levels, &current);
	if (!find_session(id, &current, as_is_now, place))
		unknown_session(id);
}

static void
look(FunctionCallInfo fcinfo, bool alive, VqPlace *place)
{
	vq_get_session(fcinfo, VQ_MAY_LOOK, false, place);
	vq_locate(place, alive);
}

void
vq_poll(FunctionCallInfo fcinfo, VqPlace *place)
{
	look(fcinfo, true, place);
}

PG_FUNCTION_INFO_V1(vqueue_poll);
Datum
vqueue_poll(PG_FUNCTION_ARGS)
{
	VqPlace		place;

	vq_poll(fcinfo, &place);
	return vq_place_datum(fcinfo, &place);
}

void
vq_status(FunctionCallInfo fcinfo, VqPlace *place)
{
	look(fcinfo, false, place);
}

PG_FUNCTION_INFO_V1(vqueue_status);
Datum
vqueue_status(PG_FUNCTION_ARGS)
{
	VqPlace		place;

	vq_status(fcinfo, &place);
	return vq_place_datum(fcinfo, &place);
}

static Datum
look_at_position(FunctionCallInfo fcinfo, bool alive)
{
	VqPlace		place;
	int64		position;

	vq_get_session(fcinfo, VQ_MAY_LOOK, false, &place);
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

/* Positions of many, in the order given: one unknown does not take the others their answer. */
PG_FUNCTION_INFO_V1(vqueue_positions);
Datum
vqueue_positions(PG_FUNCTION_ARGS)
{
	ArrayType  *sessions;
	Datum	   *ids;
	bool	   *nulls;
	int			n;
	int			lower = 1;
	pg_uuid_t	current;
	VqPlace		place;

	if (PG_ARGISNULL(0))
		vq_null_argument("sessions");
	sessions = PG_GETARG_ARRAYTYPE_P(0);
	deconstruct_array(sessions, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &ids, &nulls, &n);
	if (n == 0)
		PG_RETURN_ARRAYTYPE_P(construct_empty_array(INT8OID));
	choose_source(&place);
	vq_current_tenant(VQ_MAY_LOOK, &current);
	for (int i = 0; i < n; i++)
	{
		int64		position = VQ_POSITION_NONE;

		CHECK_FOR_INTERRUPTS();
		if (!nulls[i] && find_session(DatumGetUUIDP(ids[i]), &current, false, &place))
			position = vq_locate_position(&place, false);
		nulls[i] = position < 0;
		ids[i] = Int64GetDatum(position);
	}
	PG_RETURN_ARRAYTYPE_P(construct_md_array(ids, nulls, 1, &n, &lower, INT8OID, sizeof(int64), true, TYPALIGN_DOUBLE));
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
	vq_lock_whole(queue, LW_SHARED);
	if (!vq_knows_key(queue, ticket))
	{
		LWLockRelease(&queue->lock);
		if (!vq_fetch_ticket(queue_id, ticket, NULL, &row))
			return VQ_POSITION_NONE;
		vq_lock_whole(queue, LW_SHARED);
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
		vq_resolve_queue(VQ_MAY_SHOW, PG_GETARG_TEXT_PP(0), &id);
		return position_datum(fcinfo, position_in_table(&id, PG_GETARG_INT64(1)));
	}
	queue = vq_queue_of(VQ_MAY_SHOW, PG_GETARG_TEXT_PP(0), &id);
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
	if (!vq_may_queue(id, VQ_MAY_SHOW))
		PG_RETURN_NULL();
	if (RecoveryInProgress())
		return position_datum(fcinfo, position_in_table(id, PG_GETARG_INT64(1)));
	vq_ready();
	queue = vq_find_queue(id);
	if (queue == NULL)
		PG_RETURN_NULL();
	return position_datum(fcinfo, position_in_memory(queue, id, PG_GETARG_INT64(1)));
}
