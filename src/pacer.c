/*
 * pacer.c
 *		The pacer of one queue: a token bucket in integers.
 *
 * Differences of clock readings saturate and the time credited never exceeds
 * the time to fill the bucket, so no product below can overflow, whatever the
 * clocks say: a level lies between -LOWEST and burst * VQ_TOKEN <= 6e13.
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "common/int.h"

#include "pacer.h"

#define MAX_RATE		10000000
#define MAX_BURST		1000000

/* The deepest debt, some 2e10 tokens; leaves room for one more charge. */
#define LOWEST			(-(INT64CONST(1) << 60))

/*
 * How far the monotonic clock may run ahead of what it was credited for.  The
 * clocks are read one after the other and tick at different moments, so now
 * and then each seems to have moved less than the other; without some slack
 * every such difference would be lost time, and many add up.
 */
#define SLACK			INT64CONST(1000)

static int64
add_saturated(int64 a, int64 b)
{
	int64		sum;

	if (pg_add_s64_overflow(a, b, &sum))
		return b < 0 ? PG_INT64_MIN : PG_INT64_MAX;
	return sum;
}

static int64
subtract_saturated(int64 a, int64 b)
{
	int64		difference;

	if (pg_sub_s64_overflow(a, b, &difference))
		return b > 0 ? PG_INT64_MIN : PG_INT64_MAX;
	return difference;
}

/* Round up; both are positive. */
static int64
divide_up(int64 units, int64 by)
{
	return (units - 1) / by + 1;
}

static bool
was_set_back(const VqPacer *pacer, VqNow now)
{
	return subtract_saturated(pacer->last.wall, now.wall) > VQ_CLOCK_STEP;
}

/* How far both clocks have moved; negative while one has not caught up. */
static int64
elapsed(const VqPacer *pacer, VqNow now)
{
	int64		mono = subtract_saturated(now.mono, pacer->last.mono);

	if (was_set_back(pacer, now))
		return mono;
	return Min(subtract_saturated(now.wall, pacer->last.wall), mono);
}

/* The level with all that was gained until now. */
static int64
level_at(const VqPacer *pacer, VqNow now)
{
	int64		full = pacer->burst * VQ_TOKEN;
	int64		time = elapsed(pacer, now);

	if (time <= 0 || pacer->level >= full)
		return pacer->level;
	if (time >= divide_up(full - pacer->level, pacer->rate_per_minute))
		return full;
	return pacer->level + time * pacer->rate_per_minute;
}

/*
 * Make the level true for now.  The wall clock's reading goes back only where
 * the clock was set: else time that was paid out once would be paid out again.
 * Nothing is owed to the other clock, so it may, by a restored machine for
 * example.
 */
static void
advance(VqPacer *pacer, VqNow now)
{
	int64		credited = add_saturated(pacer->last.mono, Max(elapsed(pacer, now), 0));

	pacer->level = level_at(pacer, now);
	pacer->last.wall = was_set_back(pacer, now) ? now.wall : Max(pacer->last.wall, now.wall);
	pacer->last.mono = Min(Max(credited, subtract_saturated(now.mono, SLACK)), now.mono);
}

/* The caller's values come from a checked table; a zero must not crash a server. */
static void
set_limits(VqPacer *pacer, int32 rate_per_minute, int32 burst)
{
	pacer->rate_per_minute = Max(Min(rate_per_minute, MAX_RATE), 1);
	pacer->burst = Max(Min(burst, MAX_BURST), 1);
}

int32
vq_pacer_default_burst(int32 rate_per_minute)
{
	return Max(rate_per_minute / 600, 1);
}

void
vq_pacer_init(VqPacer *pacer, VqNow now, int32 rate_per_minute, int32 burst, bool full)
{
	set_limits(pacer, rate_per_minute, burst);
	pacer->level = full ? pacer->burst * VQ_TOKEN : 0;
	pacer->last = now;
	pacer->configured = PG_INT64_MIN;
}

void
vq_pacer_configure(VqPacer *pacer, VqNow now, int32 rate_per_minute, int32 burst)
{
	if (rate_per_minute == pacer->rate_per_minute && burst == pacer->burst)
		return;
	advance(pacer, now);
	set_limits(pacer, rate_per_minute, burst);
	pacer->level = Min(pacer->level, pacer->burst * VQ_TOKEN);
	pacer->configured = now.mono;
}

int64
vq_pacer_level(const VqPacer *pacer, VqNow now)
{
	return level_at(pacer, now);
}

int32
vq_pacer_available(const VqPacer *pacer, VqNow now)
{
	/* A take would be stamped with a time that was paid out already. */
	if (now.wall < pacer->last.wall && !was_set_back(pacer, now))
		return 0;
	return Max(level_at(pacer, now), 0) / VQ_TOKEN;
}

bool
vq_pacer_take(VqPacer *pacer, VqNow now, int32 n)
{
	if (n > vq_pacer_available(pacer, now))
		return false;
	vq_pacer_charge(pacer, now, n);
	return true;
}

void
vq_pacer_charge(VqPacer *pacer, VqNow now, int32 n)
{
	advance(pacer, now);
	if (n > 0)
		pacer->level = Max(pacer->level - n * VQ_TOKEN, LOWEST);
}

void
vq_pacer_cede(VqPacer *pacer, VqNow now, int64 until)
{
	int64		own = Max(subtract_saturated(now.wall, until), 0);

	if (own >= divide_up(pacer->burst * VQ_TOKEN, pacer->rate_per_minute))
		return;
	advance(pacer, now);
	pacer->level = Min(pacer->level, own * pacer->rate_per_minute);
}

/*
 * Had the tokens stayed in the bucket, they may have filled it up since and
 * kept as much from being gained, at most what was gained altogether.  Hence
 * only the rest can be put back without breaking the bound.
 */
void
vq_pacer_give_back(VqPacer *pacer, VqNow taken, int32 n)
{
	int64		units = n * VQ_TOKEN;
	int64		gained = Max(Max(subtract_saturated(pacer->last.wall, taken.wall),
								 subtract_saturated(pacer->last.mono, taken.mono)), 0);

	if (n <= 0 || taken.mono <= pacer->configured ||
		gained >= divide_up(units, pacer->rate_per_minute))
		return;
	units -= gained * pacer->rate_per_minute;
	pacer->level = Min(pacer->level + units, pacer->burst * VQ_TOKEN);
}

/* Microseconds from now until so many units are there and may be taken. */
static int64
time_until(const VqPacer *pacer, VqNow now, int64 units)
{
	int64		missing = units - level_at(pacer, now);
	int64		time = elapsed(pacer, now);
	int64		behind = time < 0 ? subtract_saturated(0, time) : 0;

	if (missing > 0)
		return add_saturated(behind, divide_up(missing, pacer->rate_per_minute));
	return was_set_back(pacer, now) ? 0 : Max(subtract_saturated(pacer->last.wall, now.wall), 0);
}

int64
vq_pacer_due(const VqPacer *pacer, VqNow now, int32 n)
{
	if (n > pacer->burst)
		return VQ_NEVER;
	if (n <= 0)
		return now.mono;
	return add_saturated(now.mono, time_until(pacer, now, n * VQ_TOKEN));
}

int64
vq_pacer_wait(const VqPacer *pacer, VqNow now, int64 n)
{
	/* Debt has to fit beside the units asked for. */
	if (n > (PG_INT64_MAX + LOWEST) / VQ_TOKEN)
		return VQ_NEVER;
	if (n <= 0)
		return 0;

	/* A bucket for one token spills what the last microsecond gained too much. */
	if (pacer->burst == 1)
		return add_saturated(time_until(pacer, now, VQ_TOKEN),
							 (n - 1) * divide_up(VQ_TOKEN, pacer->rate_per_minute));
	return time_until(pacer, now, n * VQ_TOKEN);
}
