/*
 * spot.h
 *		Reading a session's row at the spot where it was last seen.
 *
 * No index is searched, and where the block was found lately, by whomever,
 * the table of buffers is not searched either.
 */
#ifndef VQ_SPOT_H
#define VQ_SPOT_H

#include "table.h"

/* Shared memory for what is remembered of buffers; for shmem.c. */
extern Size vq_spot_size(void);
extern void vq_spot_init(void);

/*
 * Fetch the session of this id if its row is there, in the version that the
 * statement's snapshot sees.  False does not mean that there is none.
 */
extern bool vq_fetch_session_at(const ItemPointerData *tid, const pg_uuid_t *id, VqRow *row);

#endif							/* VQ_SPOT_H */
