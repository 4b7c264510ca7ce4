/*
 * change.h
 *		What the change of a session's row is for memory.
 *
 * For the trigger, and for who writes rows past it.  Errors: those of vq_note_add.
 */
#ifndef VQ_CHANGE_H
#define VQ_CHANGE_H

#include "shmem.h"
#include "table.h"

/* Rows applied by replication come in no particular order, and are right at their origin. */
extern bool vq_is_replica(void);

/*
 * Note the step of a session from what its row was, NULL for none, to what it
 * is.  True if a token was taken for it here.
 */
extern bool vq_note_step(VqQueue *queue, const VqRow *old, const VqRow *row);

/* Note all that a written row has changed. */
extern void vq_note_change(VqQueue *queue, const VqRow *old, const VqRow *new);

#endif							/* VQ_CHANGE_H */
