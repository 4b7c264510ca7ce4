/*
 * lanes.h
 *		Which lane is next: strictly by priority, or in turns by weights.
 *
 * With weights it is the smooth weighted round robin: at every turn each lane in
 * which somebody stands gains its weight, and the one that has most then gives
 * somebody and pays what all have gained.  8:4:2:1 gives a vip every other turn
 * or so, spread evenly, and nobody starves.
 *
 * A lane may be there and yet never be taken, while those who stand in it have not
 * committed or are locked; and a lane may owe from when a heavier one was there.  No
 * credit and no debt exceeds what one turn costs, so that no lane has all turns for
 * itself later on, or none.  Hence whoever begins with no credit at all, as memory
 * does after a restart and a standby always, is wrong about a position by no more
 * than two rounds: twice as many as the weights of the occupied lanes add up to.
 *
 * Knows nothing of the server and takes no locks.
 */
#ifndef VQ_LANES_H
#define VQ_LANES_H

#include "line.h"

/* Lives in shared memory; zeroed is strict priority. */
typedef struct VqLanes
{
	int32		weight[VQ_LANES];	/* 1 to 100, or all 0 for strict priority */
	int32		credit[VQ_LANES];	/* what a lane has gained and not paid */
} VqLanes;

/* Change the weights; nobody has any credit then, unless they are the same. */
extern void vq_lanes_configure(VqLanes *lanes, const int32 *weight);

/* The lane that is next where count[] stand, or -1 if nobody does. */
extern int	vq_lanes_next(const VqLanes *lanes, const int64 *count);

/* Somebody of this lane had a turn while count[] stood, itself included. */
extern void vq_lanes_turn(VqLanes *lanes, const int64 *count, int lane);

/*
 * The turn (from 1) that comes to whoever has so many before it in its lane,
 * where count[] stand.
 */
extern int64 vq_lanes_position(const VqLanes *lanes, const int64 *count, int lane, int64 rank);

#endif							/* VQ_LANES_H */
