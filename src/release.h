/*
 * release.h
 *		Letting the next sessions in.
 */
#ifndef VQ_RELEASE_H
#define VQ_RELEASE_H

#include "shmem.h"

/* A session that was let in. */
typedef struct VqReleased
{
	pg_uuid_t	id;
	pg_uuid_t	user_id;
	int64		ticket;
	TimestampTz at;
} VqReleased;

/*
 * Let up to n of those next in line in, within cap and, unless by_hand, rate,
 * in the current transaction.  Those whose rows are locked are passed over and
 * counted in *n_passed.  Returns how many; *released is an array of them in the
 * order of their tickets, in the current memory context.
 */
extern int	vq_release_step(VqQueue *queue, const pg_uuid_t *id, int n, bool by_hand,
							VqReleased **released, int *n_passed);

#endif							/* VQ_RELEASE_H */
