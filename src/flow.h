/*
 * flow.h
 *		What is measured of a queue's flow: how long people stay inside, how fast
 *		they come into each lane, and how many lose patience.
 *
 * Stays are counted by age, in ticks that are a small part of a stay: how many
 * passed an age inside and how many left at it.  So those who are still in count
 * for what they have stayed already, and stays of any kind are told apart, equal
 * ones from random ones.  What is old weighs less and less.
 *
 * Knows nothing of the server, takes no locks and never fails.
 */
#ifndef VQ_FLOW_H
#define VQ_FLOW_H

#include "lanes.h"

/* Ages that are told apart; the last one is that age or more. */
#define VQ_AGES			128

/* The shortest tick, as below. */
#define VQ_LEAST_SHIFT	14

/* Lives in shared memory; zeroed is nothing known. */
typedef struct VqFlow
{
	int64		tick;			/* the latest tick, by the monotonic clock */
	int32		shift;			/* a tick is 2^shift microseconds; 0: not begun */
	float		inside[VQ_AGES];	/* who is inside, by age */
	float		stayed[VQ_AGES];	/* so many passed this age inside, */
	float		left[VQ_AGES];	/* and so many left at it; both weighted */

	float		stays;			/* that have ended, weighted alike */
	float		mean;			/* stay in seconds, as of the last look; 0: not known */
	float		variation;		/* its squared coefficient: 0 for equal stays, 1 for exponential
								 * ones */
	int64		halved;			/* mono time at which all of that began to weigh half */

	/* Of the line. */
	int64		looked;			/* mono time of the last look, 0 before */
	int32		joined[VQ_LANES];	/* since then */
	int32		walked;			/* away while waiting, since then */
	float		patience;		/* seconds waited by all together, weighted */
	float		impatient;		/* who walked away in them */
	float		fast_time;		/* seconds, weighted, in which fast[] joined a lane */
	float		fast[VQ_LANES];
	float		slow_time[VQ_LANES];	/* the same over a longer time */
	float		slow[VQ_LANES];
	float		age[VQ_LANES];	/* seconds since they began to join like that, */
	float		since[VQ_LANES];	/* and up to the last that did: a crowd that comes at once is no flow */
} VqFlow;

/* Somebody has come in. */
extern void vq_flow_entered(VqFlow *flow, int64 mono);

/* Somebody is inside, and came in that many microseconds ago. */
extern void vq_flow_found(VqFlow *flow, int64 mono, int64 stay);

/* Who is inside will be told anew by vq_flow_found. */
extern void vq_flow_forget_inside(VqFlow *flow);

/* Somebody has left, having stayed for so many microseconds; negative: not known. */
extern void vq_flow_left(VqFlow *flow, int64 mono, int64 stay);

/* Somebody stands in a lane now, or walked away waiting. */
extern void vq_flow_joined(VqFlow *flow, int lane);
extern void vq_flow_walked(VqFlow *flow);

/* Take stock, about once a second; so many are waiting. */
extern void vq_flow_look(VqFlow *flow, int64 mono, int64 waiting);

/* How likely somebody who has reached an age leaves in its tick, for each age. */
extern void vq_flow_hazards(const VqFlow *flow, float *hazard);

/* How many join a lane in a second, and which share of the waiting walks away. */
extern float vq_flow_join_rate(const VqFlow *flow, int lane);
extern float vq_flow_impatience(const VqFlow *flow);

#endif							/* VQ_FLOW_H */
