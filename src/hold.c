/*
 * hold.c
 *		Holding a draw: at the opening of a queue, those who wait get their places.
 *
 * Nothing but the draw's own row is written: it says who the entrants are, and
 * their places follow from it.  What memory will have after the commit is made
 * before it.
 *
 * The entrants are those whose joins have committed.  So that none is half in,
 * joins are kept out meanwhile, after those in flight have ended; but a client
 * that sits in a transaction must not keep the doors shut, so we do not wait for
 * long.  Who is in flight then comes late.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "draws.h"
#include "due.h"
#include "executor/spi.h"
#include "hold.h"
#include "miscadmin.h"
#include "pending.h"
#include "queue.h"
#include "rank.h"
#include "statement.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "walk.h"

/* How long to wait for joins in flight, in milliseconds; the worker has other queues. */
#define PATIENCE		2000
#define WORKER_PATIENCE	50

static bool holding = false;

bool
vq_holding_draw(void)
{
	return holding;
}

/* ---- keeping joins out ---- */

/* Try to get the lock within the present lock_timeout; the error of not getting it is swallowed. */
static void
try_to_lock(const pg_uuid_t *id)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		vq_lock_against_joins(id);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
			PG_RE_THROW();
		FlushErrorState();
		FreeErrorData(error);
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
}

static void
keep_joins_out(const pg_uuid_t *id)
{
	volatile int timeout = LockTimeout;

	PG_TRY();
	{
		LockTimeout = vq_database()->worker_pid == MyProcPid ? WORKER_PATIENCE : PATIENCE;
		try_to_lock(id);
	}
	PG_FINALLY();
	{
		LockTimeout = timeout;
	}
	PG_END_TRY();
}

/* ---- the list ---- */

typedef struct Entrant
{
	int64		ticket;
	pg_uuid_t	id;
} Entrant;

typedef struct Entrants
{
	const pg_uuid_t *queue_id;
	Entrant    *entrants;
	uint64		n;
	uint64		room;
	bool		sorted;
} Entrants;

static void
list_entrant(const VqRow *row, void *arg)
{
	Entrants   *list = arg;

	if (row->status != VQ_WAITING || memcmp(&row->queue_id, list->queue_id, sizeof(pg_uuid_t)) != 0)
		return;
	if (list->n == list->room)
	{
		list->room *= 2;
		list->entrants = repalloc_huge(list->entrants, list->room * sizeof(Entrant));
	}
	list->sorted = list->sorted && (list->n == 0 || list->entrants[list->n - 1].ticket < row->ticket);
	list->entrants[list->n].ticket = row->ticket;
	list->entrants[list->n++].id = row->id;
}

static int
by_ticket(const void *a, const void *b)
{
	int64		x = ((const Entrant *) a)->ticket;
	int64		y = ((const Entrant *) b)->ticket;

	return x < y ? -1 : x > y;
}

/*
 * The first ticket that stands in memory, and how many do.  Whoever has committed
 * stands there, so nobody who waits is before it.  False while memory is being built.
 */
static bool
first_standing(VqQueue *queue, int64 *first, int64 *standing)
{
	bool		whole;

	*first = PG_INT64_MAX;
	LWLockAcquire(&queue->lock, LW_SHARED);
	whole = vq_is_whole();
	*standing = vq_standing(queue);
	for (int lane = 0; lane < VQ_LANES; lane++)
	{
		int64		ticket;

		if (vq_line_collect(&queue->line, vq_arena(), lane, 1, &ticket, 1) > 0)
			*first = Min(*first, ticket);
	}
	LWLockRelease(&queue->lock);
	return whole;
}

/* All who wait, by their tickets. */
static void
list_entrants(VqQueue *queue, Entrants *list)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	int64		standing;
	int64		first;
	bool		whole = first_standing(queue, &first, &standing);

	list->room = 1024;
	list->entrants = palloc(list->room * sizeof(Entrant));
	list->sorted = true;
	if (whole && vq_few_of_all(standing))
		vq_scan_tickets(list->queue_id, first, snapshot, list_entrant, list);
	else
		vq_scan_table(snapshot, list_entrant, list);
	UnregisterSnapshot(snapshot);
	if (!list->sorted)
		qsort(list->entrants, list->n, sizeof(Entrant), by_ticket);
	if (list->n > VQ_MAX_ENTRANTS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many wait for the draw of queue \"%s\"", vq_uuid_text(list->queue_id)),
				 errdetail("At most %d can be drawn.", VQ_MAX_ENTRANTS),
				 errhint("Delete the draw's row of vqueue.draws to open the queue without one.")));
}

/*
 * The hash of the list: SHA-256 of the SHA-256 of each id.  So the list may be
 * published and shows everybody who knows an id that it is there, while the ids
 * themselves, which whoever has them may leave or claim with, stay secret.
 */
static void
hash_list(const Entrants *list, char *text)
{
	uint8		digest[VQ_DIGEST_LEN];

	vq_digest_begin();
	for (uint64 i = 0; i < list->n; i++)
	{
		if (i % 65536 == 0)
			CHECK_FOR_INTERRUPTS();
		vq_sha256(list->entrants[i].id.data, UUID_LEN, digest);
		vq_digest_add(digest, VQ_DIGEST_LEN);
	}
	vq_digest_end(digest);
	vq_digest_text(digest, text);
}

/* ---- the draw ---- */

static void
write_draw(const pg_uuid_t *id, const VqEntrants *entrants, const char *hash, const uint8 *key)
{
	uint8		digest[VQ_DIGEST_LEN];
	char		key_hash[VQ_DIGEST_TEXT];
	Datum		values[8];
	char		nulls[9] = "        ";
	VqCaller	caller;

	vq_sha256(key, VQ_DIGEST_LEN, digest);
	vq_digest_text(digest, key_hash);
	values[0] = UUIDPGetDatum(id);
	values[1] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[2] = Int64GetDatum(entrants->n);
	values[3] = CStringGetTextDatum(hash);
	values[4] = CStringGetTextDatum(key_hash);
	values[5] = entrants->n > 0 ? Int64GetDatum(entrants->tickets[0]) : (Datum) 0;
	values[6] = entrants->n > 0 ? Int64GetDatum(entrants->tickets[entrants->n - 1]) : (Datum) 0;
	values[7] = PointerGetDatum(vq_pack_tickets(entrants->tickets, entrants->n));
	if (entrants->n == 0)
		nulls[5] = nulls[6] = 'n';
	holding = true;
	PG_TRY();
	{
		vq_execute(VQ_HOLD_DRAW, values, nulls, &caller);
		vq_executed(&caller);
	}
	PG_FINALLY();
	{
		holding = false;
	}
	PG_END_TRY();
}

static void
hold(VqQueue *queue, const pg_uuid_t *id, const VqDrawRow *draw)
{
	Entrants	list = {id};
	VqEntrants	entrants;
	char		hash[VQ_DIGEST_TEXT];
	uint8		key[VQ_DIGEST_LEN];

	list_entrants(queue, &list);
	hash_list(&list, hash);
	vq_draw_key(draw->seed, list.n, hash, draw->beacon, key);
	entrants.n = (uint32) list.n;
	entrants.tickets = MemoryContextAllocHuge(CurrentMemoryContext, Max(list.n, 1) * sizeof(int64));
	for (uint64 i = 0; i < list.n; i++)
		entrants.tickets[i] = list.entrants[i].ticket;
	entrants.places = vq_draw_all(key, entrants.n);
	write_draw(id, &entrants, hash, key);
	vq_note_draw(queue, id, &entrants);
}

void
vq_hold_draw(VqQueue *queue, const pg_uuid_t *id)
{
	MemoryContext context;
	MemoryContext old;
	VqDrawRow	draw;

	if (!vq_fetch_draw(id, NULL, &draw) || draw.drawn)
		return;
	context = AllocSetContextCreate(CurrentMemoryContext, "vqueue draw", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	keep_joins_out(id);
	hold(queue, id, &draw);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}
