/*
 * polite.h
 *		When somebody who waits should ask again.
 *
 * After a tenth of the wait, within bounds.  From that follows, without counting
 * any, how many would ask in a second if all did as told; where that is more than
 * there may be, all are told to take their time by as much.
 *
 * Knows nothing of the server and takes no locks.
 */
#ifndef VQ_POLITE_H
#define VQ_POLITE_H

#include "estimate.h"

/* Of the delay, in parts of which so many make 1. */
#define VQ_STRETCH		256

/* Bounds in microseconds of a delay that is not stretched; and for a wait that cannot be told. */
#define VQ_POLL_SHORTEST	INT64CONST(1000000)
#define VQ_POLL_LONGEST		INT64CONST(60000000)
#define VQ_POLL_UNKNOWN		INT64CONST(30000000)

/*
 * After how many microseconds to ask again at a wait, negative if that is not
 * known; at the latest (but for the shortest delay) after timeout / 3, if that is
 * not 0, as who is silent for so long is taken to have gone.
 */
extern int64 vq_poll_delay(int64 wait, int64 timeout, uint32 stretch);

/* How many would ask in a second of so many who wait, nothing being stretched; forecast NULL: no wait is known. */
extern double vq_poll_load(const VqForecast *forecast, int64 waiting, int64 timeout);

/* By how much to stretch delays so that so many a second become as many as there may be; 0: any number may. */
extern uint32 vq_poll_stretch(double load, int budget);

#endif							/* VQ_POLITE_H */
