/*
 * pacer.c
 *		The pacer of one queue: a token bucket in integers.
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "pacer.h"

/* Debt beyond this many tokens is forgiven, so that no sum overflows. */
#define MAX_DEBT	INT64CONST(1000000000)

static int64
full_level(const VqPacer *pacer)
{
	return pacer->burst * VQ_TOKEN;
}

/* Microseconds until the level has grown by so many units, rounded up. */
static int64
time_for(const VqPacer *pacer, int64 units)
{
	return (units + pacer->rate_per_minute - 1) / pacer->rate_per_minute;
}

/* Microseconds that count: as far as both clocks have moved. */
static int64
elapsed(const VqPacer *pacer, VqNow now)
{
	return Max(0, Min(now.wall - pacer->last.wall, now.mono - pacer->last.mono));
}

static int64
level_at(const VqPacer *pacer, VqNow now)
{
	int64		missing = full_level(pacer) - pacer->level;
	int64		passed = elapsed(pacer, now);

	if (passed >= time_for(pacer, missing))
		return full_level(pacer);
	return pacer->level + passed * pacer->rate_per_minute;
}

static void
advance(VqPacer *pacer, VqNow now)
{
	pacer->level = level_at(pacer, now);
	pacer->last = now;
}

int32
vq_pacer_default_burst(int32 rate_per_minute)
{
	return Max(1, rate_per_minute / 600);
}

void
vq_pacer_init(VqPacer *pacer, VqNow now, int32 rate_per_minute, int32 burst, bool full)
{
	pacer->rate_per_minute = rate_per_minute;
	pacer->burst = burst;
	pacer->level = full ? full_level(pacer) : 0;
	pacer->last = now;
}

void
vq_pacer_configure(VqPacer *pacer, VqNow now, int32 rate_per_minute, int32 burst)
{
	advance(pacer, now);
	pacer->rate_per_minute = rate_per_minute;
	pacer->burst = burst;
	pacer->level = Min(pacer->level, full_level(pacer));
}

int32
vq_pacer_available(const VqPacer *pacer, VqNow now)
{
	return Max(0, level_at(pacer, now) / VQ_TOKEN);
}

bool
vq_pacer_take(VqPacer *pacer, VqNow now, int32 n)
{
	if (vq_pacer_available(pacer, now) < n)
		return false;
	vq_pacer_charge(pacer, now, n);
	return true;
}

void
vq_pacer_charge(VqPacer *pacer, VqNow now, int32 n)
{
	if (n <= 0)
		return;
	advance(pacer, now);
	pacer->level = Max(pacer->level - n * VQ_TOKEN, -MAX_DEBT * VQ_TOKEN);
}

void
vq_pacer_give_back(VqPacer *pacer, VqNow now, int32 n)
{
	advance(pacer, now);
	pacer->level = Min(pacer->level + n * VQ_TOKEN, full_level(pacer));
}

int64
vq_pacer_due(const VqPacer *pacer, VqNow now, int32 n)
{
	int64		missing = n * VQ_TOKEN - pacer->level;

	if (level_at(pacer, now) >= n * VQ_TOKEN)
		return now.mono;
	return now.mono + time_for(pacer, missing) - elapsed(pacer, now);
}

int64
vq_pacer_wait(const VqPacer *pacer, VqNow now, int64 n)
{
	int64		missing = n - level_at(pacer, now) / VQ_TOKEN;

	if (missing <= 0)
		return 0;
	/* In tokens rather than units, which n may be too large for. */
	return (int64) ((double) missing * VQ_TOKEN / pacer->rate_per_minute);
}
