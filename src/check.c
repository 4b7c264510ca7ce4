/*
 * check.c
 *		Memory held against the tables.
 *
 * check() builds a line of its own from the tables, by the loader's scan, and
 * compares it with the shared one.  Both move meanwhile, so each difference is
 * looked at again, ticket by ticket, and reported only if it lasts.  A line that is
 * being built is waited for, as it differs by nature, for as long as that takes.
 */
#include "postgres.h"

#include "access.h"
#include "access/xlog.h"
#include "audit.h"
#include "check.h"
#include "draws.h"
#include "due.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "pending.h"
#include "pgstat.h"
#include "quota.h"
#include "rank.h"
#include "rebuild.h"
#include "roster.h"
#include "standing.h"
#include "storage/proc.h"
#include "trial.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "walk.h"

/* A difference is believed when it was seen this often, so many milliseconds apart. */
#define LOOKS 20
#define LOOK_DELAY 10

/* Differences reported of one queue at the most. */
#define MAX_REPORTED 1000

/* Who waits by a key in which lane. */
typedef struct ExpectedKey
{
	int64		ticket;
	int64		place_key;
	int			lane;
} ExpectedKey;

/* A queue by the tables. */
typedef struct Expected
{
	pg_uuid_t	id;				/* key */
	VqSettings	settings;
	VqLine		line;
	ExpectedKey *keys;			/* of who waits by a key, as the rows came */
	int			n_keys;
	int			max_keys;
	VqEntrants	entrants;		/* of its draw, if that was held */
} Expected;

typedef struct Check
{
	ReturnSetInfo *rsinfo;
	HTAB	   *expected;
	VqArena		arena;			/* of the expected lines */
} Check;

/* ---- a private arena ---- */

static VqRef
private_alloc(void *ctx, size_t size)
{
	return (VqRef) MemoryContextAllocExtended(ctx, size, MCXT_ALLOC_HUGE);
}

static void
private_free(void *ctx, VqRef ref, size_t size)
{
	pfree((void *) ref);
}

static void *
private_addr(void *ctx, VqRef ref)
{
	return (void *) ref;
}

/* ---- what the tables say ---- */

static void
expect_queue(const pg_uuid_t *id, const VqSettings *settings, void *arg)
{
	Check	   *check = arg;
	bool		found;
	Expected   *expected = hash_search(check->expected, id, HASH_ENTER, &found);

	expected->settings = *settings;
	memset(&expected->line, 0, sizeof(VqLine));
	memset(&expected->entrants, 0, sizeof(VqEntrants));
	expected->keys = NULL;
	expected->n_keys = expected->max_keys = 0;
}

static void
expect_key(Expected *expected, int64 ticket, int64 place_key, int lane)
{
	ExpectedKey *key;

	if (expected->n_keys == expected->max_keys)
	{
		expected->max_keys = Max(256, expected->max_keys * 2);
		if (expected->keys == NULL)
			expected->keys = palloc(expected->max_keys * sizeof(ExpectedKey));
		else
			expected->keys = repalloc_huge(expected->keys, expected->max_keys * sizeof(ExpectedKey));
	}
	key = &expected->keys[expected->n_keys++];
	key->ticket = ticket;
	key->place_key = place_key;
	key->lane = lane;
}

static void
expect_session(const VqRow *row, void *arg)
{
	Check	   *check = arg;
	Expected   *expected = hash_search(check->expected, &row->queue_id, HASH_FIND, NULL);

	if (expected == NULL)
		return;
	vq_line_reserve(&expected->line, &check->arena, row->ticket);
	vq_line_set(&expected->line, &check->arena, vq_row_kind(row), row->ticket);
	if (row->status == VQ_IS_READY)
		vq_line_set(&expected->line, &check->arena, VQ_CALLED, row->ticket);
	if (row->status == VQ_WAITING && row->place_key != 0)
		expect_key(expected, row->ticket, row->place_key, row->lane);
}

static void
read_tables(Check *check)
{
	HASHCTL		ctl = {0};
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());

	ctl.keysize = sizeof(pg_uuid_t);
	ctl.entrysize = sizeof(Expected);
	ctl.hcxt = CurrentMemoryContext;
	check->expected = hash_create("vqueue check", 256, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	vq_scan_queues(snapshot, expect_queue, check);
	vq_scan_live(snapshot, expect_session, check);
	UnregisterSnapshot(snapshot);
}

/* Expect those who were drawn where they drew. */
static void
expect_drawn(Check *check, Expected *expected)
{
	if (!vq_has_drawn(&expected->id) || !vq_fetch_entrants(&expected->id, NULL, &expected->entrants))
		return;
	for (uint32 i = 0; i < expected->entrants.n; i++)
	{
		int64		ticket = expected->entrants.tickets[i];
		int			lane = vq_line_lane(&expected->line, &check->arena, ticket);

		if (lane >= 0)
			expect_key(expected, ticket, 0, lane);
	}
}

/* ---- reporting ---- */

static void
report(Check *check, const char *queue, const char *what, const char *in_memory, const char *in_table)
{
	Datum		values[4];
	bool		nulls[4] = {false};

	values[0] = CStringGetTextDatum(queue);
	values[1] = CStringGetTextDatum(what);
	values[2] = CStringGetTextDatum(in_memory);
	values[3] = CStringGetTextDatum(in_table);
	tuplestore_putvalues(check->rsinfo->setResult, check->rsinfo->setDesc, values, nulls);
}

static void
pause_briefly(void)
{
	CHECK_FOR_INTERRUPTS();
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 LOOK_DELAY, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
}

/* ---- tickets ---- */

static const char *
kind_text(int kind)
{
	return kind < 0 ? "not live" : kind == VQ_INSIDE ? "inside" : kind == VQ_CALLED ? "called" :
		psprintf("waiting, %s", vq_lane_names[kind]);
}

/* What memory has of a ticket; *held if that is not committed. */
static int
kind_in_memory(VqQueue *queue, int64 ticket, bool *held)
{
	int			kind;

	vq_lock_whole(queue, LW_SHARED);
	kind = vq_line_lane(&queue->line, vq_arena(), ticket);
	if (kind < 0 && vq_line_test(&queue->line, vq_arena(), VQ_INSIDE, ticket))
		kind = VQ_INSIDE;
	if ((kind < 0 || kind == VQ_INSIDE) && vq_line_test(&queue->line, vq_arena(), VQ_CALLED, ticket))
		kind = VQ_CALLED;
	*held = vq_line_test(&queue->line, vq_arena(), VQ_HELD, ticket);
	LWLockRelease(&queue->lock);
	return kind;
}

static int
kind_in_table(const pg_uuid_t *id, int64 ticket)
{
	VqRow		row;

	if (!vq_fetch_ticket(id, ticket, NULL, &row))
		return -1;
	return row.status == VQ_IS_READY ? (int) VQ_CALLED : vq_row_kind(&row);
}

/* Look again at a ticket that differed; true if it went on to. */
static bool
still_differs(VqQueue *queue, const pg_uuid_t *id, int64 ticket, int *in_memory, int *in_table)
{
	for (int look = 0; look < LOOKS; look++)
	{
		bool		held;

		*in_table = kind_in_table(id, ticket);
		*in_memory = kind_in_memory(queue, ticket, &held);
		if (held || *in_memory == *in_table)
			return false;
		pause_briefly();
	}
	return true;
}

bool
vq_ticket_differs(VqQueue *queue, const pg_uuid_t *id, int64 ticket)
{
	int			in_memory;
	int			in_table;

	return still_differs(queue, id, ticket, &in_memory, &in_table);
}

static void
check_ticket(Check *check, VqQueue *queue, const Expected *expected, int64 ticket, int *reported)
{
	int			in_memory;
	int			in_table;

	if (*reported >= MAX_REPORTED || !still_differs(queue, &expected->id, ticket, &in_memory, &in_table))
		return;
	(*reported)++;
	report(check, expected->settings.name, psprintf("ticket " INT64_FORMAT, ticket),
		   kind_text(in_memory), kind_text(in_table));
}

/* Compare the bits of one kind, in the order of tickets. */
static void
check_kind(Check *check, VqQueue *queue, Expected *expected, VqKind kind, int *reported)
{
	int64		mine[256];
	int64		theirs[256];
	int64		from = 1;
	int			n;

	do
	{
		int			m;
		int64		end;

		vq_lock_whole(queue, LW_SHARED);
		m = vq_line_collect(&queue->line, vq_arena(), kind, from, mine, lengthof(mine));
		LWLockRelease(&queue->lock);
		n = vq_line_collect(&expected->line, &check->arena, kind, from, theirs, lengthof(theirs));

		/* Both lists are complete up to here. */
		end = Min(m == lengthof(mine) ? mine[m - 1] : PG_INT64_MAX,
				  n == lengthof(theirs) ? theirs[n - 1] : PG_INT64_MAX);
		for (int i = 0, j = 0; (i < m && mine[i] <= end) || (j < n && theirs[j] <= end);)
		{
			int64		a = i < m ? mine[i] : PG_INT64_MAX;
			int64		b = j < n ? theirs[j] : PG_INT64_MAX;

			if (a != b)
				check_ticket(check, queue, expected, Min(a, b), reported);
			i += a <= b;
			j += b <= a;
		}
		CHECK_FOR_INTERRUPTS();
		from = end == PG_INT64_MAX ? end : end + 1;
	} while (from != PG_INT64_MAX);
}

/* ---- places ---- */

/* By what a ticket should stand. */
static int64
key_in_table(const Expected *expected, int64 ticket, int64 place_key)
{
	int64		number = vq_find_entrant(&expected->entrants, ticket);

	return number >= 0 ? VQ_DRAWN_KEY(expected->entrants.places[number]) : place_key;
}

/* Whether memory has a ticket in this lane, but does not have it stand by this key. */
static bool
misplaced(VqQueue *queue, int lane, int64 ticket, int64 key)
{
	return vq_line_test(&queue->line, vq_arena(), lane, ticket) &&
		!vq_line_test(&queue->line, vq_arena(), VQ_HELD, ticket) &&
		!vq_stands_by(queue, lane, ticket, key);
}

/* Look again at somebody who seemed misplaced. */
static void
check_place(Check *check, VqQueue *queue, const Expected *expected, int64 ticket, int *reported)
{
	VqRow		row;

	for (int look = 0; look < LOOKS; look++)
	{
		bool		wrong;

		if (!vq_fetch_ticket(&expected->id, ticket, NULL, &row) || row.status != VQ_WAITING)
			return;
		vq_lock_whole(queue, LW_SHARED);
		wrong = misplaced(queue, row.lane, ticket, key_in_table(expected, ticket, row.place_key));
		LWLockRelease(&queue->lock);
		if (!wrong)
			return;
		pause_briefly();
	}
	if ((*reported)++ < MAX_REPORTED)
		report(check, expected->settings.name, psprintf("place of ticket " INT64_FORMAT, ticket),
			   "elsewhere", psprintf("key " INT64_FORMAT, key_in_table(expected, ticket, row.place_key)));
}

/* Compare the orders of the lanes: those with keys one by one, the others by their number. */
static void
check_places(Check *check, VqQueue *queue, const Expected *expected, int *reported)
{
	for (int i = 0; i < expected->n_keys; i++)
	{
		const ExpectedKey *key = &expected->keys[i];
		bool		wrong;

		CHECK_FOR_INTERRUPTS();
		vq_lock_whole(queue, LW_SHARED);
		wrong = misplaced(queue, key->lane, key->ticket, key_in_table(expected, key->ticket, key->place_key));
		LWLockRelease(&queue->lock);
		if (wrong)
			check_place(check, queue, expected, key->ticket, reported);
	}
	vq_lock_whole(queue, LW_SHARED);
	for (int lane = 0; lane < VQ_LANES; lane++)
		if (queue->standing.ordered && queue->standing.order[lane].count != queue->line.count[lane])
		{
			char	   *in_order = psprintf(INT64_FORMAT, queue->standing.order[lane].count);
			char	   *in_line = psprintf(INT64_FORMAT, queue->line.count[lane]);

			report(check, expected->settings.name, psprintf("order of lane %s", vq_lane_names[lane]), in_order, in_line);
		}
	LWLockRelease(&queue->lock);
}

/* ---- queues ---- */

static char *
settings_text(const VqSettings *settings)
{
	StringInfoData text;
	const int32 *weights = settings->weights;

	initStringInfo(&text);
	appendStringInfo(&text, "%s, %s, rate %d, cap %d, burst %d, max_waiting %d, tenant %s",
					 settings->name, vq_state_name(settings->state), settings->rate_per_minute,
					 settings->max_concurrent_users, settings->burst, settings->max_waiting,
					 vq_uuid_text(&settings->tenant_id));
	appendStringInfo(&text, ", method %d, weights %d:%d:%d:%d", settings->method,
					 weights[0], weights[1], weights[2], weights[3]);
	appendStringInfo(&text, ", timeouts " INT64_FORMAT " " INT64_FORMAT " " INT64_FORMAT ", retention " INT64_FORMAT
					 ", passes " INT64_FORMAT,
					 settings->waiting_timeout, settings->serving_timeout, settings->claim_timeout,
					 settings->session_retention, settings->pass_lifetime);
	appendStringInfo(&text, ", clients %d in " INT64_FORMAT, settings->client_limit, settings->client_window);
	appendStringInfo(&text, ", moments " INT64_FORMAT " " INT64_FORMAT " " INT64_FORMAT,
					 settings->prequeue_at, settings->opens_at, settings->closes_at);
	if (vq_has_trial(settings))
		appendStringInfo(&text, ", trial from " INT64_FORMAT " of " UINT64_FORMAT "/2^32 by " UINT64_FORMAT ", timeouts "
						 INT64_FORMAT " " INT64_FORMAT " " INT64_FORMAT, settings->trial.share.from,
						 settings->trial.share.below, settings->trial.share.salt, settings->trial.waiting_timeout,
						 settings->trial.serving_timeout, settings->trial.claim_timeout);
	return text.data;
}

static void
check_settings(Check *check, VqQueue *queue, const pg_uuid_t *id)
{
	char	   *in_memory = NULL;
	char	   *in_table = NULL;
	VqSettings	settings;
	char		name[VQ_NAME_SIZE];

	for (int look = 0; look < LOOKS; look++)
	{
		if (!vq_fetch_queue(id, &settings))
			return;				/* dropped meanwhile */
		strlcpy(name, settings.name, VQ_NAME_SIZE);
		in_table = settings_text(&settings);
		LWLockAcquire(&queue->lock, LW_SHARED);
		settings = queue->settings;
		LWLockRelease(&queue->lock);
		in_memory = settings_text(&settings);
		if (strcmp(in_memory, in_table) == 0)
			return;
		pause_briefly();
	}
	report(check, name, "settings", in_memory, in_table);
}

static void
check_missing(Check *check, const Expected *expected)
{
	VqSettings	settings;

	for (int look = 0; look < LOOKS; look++)
	{
		if (vq_find_queue(&expected->id) != NULL || !vq_fetch_queue(&expected->id, &settings))
			return;
		pause_briefly();
	}
	report(check, expected->settings.name, "queue", "missing", "there");
}

static void
check_queue(Check *check, Expected *expected)
{
	VqQueue    *queue = vq_find_queue(&expected->id);
	int			reported = 0;

	if (queue == NULL)
	{
		check_missing(check, expected);
		return;
	}
	check_settings(check, queue, &expected->id);
	for (int kind = 0; kind <= VQ_CALLED; kind++)
		check_kind(check, queue, expected, kind, &reported);
	expect_drawn(check, expected);
	check_places(check, queue, expected, &reported);
}

/* Queues in memory without a row. */
static void
check_surplus(Check *check, VqDatabase *db)
{
	int			n;
	VqQueue   **queues = vq_list_queues(db, &n);

	for (int i = 0; i < n; i++)
	{
		VqQueue    *queue = queues[i];
		VqSettings	settings;
		pg_uuid_t	id;
		bool		live;
		bool		surplus = true;

		for (int look = 0; look < LOOKS && surplus; look++)
		{
			LWLockAcquire(&queue->lock, LW_SHARED);
			id = queue->id;
			live = queue->dboid == MyDatabaseId && !queue->nascent && !queue->gone;
			LWLockRelease(&queue->lock);
			surplus = live && !vq_fetch_queue(&id, &settings);
			if (surplus)
				pause_briefly();
		}
		if (surplus)
			report(check, vq_uuid_text(&id), "queue", "there", "missing");
	}
}

/* ---- tenants ---- */

/* A tenant's word, and what the lines of its queues have. */
typedef struct Sum
{
	dsa_pointer tenant;			/* key */
	pg_uuid_t	id;
	int64		word;
	int64		waiting;
	int64		difference;		/* between them, when last looked at */
	int			looks;			/* how often it was the same */
} Sum;

static void
add_up(HTAB *sums, VqDatabase *db)
{
	int			n;
	VqQueue   **queues = vq_list_queues(db, &n);
	Sum		   *sum;
	bool		found;

	for (int i = 0; i < n; i++)
	{
		vq_lock_whole(queues[i], LW_SHARED);
		if (queues[i]->dboid == MyDatabaseId && DsaPointerIsValid(queues[i]->tenant))
		{
			sum = hash_search(sums, &queues[i]->tenant, HASH_ENTER, &found);
			if (!found)
			{
				sum->waiting = sum->difference = 0;
				sum->looks = 0;
			}
			sum->id = queues[i]->settings.tenant_id;
			sum->word = vq_tenant_waiting(queues[i]);
			sum->waiting += vq_standing(queues[i]);
		}
		LWLockRelease(&queues[i]->lock);
	}
	pfree(queues);
}

/* Note which differences are the same as before; false if there is none. */
static bool
compare_sums(HTAB *sums)
{
	HASH_SEQ_STATUS status;
	Sum		   *sum;
	bool		differ = false;

	hash_seq_init(&status, sums);
	while ((sum = hash_seq_search(&status)) != NULL)
	{
		int64		difference = sum->word - sum->waiting;

		sum->looks = difference == sum->difference ? sum->looks + 1 : 1;
		sum->difference = difference;
		differ |= difference != 0;
		if (sum->looks < LOOKS)
			sum->waiting = 0;
	}
	return differ;
}

/* While they wait and go, sums are never quite right: what is wrong stays as wrong as it is. */
static void
check_tenants(Check *check, VqDatabase *db)
{
	HASHCTL		ctl = {0};
	HTAB	   *sums;
	HASH_SEQ_STATUS status;
	Sum		   *sum;

	ctl.keysize = sizeof(dsa_pointer);
	ctl.entrysize = sizeof(Sum);
	ctl.hcxt = CurrentMemoryContext;
	sums = hash_create("vqueue tenants", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	for (int look = 0; look < LOOKS; look++)
	{
		add_up(sums, db);
		if (!compare_sums(sums))
			return;
		pause_briefly();
	}
	hash_seq_init(&status, sums);
	while ((sum = hash_seq_search(&status)) != NULL)
		if (sum->difference != 0 && sum->looks >= LOOKS)
			report(check, psprintf("tenant %s", vq_uuid_text(&sum->id)), "waiting sessions of the tenant",
				   psprintf(INT64_FORMAT, sum->word), psprintf(INT64_FORMAT, sum->word - sum->difference));
}

PG_FUNCTION_INFO_V1(vqueue_check);
Datum
vqueue_check(PG_FUNCTION_ARGS)
{
	Check		check = {0};
	HASH_SEQ_STATUS status;
	Expected   *expected;
	VqDatabase *db;

	vq_must_own("vqueue.check()");
	InitMaterializedSRF(fcinfo, 0);
	if (RecoveryInProgress())
		return (Datum) 0;		/* there is no memory to compare */
	if (vq_has_pending())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot check in a transaction that has changed queues or sessions"),
				 errdetail("Memory follows its changes when it commits."),
				 errhint("Commit first.")));
	db = vq_ready();
	check.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	check.arena.alloc = private_alloc;
	check.arena.free = private_free;
	check.arena.addr = private_addr;
	check.arena.ctx = AllocSetContextCreate(CurrentMemoryContext, "vqueue check", ALLOCSET_DEFAULT_SIZES);
	read_tables(&check);

	hash_seq_init(&status, check.expected);
	while ((expected = hash_seq_search(&status)) != NULL)
		check_queue(&check, expected);
	check_surplus(&check, db);
	check_tenants(&check, db);
	MemoryContextDelete(check.arena.ctx);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(vqueue_rebuild);
Datum
vqueue_rebuild(PG_FUNCTION_ARGS)
{
	int			n;
	int64		sessions = 0;
	VqQueue   **queues;
	VqAction	action = {"rebuild"};

	vq_must_own("vqueue.rebuild()");
	PreventCommandDuringRecovery("vqueue.rebuild()");
	if (vq_has_pending())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot rebuild in a transaction that has changed queues or sessions"),
				 errdetail("Its own changes are not committed yet."),
				 errhint("Commit first.")));
	PreventCommandIfReadOnly("vqueue.rebuild()");
	vq_demand_rebuild();
	queues = vq_list_queues(vq_database(), &n);
	for (int i = 0; i < n; i++)
	{
		LWLockAcquire(&queues[i]->lock, LW_SHARED);
		sessions += vq_standing(queues[i]) + queues[i]->line.count[VQ_INSIDE];
		LWLockRelease(&queues[i]->lock);
	}
	action.after = psprintf("{\"sessions\": " INT64_FORMAT "}", sessions);
	vq_audit(&action);
	PG_RETURN_INT64(sessions);
}
