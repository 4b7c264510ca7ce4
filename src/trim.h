/*
 * trim.h
 *		Deleting old events of the log: a chore of the worker.
 */
#ifndef VQ_TRIM_H
#define VQ_TRIM_H

/*
 * Delete events older than vqueue.event_retention, a batch at the most, in the
 * current transaction; returns the mono time when to look again, 0 if there are
 * more.
 */
extern int64 vq_trim_events(void);

#endif							/* VQ_TRIM_H */
