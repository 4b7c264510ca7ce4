/*
 * place.c
 *		Where a session stands: positions, estimates, and the SQL type place.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "draws.h"
#include "due.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "mark.h"
#include "miscadmin.h"
#include "outlook.h"
#include "place.h"
#include "polite.h"
#include "queue.h"
#include "rank.h"
#include "rebuild.h"
#include "roster.h"
#include "standing.h"
#include "statement.h"
#include "trial.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

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

/*
 * The lane in which a ticket stands, or -1, and how many stand ahead of it there;
 * what keys order, no line knows.
 */
static int
look_at_line(const VqQueue *queue, int64 ticket, int64 place_key, int64 second, int64 *rank)
{
	int			lane = vq_line_look(&queue->line, vq_arena(), ticket, second, rank);

	if (lane >= 0 && vq_is_ordered(queue))
		*rank = vq_stand_rank(queue, lane, ticket, place_key);
	return lane;
}

int64
vq_position_in(const VqQueue *queue, int64 ticket, int64 place_key)
{
	int64		rank;
	int			lane = look_at_line(queue, ticket, place_key, -1, &rank);

	if (lane >= 0)
		return vq_lanes_position(&queue->lanes, queue->line.count, lane, rank);
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
		if (vq_stand_select(queue, lane, &ticket, 1) > 0)
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
	Datum		values[4];
	int64		counts[1 + VQ_LANES];
	bool		isnull;
	bool		drawn = false;

	if (row->status != VQ_WAITING)
		return vq_is_live(row) ? VQ_POSITION_INSIDE : VQ_POSITION_NONE;
	if (vq_fetch_queue(&row->queue_id, &settings))
		vq_lanes_configure(&lanes, settings.weights);
	drawn = vq_has_drawn(&row->queue_id);
	values[0] = UUIDPGetDatum(&row->queue_id);
	values[1] = Int64GetDatum(row->ticket);
	values[2] = CStringGetTextDatum(vq_lane_names[row->lane]);
	values[3] = Int64GetDatum(row->place_key);
	vq_execute(drawn ? VQ_COUNT_AHEAD_DRAWN : VQ_COUNT_AHEAD, values, NULL, &caller);
	for (int i = 0; i <= VQ_LANES; i++)
		counts[i] = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1, &isnull));
	vq_executed(&caller);
	return vq_lanes_position(&lanes, counts + 1, row->lane, counts[0]);
}

/* ---- locating ---- */

static const VqWait unknown_wait = {-1, -1};

/*
 * Place of a row by memory, or its position alone.  False if memory says that the row
 * does not wait any more, or in another lane, or is not inside any more, and should be
 * looked at again.
 */
static bool
locate_in_memory(VqQueue *queue, VqPlace *place, bool whole, bool last_try, bool alive)
{
	const VqRow *row = &place->row;
	bool		found = true;
	VqNow		now = vq_now();

	place->position = VQ_POSITION_NONE;
	vq_lock_whole(queue, LW_SHARED);
	if (vq_is_queue(queue, &row->queue_id))
	{
		if (row->status == VQ_WAITING)
		{
			int64		rank;
			int			lane = look_at_line(queue, row->ticket, row->place_key,
											alive ? now.mono / USECS_PER_SEC : -1, &rank);

			found = lane == (int) row->lane || last_try;
			if (lane < 0)
			{
				lane = row->lane;
				rank = vq_stand_rank(queue, lane, row->ticket, row->place_key);
			}
			place->position = vq_lanes_position(&queue->lanes, queue->line.count, lane, rank);
			if (whole)
			{
				place->wait = vq_estimate(queue, now, lane, place->position);
				place->next_poll_after = vq_poll_after(vq_timeout_of(&queue->settings, VQ_WAITING, row->ticket),
													   place->wait.median);
			}
		}
		else
		{
			found = last_try || vq_line_test(&queue->line, vq_arena(), VQ_INSIDE, row->ticket);
			place->position = VQ_POSITION_INSIDE;
		}
	}
	LWLockRelease(&queue->lock);
	return found;
}

static void
know_nothing(VqPlace *place)
{
	place->position = VQ_POSITION_NONE;
	place->wait = unknown_wait;
	place->next_poll_after = -1;
}

/*
 * Whether there is memory was decided when the session was looked up, and is
 * not asked again: at a promotion it would be yes before memory is built.
 */
static void
locate(VqPlace *place, bool whole, bool alive)
{
	VqRow	   *row = &place->row;

	know_nothing(place);
	if (!vq_is_live(row))
		return;
	if (place->by_table)
	{
		place->position = vq_count_position(row);
		place->next_poll_after = row->status == VQ_WAITING ? VQ_POLL_UNKNOWN : -1;
		return;
	}
	for (int tries = 0;; tries++)
	{
		VqQueue    *queue = vq_find_queue(&row->queue_id);

		if (queue == NULL || locate_in_memory(queue, place, whole, tries > 0, alive))
			return;

		/* It was released, or ended, since the row was read. */
		know_nothing(place);
		if (!vq_fetch_session(&row->id, NULL, row) || !vq_is_live(row))
			return;
	}
}

void
vq_locate(VqPlace *place, bool alive)
{
	locate(place, true, alive);
}

int64
vq_locate_position(VqPlace *place, bool alive)
{
	locate(place, false, alive);
	return place->position;
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

/* The values are built in the place itself: to allocate each would cost a poll more than its rank. */
static void
put_text(Datum *values, int column, VqPlaceText *text, const char *word)
{
	Size		length = strlen(word);

	SET_VARSIZE(text, VARHDRSZ + length);
	memcpy(VARDATA(text), word, length);
	values[column] = PointerGetDatum(text);
}

static void
put_span(Datum *values, bool *nulls, int column, Interval *span, int64 microseconds)
{
	span->time = microseconds;
	span->day = span->month = 0;
	put(values, nulls, column, PointerGetDatum(span), microseconds < 0);
}

void
vq_place_values(VqPlace *place, Datum *values, bool *nulls)
{
	const VqRow *row = &place->row;

	memset(nulls, false, VQ_PLACE_COLUMNS * sizeof(bool));
	values[0] = UUIDPGetDatum(&row->id);
	put_text(values, 1, &place->texts[0], place->queue);
	values[2] = UUIDPGetDatum(&row->user_id);
	put_text(values, 3, &place->texts[1], vq_status_names[row->status]);
	put_text(values, 4, &place->texts[2], vq_lane_names[row->lane]);
	values[5] = Int64GetDatum(row->ticket);
	put(values, nulls, 6, Int64GetDatum(place->position), place->position < 0);
	put_span(values, nulls, 7, &place->spans[0], place->wait.median);
	put_span(values, nulls, 8, &place->spans[1], place->wait.p90);
	put_span(values, nulls, 9, &place->spans[2], place->next_poll_after);
	values[10] = TimestampTzGetDatum(row->joined_at);
	put(values, nulls, 11, TimestampTzGetDatum(row->served_at), row->served_at == 0);
	put(values, nulls, 12, TimestampTzGetDatum(row->left_at), row->left_at == 0);
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
vq_place_datum(FunctionCallInfo fcinfo, VqPlace *place)
{
	Datum		values[VQ_PLACE_COLUMNS];
	bool		nulls[VQ_PLACE_COLUMNS];

	vq_place_values(place, values, nulls);
	return HeapTupleGetDatum(heap_form_tuple(place_desc(fcinfo), values, nulls));
}
