/*
 * place.c
 *		Where a session stands: positions, estimates, and the SQL type place.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "due.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "mark.h"
#include "miscadmin.h"
#include "place.h"
#include "queue.h"
#include "rebuild.h"
#include "roster.h"
#include "statement.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

/* Polls are asked for after a tenth of the wait, but within these microseconds. */
#define POLL_SHORTEST	INT64CONST(1000000)
#define POLL_LONGEST	INT64CONST(60000000)

/* Departures are no measure before they were counted for so many seconds. */
#define SHORTEST_SPAN 3

void
vq_null_argument(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			 errmsg("%s must not be null", name),
			 errdetail("There is nothing that a null could stand for here."),
			 errhint("Give a value for %s.", name)));
}

VqKind
vq_lane_argument(FunctionCallInfo fcinfo, int n)
{
	text	   *name;
	int			lane;

	if (PG_ARGISNULL(n))
		vq_null_argument("priority");
	name = PG_GETARG_TEXT_PP(n);
	lane = vq_parse_lane(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
	if (lane < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("priority \"%s\" is not known", text_to_cstring(name)),
				 errdetail("The lanes of a queue are low, normal, high and vip."),
				 errhint("Use low, normal, high or vip.")));
	return lane;
}

/* ---- positions ---- */

static int64
position_in_lane(const VqQueue *queue, int lane, int64 ticket)
{
	return vq_lanes_position(&queue->lanes, queue->line.count, lane,
							 vq_line_rank(&queue->line, vq_arena(), lane, ticket));
}

int64
vq_position_in(const VqQueue *queue, int64 ticket)
{
	int			lane = vq_line_lane(&queue->line, vq_arena(), ticket);

	if (lane >= 0)
		return position_in_lane(queue, lane, ticket);
	if (vq_line_test(&queue->line, vq_arena(), VQ_INSIDE, ticket))
		return VQ_POSITION_INSIDE;
	return VQ_POSITION_NONE;
}

int64
vq_head(const VqQueue *queue)
{
	int64		count[VQ_LANES];
	int64		ticket;
	int			lane;

	memcpy(count, queue->line.count, sizeof(count));
	while ((lane = vq_lanes_next(&queue->lanes, count)) >= 0)
	{
		if (vq_line_select(&queue->line, vq_arena(), lane, 1, &ticket, 1) > 0)
			return ticket;
		count[lane] = 0;		/* all of it is in somebody's hands */
	}
	return 0;
}

/*
 * Whose turn it is by weight is known to memory alone, so here the turns begin anew:
 * a standby's position may differ from the primary's by up to two rounds, each of as
 * many as the weights of the occupied lanes add up to, and in either direction.  The
 * positions here still are the numbers from 1 on, each once, and in order in a lane.
 */
int64
vq_count_position(const VqRow *row)
{
	VqCaller	caller;
	VqLanes		lanes = {{0}, {0}};
	VqSettings	settings;
	Datum		values[3];
	int64		counts[1 + VQ_LANES];
	bool		isnull;

	if (row->status != VQ_WAITING)
		return vq_is_live(row) ? VQ_POSITION_INSIDE : VQ_POSITION_NONE;
	if (vq_fetch_queue(&row->queue_id, &settings))
		vq_lanes_configure(&lanes, settings.weights);
	values[0] = UUIDPGetDatum(&row->queue_id);
	values[1] = Int64GetDatum(row->ticket);
	values[2] = CStringGetTextDatum(vq_lane_names[row->lane]);
	vq_execute(VQ_COUNT_AHEAD, values, NULL, &caller);
	for (int i = 0; i <= VQ_LANES; i++)
		counts[i] = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1, &isnull));
	vq_executed(&caller);
	return vq_lanes_position(&lanes, counts + 1, row->lane, counts[0]);
}

/* ---- estimates ---- */

int64
vq_estimate(const VqQueue *queue, VqNow now, int64 position)
{
	int64		free_slots = queue->settings.max_concurrent_users - queue->line.count[VQ_INSIDE];
	int64		wait;
	int			span;
	int			departures;

	if ((queue->settings.state & VQ_RELEASES) == 0)
		return -1;
	if (vq_lets_all_in(queue))
		return 0;
	wait = vq_pacer_wait(&queue->pacer, now, position);

	/* Beyond the free slots, as many come in as go out. */
	span = vq_ring_span(&queue->departed, now);
	departures = vq_ring_sum(&queue->departed, now, span);
	if (position > free_slots && departures > 0 && span >= SHORTEST_SPAN)
		wait = Max(wait, (position - Max(free_slots, 0)) * span * USECS_PER_SEC / departures);
	return wait;
}

static int64
polite_delay(int64 wait)
{
	if (wait < 0)
		return POLL_LONGEST / 2;
	return Min(Max(wait / 10, POLL_SHORTEST), POLL_LONGEST);
}

/* ---- locating ---- */

/*
 * Position of a row by memory.  False if memory says that the row does not
 * wait any more, or in another lane, or is not inside any more, and should be
 * looked at again.
 */
static bool
locate_in_memory(VqQueue *queue, const VqRow *row, bool last_try, bool alive,
				 int64 *position, int64 *wait)
{
	bool		found = true;
	VqNow		now = vq_now();

	*position = VQ_POSITION_NONE;
	*wait = -1;
	LWLockAcquire(&queue->lock, LW_SHARED);
	if (vq_is_queue(queue, &row->queue_id))
	{
		if (alive && row->status == VQ_WAITING)
			vq_mark_alive(&queue->line, vq_arena(), row->ticket, now.mono / USECS_PER_SEC);
		if (row->status == VQ_WAITING)
		{
			int			lane = vq_line_lane(&queue->line, vq_arena(), row->ticket);

			found = lane == (int) row->lane || last_try;
			*position = position_in_lane(queue, lane >= 0 ? lane : (int) row->lane, row->ticket);
			*wait = vq_estimate(queue, now, *position);
		}
		else
		{
			found = last_try || vq_line_test(&queue->line, vq_arena(), VQ_INSIDE, row->ticket);
			*position = VQ_POSITION_INSIDE;
		}
	}
	LWLockRelease(&queue->lock);
	return found;
}

/*
 * Whether there is memory was decided when the session was looked up, and is
 * not asked again: at a promotion it would be yes before memory is built.
 */
static int64
locate(VqPlace *place, bool alive, int64 *wait)
{
	VqRow	   *row = &place->row;
	int64		position;

	*wait = -1;
	if (!vq_is_live(row))
		return VQ_POSITION_NONE;
	if (place->by_table)
		return vq_count_position(row);
	for (int tries = 0;; tries++)
	{
		VqQueue    *queue = vq_find_queue(&row->queue_id);

		if (queue == NULL)
			return VQ_POSITION_NONE;
		if (locate_in_memory(queue, row, tries > 0, alive, &position, wait))
			return position;

		/* It was released, or ended, since the row was read. */
		if (!vq_fetch_session(&row->id, NULL, row) || !vq_is_live(row))
			return VQ_POSITION_NONE;
	}
}

int64
vq_locate_position(VqPlace *place, bool alive)
{
	int64		wait;

	return locate(place, alive, &wait);
}

void
vq_locate(VqPlace *place, bool alive)
{
	place->position = locate(place, alive, &place->estimated_wait);
	place->next_poll_after = place->row.status == VQ_WAITING ? polite_delay(place->estimated_wait) : -1;
}

/* ---- the SQL type ---- */

Interval *
vq_interval(int64 microseconds)
{
	Interval   *interval = palloc0(sizeof(Interval));

	interval->time = microseconds;
	return interval;
}

static void
put(Datum *values, bool *nulls, int column, Datum value, bool isnull)
{
	values[column] = value;
	nulls[column] = isnull;
}

void
vq_place_values(const VqPlace *place, Datum *values, bool *nulls)
{
	const VqRow *row = &place->row;

	memset(nulls, false, VQ_PLACE_COLUMNS * sizeof(bool));
	values[0] = UUIDPGetDatum(&row->id);
	values[1] = CStringGetTextDatum(place->queue);
	values[2] = UUIDPGetDatum(&row->user_id);
	values[3] = CStringGetTextDatum(vq_status_names[row->status]);
	values[4] = CStringGetTextDatum(vq_lane_names[row->lane]);
	values[5] = Int64GetDatum(row->ticket);
	put(values, nulls, 6, Int64GetDatum(place->position), place->position < 0);
	put(values, nulls, 7, PointerGetDatum(vq_interval(place->estimated_wait)), place->estimated_wait < 0);
	put(values, nulls, 8, PointerGetDatum(vq_interval(place->next_poll_after)), place->next_poll_after < 0);
	values[9] = TimestampTzGetDatum(row->joined_at);
	put(values, nulls, 10, TimestampTzGetDatum(row->served_at), row->served_at == 0);
	put(values, nulls, 11, TimestampTzGetDatum(row->left_at), row->left_at == 0);
}

/* The descriptor of type place, kept: looking it up costs more than a rank. */
static TupleDesc
place_desc(FunctionCallInfo fcinfo)
{
	static TupleDesc desc = NULL;
	static Oid	desc_type = InvalidOid;
	Oid			type = get_func_rettype(fcinfo->flinfo->fn_oid);

	if (type != desc_type)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		desc = BlessTupleDesc(lookup_rowtype_tupdesc_copy(type, -1));
		desc_type = type;
		MemoryContextSwitchTo(old);
	}
	return desc;
}

Datum
vq_place_datum(FunctionCallInfo fcinfo, const VqPlace *place)
{
	Datum		values[VQ_PLACE_COLUMNS];
	bool		nulls[VQ_PLACE_COLUMNS];

	vq_place_values(place, values, nulls);
	return HeapTupleGetDatum(heap_form_tuple(place_desc(fcinfo), values, nulls));
}
