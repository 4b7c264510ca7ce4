/*
 * spot.c
 *		Reading a session's row at the spot where it was last seen.
 *
 * Of a row in a long line nothing is in any cache, so what will be touched is
 * asked for ahead, and the buffer of a block is guessed before it is looked for.
 *
 * Where the guess is right the table is not even opened: the buffer's tag says
 * whose block it is, and a file that is dropped or rewritten loses its buffers
 * when that commits, by which they wait for who has one pinned.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "spot.h"
#include "storage/buf_internals.h"
#include "storage/bufmgr.h"
#include "storage/shmem.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* Guesses that are kept at the most: those of 8 GB of sessions. */
#define MAX_GUESSES (1 << 20)

/*
 * In which buffer a block of sessions was last found, by block and database.
 * Written by anybody without a lock: a guess is an int, and one that is wrong is
 * found out by the buffer's own tag.
 */
static Buffer *guesses = NULL;
static uint32 guess_mask;

/* As many as there are buffers, and a power of two. */
static uint32
n_guesses(void)
{
	uint32		n = 1024;

	while (n < MAX_GUESSES && n < (uint32) NBuffers)
		n *= 2;
	return n;
}

Size
vq_spot_size(void)
{
	return mul_size(n_guesses(), sizeof(Buffer));
}

void
vq_spot_init(void)
{
	bool		found;

	guesses = ShmemInitStruct("vqueue buffers", vq_spot_size(), &found);
	guess_mask = n_guesses() - 1;
	if (!found)
		memset(guesses, 0, vq_spot_size());
}

/* Neighbouring blocks have places of their own. */
static inline Buffer *
guess_of(BlockNumber block)
{
	return &guesses[(block + MyDatabaseId * UINT32_C(0x9E3779B1)) & guess_mask];
}

/* Have what will be read of a row brought near, if its block is where it was. */
static void
expect_row(const ItemPointerData *tid)
{
	Buffer		buffer = *guess_of(ItemPointerGetBlockNumber(tid));
	char	   *page;

	if (!BufferIsValid(buffer))
		return;
	page = (char *) BufferGetBlock(buffer);
	__builtin_prefetch(GetBufferDescriptor(buffer - 1), 1);
	__builtin_prefetch(page);
	__builtin_prefetch(page + SizeOfPageHeaderData +
					   (ItemPointerGetOffsetNumber(tid) - 1) * sizeof(ItemIdData));
}

/* What is known of the table of sessions, as of this version of the relations. */
static struct
{
	uint64		version;
	bool		is_heap;
	VqLocator	file;
	TupleDesc	desc;
}			sessions;

static void
look_at_table(void)
{
	Relation	rel = table_open(vq_relation(VQ_SESSIONS), AccessShareLock);
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	sessions.version = 0;
	if (sessions.desc != NULL)
		FreeTupleDesc(sessions.desc);
	sessions.desc = CreateTupleDescCopy(RelationGetDescr(rel));
	sessions.is_heap = rel->rd_tableam == GetHeapamTableAmRoutine();
	sessions.file = VQ_LOCATOR(rel);
	sessions.version = vq_relations_version();
	MemoryContextSwitchTo(old);
	table_close(rel, NoLock);
}

/* Pin a block that is in no buffer, or not where it was; false if the table has become shorter. */
static bool
read_block(BlockNumber block, Buffer *buffer)
{
	Relation	rel = table_open(vq_relation(VQ_SESSIONS), AccessShareLock);
	bool		there = block < RelationGetNumberOfBlocks(rel);

	if (there)
		*guess_of(block) = *buffer = ReadBuffer(rel, block);
	table_close(rel, NoLock);
	return there;
}

static bool
pin_block(BlockNumber block, Buffer *buffer)
{
	*buffer = *guess_of(block);
	if (BufferIsValid(*buffer) && ReadRecentBuffer(sessions.file, MAIN_FORKNUM, block, *buffer))
		return true;
	return read_block(block, buffer);
}

/* Read the row at an offset of a pinned block, if the snapshot sees that one of this id. */
static bool
read_session_at(Buffer buffer, OffsetNumber offset, const pg_uuid_t *id, VqRow *row)
{
	TupleDesc	desc = sessions.desc;
	HeapTupleData tuple;
	bool		found = false;
	bool		isnull;
	Page		page;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buffer);
	if (offset <= PageGetMaxOffsetNumber(page) && ItemIdIsNormal(PageGetItemId(page, offset)))
	{
		tuple.t_data = (HeapTupleHeader) PageGetItem(page, PageGetItemId(page, offset));
		tuple.t_len = ItemIdGetLength(PageGetItemId(page, offset));
		tuple.t_tableOid = vq_relation(VQ_SESSIONS);
		ItemPointerSet(&tuple.t_self, BufferGetBlockNumber(buffer), offset);
		__builtin_prefetch((char *) tuple.t_data + 64);
		if (HeapTupleSatisfiesVisibility(&tuple, GetActiveSnapshot(), buffer) &&
			memcmp(DatumGetUUIDP(heap_getattr(&tuple, Anum_sessions_id, desc, &isnull)), id, UUID_LEN) == 0)
		{
			vq_read_row(&tuple, desc, row);
			found = true;
		}
	}
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	return found;
}

bool
vq_fetch_session_at(const ItemPointerData *tid, const pg_uuid_t *id, VqRow *row)
{
	Buffer		buffer;
	bool		found;

	/*
	 * The rows read by a transaction with one snapshot are the index's matter, and predicate locks
	 * are too.
	 */
	if (IsolationUsesXactSnapshot())
		return false;
	expect_row(tid);
	(void) vq_relation(VQ_SESSIONS);
	if (sessions.version != vq_relations_version())
		look_at_table();
	if (!sessions.is_heap || !pin_block(ItemPointerGetBlockNumber(tid), &buffer))
		return false;
	found = read_session_at(buffer, ItemPointerGetOffsetNumber(tid), id, row);
	ReleaseBuffer(buffer);
	return found;
}
