/*
 * event.h
 *		Telling listeners, by NOTIFY in the worker's transaction, and keeping a log
 *		of what they were told.
 *
 * NOTIFY and log are of the same transaction, so they agree.  Only the worker of
 * the database tells, one transaction after the other: hence an event that
 * commits later has a higher seq, and whoever has read up to a seq has read all
 * up to it.
 */
#ifndef VQ_EVENT_H
#define VQ_EVENT_H

#include "release.h"
#include "shmem.h"
#include "table.h"

/* Version of the events' form, their member "v". */
#define VQ_EVENT_VERSION 1

/*
 * The lowest seq that an event of this moment, or a later one, may have: they are
 * microseconds of the Unix epoch.  So numbers are not used again by a log that was
 * begun anew, in a restored database say, and a cursor into the old one is known
 * to be too old.
 */
extern int64 vq_seq_at(TimestampTz at);

/* Before anything is told in a transaction, and when all is: log it. */
extern void vq_begin_events(void);
extern void vq_log_events(void);

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
