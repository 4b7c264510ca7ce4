/*
 * admit.h
 *		Writing the rows of those who are let in, past the executor.
 */
#ifndef VQ_ADMIT_H
#define VQ_ADMIT_H

#include "release.h"

/*
 * Let the waiting sessions of these tickets in, all that nobody else is about to
 * change; returns how many, told in released in the same order.  Nobody is waited for.
 * Needs vq_may_update().
 */
extern int	vq_admit_rows(VqQueue *queue, const pg_uuid_t *id, const int64 *tickets, int n,
						  int64 at, bool called, VqReleased *released);

#endif							/* VQ_ADMIT_H */
