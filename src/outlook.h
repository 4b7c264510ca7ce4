/*
 * outlook.h
 *		The forecast of a queue in shared memory: the worker makes it, all ask it.
 */
#ifndef VQ_OUTLOOK_H
#define VQ_OUTLOOK_H

#include "shmem.h"

/*
 * The wait from now on at a position of a lane.  By the worker's forecast, or if
 * there is none of late by one made for this question.  Caller holds the lock.
 */
extern VqWait vq_estimate(const VqQueue *queue, VqNow now, int lane, int64 position);

/* The same for somebody who joins now.  Caller holds the lock. */
extern VqWait vq_newcomers_wait(const VqQueue *queue, VqNow now, int lane);

/* A forecast of now.  Caller holds the lock. */
extern void vq_make_forecast(const VqQueue *queue, VqNow now, VqForecast *forecast);

/* When the worker should make one though nothing moves; VQ_NEVER if nobody needs it.  Caller holds the lock. */
extern int64 vq_outlook_due(const VqQueue *queue);

/* The worker's step: take stock, make a forecast, and note an estimate that is to come true.  Takes the lock. */
extern void vq_look_out(VqQueue *queue);

/* When to poll again (microseconds) at an estimated wait; whoever is silent for longer than patience is ended, 0: nobody is. */
extern int64 vq_poll_after(int64 patience, int64 wait);

/* The worker's step: stretch delays so that polls of these queues stay within the budget. */
extern void vq_keep_budget(VqDatabase *db, double load);

#endif							/* VQ_OUTLOOK_H */
