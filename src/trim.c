/*
 * trim.c
 *		Deleting old events of the log: a chore of the worker.
 *
 * Each batch begins where the last one was: for as long as an old snapshot holds
 * vacuum back the index keeps the entries of all that was deleted.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "guc.h"
#include "shmem.h"
#include "statement.h"
#include "trim.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

/* Events deleted in one transaction at the most; one may have 8000 bytes. */
#define TRIM_BATCH 500

/* Look so often (microseconds), and at the oldest that are left this often. */
#define LOOK_AGAIN (10 * USECS_PER_SEC)
#define FROM_START (60 * LOOK_AGAIN)

/* Of the worker: no event up to this one is left, but for locked ones. */
static int64 trimmed_until = 0;
static int64 start_again = 0;	/* mono time when to look for those too */

int64
vq_trim_events(void)
{
	VqNow		now = vq_now();
	bool		off = !vq_logging();
	Datum		values[5];
	VqCaller	caller;
	bool		isnull;
	int64		n;
	int			level;

	if (now.mono >= start_again)
	{
		start_again = now.mono + FROM_START;
		trimmed_until = 0;
	}
	values[0] = Int64GetDatum(trimmed_until);
	values[1] = TimestampTzGetDatum(off ? DT_NOEND : now.wall - (int64) vq_event_retention * USECS_PER_SEC);
	values[2] = Int32GetDatum(TRIM_BATCH);
	values[3] = BoolGetDatum(off);
	values[4] = BoolGetDatum(vq_stats_retention > 0);
	level = vq_force_index_plans();
	(void) vq_execute(VQ_TRIM_EVENTS, values, NULL, &caller);
	n = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	if (n > 0)
		trimmed_until = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
	vq_executed(&caller);
	AtEOXact_GUC(true, level);
	return n == TRIM_BATCH ? 0 : now.mono + LOOK_AGAIN;
}
