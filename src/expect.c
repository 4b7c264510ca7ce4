/*
 * expect.c
 *		What memory should have, by the tables.
 *
 * Lines of our own, in memory of our own, are built by the loader's scan.
 */
#include "postgres.h"

#include "draws.h"
#include "expect.h"
#include "table.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "walk.h"

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
	VqExpectation *expectation = arg;
	bool		found;
	VqExpected *expected = hash_search(expectation->queues, id, HASH_ENTER, &found);

	expected->settings = *settings;
	memset(&expected->line, 0, sizeof(VqLine));
	memset(&expected->entrants, 0, sizeof(VqEntrants));
	expected->keys = NULL;
	expected->n_keys = expected->max_keys = 0;
}

static void
expect_key(VqExpected *expected, int64 ticket, int64 place_key, int lane)
{
	VqExpectedKey *key;

	if (expected->n_keys == expected->max_keys)
	{
		expected->max_keys = Max(256, expected->max_keys * 2);
		if (expected->keys == NULL)
			expected->keys = palloc(expected->max_keys * sizeof(VqExpectedKey));
		else
			expected->keys = repalloc_huge(expected->keys, expected->max_keys * sizeof(VqExpectedKey));
	}
	key = &expected->keys[expected->n_keys++];
	key->ticket = ticket;
	key->place_key = place_key;
	key->lane = lane;
}

static void
expect_session(const VqRow *row, void *arg)
{
	VqExpectation *expectation = arg;
	VqExpected *expected = hash_search(expectation->queues, &row->queue_id, HASH_FIND, NULL);

	if (expected == NULL)
		return;
	vq_line_reserve(&expected->line, &expectation->arena, row->ticket);
	vq_line_set(&expected->line, &expectation->arena, vq_row_kind(row), row->ticket);
	if (row->status == VQ_IS_READY)
		vq_line_set(&expected->line, &expectation->arena, VQ_CALLED, row->ticket);
	if (row->status == VQ_WAITING && row->place_key != 0)
		expect_key(expected, row->ticket, row->place_key, row->lane);
}

void
vq_read_expectation(VqExpectation *expectation)
{
	HASHCTL		ctl = {0};
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());

	expectation->arena.alloc = private_alloc;
	expectation->arena.free = private_free;
	expectation->arena.addr = private_addr;
	expectation->arena.ctx = AllocSetContextCreate(CurrentMemoryContext, "vqueue check", ALLOCSET_DEFAULT_SIZES);
	ctl.keysize = sizeof(pg_uuid_t);
	ctl.entrysize = sizeof(VqExpected);
	ctl.hcxt = CurrentMemoryContext;
	expectation->queues = hash_create("vqueue check", 256, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	vq_scan_queues(snapshot, expect_queue, expectation);
	vq_scan_live(snapshot, expect_session, expectation);
	UnregisterSnapshot(snapshot);
}

void
vq_expect_drawn(VqExpectation *expectation, VqExpected *expected)
{
	if (!vq_has_drawn(&expected->id) || !vq_fetch_entrants(&expected->id, NULL, &expected->entrants))
		return;
	for (uint32 i = 0; i < expected->entrants.n; i++)
	{
		int64		ticket = expected->entrants.tickets[i];
		int			lane = vq_line_lane(&expected->line, &expectation->arena, ticket);

		if (lane >= 0)
			expect_key(expected, ticket, 0, lane);
	}
}

int64
vq_expected_key(const VqExpected *expected, int64 ticket, int64 place_key)
{
	int64		number = vq_find_entrant(&expected->entrants, ticket);

	return number >= 0 ? VQ_DRAWN_KEY(expected->entrants.places[number]) : place_key;
}

void
vq_forget_expectation(VqExpectation *expectation)
{
	MemoryContextDelete(expectation->arena.ctx);
}
