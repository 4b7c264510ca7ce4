/*
 * stats.h
 *		Statistics by minute: a chore of the worker.
 *
 * Nothing is counted where it happens.  When a minute is over, the log of events
 * says who came in and who ended, and the tickets say who joined; their
 * rows say when, and each counts in the minute of its own time.  How far log and
 * tickets are counted is written in the transaction that writes what was
 * counted: hence nothing is lost and nothing counted twice, over crashes too.
 * Only peaks are kept in memory, and begin anew with the server.
 */
#ifndef VQ_STATS_H
#define VQ_STATS_H

#include "shmem.h"

/*
 * Make a step, in the current transaction; returns the mono time when to make
 * the next one, 0 for at once.
 */
extern int64 vq_count_step(VqDatabase *db);

/* After its commit, and instead of that after an error: begin anew from what was written. */
extern void vq_count_done(void);
extern void vq_count_failed(void);

/* A step that deletes old statistics; the same result. */
extern int64 vq_trim_stats(void);

#endif							/* VQ_STATS_H */
