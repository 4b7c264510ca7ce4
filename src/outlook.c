/*
 * outlook.c
 *		The forecast of a queue in shared memory: the worker makes it, all ask it.
 *
 * It is made about once a second while something moves.  Making it takes the lock
 * shared, so that polls go on; only storing it shuts them out for a moment.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "due.h"
#include "guc.h"
#include "outlook.h"
#include "place.h"
#include "polite.h"
#include "rank.h"
#include "standing.h"
#include "trial.h"

/*
 * If nothing moves a forecast is made when somebody should have been let in by
 * now, but neither sooner nor later (microseconds) than this; and how long it is good.
 */
#define SHORTEST_DELAY	INT64CONST(1000000)
#define LONGEST_DELAY	INT64CONST(15000000)
#define GOOD_FOR		INT64CONST(20000000)

static bool
is_good(const VqForecast *forecast, int64 mono)
{
	return forecast->at != 0 && mono - forecast->at < GOOD_FOR;
}

void
vq_make_forecast(const VqQueue *queue, VqNow now, VqForecast *forecast)
{
	int64		ahead[VQ_LANES];
	VqSituation situation = {
		now, &queue->pacer, &queue->lanes, queue->line.count, 0,
		queue->line.count[VQ_INSIDE], queue->settings.max_concurrent_users, NULL
	};

	if (queue->settings.method == VQ_RANDOM)
	{
		for (int lane = 0; lane < VQ_LANES; lane++)
			ahead[lane] = vq_stand_before_keys(queue, lane);
		situation.ahead = ahead;
	}
	for (int lane = 0; lane < VQ_LANES; lane++)
		situation.going += queue->taken[lane];
	vq_forecast(&queue->flow, &situation, forecast);
}

VqWait
vq_estimate(const VqQueue *queue, VqNow now, int lane, int64 position)
{
	VqWait		none = {-1, -1};
	VqWait		at_once = {0, 0};
	VqForecast	forecast;

	if ((queue->settings.state & VQ_RELEASES) == 0)
		return none;
	if (vq_lets_all_in(queue))
		return at_once;
	if (is_good(&queue->forecast, now.mono))
		return vq_forecast_wait(&queue->forecast, now.mono, lane, position);
	vq_make_forecast(queue, now, &forecast);
	return vq_forecast_wait(&forecast, now.mono, lane, position);
}

VqWait
vq_newcomers_wait(const VqQueue *queue, VqNow now, int lane)
{
	int64		rank = queue->line.count[lane];

	/* Half of those whose place is random come ahead of half of the others. */
	if (queue->settings.method == VQ_RANDOM)
		rank -= (rank - vq_stand_before_keys(queue, lane)) / 2;
	return vq_estimate(queue, now, lane, vq_lanes_position(&queue->lanes, queue->line.count, lane, rank));
}

int64
vq_outlook_due(const VqQueue *queue)
{
	if ((queue->settings.state & VQ_RELEASES) == 0 || vq_standing(queue) == 0)
		return VQ_NEVER;
	return queue->forecast.at != 0 ? queue->look_at : 0;
}

/* Anybody who waits: the first from somewhere on, in whatever lane. */
static int64
pick_ticket(const VqQueue *queue, int64 from)
{
	int64		picked = 0;

	for (int lane = 0; lane < VQ_LANES; lane++)
	{
		int64		ticket;

		if (queue->line.count[lane] > 0 &&
			vq_line_select(&queue->line, vq_arena(), lane, from, &ticket, 1) > 0 &&
			(picked == 0 || ticket < picked))
			picked = ticket;
	}
	return picked;
}

/* Anybody who waits in an order of its own: of somewhere in a lane. */
static void
note_in_order(VqQueue *queue, VqNow now)
{
	int64		waiting = vq_standing(queue);
	int64		rank = waiting > 0 ? now.mono % waiting : 0;
	int			lane = 0;
	VqStand		stand;

	while (lane < VQ_LANES && rank >= queue->standing.order[lane].count)
		rank -= queue->standing.order[lane++].count;
	if (lane == VQ_LANES || vq_order_select(&queue->standing.order[lane], vq_arena(), rank, &stand, 1) == 0)
		return;
	vq_score_note(&queue->score, stand.ticket, now.mono,
				  vq_estimate(queue, now, lane, vq_lanes_position(&queue->lanes, queue->line.count, lane, rank)).median);
}

/* Note what is estimated for somebody; the worker alone does. */
static void
note_estimate(VqQueue *queue, VqNow now)
{
	int64		first = pick_ticket(queue, 1);
	int64		ticket;

	if (vq_is_ordered(queue))
		note_in_order(queue, now);
	if (first == 0 || vq_is_ordered(queue))
		return;

	/* Where in the line is as good as random: by the digits of the clock that nobody sees. */
	ticket = pick_ticket(queue, first + now.mono % Max(queue->next_ticket - first, 1));
	if (ticket == 0)
		ticket = first;

	vq_score_note(&queue->score, ticket, now.mono,
				  vq_estimate(queue, now, vq_line_lane(&queue->line, vq_arena(), ticket),
							  vq_position_in(queue, ticket, 0)).median);
}

/* When the next one should be let in by the forecast, which may turn out to be wrong. */
static int64
next_look(const VqQueue *queue, VqNow now)
{
	int			lane = vq_lanes_next(&queue->lanes, queue->line.count);
	int64		wait = lane >= 0 ? vq_forecast_wait(&queue->forecast, now.mono, lane, 1).median : -1;

	if (wait < 0)
		wait = LONGEST_DELAY;
	return now.mono + Min(Max(wait, SHORTEST_DELAY), LONGEST_DELAY);
}

/* Of those who wait, as many may be on trial as their share says. */
static double
poll_load(const VqQueue *queue, const VqForecast *forecast)
{
	const VqSettings *settings = &queue->settings;
	double		share = vq_has_trial(settings) ? settings->trial.share.below / 4294967296.0 : 0;
	double		load = vq_poll_load(forecast, vq_standing(queue), settings->waiting_timeout);

	if (share > 0)
		load += share * (vq_poll_load(forecast, vq_standing(queue), settings->trial.waiting_timeout) - load);
	return load;
}

void
vq_look_out(VqQueue *queue)
{
	VqNow		now = vq_now();
	VqForecast	forecast;

	LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
	vq_flow_look(&queue->flow, now.mono, vq_standing(queue));
	LWLockRelease(&queue->lock);

	LWLockAcquire(&queue->lock, LW_SHARED);
	vq_make_forecast(queue, now, &forecast);
	LWLockRelease(&queue->lock);

	LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
	queue->forecast = forecast;
	queue->look_at = next_look(queue, now);
	queue->poll_load = poll_load(queue, (queue->settings.state & VQ_RELEASES) != 0 ? &queue->forecast : NULL);
	if ((queue->settings.state & VQ_RELEASES) != 0 && !vq_lets_all_in(queue))
		note_estimate(queue, now);
	LWLockRelease(&queue->lock);
}

/* ---- polls ---- */

/* On a standby nobody knows how many there are. */
int64
vq_poll_after(int64 patience, int64 wait)
{
	uint32		stretch = RecoveryInProgress() ? VQ_STRETCH : pg_atomic_read_u32(&vq_database()->poll_stretch);

	return vq_poll_delay(wait, patience, stretch);
}

void
vq_keep_budget(VqDatabase *db, double load)
{
	uint32		stretch = vq_poll_stretch(load, vq_poll_budget);

	/* Everybody reads it, so it is not touched for nothing. */
	if (pg_atomic_read_u32(&db->poll_stretch) != stretch)
		pg_atomic_write_u32(&db->poll_stretch, stretch);
}
