/*
 * figures.c
 *		What is counted of a queue for those who watch it.
 */
#include "postgres.h"

#include "access.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "due.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "rebuild.h"
#include "roster.h"
#include "table.h"
#include "utils/array.h"
#include "utils/builtins.h"

const double vq_wait_bounds[VQ_WAIT_BOUNDS] = {
	0.1, 1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200
};

StaticAssertDecl(VQ_STATUSES - VQ_COMPLETED == VQ_ENDS, "each final status has its count");

void
vq_count_wait(VqFigures *figures, int64 wait)
{
	int			bucket = 0;

	/* A row written by hand, or a clock that was set back, may say anything. */
	wait = Max(wait, 0);
	while (bucket < VQ_WAIT_BOUNDS && wait > vq_wait_bounds[bucket] * USECS_PER_SEC)
		bucket++;
	figures->waited[bucket]++;
	figures->waited_usecs += wait;
}

static Datum
bigints(const int64 *values, int n)
{
	Datum	   *elements = palloc(n * sizeof(Datum));

	for (int i = 0; i < n; i++)
		elements[i] = Int64GetDatum(values[i]);
	return PointerGetDatum(construct_array(elements, n, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/*
 * Counts of waits up to each bound, and of all.  Whoever was let in by the join
 * itself has waited 0, and is counted as released only.
 */
static Datum
cumulated(const VqQueue *queue)
{
	const VqFigures *figures = &queue->figures;
	int64		counts[VQ_WAIT_BOUNDS + 1];
	int64		waited = 0;

	for (int i = 0; i <= VQ_WAIT_BOUNDS; i++)
		waited += figures->waited[i];
	counts[0] = figures->waited[0] + Max(queue->released_total - waited, 0);
	for (int i = 1; i <= VQ_WAIT_BOUNDS; i++)
		counts[i] = counts[i - 1] + figures->waited[i];
	return bigints(counts, VQ_WAIT_BOUNDS + 1);
}

/* One row of _figures; the caller holds the queue's lock. */
static void
put_figures(ReturnSetInfo *rsinfo, const VqQueue *queue)
{
	Datum		values[6];
	bool		nulls[6] = {false};
	pg_uuid_t	id = queue->id;

	values[0] = UUIDPGetDatum(&id);
	values[1] = Int64GetDatum(queue->released_total);
	values[2] = cumulated(queue);
	values[3] = Float8GetDatum(queue->figures.waited_usecs / (double) USECS_PER_SEC);
	values[4] = bigints(queue->figures.ended, VQ_ENDS);
	values[5] = Float8GetDatum(vq_release_lag(queue, vq_now()) / (double) USECS_PER_SEC);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(vqueue_figures);
Datum
vqueue_figures(PG_FUNCTION_ARGS)
{
	int			n;
	VqQueue   **queues;

	InitMaterializedSRF(fcinfo, 0);
	if (RecoveryInProgress())
		return (Datum) 0;		/* nothing is counted there */
	queues = vq_list_queues(vq_ready(), &n);
	for (int i = 0; i < n; i++)
	{
		VqQueue    *queue = queues[i];

		if (!vq_may_see(queue, VQ_MAY_WATCH))
			continue;
		LWLockAcquire(&queue->lock, LW_SHARED);
		if (!queue->nascent && !queue->gone && queue->dboid == MyDatabaseId)
			put_figures((ReturnSetInfo *) fcinfo->resultinfo, queue);
		LWLockRelease(&queue->lock);
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(vqueue_wait_bounds);
Datum
vqueue_wait_bounds(PG_FUNCTION_ARGS)
{
	Datum		elements[VQ_WAIT_BOUNDS];

	for (int i = 0; i < VQ_WAIT_BOUNDS; i++)
		elements[i] = Float8GetDatum(vq_wait_bounds[i]);
	PG_RETURN_ARRAYTYPE_P(construct_array(elements, VQ_WAIT_BOUNDS, FLOAT8OID, 8,
										  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}
