/*
 * canary.h
 *		Looking after settings that are on trial: a chore of the worker.
 */
#ifndef VQ_CANARY_H
#define VQ_CANARY_H

/*
 * Look at one canary that is due, in a transaction.  Returns the mono time when to
 * go on, 0 for at once, and -1 where somebody has a table locked.
 */
extern int64 vq_watch_canaries(void);

#endif							/* VQ_CANARY_H */
