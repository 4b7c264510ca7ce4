/*
 * roster.h
 *		The queues that are in memory.
 */
#ifndef VQ_ROSTER_H
#define VQ_ROSTER_H

#include "shmem.h"

/*
 * The queue of this id in this database, NULL if there is none.  The caller
 * checks vq_is_queue once it holds the queue's lock.
 */
extern VqQueue *vq_find_queue(const pg_uuid_t *id);

/* The same, made if missing (nascent).  Errors: 53200 out of memory. */
extern VqQueue *vq_make_queue(const pg_uuid_t *id, bool *made);

/* Take a queue out of memory and give its line back; never fails. */
extern void vq_forget_queue(VqQueue *queue);

/* The queues of a database, copied to the current memory context. */
extern VqQueue **vq_list_queues(VqDatabase *db, int *n);

/* Free the entry of a database that is gone, with all its queues. */
extern void vq_forget_database(VqDatabase *db);

/* Drop all queues of a database from memory; the entry stays. */
extern void vq_forget_queues(VqDatabase *db);

#endif							/* VQ_ROSTER_H */
