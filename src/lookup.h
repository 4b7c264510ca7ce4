/*
 * lookup.h
 *		Finding a session by its id, without an index if memory knows the way.
 */
#ifndef VQ_LOOKUP_H
#define VQ_LOOKUP_H

#include "shmem.h"
#include "table.h"

/*
 * Fetch a session.  A row found by way of memory is as the statement's snapshot
 * sees it, which may be older than memory; others are as of now.  False if
 * there is none.
 */
extern bool vq_look_up_session(const pg_uuid_t *id, VqRow *row);

#endif							/* VQ_LOOKUP_H */
