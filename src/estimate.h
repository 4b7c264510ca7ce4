/*
 * estimate.h
 *		How long somebody will wait: a forecast of the line's flow.
 *
 * A forecast says for the moments to come up to which of the present positions
 * people will have been let in.  It follows the flow step by step: tokens come at
 * the rate, slots come free as those who are inside reach the ages at which
 * people leave, newcomers of other lanes get between, and some of those ahead
 * walk away.  Making one costs tens of microseconds, or some hundred where places are
 * random; asking it next to nothing.
 *
 * Knows nothing of the server and takes no locks.
 */
#ifndef VQ_ESTIMATE_H
#define VQ_ESTIMATE_H

#include "flow.h"
#include "pacer.h"

/* Moments of a forecast. */
#define VQ_MOMENTS		64

/* What the forecast begins with. */
typedef struct VqSituation
{
	VqNow		now;
	const VqPacer *pacer;
	const VqLanes *lanes;
	const int64 *count;			/* who stand, by lane */
	int64		going;			/* of these, the first ones, who have a slot and a token already */
	int64		inside;			/* who hold a slot */
	int64		cap;			/* how many may */

	/* Where newcomers come to random places: by lane, who stand ahead of all of them; else NULL. */
	const int64 *ahead;
} VqSituation;

/* Lives in shared memory; zeroed is none. */
typedef struct VqForecast
{
	int64		at;				/* mono time when it was made, 0: none */
	int64		gone;			/* who have gone from the front of the line since then */
	float		moment[VQ_MOMENTS]; /* seconds after that */

	/* The positions let in by then: expected, and with a certainty of nine in ten. */
	float		expected[VQ_LANES][VQ_MOMENTS];
	float		certain[VQ_LANES][VQ_MOMENTS];
} VqForecast;

/* Microseconds until somebody is let in; negative: cannot be told. */
typedef struct VqWait
{
	int64		median;
	int64		p90;
} VqWait;

extern void vq_forecast(const VqFlow *flow, const VqSituation *situation, VqForecast *forecast);

/* The wait from mono time on at a position, from 1, of somebody in a lane. */
extern VqWait vq_forecast_wait(const VqForecast *forecast, int64 mono, int lane, int64 position);

#endif							/* VQ_ESTIMATE_H */
