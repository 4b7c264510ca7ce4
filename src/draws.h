/*
 * draws.h
 *		The draws of queues: their rows, and the places that follow from them.
 */
#ifndef VQ_DRAWS_H
#define VQ_DRAWS_H

#include "digest.h"
#include "standing.h"
#include "utils/snapshot.h"

#define VQ_SEED_LEN		32

/* Who are drawn at the most: their tickets, a byte each at the least, are one value of a row. */
#define VQ_MAX_ENTRANTS	500000000

/* A row of draws. */
typedef struct VqDrawRow
{
	uint8		seed[VQ_SEED_LEN];
	char	   *beacon;			/* "" without one */
	bool		drawn;
	int64		n;				/* what the row says of the entrants; 0 until drawn */
	char	   *hash;			/* of their list; NULL until drawn */
	int64	   *tickets;		/* rising; NULL until drawn, or if they are not what is to be
								 * expected */
} VqDrawRow;

/* The draw of a queue; snapshot NULL is the latest.  False if it has none. */
extern bool vq_fetch_draw(const pg_uuid_t *queue_id, Snapshot snapshot, VqDrawRow *row);

/* Whether the queue had its draw, by the latest snapshot. */
extern bool vq_has_drawn(const pg_uuid_t *queue_id);

/* Call with every draw that was held, and the last ticket of its entrants. */
typedef void (*VqDrawCallback) (const pg_uuid_t *queue_id, int64 last_ticket);
extern void vq_scan_draws(Snapshot snapshot, VqDrawCallback callback);

/* The key from which the places follow. */
extern void vq_draw_key(const uint8 *seed, int64 n, const char *hash, const char *beacon, uint8 *key);

/* The places (from 0) of entrants 0 to n - 1. */
extern uint32 *vq_draw_all(const uint8 *key, uint32 n);

/*
 * The entrants of the draw that was held, with their places; false if none was,
 * or if its row does not say who they are.
 */
extern bool vq_fetch_entrants(const pg_uuid_t *queue_id, Snapshot snapshot, VqEntrants *entrants);
extern void vq_free_entrants(VqEntrants *entrants);

/* The number (from 0) of a ticket among them, -1 if it is not one of theirs. */
extern int64 vq_find_entrant(const VqEntrants *entrants, int64 ticket);

/* Tickets, which rise, as the bytes of their differences: seven bits each, the lowest first. */
extern bytea *vq_pack_tickets(const int64 *tickets, uint32 n);

#endif							/* VQ_DRAWS_H */
