/*
 * purge.c
 *		Deleting sessions that ended long ago: a chore of the worker.
 *
 * They are taken in the order of their ends from the index of ended sessions.
 * Each batch begins where the last one was, for as long as an old snapshot holds
 * vacuum back the index keeps the entries of all that was deleted.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "purge.h"
#include "statement.h"
#include "table.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

/* Sessions deleted in one transaction at the most. */
#define PURGE_BATCH 1000

/*
 * What cannot be foreseen is found so late (microseconds): rows that were locked,
 * or were written by hand as ended long ago, or a wall clock that was set.
 */
#define LOOK_AGAIN USECS_PER_HOUR

/* When to look again at rows that seem old enough but were left: locked, or of a month that has 31 days. */
#define LEFT_DELAY (10 * USECS_PER_SEC)

/* Nobody's age is looked at more often than this. */
#define SOONEST	USECS_PER_SEC

/* What the last vq_purge found, for vq_purged. */
static TimestampTz purged_until;
static bool from_start;

int64
vq_purge_due(const VqQueue *queue)
{
	return queue->settings.session_retention > 0 ? queue->purge_at : VQ_NEVER;
}

/* Delete a batch; how many, and the latest end among them. */
static int
delete_batch(const pg_uuid_t *id, TimestampTz from, TimestampTz now, TimestampTz *last)
{
	Datum		values[4] = {UUIDPGetDatum(id), TimestampTzGetDatum(from), TimestampTzGetDatum(now),
	Int32GetDatum(PURGE_BATCH)};
	VqCaller	caller;
	bool		isnull;
	int			n;
	int			level = vq_force_index_plans();

	(void) vq_execute(VQ_PURGE_SESSIONS, values, NULL, &caller);
	n = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	if (n > 0)
		*last = DatumGetTimestampTz(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
	vq_executed(&caller);
	AtEOXact_GUC(true, level);
	return n;
}

/* How long until the first of those who are left, and none who is yet to end, is old enough. */
static int64
time_until(TimestampTz oldest, TimestampTz now, int64 retention)
{
	int64		wait = LOOK_AGAIN;

	if (oldest <= now - retention)
		wait = LEFT_DELAY;
	else if (oldest < now)
		wait = oldest + retention - now;
	return Max(SOONEST, Min(wait, Min(retention, LOOK_AGAIN)));
}

int64
vq_purge(VqQueue *queue, const pg_uuid_t *id)
{
	VqNow		now = vq_now();
	int64		retention;
	int			n;

	LWLockAcquire(&queue->lock, LW_SHARED);
	from_start = now.mono >= queue->purge_again;
	purged_until = from_start ? DT_NOBEGIN : queue->purge_from;
	retention = queue->settings.session_retention;
	LWLockRelease(&queue->lock);

	n = delete_batch(id, purged_until, now.wall, &purged_until);
	if (n == PURGE_BATCH)
		return 0;
	return now.mono + time_until(vq_fetch_first_left(id, purged_until), now.wall, retention);
}

void
vq_purged(VqQueue *queue, int64 next)
{
	LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
	queue->purge_from = purged_until;
	if (from_start)
		queue->purge_again = vq_now().mono + LOOK_AGAIN;
	queue->purge_at = Min(queue->purge_at, next);
	LWLockRelease(&queue->lock);
}
