/*
 * pacer.h
 *		The pacer of one queue: a token bucket in integers.
 *
 * A token lets one session in.  The bucket gains rate_per_minute tokens a
 * minute, holds at most burst, and may be in debt after a charge.  Levels are
 * counted in units of which VQ_TOKEN make a token: a microsecond at one
 * release a minute adds one unit, so that nothing is ever rounded and nothing
 * drifts.
 *
 * Time is read from two clocks and counts only as far as both have moved: the
 * wall clock, because served_at and thus anybody's check of the rate goes by
 * it, and the monotonic clock, because the wall clock may be set.  While the
 * wall clock is a little behind the latest time at which it was seen, nothing
 * can be taken, for that time is paid out.  A wall clock that was set back by
 * more than VQ_CLOCK_STEP is not waited for, which could take hours: from then
 * on its new readings count, and in between the monotonic clock alone.
 *
 * The bound: whatever the calls, takes (without charges) stamped by now.wall
 * in any window of w microseconds are at most burst + rate_per_minute * w / 60e6,
 * and where the wall clock was set back, those in any window of real time are.
 */
#ifndef VQ_PACER_H
#define VQ_PACER_H

#define VQ_TOKEN		INT64CONST(60000000)

/* A wall clock that is behind by more microseconds than this was set back. */
#define VQ_CLOCK_STEP	INT64CONST(1000000)

/* The latest moment; also "never". */
#define VQ_NEVER		PG_INT64_MAX

typedef struct VqNow
{
	int64		wall;			/* microseconds since an epoch; may be stepped */
	int64		mono;			/* microseconds; never goes back while the machine runs */
} VqNow;

/* Lives in shared memory. */
typedef struct VqPacer
{
	int64		level;			/* units in the bucket at last; negative is debt */
	VqNow		last;			/* the latest wall time seen, and the mono time credited */
	int64		configured;		/* mono time of the last change of rate or burst */
	int32		rate_per_minute;	/* 1 to 10,000,000 */
	int32		burst;			/* 1 to 1,000,000 */
} VqPacer;

/* The burst that 0 stands for: a tenth of a second's worth, at least 1. */
extern int32 vq_pacer_default_burst(int32 rate_per_minute);

/* Start full (a new queue) or empty (a known one after a restart). */
extern void vq_pacer_init(VqPacer *pacer, VqNow now, int32 rate_per_minute, int32 burst, bool full);

/* Change rate and burst from now on; what was gained until now stays, up to the new burst. */
extern void vq_pacer_configure(VqPacer *pacer, VqNow now, int32 rate_per_minute, int32 burst);

/* Whole tokens in the bucket now; 0 when in debt.  Changes nothing. */
extern int32 vq_pacer_available(const VqPacer *pacer, VqNow now);

/* What is in the bucket now, in units of which VQ_TOKEN make a token; negative in debt. */
extern int64 vq_pacer_level(const VqPacer *pacer, VqNow now);

/* Take n tokens; false, and no change, if there are fewer. */
extern bool vq_pacer_take(VqPacer *pacer, VqNow now, int32 n);

/* Take n tokens even into debt. */
extern void vq_pacer_charge(VqPacer *pacer, VqNow now, int32 n);

/*
 * Somebody else, who kept to the rate, let sessions in until the wall time
 * until: what was gained before that is theirs.  Makes no debt.
 */
extern void vq_pacer_cede(VqPacer *pacer, VqNow now, int64 until);

/*
 * Put n tokens back that were taken or charged at the moment taken (not now)
 * and not used.  They are worth less by what the bucket has gained since then,
 * and nothing after a change of rate or burst: what a full bucket would have
 * spilled must not come back, or many tokens, taken over an hour and put back
 * at once, would break the bound.  Never above burst.
 */
extern void vq_pacer_give_back(VqPacer *pacer, VqNow taken, int32 n);

/*
 * The earliest mono time at which n tokens (1 to burst) are there if none is
 * taken until then and the wall clock moves as much; now.mono if they are
 * there already, VQ_NEVER for more than burst.
 */
extern int64 vq_pacer_due(const VqPacer *pacer, VqNow now, int32 n);

/* Microseconds until n releases can have been made from now on, beyond burst too. */
extern int64 vq_pacer_wait(const VqPacer *pacer, VqNow now, int64 n);

#endif							/* VQ_PACER_H */
