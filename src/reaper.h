/*
 * reaper.h
 *		Ending sessions whose time is up: a step of the worker.
 *
 * Waiting ones that gave no sign of life for waiting_timeout become abandoned,
 * called ones that did not claim their slot for claim_timeout become no_show, and
 * serving ones whose lease is older than serving_timeout become expired.  Nobody
 * is ended early; who is ended may be so up to 2 * VQ_MARK_SECONDS late.
 *
 * Memory knows since when somebody is silent, so that a poll need not write.
 * It begins anew after a restart: everybody has a fresh grace then.
 */
#ifndef VQ_REAPER_H
#define VQ_REAPER_H

#include "shmem.h"

/* When the worker should look for such sessions: a mono time, or VQ_NEVER.  Caller holds the lock. */
extern int64 vq_reap_due(const VqQueue *queue);

/*
 * End the sessions whose time is up, room of them at the most, in the current
 * transaction; those whose rows are locked are left for later.  Returns the mono
 * time when to look again.
 */
extern int64 vq_reap(VqQueue *queue, const pg_uuid_t *id, const VqSettings *settings, int room);

#endif							/* VQ_REAPER_H */
