/*
 * insert.h
 *		Writing the rows of sessions that join, past the executor.
 */
#ifndef VQ_INSERT_H
#define VQ_INSERT_H

#include "table.h"

/*
 * Whether a row may be written so: not in a transaction with one snapshot, nor
 * if the table has triggers, indexes, columns or checks that are not ours, which
 * the executor has to see to.
 */
extern bool vq_may_insert(void);

/*
 * Write a row whose ticket was issued by this transaction, unless its user has a
 * live session: then false.  Waits for who is about to give the user one, or to
 * end the one there is.  A new user, by an id just made at random, can have none:
 * 23505 if it has.
 */
extern bool vq_insert_session(VqQueue *queue, VqRow *row, bool new_user, Datum user_name, Datum user_email);

/*
 * The same for rows of one queue, in the order given, without names: the ticket of
 * each that is not written is zeroed.
 */
extern void vq_insert_sessions(VqQueue *queue, VqRow *rows, int n);

#endif							/* VQ_INSERT_H */
