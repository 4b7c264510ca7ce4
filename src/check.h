/*
 * check.h
 *		Memory held against the tables.
 */
#ifndef VQ_CHECK_H
#define VQ_CHECK_H

#include "shmem.h"

/*
 * Whether memory and the row of a ticket differ, and go on to: looking at those
 * that do takes a fifth of a second.  Caller holds no lock.
 */
extern bool vq_ticket_differs(VqQueue *queue, const pg_uuid_t *id, int64 ticket);

#endif							/* VQ_CHECK_H */
