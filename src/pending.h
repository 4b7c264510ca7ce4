/*
 * pending.h
 *		What the current transaction has changed, for memory to follow.
 *
 * The tables change under MVCC, memory does not, so each change is made in two
 * parts.  What must be there by the time the row is visible is done when the
 * change is made, under HELD, and undone on abort: a ticket's lane bit or its
 * slot.  What must not go before the row is visible is done after the commit:
 * clearing bits.  So every bit has one writer at a time, in the right order,
 * even if a second transaction changes the row before the first one's commit
 * callback has run.  All that can fail happens in the first part.
 *
 * Savepoints are followed: a rolled back one undoes its own changes.
 */
#ifndef VQ_PENDING_H
#define VQ_PENDING_H

#include "shmem.h"
#include "standing.h"
#include "table.h"

/* How a session was let in or out, in flags of the changes below. */
#define VQ_PAID			0x01	/* took a token: undoing gives it back */
#define VQ_ANNOUNCE		0x02	/* the worker is to announce it after the commit */
#define VQ_UNCONFIRMED	0x04	/* the row is yet to be written: dropped unless it is */
#define VQ_CALL			0x08	/* its slot is yet to be claimed */
#define VQ_LET_IN		0x10	/* counts as a release */
#define VQ_TAKEN		0x20	/* out of its lane, whose turn it was */

extern void vq_pending_init(void);

/* Whether this transaction has changes that memory will follow. */
extern bool vq_has_pending(void);

/*
 * For reserve.c: make room for n operations; lock a queue, having made sure
 * that it still is this one (else 42704), and whole (else as vq_ready); set a bit of
 * a reserved ticket, and in a lane of a reserved stand, under HELD, and append the
 * operation, which after the other two cannot fail.
 */
extern void vq_reserve_ops(int n);
extern void vq_lock_queue(VqQueue *queue, const pg_uuid_t *id);
extern void vq_lock_whole_queue(VqQueue *queue, const pg_uuid_t *id);
extern void vq_add_bit(VqQueue *queue, VqKind kind, int64 ticket, int64 place_key, int flags, VqNow now);

/*
 * Drop the reservations made since mark that were not confirmed by a written
 * row; mark is what vq_pending_mark returned before them.
 */
extern int	vq_pending_mark(void);
extern void vq_drop_unconfirmed(int mark);

/*
 * Note that this row was written by which ticket stands in a lane or holds a
 * slot (kind), confirming a reservation (true) or making one.  Errors: 53200
 * memory; 53400 no free slot where within_cap.
 */
extern bool vq_note_add(VqQueue *queue, const VqRow *row, VqKind kind, int flags, bool within_cap);

/* A session was let in elsewhere or earlier, at that time.  Takes effect at once, as it harms nobody. */
extern void vq_note_let_in(VqQueue *queue, const pg_uuid_t *id, int64 served_at);

/*
 * Note that a row, which was so before, was written by which its ticket no longer
 * stands there; stay is for how many microseconds it held a slot, if it has left
 * one, negative otherwise.
 */
extern void vq_note_remove(VqQueue *queue, const VqRow *row, VqKind kind, int flags, int64 stay);

/* Count, after the commit, who came to this status: let in after so long (microseconds), or ended. */
extern void vq_note_count(VqQueue *queue, int status, int64 wait);

/* A row with this ticket exists: never issue it.  Takes effect at once, as it harms nobody. */
extern void vq_note_ticket(VqQueue *queue, int64 ticket);

/* Forget the changes of queues: all of this database's are about to go out of memory. */
extern void vq_void_pending(void);

/* Whether this transaction changed names itself, so that caches must not be believed. */
extern bool vq_names_pending(void);

/*
 * The queue's settings, or only its name and tenant, as this transaction sees
 * them.  Caller holds no lock; name has room for VQ_NAME_SIZE.
 */
extern void vq_settings_of(VqQueue *queue, VqSettings *settings);
extern void vq_label_of(VqQueue *queue, char *name, pg_uuid_t *tenant);

#endif							/* VQ_PENDING_H */
