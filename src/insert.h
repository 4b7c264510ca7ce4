/*
 * insert.h
 *		Writing the rows of sessions that join, past the executor.
 */
#ifndef VQ_INSERT_H
#define VQ_INSERT_H

#include "table.h"
#include "utils/relcache.h"

/* The table and the indexes in which a live row has an entry, open. */
typedef struct VqBook
{
	Relation	table;
	Relation	pkey;
	Relation	ticket;
	Relation	live;
} VqBook;

extern void vq_open_book(VqBook *book);
extern void vq_close_book(VqBook *book);

/* Enter a row that is live, and written, in the indexes.  Errors: 23505. */
extern void vq_insert_keys(VqBook *book, const VqRow *row);

/*
 * Whether a row may be written so: not in a transaction with one snapshot, nor
 * if the table has triggers, indexes, columns or checks that are not ours, which
 * the executor has to see to.
 */
extern bool vq_may_insert(void);
extern bool vq_may_update(void);

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
