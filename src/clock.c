/*
 * clock.c
 *		Moving a queue's state when its moment has come: a step of the worker.
 */
#include "postgres.h"

#include "clock.h"
#include "statement.h"
#include "storage/lmgr.h"
#include "table.h"
#include "utils/timestamp.h"

/*
 * The moments are those of the wall clock, which may be set while the worker
 * waits by the monotonic one: it looks again so often (microseconds).
 */
#define LOOK_AGAIN (20 * USECS_PER_SEC)

/* The earliest moment that is to come, 0 without one. */
static TimestampTz
next_moment(const VqSettings *settings)
{
	TimestampTz moments[] = {settings->prequeue_at, settings->opens_at, settings->closes_at};
	TimestampTz next = 0;

	for (int i = 0; i < (int) lengthof(moments); i++)
		if (moments[i] != 0 && (next == 0 || moments[i] < next))
			next = moments[i];
	return next;
}

int64
vq_clock_due(const VqQueue *queue, VqNow now)
{
	TimestampTz next = next_moment(&queue->settings);

	if (next == 0)
		return VQ_NEVER;
	if (next <= now.wall)
		return now.mono;
	return now.mono + (next - now.wall < LOOK_AGAIN ? next - now.wall : LOOK_AGAIN);
}

bool
vq_move_by_clock(const pg_uuid_t *id, const VqSettings *settings)
{
	TimestampTz next = next_moment(settings);
	TimestampTz now = vq_now().wall;
	Datum		values[2] = {UUIDPGetDatum(id), TimestampTzGetDatum(now)};
	VqCaller	caller;
	uint64		n;

	if (next == 0 || next > now)
		return true;
	if (!ConditionalLockRelationOid(vq_relation(VQ_QUEUES), RowExclusiveLock) ||
		!ConditionalLockRelationOid(vq_relation(VQ_AUDIT_LOG), RowExclusiveLock) ||
		(vq_has_relation(VQ_QUEUE_CANARIES) &&
		 !ConditionalLockRelationOid(vq_relation(VQ_QUEUE_CANARIES), AccessShareLock)))
		return false;
	n = vq_execute(VQ_MOVE_STATE, values, NULL, &caller);
	vq_executed(&caller);
	return n > 0;
}
