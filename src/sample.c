/*
 * sample.c
 *		A few sessions of memory held against their rows, and rows against memory.
 *
 * Where check() compares everything, this looks at some hundred sessions chosen at
 * random, at a cost that does not grow with the line: often enough, it finds what
 * is wrong at many places, and in short lines all there is.  It also finds sessions
 * whose time was up long ago, which the worker should have ended.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xlog.h"
#include "check.h"
#include "common/pg_prng.h"
#include "due.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mark.h"
#include "miscadmin.h"
#include "pending.h"
#include "queue.h"
#include "rank.h"
#include "rebuild.h"
#include "roster.h"
#include "statement.h"
#include "storage/bufmgr.h"
#include "storage/itemptr.h"
#include "storage/lmgr.h"
#include "table.h"
#include "trial.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

/* Queues looked at, the first and some other tickets of each kind, pages of the table, rows of them. */
#define QUEUES	20
#define TICKETS	6
#define PAGES	4
#define ROWS	200

/* Differences after which the rest is left: each takes its time to be made sure of. */
#define ENOUGH	1

/* Somebody whose time was up so long ago (microseconds) should have been ended. */
#define GRACE	INT64CONST(10000000)

typedef struct Sample
{
	int			looked;
	int			differing;
	int			late;
	char	   *example;		/* one that differs, or is late */
} Sample;

static void
compare(Sample *sample, VqQueue *queue, const pg_uuid_t *id, int64 ticket)
{
	if (sample->differing >= ENOUGH)
		return;
	sample->looked++;
	if (!vq_ticket_differs(queue, id, ticket))
		return;
	sample->differing++;
	sample->example = psprintf("ticket " INT64_FORMAT " of queue %s", ticket, vq_uuid_text(id));
}

/* ---- whose time is up ---- */

/*
 * By the row, and by memory, where everybody has a fresh grace after a restart.
 * What is uncommitted, or was renewed meanwhile, is not late.
 */
static bool
is_late(VqQueue *queue, const VqSettings *settings, const VqRow *row)
{
	int64		timeout = vq_timeout_of(settings, row->status, row->ticket);
	int64		silence;
	TimestampTz since = Max(Max(row->joined_at, vq_let_in_at(row)), Max(row->served_at, row->extended_at));

	if (timeout == 0 || GetCurrentTimestamp() - since <= timeout + GRACE)
		return false;
	LWLockAcquire(&queue->lock, LW_SHARED);
	silence = vq_line_test(&queue->line, vq_arena(), VQ_HELD, row->ticket) ? -1 :
		vq_mark_silence(&queue->line, vq_arena(), row->ticket, vq_now().mono / USECS_PER_SEC);
	LWLockRelease(&queue->lock);
	return (silence - VQ_MARK_SECONDS) * USECS_PER_SEC > timeout + GRACE;
}

static void
look_for_late(Sample *sample, VqQueue *queue, const pg_uuid_t *id, const VqSettings *settings, int64 ticket)
{
	VqRow		row;

	if (!vq_fetch_ticket(id, ticket, NULL, &row) || !vq_is_live(&row) || !is_late(queue, settings, &row))
		return;
	sample->late++;
	if (sample->differing == 0)
		sample->example = psprintf("ticket " INT64_FORMAT " of queue %s", ticket, vq_uuid_text(id));
}

/* ---- from memory to the table ---- */

/* Tickets of a kind: the first ones, and some from a random place on. */
static int
pick(VqQueue *queue, VqKind kind, int64 *tickets)
{
	int			n;
	int64		from;

	LWLockAcquire(&queue->lock, LW_SHARED);
	from = 1 + (int64) (pg_prng_double(&pg_global_prng_state) * (queue->next_ticket - 1));
	n = vq_line_collect(&queue->line, vq_arena(), kind, 1, tickets, TICKETS);
	if (n == TICKETS)
		n += vq_line_collect(&queue->line, vq_arena(), kind, Max(from, tickets[n - 1] + 1), tickets + n, TICKETS);
	LWLockRelease(&queue->lock);
	return n;
}

static void
sample_queue(Sample *sample, VqQueue *queue)
{
	VqSettings	settings;
	pg_uuid_t	id;
	bool		there;

	LWLockAcquire(&queue->lock, LW_SHARED);
	id = queue->id;
	settings = queue->settings;
	there = queue->dboid == MyDatabaseId && !queue->nascent && !queue->gone;
	LWLockRelease(&queue->lock);
	for (int kind = 0; there && kind <= VQ_INSIDE; kind++)
	{
		int64		tickets[2 * TICKETS];
		int			n = pick(queue, kind, tickets);

		for (int i = 0; i < n; i++)
		{
			CHECK_FOR_INTERRUPTS();
			compare(sample, queue, &id, tickets[i]);
			look_for_late(sample, queue, &id, &settings, tickets[i]);
		}
	}
}

static void
sample_memory(Sample *sample)
{
	int			n;
	VqQueue   **queues = vq_list_queues(vq_database(), &n);
	int			from = n > 0 ? pg_prng_uint64_range(&pg_global_prng_state, 0, n - 1) : 0;

	for (int i = 0; i < Min(n, QUEUES); i++)
		sample_queue(sample, queues[(from + i) % n]);
	pfree(queues);
}

/* ---- from the table to memory ---- */

typedef struct Found
{
	pg_uuid_t	queue_id;
	int64		ticket;
} Found;

/* Live sessions on a page of the table, at most n. */
static int
read_page(BlockNumber block, Found *found, int n)
{
	ItemPointerData from;
	ItemPointerData to;
	Datum		values[3];
	VqCaller	caller;
	int			read;
	int			level = vq_force_index_plans();

	ItemPointerSet(&from, block, 0);
	ItemPointerSet(&to, block + 1, 0);
	values[0] = PointerGetDatum(&from);
	values[1] = PointerGetDatum(&to);
	values[2] = Int32GetDatum(n);
	read = vq_execute(VQ_READ_PAGE, values, NULL, &caller);
	for (int i = 0; i < read; i++)
	{
		bool		isnull;

		found[i].queue_id = *DatumGetUUIDP(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
		found[i].ticket = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &isnull));
	}
	vq_executed(&caller);
	AtEOXact_GUC(true, level);
	return read;
}

static BlockNumber
count_pages(void)
{
	Relation	rel = table_open(vq_relation(VQ_SESSIONS), AccessShareLock);
	BlockNumber pages = RelationGetNumberOfBlocks(rel);

	table_close(rel, AccessShareLock);
	return pages;
}

/* The last page, where the latest are, and some others: of few pages each once. */
static BlockNumber
pick_page(BlockNumber pages, int i)
{
	if (i == 0)
		return pages - 1;
	if (pages <= PAGES)
		return i - 1;
	return pg_prng_uint64_range(&pg_global_prng_state, 0, pages - 2);
}

static void
sample_table(Sample *sample)
{
	BlockNumber pages = count_pages();
	Found	   *found = palloc(ROWS * sizeof(Found));
	int			n = 0;

	for (int i = 0; i < PAGES && pages > 0 && n < ROWS; i++)
	{
		BlockNumber block = pick_page(pages, i);

		if (i > 0 && block == pages - 1)
			break;
		n += read_page(block, found + n, ROWS - n);
	}
	for (int i = 0; i < n; i++)
	{
		VqQueue    *queue = vq_find_queue(&found[i].queue_id);

		CHECK_FOR_INTERRUPTS();
		if (queue != NULL)
			compare(sample, queue, &found[i].queue_id, found[i].ticket);
	}
	pfree(found);
}

/* Whoever watches must not wait for a lock: that there is one is what is to be told. */
static bool
lock_sessions(void)
{
	return ConditionalLockRelationOid(vq_relation(VQ_SESSIONS), AccessShareLock) &&
		ConditionalLockRelationOid(vq_relation(VQ_SESSIONS_TICKET), AccessShareLock);
}

PG_FUNCTION_INFO_V1(vqueue_sample);
Datum
vqueue_sample(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Sample		sample = {0};
	Datum		values[4];
	bool		nulls[4] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	vq_must_watch();

	/* On a standby there is no memory, and what this transaction has written is not in it yet. */
	if (!RecoveryInProgress() && !vq_has_pending() && lock_sessions())
	{
		(void) vq_ready();
		sample_memory(&sample);
		sample_table(&sample);
	}
	values[0] = Int32GetDatum(sample.looked);
	values[1] = Int32GetDatum(sample.differing);
	values[2] = Int32GetDatum(sample.late);
	/* It may be another tenant's. */
	nulls[3] = sample.example == NULL || (vq_levels_everywhere() & VQ_MAY_WATCH) == 0;
	values[3] = nulls[3] ? (Datum) 0 : CStringGetTextDatum(sample.example);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}
