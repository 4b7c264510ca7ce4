/*
 * rebuild.c
 *		Memory from the tables.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "chance.h"
#include "draws.h"
#include "due.h"
#include "miscadmin.h"
#include "op.h"
#include "pending.h"
#include "quota.h"
#include "rank.h"
#include "rebuild.h"
#include "recall.h"
#include "roster.h"
#include "standing.h"
#include "storage/ipc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "walk.h"

/* How long to wait for another's rebuild where this transaction cannot do it, in seconds. */
#define BUILD_PATIENCE 60

/* How long CREATE EXTENSION waits for who empties or builds memory, in milliseconds. */
#define EMPTY_PATIENCE 1000

typedef struct Loader
{
	VqQueue    *queue;			/* of the last row, likely of the next */
	pg_uuid_t	queue_id;
	uint64		build;
	TimestampTz recall_since;	/* of queues that were not there */
	Snapshot	snapshot;
	VqNow		now;			/* when the queue's lock was taken */
	int			rows;			/* loaded since the queue's lock was taken; 0 if it is not held */
} Loader;

/* Rows loaded under one hold of a queue's lock. */
#define ROWS_A_LOCK 256

/* ---- loading ---- */

static void
load_queue(const pg_uuid_t *id, const VqSettings *settings, void *arg)
{
	Loader	   *loader = arg;
	bool		made;
	VqQueue    *queue = vq_find_queue(id);
	VqNow		now = vq_now();
	pg_uuid_t	tenant;

	/* Deleted since the snapshot. */
	if (queue != NULL && queue->gone && queue->build == loader->build)
		return;
	queue = vq_make_queue(id, &made);

	/* A row written by hand may be above the ceiling. */
	if (made)
		vq_note_ticket(queue, vq_fetch_last_ticket(id, loader->snapshot));
	LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
	if (made)
	{
		/*
		 * Empty: what was released before the restart is not known, and must
		 * count against the rate with what is released after it.
		 */
		queue->nascent = false;
		queue->settings = *settings;
		queue->recall_since = loader->recall_since;
		queue->recall_build = loader->recall_since != 0 ? loader->build : 0;
		vq_lanes_configure(&queue->lanes, settings->weights);
		vq_pacer_init(&queue->pacer, now, settings->rate_per_minute, vq_burst(settings), false);
	}
	else if (settings->version > queue->settings.version)
	{
		queue->settings = *settings;
		vq_lanes_configure(&queue->lanes, settings->weights);
		vq_pacer_configure(&queue->pacer, now, settings->rate_per_minute, vq_burst(settings));
	}
	else if (settings->version == queue->settings.version && queue->build != loader->build)
	{
		/* It may have been truncated, or replicated.  What was noted meanwhile is newer. */
		queue->settings.trial = settings->trial;
	}
	queue->build = loader->build;
	tenant = queue->settings.tenant_id;
	LWLockRelease(&queue->lock);
	vq_join_tenant(queue, &tenant);
}

static void
load_ceilings(Snapshot snapshot)
{
	Relation	rel = table_open(vq_relation(VQ_CEILINGS), AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, snapshot, 0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		id = heap_getattr(tuple, Anum_ceilings_queue_id, RelationGetDescr(rel), &isnull);
		Datum		ceiling = heap_getattr(tuple, Anum_ceilings_ceiling, RelationGetDescr(rel), &isnull);
		VqQueue    *queue = vq_find_queue(DatumGetUUIDP(id));

		if (queue == NULL)
			continue;
		LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
		if (queue->ceiling == 0)
		{
			/* Fresh in memory: any ticket up to the ceiling may have been issued. */
			queue->ceiling = DatumGetInt64(ceiling);
			queue->next_ticket = Max(queue->next_ticket, queue->ceiling + 1);
		}
		else
			queue->ceiling = Max(queue->ceiling, DatumGetInt64(ceiling));
		LWLockRelease(&queue->lock);
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
}

static void
load_draw(const pg_uuid_t *queue_id, int64 last_ticket)
{
	VqQueue    *queue = vq_find_queue(queue_id);

	if (queue == NULL)
		return;
	LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
	queue->drawn_last = last_ticket;
	LWLockRelease(&queue->lock);
}

static void
unlock_loader(Loader *loader)
{
	if (loader->rows > 0)
		LWLockRelease(&loader->queue->lock);
	loader->rows = 0;
}

/* Set the row's bit unless memory is newer; false when out of memory. */
static bool
load_row(VqQueue *queue, const VqRow *row)
{
	const VqArena *arena = vq_arena();
	VqLine	   *line = &queue->line;
	int			kind = vq_row_kind(row);
	uint32		block = ItemPointerGetBlockNumber(&row->tid);
	uint16		offset = ItemPointerGetOffsetNumber(&row->tid);

	if (line->count[VQ_TOUCHED] > 0 && vq_line_test(line, arena, VQ_TOUCHED, row->ticket))
		return true;
	if (kind < VQ_LANES && vq_order_is_wanted(queue, row->ticket, row->place_key) &&
		!vq_stand_in_order(queue, kind, row->ticket, row->place_key))
		return false;
	if (!vq_line_enter(line, arena, kind, row->ticket, block, offset) &&
		!(vq_line_reserve(line, arena, row->ticket) &&
		  vq_line_enter(line, arena, kind, row->ticket, block, offset)))
		return false;
	if (row->status == VQ_IS_READY)
		vq_line_set(line, arena, VQ_CALLED, row->ticket);
	return true;
}

/*
 * Have the places of those drawn at hand, as the first of them is met.  Caller
 * holds the queue's lock, which is let go meanwhile.
 */
static bool
recall_draw(Loader *loader)
{
	VqQueue    *queue = loader->queue;
	VqEntrants	entrants;
	bool		fits;

	LWLockRelease(&queue->lock);
	if (!vq_fetch_entrants(&loader->queue_id, loader->snapshot, &entrants))
	{
		/* Damaged: they stand by their tickets, and verify_draw tells. */
		LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
		queue->drawn_last = 0;
		return true;
	}
	LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
	fits = vq_load_entrants(queue, &entrants);
	vq_free_entrants(&entrants);
	return fits;
}

static void
load_session(const VqRow *row, void *arg)
{
	Loader	   *loader = arg;
	bool		fits = true;

	if (loader->queue == NULL || memcmp(&loader->queue_id, &row->queue_id, sizeof(pg_uuid_t)) != 0)
	{
		unlock_loader(loader);
		loader->queue = vq_find_queue(&row->queue_id);
		loader->queue_id = row->queue_id;
	}
	if (loader->queue == NULL)
		return;					/* its queue is yet to be replicated, or was dropped since */
	if (loader->rows++ == 0)
	{
		LWLockAcquire(&loader->queue->lock, LW_EXCLUSIVE);
		loader->now = vq_now();
	}
	if (row->status == VQ_WAITING && row->ticket <= loader->queue->drawn_last &&
		loader->queue->standing.map == 0)
		fits = recall_draw(loader);
	fits = fits && load_row(loader->queue, row);
	if (fits && loader->queue->recall_build == loader->build)
		vq_recall_live(loader->queue, row);
	if (row->status == VQ_SERVING)
		vq_flow_found(&loader->queue->flow, loader->now.mono, loader->now.wall - row->served_at);
	loader->queue->next_ticket = Max(loader->queue->next_ticket, row->ticket + 1);
	if (loader->rows == ROWS_A_LOCK || !fits)
		unlock_loader(loader);
	if (!fits)
		vq_out_of_memory();
}

/* Clear what is in memory, but for changes in flight. */
static void
wipe_queues(VqDatabase *db)
{
	int			n;
	VqQueue   **queues = vq_list_queues(db, &n);

	for (int i = 0; i < n; i++)
	{
		LWLockAcquire(&queues[i]->lock, LW_EXCLUSIVE);
		vq_line_wipe(&queues[i]->line, vq_arena());
		vq_wipe_standing(queues[i]);
		vq_flow_forget_inside(&queues[i]->flow);
		vq_score_void(&queues[i]->score);
		queues[i]->claimed = false;
		LWLockRelease(&queues[i]->lock);
	}
	pfree(queues);
}

/*
 * Some of those whom a queue has as called, if anybody has claimed a slot, from a
 * ticket on; *from is then where to go on, 0 at the end.  Who is HELD is just being
 * called, which no row shows yet.
 */
static int
collect_called(VqQueue *queue, int64 *tickets, int64 *from, pg_uuid_t *id)
{
	int			kept = 0;
	int			n;

	LWLockAcquire(&queue->lock, LW_SHARED);
	*id = queue->id;
	n = !queue->claimed || queue->dboid != MyDatabaseId ? 0 :
		vq_line_collect(&queue->line, vq_arena(), VQ_CALLED, *from, tickets, ROWS_A_LOCK);
	*from = n == ROWS_A_LOCK ? tickets[n - 1] + 1 : 0;
	for (int i = 0; i < n; i++)
		if (!vq_line_test(&queue->line, vq_arena(), VQ_HELD, tickets[i]))
			tickets[kept++] = tickets[i];
	LWLockRelease(&queue->lock);
	return kept;
}

/*
 * Look again at those who were loaded as called, by the latest snapshot: they may
 * have claimed their slots since ours, before they were loaded.  Who claims after
 * this look takes the bit away by itself.
 */
static void
review_called(VqQueue *queue)
{
	int64		tickets[ROWS_A_LOCK];
	int64		from = 1;
	pg_uuid_t	id;

	while (from > 0)
	{
		int			n = collect_called(queue, tickets, &from, &id);
		int			claimed = 0;

		for (int i = 0; i < n; i++)
		{
			VqRow		row;

			if (!vq_fetch_ticket(&id, tickets[i], NULL, &row) || row.status != VQ_IS_READY)
				tickets[claimed++] = tickets[i];
		}
		LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
		if (!vq_is_queue(queue, &id))
			from = claimed = 0; /* gone meanwhile, and its place maybe to another one */
		for (int i = 0; i < claimed; i++)
			if (!vq_line_test(&queue->line, vq_arena(), VQ_HELD, tickets[i]))
				vq_line_clear(&queue->line, vq_arena(), VQ_CALLED, tickets[i]);
		LWLockRelease(&queue->lock);
		CHECK_FOR_INTERRUPTS();
	}
}

static void
review_all_called(VqDatabase *db)
{
	int			n;
	VqQueue   **queues = vq_list_queues(db, &n);

	for (int i = 0; i < n; i++)
		review_called(queues[i]);
	pfree(queues);
}

/* Load what may not have been told of queues that were not there. */
static void
recall_ended(VqDatabase *db, const Loader *loader)
{
	int			n;
	VqQueue   **queues = vq_list_queues(db, &n);
	bool		fits = true;

	for (int i = 0; i < n && fits; i++)
		if (queues[i]->recall_build == loader->build)
			fits = vq_recall_ended(queues[i], loader->snapshot);
	if (!fits)
		ereport(LOG,
				(errmsg("vqueue: sessions that ended just before the server went down may not be announced"),
				 errdetail("vqueue.memory_limit has no room for them.")));
	pfree(queues);
}

/* Take queues without a row out of memory, and have the worker look at the others. */
static void
settle_queues(VqDatabase *db, uint64 build)
{
	int			n;
	VqQueue   **queues = vq_list_queues(db, &n);
	VqNow		now = vq_now();

	for (int i = 0; i < n; i++)
	{
		bool		lost;

		LWLockAcquire(&queues[i]->lock, LW_EXCLUSIVE);
		lost = queues[i]->build != build && !queues[i]->nascent;
		if (!lost)
			vq_settle_built(queues[i]);
		if (!lost)
			vq_guess_passed(queues[i]);

		/* The worker may have looked for silent ones while they were not there. */
		queues[i]->reap_at = 0;
		if (!lost)
			vq_call_worker(queues[i], vq_next_due(queues[i], now, true));
		LWLockRelease(&queues[i]->lock);
		if (lost)
			vq_forget_queue(queues[i]);
	}
	pfree(queues);
}

static void
build_lines(VqDatabase *db)
{
	Loader		loader = {0};
	Snapshot	snapshot;

	loader.build = pg_atomic_add_fetch_u64(&db->build, 1);
	wipe_queues(db);

	/* Whoever commits after the snapshot finds this; whoever found the other state commits before. */
	pg_atomic_write_u32(&db->line_state, VQ_BUILDING);
	pg_memory_barrier();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	loader.snapshot = snapshot;
	loader.recall_since = vq_recall_since();
	vq_scan_queues(snapshot, load_queue, &loader);
	load_ceilings(snapshot);
	vq_scan_draws(snapshot, load_draw);
	vq_scan_live(snapshot, load_session, &loader);
	unlock_loader(&loader);
	review_all_called(db);
	recall_ended(db, &loader);
	UnregisterSnapshot(snapshot);
	settle_queues(db, loader.build);
}

/* ---- who builds ---- */

static void
set_line_state(VqDatabase *db, VqLineState state)
{
	pg_atomic_write_u32(&db->line_state, state);
	ConditionVariableBroadcast(&db->changed);
}

/* A builder that errs out or exits leaves it to the next. */
static void
give_up_building(int code, Datum arg)
{
	set_line_state((VqDatabase *) DatumGetPointer(arg), VQ_STALE);
}

static void
build_as_elected(VqDatabase *db)
{
	uint32		demands = pg_atomic_read_u32(&db->demands);

	PG_ENSURE_ERROR_CLEANUP(give_up_building, PointerGetDatum(db));
	{
		build_lines(db);
		pg_atomic_fetch_add_u64(&db->names_version, 1);
		set_line_state(db, VQ_READY);
	}
	PG_END_ENSURE_ERROR_CLEANUP(give_up_building, PointerGetDatum(db));

	/* Our snapshot may not have had what made it stale once more. */
	pg_memory_barrier();
	if (pg_atomic_read_u32(&db->demands) != demands)
	{
		vq_make_stale(db);
		vq_wake_worker(db);
	}
}

VqDatabase *
vq_ready(void)
{
	VqDatabase *db = vq_database();
	bool		may_build = !TransactionIdIsValid(GetTopTransactionIdIfAny()) && !IsInParallelMode();
	bool		waiting = false;
	int			waited = 0;

	(void) vq_relation(VQ_SESSIONS);
	for (;;)
	{
		uint32		state = VQ_STALE;

		if (pg_atomic_read_u32(&db->line_state) == VQ_READY)
			break;

		/*
		 * A snapshot of a transaction that has written shows its rows as if
		 * committed, and a parallel query's may be old, so another one must
		 * build: the worker if nobody else.  The worker itself has nobody to
		 * wait for, so it gives its transaction up.
		 */
		if (may_build &&
			pg_atomic_compare_exchange_u32(&db->line_state, &state, VQ_WIPING))
		{
			ConditionVariableCancelSleep();
			waiting = false;
			build_as_elected(db);
			continue;
		}
		if (!waiting)
		{
			ConditionVariablePrepareToSleep(&db->changed);
			waiting = true;
			vq_wake_worker(db);
			continue;
		}
		if (!may_build &&
			(waited++ >= BUILD_PATIENCE ||
			 (db->worker_pid == MyProcPid && pg_atomic_read_u32(&db->line_state) == VQ_STALE)))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("the waiting lines are not ready"),
					 errdetail("They must be built anew, which a parallel query or a transaction that has written cannot do."),
					 errhint("Run the transaction again; see vqueue.health() if this lasts.")));
		(void) ConditionVariableTimedSleep(&db->changed, 1000, PG_WAIT_EXTENSION);
	}
	if (waiting)
		ConditionVariableCancelSleep();
	return db;
}

void
vq_lock_whole(VqQueue *queue, LWLockMode mode)
{
	LWLockAcquire(&queue->lock, mode);
	while (!vq_is_whole())
	{
		LWLockRelease(&queue->lock);
		vq_ready();
		LWLockAcquire(&queue->lock, mode);
	}
}

/* Take all queues out of memory as the one who builds, though there is nothing to build from. */
static void
build_nothing(VqDatabase *db, VqLineState then)
{
	PG_ENSURE_ERROR_CLEANUP(give_up_building, PointerGetDatum(db));
	{
		vq_forget_queues(db);
		set_line_state(db, then);
	}
	PG_END_ENSURE_ERROR_CLEANUP(give_up_building, PointerGetDatum(db));
}

void
vq_begin_empty(void)
{
	VqDatabase *db = vq_database();

	for (int waited = 0; waited < EMPTY_PATIENCE; waited++)
	{
		uint32		state = VQ_STALE;

		if (pg_atomic_compare_exchange_u32(&db->line_state, &state, VQ_WIPING))
			break;

		/*
		 * Dropped by this very transaction: to everybody else the old
		 * extension is there until we commit, and so are its lines.  The
		 * commit of the drop has them built anew.
		 */
		if (state == VQ_READY)
			return;

		/* A worker is leaving; or somebody builds who waits for our locks, in vain. */
		CHECK_FOR_INTERRUPTS();
		pg_usleep(1000L);
	}
	vq_void_pending();
	build_nothing(db, VQ_READY);
}

void
vq_end_empty(VqDatabase *db)
{
	uint32		state = VQ_STALE;

	if (pg_atomic_compare_exchange_u32(&db->line_state, &state, VQ_WIPING))
		build_nothing(db, VQ_STALE);
}

void
vq_demand_rebuild(void)
{
	VqDatabase *db = vq_database();
	uint32		ready = VQ_READY;

	pg_atomic_compare_exchange_u32(&db->line_state, &ready, VQ_STALE);
	(void) vq_ready();
}
