/*
 * visit.h
 *		What the worker does with one queue that is due.
 *
 * A visit runs in the worker's transaction, which it may share with other
 * queues' visits.  It leaves memory alone but for reservations; what it
 * announced is taken off only by vq_end_visit, after the commit, so that a
 * failed transaction announces it again.
 */
#ifndef VQ_VISIT_H
#define VQ_VISIT_H

#include "shmem.h"

typedef struct VqVisit
{
	VqQueue    *queue;
	pg_uuid_t	id;
	int			share;			/* how many to let in, and to announce, at the most; by the caller */

	/* What was done, for vq_end_visit. */
	int			released;
	int			passed;			/* over locked rows */
	bool		tried;			/* somebody seemed releasable */
	bool		ceiling_locked; /* could not be raised: its row is locked */
	bool		clock_locked;	/* the state could not be moved */
	int64		reap_at;		/* when to look for those whose time is up */
	int64	   *told_released;	/* tickets announced as released by others */
	int			n_told_released;
	int64	   *told_ended;
	int			n_told_ended;
	bool		told_all;		/* nothing was left for later */
	TimestampTz told_until;		/* of what memory knew at this time */
	bool		told_state;
	bool		told_moved;
	bool		purge;			/* sessions may be old enough to be deleted */
} VqVisit;

/*
 * Begin: false if there is nothing to visit, as the queue is of another
 * database or gone (it is then taken out of memory).
 */
extern bool vq_begin_visit(VqVisit *visit, VqQueue *queue);

/* Releases, ceiling and events; in a transaction with an active snapshot. */
extern void vq_make_visit(VqVisit *visit);

/* After the commit; returns the mono time when the queue is due next. */
extern int64 vq_end_visit(VqVisit *visit);

/* The transaction failed, maybe by another visit: what was not told is news again. */
extern void vq_undo_visit(VqVisit *visit);

/* The transaction failed by this visit alone; returns when to try again. */
extern int64 vq_fail_visit(VqVisit *visit, const char *message);

#endif							/* VQ_VISIT_H */
