/*
 * hold.h
 *		Holding a draw: at the opening of a queue, those who wait get their places.
 */
#ifndef VQ_HOLD_H
#define VQ_HOLD_H

#include "shmem.h"

/*
 * The queue is being opened by this transaction: if a draw was prepared, hold it.
 * Errors: 53200 out of memory; 54000 too many entrants.
 */
extern void vq_hold_draw(VqQueue *queue, const pg_uuid_t *id);

/* Whether the present write of a draw is our own. */
extern bool vq_holding_draw(void);

#endif							/* VQ_HOLD_H */
