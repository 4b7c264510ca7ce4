/*
 * board.c
 *		The board: a small picture of a queue from which anybody can compute a
 *		position from a ticket.
 *
 * The points of a lane are at equal shares of those who wait rather than of their
 * tickets, for who asks can be off by as many as wait between two points.  Found
 * by rank in memory they cost some hundred nanoseconds each.
 */
#include "postgres.h"

#include <math.h>

#include "access/xlog.h"
#include "board.h"
#include "catalog/pg_type.h"
#include "draws.h"
#include "due.h"
#include "executor/spi.h"
#include "feature.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "outlook.h"
#include "place.h"
#include "queue.h"
#include "rank.h"
#include "rebuild.h"
#include "roster.h"
#include "session.h"
#include "standing.h"
#include "statement.h"
#include "trial.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

int64
vq_board_step(const int64 *count)
{
	int64		waiting = 0;
	int			room = VQ_BOARD_POINTS;

	/* A lane's last point is one more than its share, as may be its first. */
	for (int lane = 0; lane < VQ_LANES; lane++)
	{
		waiting += count[lane];
		room -= count[lane] > 0 ? 2 : 0;
	}
	return Max((waiting + room - 1) / room, 1);
}

int64
vq_board_number(int64 key, int64 ticket)
{
	if (key < 0)
		return key - VQ_DRAWN_KEY(0) - VQ_BOARD_DRAWN;
	if (key > 0)
		return VQ_BOARD_RANDOM + key / VQ_KEY_STEP;
	return Min(ticket, VQ_BOARD_RANDOM - 1);
}

static void
add_point(VqBoard *board, const VqLanes *lanes, const int64 *count, int lane, int64 rank, const VqStand *stand)
{
	VqBoardLane *to = &board->lanes[lane];

	/* The first and the last of a lane are among the points: if anybody has a key, one of them has. */
	board->by_key |= stand->key != 0;
	if (to->n_points == VQ_BOARD_POINTS)
		return;
	to->tickets[to->n_points] = vq_board_number(stand->key, stand->ticket);
	to->positions[to->n_points++] = vq_lanes_position(lanes, count, lane, rank);
}

static void
count_lanes(VqBoard *board, const VqLanes *lanes, const int64 *count)
{
	for (int lane = 0; lane < VQ_LANES; lane++)
	{
		board->lanes[lane].waiting = count[lane];
		board->lanes[lane].next = vq_lanes_position(lanes, count, lane, count[lane]);
	}
}

/* ---- from memory ---- */

/* Who stands at a rank of a lane. */
static VqStand
stand_at(const VqQueue *queue, int lane, int64 rank)
{
	VqStand		stand = {0, 0};

	if (vq_is_ordered(queue))
		(void) vq_order_select(&queue->standing.order[lane], vq_arena(), rank, &stand, 1);
	else
		stand.ticket = vq_line_nth(&queue->line, vq_arena(), lane, rank);
	return stand;
}

static void
points_from_memory(const VqQueue *queue, VqBoard *board)
{
	const int64 *count = queue->line.count;
	int64		step = vq_board_step(count);

	for (int lane = 0; lane < VQ_LANES; lane++)
		for (int64 rank = 0; rank < count[lane];)
		{
			VqStand		stand = stand_at(queue, lane, rank);

			add_point(board, &queue->lanes, count, lane, rank, &stand);
			rank = rank == count[lane] - 1 ? count[lane] : Min(rank + step, count[lane] - 1);
		}
}

static bool
board_from_memory(VqQueue *queue, const pg_uuid_t *id, VqBoard *board)
{
	bool		found;

	vq_lock_whole(queue, LW_SHARED);
	found = vq_is_queue(queue, id);
	if (found)
	{
		board->now = vq_now();
		board->settings = queue->settings;
		board->serving = queue->line.count[VQ_INSIDE];
		board->last_ticket = queue->next_ticket - 1;
		board->head = vq_head(queue);
		count_lanes(board, &queue->lanes, queue->line.count);
		points_from_memory(queue, board);
		board->foretells = (queue->settings.state & VQ_RELEASES) != 0;
		vq_make_forecast(queue, board->now, &board->forecast);
	}
	LWLockRelease(&queue->lock);
	return found;
}

/* ---- from the tables, on a standby ---- */

static int64
column(uint64 row, int number)
{
	bool		isnull;

	return DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, &isnull));
}

/* Where the turns of the lanes begin anew, as positions there do. */
static bool
board_from_tables(const pg_uuid_t *id, VqBoard *board)
{
	VqLanes		lanes = {{0}, {0}};
	int64		count[VQ_LANES];
	Datum		values[2] = {UUIDPGetDatum(id)};
	VqCaller	caller;
	uint64		n;
	int			next;

	if (!vq_fetch_queue(id, &board->settings))
		return false;
	board->now = vq_now();
	vq_lanes_configure(&lanes, board->settings.weights);
	vq_execute(VQ_COUNT_QUEUE, values, NULL, &caller);
	for (int lane = 0; lane < VQ_LANES; lane++)
		count[lane] = column(0, 1 + lane);
	board->serving = column(0, 1 + VQ_LANES);
	vq_executed(&caller);
	count_lanes(board, &lanes, count);
	board->last_ticket = vq_fetch_last_ticket(id, GetActiveSnapshot());
	values[1] = Int64GetDatum(vq_board_step(count));
	n = vq_execute(VQ_BOARD_TICKETS, values, NULL, &caller);
	next = vq_lanes_next(&lanes, count);
	for (uint64 i = 0; i < n; i++)
	{
		VqStand		stand = {column(i, 4), column(i, 3)};

		add_point(board, &lanes, count, column(i, 1), column(i, 2), &stand);
		if (column(i, 1) == next && column(i, 2) == 0)
			board->head = stand.ticket;
	}
	vq_executed(&caller);
	return true;
}

/* ---- as JSON ---- */

static void
append_points(StringInfo text, const VqBoardLane *lane)
{
	appendStringInfoString(text, ",\"points\":[");
	for (int i = 0; i < lane->n_points; i++)
		appendStringInfo(text, "%s[" INT64_FORMAT "," INT64_FORMAT "]", i > 0 ? "," : "",
						 lane->tickets[i], lane->positions[i]);
	appendStringInfoChar(text, ']');
}

static void
append_seconds(StringInfo text, int64 microseconds)
{
	if (microseconds < 0)
		appendStringInfoString(text, ",null");
	else
		appendStringInfo(text, "," INT64_FORMAT ".%d", microseconds / USECS_PER_SEC,
						 (int) (microseconds % USECS_PER_SEC / (USECS_PER_SEC / 10)));
}

static VqWait
wait_at(const VqBoard *board, int lane, int64 position)
{
	VqWait		wait = {-1, -1};

	if (!board->foretells)
		return wait;
	if (board->settings.method == VQ_PASSTHROUGH)
		wait.median = wait.p90 = 0;
	else
		wait = vq_forecast_wait(&board->forecast, board->now.mono, lane, position);
	return wait;
}

/* Waits, and delays of polls, at positions that are further and further apart up to a newcomer's. */
static void
append_waits(StringInfo text, const VqBoard *board, int lane)
{
	StringInfoData polls;
	int64		last = board->lanes[lane].next;
	int64		position = 0;

	initStringInfo(&polls);
	appendStringInfoString(text, ",\"estimate\":[");
	for (int i = 1; i <= VQ_BOARD_WAITS && position < last; i++)
	{
		int64		next = i == VQ_BOARD_WAITS ? last : (int64) rint(pow(last, (double) (i - 1) / (VQ_BOARD_WAITS - 1)));
		VqWait		wait;

		/* Those near the head are too close together to be told apart. */
		if (next <= position)
			continue;
		appendStringInfo(text, "%s[" INT64_FORMAT, position > 0 ? "," : "", next);
		appendStringInfo(&polls, "%s[" INT64_FORMAT, position > 0 ? "," : "", next);
		position = next;
		wait = wait_at(board, lane, position);
		append_seconds(text, wait.median);
		append_seconds(text, wait.p90);
		append_seconds(&polls, vq_poll_after(vq_shortest_patience(&board->settings), wait.median));
		appendStringInfoChar(text, ']');
		appendStringInfoChar(&polls, ']');
	}
	appendStringInfo(text, "],\"next_poll_after\":[%s]", polls.data);
	pfree(polls.data);
}

static void
append_lanes(StringInfo text, const VqBoard *board)
{
	appendStringInfoString(text, ",\"lanes\":{");
	for (int lane = 0; lane < VQ_LANES; lane++)
	{
		appendStringInfo(text, "%s\"%s\":{\"waiting\":" INT64_FORMAT ",\"next\":" INT64_FORMAT,
						 lane > 0 ? "," : "", vq_lane_names[lane], board->lanes[lane].waiting,
						 board->lanes[lane].next);
		append_points(text, &board->lanes[lane]);
		append_waits(text, board, lane);
		appendStringInfoChar(text, '}');
	}
	appendStringInfoChar(text, '}');
}

static text *
board_text(const VqBoard *board, const pg_uuid_t *id)
{
	StringInfoData text;
	char		at[MAXDATELEN + 1];
	int			utc = 0;
	int64		waiting = 0;

	for (int lane = 0; lane < VQ_LANES; lane++)
		waiting += board->lanes[lane].waiting;
	initStringInfo(&text);
	JsonEncodeDateTime(at, TimestampTzGetDatum(board->now.wall), TIMESTAMPTZOID, &utc);
	appendStringInfo(&text, "{\"v\":%d,\"queue\":", VQ_BOARD_VERSION);
	escape_json(&text, board->settings.name);
	appendStringInfo(&text, ",\"queue_id\":\"%s\",\"at\":\"%s\",\"state\":\"%s\",\"order\":\"%s\"",
					 vq_uuid_text(id), at, vq_state_name(board->settings.state), board->by_key ? "key" : "ticket");
	appendStringInfo(&text, ",\"waiting\":" INT64_FORMAT ",\"serving\":" INT64_FORMAT ",\"rate\":%d,\"head\":",
					 waiting, board->serving, board->settings.rate_per_minute);
	if (board->head > 0)
		appendStringInfo(&text, INT64_FORMAT, board->head);
	else
		appendStringInfoString(&text, "null");
	appendStringInfo(&text, ",\"last_ticket\":" INT64_FORMAT, board->last_ticket);
	append_lanes(&text, board);
	appendStringInfoChar(&text, '}');
	return cstring_to_text_with_len(text.data, text.len);
}

PG_FUNCTION_INFO_V1(vqueue_board);
Datum
vqueue_board(PG_FUNCTION_ARGS)
{
	VqBoard    *board = palloc0(sizeof(VqBoard));
	pg_uuid_t	id;
	bool		found;

	if (PG_ARGISNULL(0))
		vq_null_argument("queue");
	vq_need_feature(VQ_FEATURE_BOARD);
	if (RecoveryInProgress())
	{
		vq_resolve_queue(VQ_MAY_SHOW, PG_GETARG_TEXT_PP(0), &id);
		found = board_from_tables(&id, board);
	}
	else
	{
		VqQueue    *queue = vq_queue_of(VQ_MAY_SHOW, PG_GETARG_TEXT_PP(0), &id);

		found = board_from_memory(queue, &id, board);
	}
	if (!found)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("queue \"%s\" does not exist", text_to_cstring(PG_GETARG_TEXT_PP(0))),
				 errdetail("It was dropped meanwhile."),
				 errhint("See vqueue.overview for the queues there are.")));
	PG_RETURN_TEXT_P(board_text(board, &id));
}

/* ---- by what a session is found on it ---- */

/* By what a session stands; on a standby by the tables. */
static int64
key_of_place(const VqPlace *place)
{
	const VqRow *row = &place->row;
	int64		key = row->place_key;
	VqQueue    *queue;
	VqEntrants	entrants;

	if (place->by_table)
	{
		if (vq_fetch_entrants(&row->queue_id, GetActiveSnapshot(), &entrants))
		{
			int64		at = vq_find_entrant(&entrants, row->ticket);

			if (at >= 0)
				key = VQ_DRAWN_KEY(entrants.places[at]);
			vq_free_entrants(&entrants);
		}
		return key;
	}
	queue = vq_find_queue(&row->queue_id);
	if (queue == NULL)
		return key;
	LWLockAcquire(&queue->lock, LW_SHARED);
	if (vq_is_queue(queue, &row->queue_id))
		key = vq_key_of(&queue->standing, row->ticket, row->place_key);
	LWLockRelease(&queue->lock);
	return key;
}

PG_FUNCTION_INFO_V1(vqueue_board_number);
Datum
vqueue_board_number(PG_FUNCTION_ARGS)
{
	VqPlace		place;

	vq_need_feature(VQ_FEATURE_BOARD);
	vq_get_session(fcinfo, VQ_MAY_LOOK, false, &place);
	PG_RETURN_INT64(vq_board_number(key_of_place(&place), place.row.ticket));
}
