/*
 * seal.h
 *		Ids of sessions: version 7 uuids that carry, sealed, their ticket.
 *
 * Whoever has an id and the key finds the session's ticket without an index;
 * to everybody else the id is a time and 74 random bits.  An id proves nothing
 * by itself: a ticket unsealed from a made-up id is some number, and whoever
 * unseals compares the whole id with that of the ticket's row.
 */
#ifndef VQ_SEAL_H
#define VQ_SEAL_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

/* What an id says of its session. */
typedef struct VqUnsealed
{
	uint16		queue;			/* vq_seal_mark of the queue's id */
	uint32		ticket;			/* its lower 32 bits */
} VqUnsealed;

/* By which an id tells its queue from most others. */
extern uint16 vq_seal_mark(const pg_uuid_t *queue_id);

/* An id for a ticket issued at this time. */
extern void vq_seal_id(pg_uuid_t *id, TimestampTz at, const pg_uuid_t *queue_id, int64 ticket);

/*
 * What an id carries if it is one of ours, anything if it is not; false if
 * there is no key.
 */
extern bool vq_unseal_id(const pg_uuid_t *id, VqUnsealed *unsealed);

/* A version 7 uuid of now that carries nothing. */
extern void vq_new_uuid(pg_uuid_t *id);

#endif							/* VQ_SEAL_H */
