/*
 * recall.c
 *		What the last server had not told of when it went down.
 */
#include "postgres.h"

#include "access.h"
#include "event.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "guc.h"
#include "miscadmin.h"
#include "rank.h"
#include "rebuild.h"
#include "recall.h"
#include "roster.h"
#include "statement.h"
#include "table.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Tickets looked at under one hold of the queue's lock. */
#define A_LOCK 1000

/* When a session was last told of, by kind. */
typedef struct Told
{
	int64		ticket;			/* key */
	TimestampTz released;
	TimestampTz ended;
} Told;

/* ---- while memory is built ---- */

TimestampTz
vq_recall_since(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz last = now;
	int64		seq;

	if (!vq_logging())
		return 0;

	/* The newest event is always kept; an empty log has only just begun. */
	(void) vq_fetch_last_event(&seq, &last);
	return Max(Min(last, now) - VQ_RECALL_MARGIN, now - VQ_RECALL_LONGEST);
}

void
vq_recall_live(VqQueue *queue, const VqRow *row)
{
	/* Since when a ready one is, the caller has not read. */
	if (row->status == VQ_IS_READY || (row->served_at != 0 && row->served_at >= queue->recall_since))
		vq_line_set(&queue->line, vq_arena(), VQ_RELEASED, row->ticket);
}

/* What load_ended goes on from. */
typedef struct Recaller
{
	VqQueue    *queue;
	bool		full;			/* memory did not suffice */
} Recaller;

static void
load_ended(const VqRow *row, void *arg)
{
	Recaller   *loader = arg;
	VqQueue    *queue = loader->queue;
	const VqArena *arena = vq_arena();

	if (loader->full)
		return;
	LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
	loader->full = !vq_line_reserve(&queue->line, arena, row->ticket);
	if (!loader->full)
	{
		vq_line_set(&queue->line, arena, VQ_ENDED, row->ticket);
		if (vq_let_in_at(row) != 0 && vq_let_in_at(row) >= queue->recall_since)
			vq_line_set(&queue->line, arena, VQ_RELEASED, row->ticket);
	}
	LWLockRelease(&queue->lock);
}

bool
vq_recall_ended(VqQueue *queue, Snapshot snapshot)
{
	Recaller	loader = {queue, false};
	pg_uuid_t	id = queue->id;

	vq_scan_ended(&id, queue->recall_since, snapshot, load_ended, &loader);
	return !loader.full;
}

/* ---- before the worker tells anything ---- */

/* What the log says of a queue's sessions since a moment, by ticket. */
static HTAB *
read_log(const pg_uuid_t *id, TimestampTz since)
{
	Datum		values[2] = {UUIDPGetDatum(id), Int64GetDatum(vq_seq_at(since))};
	HASHCTL		ctl = {0};
	VqCaller	caller;
	HTAB	   *told;
	uint64		n;
	int			level = vq_force_index_plans();

	ctl.keysize = sizeof(int64);
	ctl.entrysize = sizeof(Told);
	ctl.hcxt = CurrentMemoryContext;
	told = hash_create("vqueue told", 1024, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	n = vq_execute(VQ_RECALL_EVENTS, values, NULL, &caller);
	for (uint64 i = 0; i < n; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;
		int64		ticket = DatumGetInt64(SPI_getbinval(tuple, desc, 2, &isnull));
		TimestampTz at = DatumGetTimestampTz(SPI_getbinval(tuple, desc, 3, &isnull));
		bool		released = strcmp(SPI_getvalue(tuple, desc, 1), "released") == 0;
		bool		found;
		Told	   *entry = hash_search(told, &ticket, HASH_ENTER, &found);

		if (!found)
			entry->released = entry->ended = DT_NOBEGIN;
		if (released)
			entry->released = Max(entry->released, at);
		else
			entry->ended = Max(entry->ended, at);
	}
	vq_executed(&caller);
	AtEOXact_GUC(true, level);
	return told;
}

/* Whether what a row shows is yet to be told. */
static bool
is_untold(const VqRow *row, VqKind kind, HTAB *told, TimestampTz since, TimestampTz now)
{
	TimestampTz happened = kind == VQ_RELEASED ? vq_let_in_at(row) : row->left_at;
	Told	   *entry = hash_search(told, &row->ticket, HASH_FIND, NULL);

	if (happened == 0 || happened < since || happened > now)
		return false;
	return entry == NULL || (kind == VQ_RELEASED ? entry->released : entry->ended) < happened;
}

/* Strike out those of a kind that were told, or of which there is nothing to tell. */
static void
strike_out(VqQueue *queue, const pg_uuid_t *id, VqKind kind, HTAB *told, TimestampTz since)
{
	int64		tickets[A_LOCK];
	int64		from = 1;
	int			n;

	do
	{
		int			gone = 0;
		TimestampTz now;

		LWLockAcquire(&queue->lock, LW_SHARED);
		n = vq_line_collect(&queue->line, vq_arena(), kind, from, tickets, A_LOCK);
		LWLockRelease(&queue->lock);

		/* Clients go on meanwhile: what happened to those collected lies before this, if not ahead of the clock. */
		now = vq_now().wall;
		if (n > 0)
			from = tickets[n - 1] + 1;
		for (int i = 0; i < n; i++)
		{
			VqRow		row;

			if (!vq_fetch_ticket(id, tickets[i], NULL, &row) || !is_untold(&row, kind, told, since, now))
				tickets[gone++] = tickets[i];
		}
		LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
		for (int i = 0; i < gone; i++)
			vq_line_clear(&queue->line, vq_arena(), kind, tickets[i]);
		LWLockRelease(&queue->lock);
		CHECK_FOR_INTERRUPTS();
	} while (n == A_LOCK);
}

/* Whether another state was told last than the one that the queue has. */
static bool
is_state_untold(const pg_uuid_t *id, VqState state)
{
	Datum		value = UUIDPGetDatum(id);
	VqCaller	caller;
	bool		untold = vq_execute(VQ_RECALL_STATE, &value, NULL, &caller) > 0 &&
	strcmp(SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1), vq_state_name(state)) != 0;

	vq_executed(&caller);
	return untold;
}

void
vq_recall(VqQueue *queue, const pg_uuid_t *id)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "vqueue recall", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	TimestampTz since;
	VqState		state;
	bool		sessions;
	bool		news;

	LWLockAcquire(&queue->lock, LW_SHARED);
	since = queue->recall_since;
	state = queue->settings.state;
	sessions = queue->line.count[VQ_RELEASED] > 0 || queue->line.count[VQ_ENDED] > 0;
	LWLockRelease(&queue->lock);
	if (since != 0)
	{
		if (sessions)
		{
			HTAB	   *told = read_log(id, since);

			strike_out(queue, id, VQ_RELEASED, told, since);
			strike_out(queue, id, VQ_ENDED, told, since);
		}
		news = is_state_untold(id, state);
		LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
		queue->recall_since = 0;
		queue->state_news |= news;
		LWLockRelease(&queue->lock);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

PG_FUNCTION_INFO_V1(vqueue_untold);
Datum
vqueue_untold(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id = PG_GETARG_UUID_P(0);
	int64		ticket = PG_GETARG_INT64(1);
	VqQueue    *queue;
	TimestampTz left_at = PG_GETARG_TIMESTAMPTZ(2);
	bool		untold = false;

	if (!vq_may_queue(id, VQ_MAY_STEER))
		PG_RETURN_BOOL(false);
	vq_ready();
	queue = vq_find_queue(id);
	if (queue == NULL || ticket < 1)
		PG_RETURN_BOOL(false);
	LWLockAcquire(&queue->lock, LW_SHARED);
	if (vq_is_queue(queue, id))
		untold = queue->recall_since != 0 ||
			vq_line_test(&queue->line, vq_arena(), VQ_RELEASED, ticket) ||
			vq_line_test(&queue->line, vq_arena(), VQ_ENDED, ticket) ||
			(vq_stats_retention > 0 && left_at != DT_NOBEGIN &&
			 (left_at >= queue->counted_until || ticket > queue->counted_ticket));
	LWLockRelease(&queue->lock);
	PG_RETURN_BOOL(untold);
}
