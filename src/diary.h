/*
 * diary.h
 *		The worker's diary: when it is to look at which queue.
 *
 * Private to the worker; what memory has as a queue's due is written into it when
 * the worker has been there, or is called.
 */
#ifndef VQ_DIARY_H
#define VQ_DIARY_H

#include "shmem.h"

/* Begin with an empty one. */
extern void vq_clear_diary(void);

/*
 * Look at a queue at this mono time, and not at the time noted before, unless that
 * has come already; VQ_NEVER: it is known, and not due.
 */
extern void vq_note_due(VqQueue *queue, int64 at);

/* A queue that is no longer there. */
extern void vq_strike_queue(VqQueue *queue);

/* When the first queue is due of those whose time is still to come, VQ_NEVER if none is. */
extern int64 vq_first_due(void);

/*
 * Have the queues whose time has come take their turns.  The next one is taken
 * out, to be noted again when it has been looked at: one of each tenant in turn,
 * and of a tenant the one whose time came first.  NULL if none is left.
 */
extern void vq_begin_turns(int64 now);
extern VqQueue *vq_next_in_turn(void);
extern bool vq_any_in_turn(void);

/* The polls a second of all who wait in queues that are in it, if nothing is stretched.  Takes their locks. */
extern double vq_poll_load_of_all(void);

#endif							/* VQ_DIARY_H */
