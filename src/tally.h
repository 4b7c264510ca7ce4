/*
 * tally.h
 *		Counts of sessions by queue and minute, and percentiles of how long they took.
 *
 * In private memory.  Times of waiting and staying are kept one by one, eight
 * bytes each, until the minute is written, so percentiles are exact.
 */
#ifndef VQ_TALLY_H
#define VQ_TALLY_H

#include "table.h"

/* Durations in microseconds. */
typedef struct VqDurations
{
	int64	   *values;
	int			n;
	int			room;
} VqDurations;

/* A queue's minute. */
typedef struct VqMinute
{
	pg_uuid_t	queue_id;		/* first two: the key */
	TimestampTz minute;
	int64		joined;
	int64		released;
	int64		ended[VQ_STATUSES]; /* by final status */
	int64		peak_waiting;
	int64		peak_inside;
	VqDurations wait;
	VqDurations stay;
} VqMinute;

/* Columns of queue_stats. */
#define VQ_MINUTE_COLUMNS 18

typedef struct VqTally VqTally;

extern VqTally *vq_tally_make(MemoryContext context);

/* Count at a moment; a duration below 0 is not known. */
extern void vq_tally_joined(VqTally *tally, const pg_uuid_t *id, TimestampTz at, int64 n);
extern void vq_tally_released(VqTally *tally, const pg_uuid_t *id, TimestampTz at, int64 wait);
extern void vq_tally_ended(VqTally *tally, const pg_uuid_t *id, TimestampTz at, int status, int64 stay);

/* If anything was counted in that minute, these are its peaks. */
extern void vq_tally_peaks(VqTally *tally, const pg_uuid_t *id, TimestampTz at, int64 waiting, int64 inside);

/* Nothing more will be counted; then the minutes, those of a queue next to each other. */
extern void vq_tally_sort(VqTally *tally);
extern VqMinute **vq_tally_minutes(VqTally *tally, int *n);

/* The row of queue_stats; nulls is as SPI wants it. */
extern void vq_minute_values(const VqMinute *minute, Datum *values, char *nulls);

#endif							/* VQ_TALLY_H */
