/*
 * note.h
 *		What a transaction has changed of queues, rather than of sessions, for memory to
 *		follow.
 */
#ifndef VQ_NOTE_H
#define VQ_NOTE_H

#include "shmem.h"
#include "standing.h"

/* Note that a queue's row was written; made if the caller made the queue. */
extern void vq_note_queue(VqQueue *queue, const VqSettings *settings, bool made);
extern void vq_note_queue_gone(VqQueue *queue);

/*
 * Note that a draw was held: its order is prepared, and comes into force at the
 * commit.  Errors: 53200 out of memory; 42704 queue gone.
 */
extern void vq_note_draw(VqQueue *queue, const pg_uuid_t *id, const VqEntrants *entrants);

/* Note that a ceiling was written; raised by our own hand, or else where it came from tickets may have been issued up to it. */
extern void vq_note_ceiling(VqQueue *queue, int64 ceiling, bool raised);

/* Note that a name may mean another queue. */
extern void vq_note_names(void);

/* Note that memory must be built anew after the commit. */
extern void vq_note_stale(void);

/* Note that the extension was created, or dropped. */
extern void vq_note_extension(bool created);

#endif							/* VQ_NOTE_H */
