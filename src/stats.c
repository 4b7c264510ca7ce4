/*
 * stats.c
 *		Statistics by minute: a chore of the worker.
 *
 * A minute is closed in many short steps: the log is read a few events at a time,
 * then the joins of each queue a few thousand at a time, into memory; then what was
 * counted is written, some queues at a time, each with its marks.
 */
#include "postgres.h"

#include "access.h"
#include "catalog/pg_type.h"
#include "due.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "guc.h"
#include "miscadmin.h"
#include "rank.h"
#include "roster.h"
#include "statement.h"
#include "stats.h"
#include "table.h"
#include "tally.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* What a step reads and writes at the most. */
#define EVENTS_A_STEP 20
#define JOINS_A_STEP 5000
#define QUEUES_A_STEP 20

/* Old statistics deleted in a step, and how often to look for them (microseconds). */
#define TRIM_BATCH 1000
#define TRIM_DELAY (60 * USECS_PER_SEC)

/* After a minute, for the events of its last moments to be told (microseconds). */
#define CLOSING_DELAY (USECS_PER_SEC / 5)

/* A queue as it was when the minute was over. */
typedef struct Cut
{
	VqQueue    *queue;
	pg_uuid_t	id;
	int64		upto;			/* joins up to this ticket are to be counted */
	int64		counted;		/* those up to this one have been */
	TimestampTz until;			/* who ended before has been told of */
	int64		peak_waiting;
	int64		peak_inside;
} Cut;

typedef enum Phase
{
	IDLE,
	READ_LOG,
	READ_JOINS,
	WRITE,
	MARK
} Phase;

/* The closing of a minute.  A step advances it; "then" is where it is if the step commits. */
static struct
{
	Phase		phase;
	Phase		then;
	MemoryContext context;
	TimestampTz upto;			/* what happened before is counted */
	int64		seq;			/* read up to here */
	int64		begun;			/* from here */
	bool		skipped;		/* a queue that was locked, whose share is to be read again */
	Cut		   *cuts;			/* sorted by id */
	int			n_cuts;
	int			at;				/* of cuts, in READ_JOINS and WRITE */
	int			then_at;
	VqTally    *tally;
}			job;

static TimestampTz closed = 0;	/* the minute up to which all is counted; 0: none by this worker */

/*
 * What shared memory says of what is counted may be from before the worker that
 * was here first wrote its last, and ended.  The tables know better.
 */
static int64
counted_before(const VqQueue *queue)
{
	return closed == 0 ? 0 : queue->counted_ticket;
}

/* ---- the end of a minute ---- */

/*
 * Who is told of between now and the next round is yet to be counted, and may
 * have ended before the visit that told of others by this much (microseconds): a
 * commit takes its time.
 */
#define TELLING USECS_PER_SEC

/* Note how far a queue has come; false if it is not there. */
static bool
cut_queue(VqQueue *queue, int64 now, Cut *cut)
{
	int64		held;
	int64		waiting;
	int64		inside;
	bool		there;

	LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
	cut->queue = queue;
	cut->id = queue->id;
	cut->counted = counted_before(queue);
	cut->upto = queue->next_ticket - 1;

	/* Joins that have not committed count later, unless they have been open for some minutes. */
	if (vq_line_collect(&queue->line, vq_arena(), VQ_HELD,
						Max(queue->counted_ticket, queue->old_cut_ticket) + 1, &held, 1) > 0)
		cut->upto = held - 1;
	if (now - queue->cut_at >= USECS_PER_MINUTE - USECS_PER_SEC)
	{
		queue->old_cut_ticket = queue->cut_ticket;
		queue->cut_ticket = queue->next_ticket - 1;
		queue->cut_at = now;
	}
	waiting = vq_standing(queue);
	inside = queue->line.count[VQ_INSIDE];
	cut->peak_waiting = Max(queue->peak_waiting, waiting);
	cut->peak_inside = Max(queue->peak_inside, inside);
	queue->peak_waiting = waiting;
	queue->peak_inside = inside;
	cut->until = job.upto;
	if (queue->recall_since != 0 || queue->line.count[VQ_RELEASED] > 0 || queue->line.count[VQ_ENDED] > 0)
		cut->until = Min(job.upto, queue->told_until - TELLING);
	there = queue->dboid == MyDatabaseId && !queue->gone && !queue->nascent;
	LWLockRelease(&queue->lock);
	return there;
}

static int
by_id(const void *a, const void *b)
{
	return memcmp(&((const Cut *) a)->id, &((const Cut *) b)->id, sizeof(pg_uuid_t));
}

static int64
read_number(VqStatement statement, Datum *values)
{
	VqCaller	caller;
	bool		isnull = true;
	int64		number = 0;

	if (vq_execute(statement, values, NULL, &caller) > 0)
		number = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	vq_executed(&caller);
	return isnull ? 0 : number;
}

static void
begin_job(VqDatabase *db, TimestampTz upto)
{
	MemoryContext old;
	VqQueue   **queues;
	int64		now = vq_now().mono;
	int			n;

	job.context = AllocSetContextCreate(TopMemoryContext, "vqueue statistics", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(job.context);
	job.upto = upto;
	job.begun = job.seq = read_number(VQ_READ_COUNTED, NULL);
	queues = vq_list_queues(db, &n);
	job.cuts = palloc(Max(n, 1) * sizeof(Cut));
	job.n_cuts = job.at = 0;
	for (int i = 0; i < n; i++)
		if (cut_queue(queues[i], now, &job.cuts[job.n_cuts]))
			job.n_cuts++;
	pfree(queues);
	qsort(job.cuts, job.n_cuts, sizeof(Cut), by_id);
	job.tally = vq_tally_make(job.context);
	MemoryContextSwitchTo(old);
}

static void
end_job(void)
{
	if (job.context != NULL)
		MemoryContextDelete(job.context);
	memset(&job, 0, sizeof(job));
}

/* ---- reading ---- */

static TimestampTz
read_time(HeapTuple tuple, TupleDesc desc, int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(tuple, desc, column, &isnull);

	return isnull ? 0 : DatumGetTimestampTz(value);
}

/* Count one session of an event; its row may have been deleted. */
static void
count_session(HeapTuple tuple, TupleDesc desc, const pg_uuid_t *id, TimestampTz at)
{
	char	   *status = SPI_getvalue(tuple, desc, 5);
	TimestampTz joined_at = read_time(tuple, desc, 6);
	TimestampTz served_at = read_time(tuple, desc, 7);
	TimestampTz ready_at = read_time(tuple, desc, 8);
	TimestampTz left_at = read_time(tuple, desc, 9);

	if (status == NULL)
	{
		TimestampTz let_in = ready_at != 0 ? ready_at : served_at;

		vq_tally_released(job.tally, id, let_in != 0 && let_in < job.upto ? let_in : at,
						  let_in != 0 && joined_at != 0 ? let_in - joined_at : -1);
	}
	else
		vq_tally_ended(job.tally, id, left_at != 0 && left_at < job.upto ? left_at : at,
					   vq_parse_status(status, strlen(status)),
					   served_at != 0 && left_at != 0 ? left_at - served_at : -1);
}

static Phase
read_log(void)
{
	Datum		values[2] = {Int64GetDatum(job.seq), Int32GetDatum(EVENTS_A_STEP)};
	VqCaller	caller;
	uint64		n = vq_execute(VQ_FOLD_EVENTS, values, NULL, &caller);
	TimestampTz now = GetCurrentTimestamp();
	Phase		then = n > 0 ? READ_LOG : READ_JOINS;

	for (uint64 i = 0; i < n; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;
		bool		no_session;
		TimestampTz at = DatumGetTimestampTz(SPI_getbinval(tuple, desc, 3, &isnull));
		pg_uuid_t	id = *DatumGetUUIDP(SPI_getbinval(tuple, desc, 2, &isnull));

		/* One that is dated ahead, by a time written by hand, must not hold up the others. */
		if (at >= job.upto && at <= now)
		{
			then = READ_JOINS;
			break;
		}
		job.seq = DatumGetInt64(SPI_getbinval(tuple, desc, 1, &isnull));
		(void) SPI_getbinval(tuple, desc, 4, &no_session);
		if (!no_session)
			count_session(tuple, desc, &id, Min(at, job.upto - 1));
	}
	vq_executed(&caller);
	return then;
}

/* Count the joins of a queue, at most so many; returns how many there were. */
static int64
read_joins_of(Cut *cut, int limit)
{
	Datum		values[4];
	VqCaller	caller;
	int64		total = 0;
	int64		last = cut->upto;
	uint64		n;

	if (cut->counted == 0)
	{
		values[0] = UUIDPGetDatum(&cut->id);
		cut->counted = read_number(VQ_READ_COUNTED_TICKET, values);
	}
	values[0] = UUIDPGetDatum(&cut->id);
	values[1] = Int64GetDatum(cut->counted);
	values[2] = Int64GetDatum(cut->upto);
	values[3] = Int32GetDatum(limit);
	n = vq_execute(VQ_FOLD_JOINS, values, NULL, &caller);
	for (uint64 i = 0; i < n; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;
		int64		joined = DatumGetInt64(SPI_getbinval(tuple, desc, 2, &isnull));
		int64		ticket = DatumGetInt64(SPI_getbinval(tuple, desc, 3, &isnull));

		vq_tally_joined(job.tally, &cut->id, read_time(tuple, desc, 1), joined);
		last = i == 0 ? ticket : Max(last, ticket);
		total += joined;
	}
	vq_executed(&caller);
	cut->counted = total < limit ? Max(cut->counted, cut->upto) : last;
	return total;
}

static Phase
read_joins(void)
{
	int64		room = JOINS_A_STEP;

	for (int n = 0; n < QUEUES_A_STEP && room > 0 && job.at < job.n_cuts;)
	{
		Cut		   *cut = &job.cuts[job.at];

		if (cut->counted < cut->upto)
		{
			room -= read_joins_of(cut, room);
			n++;
		}
		if (cut->counted >= cut->upto)
		{
			vq_tally_peaks(job.tally, &cut->id, job.upto - 1, cut->peak_waiting, cut->peak_inside);
			job.at++;
		}
	}
	if (job.at < job.n_cuts)
		return READ_JOINS;
	vq_tally_sort(job.tally);
	job.then_at = 0;
	return WRITE;
}

/* ---- writing ---- */

static Cut *
cut_of(const pg_uuid_t *id)
{
	Cut			key;

	key.id = *id;
	return bsearch(&key, job.cuts, job.n_cuts, sizeof(Cut), by_id);
}

/* Of a queue, how far its joins are counted now; 0 if there were none to count. */
static int64
counted_of(const pg_uuid_t *id)
{
	Cut		   *cut = cut_of(id);

	return cut != NULL ? cut->counted : 0;
}

/*
 * A queue that is locked for good, or is yet to get its marks, is left out: the
 * next closing goes by its marks, and reads the log from where this one did.
 */
static void
skip_queue(const pg_uuid_t *id)
{
	Cut		   *cut = cut_of(id);

	job.skipped = true;
	if (cut != NULL)
	{
		cut->counted = 0;
		cut->until = 0;
	}
}

/* Move a queue's marks; false if it is not there any more, or somebody is about to drop it. */
static bool
move_marks(const pg_uuid_t *id)
{
	Datum		values[3] = {UUIDPGetDatum(id), Int64GetDatum(job.seq), Int64GetDatum(counted_of(id))};
	VqCaller	caller;
	bool		moved = vq_execute(VQ_MARK_COUNTED, values, NULL, &caller) > 0;

	vq_executed(&caller);
	return moved;
}

static void
write_minute(const VqMinute *minute)
{
	Datum		values[VQ_MINUTE_COLUMNS];
	char		nulls[VQ_MINUTE_COLUMNS + 1];
	VqCaller	caller;

	vq_minute_values(minute, values, nulls);
	(void) vq_execute(VQ_WRITE_STATS, values, nulls, &caller);
	vq_executed(&caller);
}

static Phase
write_some(void)
{
	int			at = job.then_at;
	int			n;
	VqMinute  **minutes = vq_tally_minutes(job.tally, &n);

	for (int written = 0; at < n && written < QUEUES_A_STEP; written++)
	{
		const pg_uuid_t *id = &minutes[at]->queue_id;
		bool		there = move_marks(id);

		if (!there)
			skip_queue(id);
		for (; at < n && memcmp(&minutes[at]->queue_id, id, sizeof(pg_uuid_t)) == 0; at++)
			if (there)
				write_minute(minutes[at]);
	}
	job.then_at = at;
	return at < n ? WRITE : MARK;
}

/* All of the log up to here is counted, and so are the joins of all queues. */
static Phase
move_log_mark(void)
{
	Datum		values[2] = {Int64GetDatum(job.skipped ? job.begun : job.seq), TimestampTzGetDatum(job.upto)};
	VqCaller	caller;

	(void) vq_execute(VQ_MARK_LOG, values, NULL, &caller);
	vq_executed(&caller);
	return IDLE;
}

/* ---- steps ---- */

/* When the minute that begins now is to be closed. */
static int64
next_closing(VqNow now)
{
	return now.mono + USECS_PER_MINUTE - now.wall % USECS_PER_MINUTE + CLOSING_DELAY;
}

/* Up to when there is something to count, 0 if the minute is not over. */
static TimestampTz
closing_due(VqDatabase *db, VqNow now)
{
	bool		at_once;

	SpinLockAcquire(&db->mutex);
	at_once = db->count_now;
	db->count_now = false;
	SpinLockRelease(&db->mutex);
	if (at_once)
		return now.wall;
	if (now.wall - now.wall % USECS_PER_MINUTE == closed || now.wall % USECS_PER_MINUTE < CLOSING_DELAY)
		return 0;
	return now.wall - now.wall % USECS_PER_MINUTE;
}

int64
vq_count_step(VqDatabase *db)
{
	VqNow		now = vq_now();
	int			level;

	if (job.phase == IDLE)
	{
		TimestampTz upto = vq_stats_retention > 0 ? closing_due(db, now) : 0;

		if (upto == 0)
			return next_closing(now);
		begin_job(db, upto);
		job.phase = READ_LOG;
	}
	level = vq_force_index_plans();
	switch (job.phase)
	{
		case READ_LOG:
			job.then = read_log();
			break;
		case READ_JOINS:
			job.then = read_joins();
			break;
		case WRITE:
			job.then = write_some();
			break;
		default:
			job.then = move_log_mark();
			break;
	}
	AtEOXact_GUC(true, level);
	return job.then == IDLE ? next_closing(now) : 0;
}

void
vq_count_done(void)
{
	if (job.phase == MARK && job.then == IDLE)
	{
		for (int i = 0; i < job.n_cuts; i++)
		{
			VqQueue    *queue = job.cuts[i].queue;

			LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
			if (vq_is_queue(queue, &job.cuts[i].id))
			{
				queue->counted_ticket = job.cuts[i].counted;
				queue->counted_until = Max(queue->counted_until, job.cuts[i].until);
			}
			LWLockRelease(&queue->lock);
		}
		closed = job.upto - job.upto % USECS_PER_MINUTE;
		end_job();
		return;
	}
	job.phase = job.then;
}

void
vq_count_failed(void)
{
	for (int i = 0; i < job.n_cuts; i++)
	{
		VqQueue    *queue = job.cuts[i].queue;

		LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
		queue->counted_ticket = 0;
		queue->peak_waiting = Max(queue->peak_waiting, job.cuts[i].peak_waiting);
		queue->peak_inside = Max(queue->peak_inside, job.cuts[i].peak_inside);
		LWLockRelease(&queue->lock);
	}
	end_job();
}

int64
vq_trim_stats(void)
{
	VqNow		now = vq_now();
	Datum		values[2] = {TimestampTzGetDatum(now.wall - (int64) vq_stats_retention * USECS_PER_SEC),
	Int32GetDatum(TRIM_BATCH)};
	VqCaller	caller;
	uint64		n;
	int			level;

	if (vq_stats_retention == 0)
		return now.mono + TRIM_DELAY;
	level = vq_force_index_plans();
	n = vq_execute(VQ_TRIM_STATS, values, NULL, &caller);
	vq_executed(&caller);
	AtEOXact_GUC(true, level);
	return n == TRIM_BATCH ? 0 : now.mono + TRIM_DELAY;
}

PG_FUNCTION_INFO_V1(vqueue_count_now);
Datum
vqueue_count_now(PG_FUNCTION_ARGS)
{
	VqDatabase *db = vq_database();

	vq_must_own("vqueue._count_now()");
	SpinLockAcquire(&db->mutex);
	db->count_now = true;
	SpinLockRelease(&db->mutex);
	vq_wake_worker(db);
	PG_RETURN_VOID();
}
