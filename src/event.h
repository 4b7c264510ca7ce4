/*
 * event.h
 *		Telling listeners, by NOTIFY in the worker's transaction.
 */
#ifndef VQ_EVENT_H
#define VQ_EVENT_H

#include "release.h"
#include "shmem.h"
#include "table.h"

/* Version of the events' form, their member "v". */
#define VQ_EVENT_VERSION 1

/* Sessions let in, in line order. */
extern void vq_tell_released(const pg_uuid_t *queue_id, const VqSettings *settings,
							 const VqReleased *released, int n);

/* Sessions ended. */
extern void vq_tell_ended(const pg_uuid_t *queue_id, const VqSettings *settings,
						  const VqRow *rows, int n);

extern void vq_tell_state(const pg_uuid_t *queue_id, const VqSettings *settings);

/* Where the line stands; head is 0 if nobody waits. */
extern void vq_tell_moved(const pg_uuid_t *queue_id, const VqSettings *settings,
						  int64 waiting, int64 serving, int64 head, int released_last_minute);

#endif							/* VQ_EVENT_H */
