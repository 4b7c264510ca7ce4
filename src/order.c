/*
 * order.c
 *		Who stands before whom in a lane that is not in the order of tickets.
 *
 * The directory is one allocation: descriptors in order, then the tree.  A
 * descriptor's fence is a place at or before the first one of its block and
 * after all of the block before; the first block's counts as the lowest there
 * is.  A block that has become empty stays, with its fence, until it is
 * trimmed, so that removing frees nothing.
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "order.h"
#include "tree.h"

#define BLOCK_STANDS	255		/* 4 kB a block */
#define FIRST_CAPACITY	4
#define LAST_CAPACITY	(UINT32_C(1) << 28)

/* Neighbours are joined where both fit into so much of a block. */
#define SPARSE			(BLOCK_STANDS * 3 / 4)

typedef struct Block
{
	VqStand		stands[BLOCK_STANDS];
} Block;

typedef struct BlockDesc
{
	VqStand		fence;
	VqRef		block;
	uint32		count;
} BlockDesc;

static inline size_t
directory_size(uint32 capacity)
{
	return capacity * (sizeof(BlockDesc) + sizeof(int64));
}

static inline BlockDesc *
descriptors(const VqOrder *order, const VqArena *arena)
{
	return (BlockDesc *) arena->addr(arena->ctx, order->directory);
}

static inline int64 *
tree_of(const VqOrder *order, BlockDesc *desc)
{
	return (int64 *) (desc + order->capacity);
}

static inline VqStand *
stands_of(const VqArena *arena, const BlockDesc *desc)
{
	return ((Block *) arena->addr(arena->ctx, desc->block))->stands;
}

/* ---- the tree ---- */

static void
build_tree(const VqOrder *order, BlockDesc *desc)
{
	int64	   *tree = tree_of(order, desc);

	for (uint32 i = 0; i < order->used; i++)
		tree[i] = desc[i].count;
	vq_tree_build(tree, order->used);
}

static void
add_to_count(VqOrder *order, BlockDesc *desc, uint32 at, int by)
{
	order->empty -= (desc[at].count == 0);
	desc[at].count += by;
	order->empty += (desc[at].count == 0);
	order->count += by;
	vq_tree_add(tree_of(order, desc), order->used, at, by);
}

/* ---- finding ---- */

static inline bool
is_before(const VqStand *stand, int64 key, int64 ticket)
{
	return stand->key < key || (stand->key == key && stand->ticket < ticket);
}

/* The last block whose fence is not after this place; there must be a block. */
static uint32
find_block(const VqOrder *order, const BlockDesc *desc, int64 key, int64 ticket)
{
	uint32		low = 0;
	uint32		high = order->used - 1;

	while (low < high)
	{
		uint32		middle = low + (high - low + 1) / 2;

		if (is_before(&desc[middle].fence, key, ticket) ||
			(desc[middle].fence.key == key && desc[middle].fence.ticket == ticket))
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

/* How many of a block come before this place. */
static uint32
find_in_block(const VqStand *stands, uint32 count, int64 key, int64 ticket)
{
	uint32		low = 0;
	uint32		high = count;

	while (low < high)
	{
		uint32		middle = (low + high) / 2;

		if (is_before(&stands[middle], key, ticket))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static inline bool
is_at(const VqStand *stands, uint32 count, uint32 i, int64 key, int64 ticket)
{
	return i < count && stands[i].key == key && stands[i].ticket == ticket;
}

/* ---- making room ---- */

static bool
grow_directory(VqOrder *order, const VqArena *arena)
{
	VqRef		old = order->directory;
	uint32		old_capacity = order->capacity;
	uint32		capacity = old == 0 ? FIRST_CAPACITY : old_capacity * 2;
	VqRef		new;

	if (order->used < old_capacity)
		return true;
	if (capacity > LAST_CAPACITY)
		return false;
	new = arena->alloc(arena->ctx, directory_size(capacity));
	if (new == 0)
		return false;
	order->directory = new;
	order->capacity = capacity;
	if (old != 0)
	{
		memcpy(descriptors(order, arena), arena->addr(arena->ctx, old),
			   order->used * sizeof(BlockDesc));
		arena->free(arena->ctx, old, directory_size(old_capacity));
	}
	build_tree(order, descriptors(order, arena));
	return true;
}

/* Enter an empty block with this fence as number at; false when out of memory. */
static bool
add_block(VqOrder *order, const VqArena *arena, uint32 at, const VqStand *fence)
{
	VqRef		block;
	BlockDesc  *desc;

	if (!grow_directory(order, arena))
		return false;
	block = arena->alloc(arena->ctx, sizeof(Block));
	if (block == 0)
		return false;
	desc = descriptors(order, arena);
	memmove(desc + at + 1, desc + at, (order->used - at) * sizeof(BlockDesc));
	desc[at].fence = *fence;
	desc[at].block = block;
	desc[at].count = 0;
	order->used++;
	order->empty++;
	build_tree(order, desc);
	return true;
}

/* Move the upper half of a full block into one of its own. */
static bool
split_block(VqOrder *order, const VqArena *arena, uint32 at)
{
	const uint32 kept = BLOCK_STANDS / 2;
	BlockDesc  *desc = descriptors(order, arena);
	VqStand		fence = stands_of(arena, &desc[at])[kept];

	if (!add_block(order, arena, at + 1, &fence))
		return false;
	desc = descriptors(order, arena);
	memcpy(stands_of(arena, &desc[at + 1]), stands_of(arena, &desc[at]) + kept,
		   (BLOCK_STANDS - kept) * sizeof(VqStand));
	desc[at].count = kept;
	desc[at + 1].count = BLOCK_STANDS - kept;
	order->empty--;
	build_tree(order, desc);
	return true;
}

bool
vq_order_reserve(VqOrder *order, const VqArena *arena, int64 key, int64 ticket)
{
	VqStand		fence = {key, ticket};
	BlockDesc  *desc;
	uint32		at;

	if (order->used == 0)
		return add_block(order, arena, 0, &fence);
	desc = descriptors(order, arena);
	at = find_block(order, desc, key, ticket);
	if (desc[at].count < BLOCK_STANDS)
		return true;

	/* What is appended, one after the other, shall fill its blocks. */
	if (at == order->used - 1 && is_before(&stands_of(arena, &desc[at])[BLOCK_STANDS - 1], key, ticket))
		return add_block(order, arena, at + 1, &fence);
	return split_block(order, arena, at);
}

/* ---- changing ---- */

bool
vq_order_insert(VqOrder *order, const VqArena *arena, int64 key, int64 ticket)
{
	BlockDesc  *desc;
	VqStand    *stands;
	uint32		at;
	uint32		i;

	if (order->used == 0)
		return false;
	desc = descriptors(order, arena);
	at = find_block(order, desc, key, ticket);
	stands = stands_of(arena, &desc[at]);
	i = find_in_block(stands, desc[at].count, key, ticket);
	if (desc[at].count == BLOCK_STANDS || is_at(stands, desc[at].count, i, key, ticket))
		return false;
	memmove(stands + i + 1, stands + i, (desc[at].count - i) * sizeof(VqStand));
	stands[i].key = key;
	stands[i].ticket = ticket;
	add_to_count(order, desc, at, 1);
	return true;
}

bool
vq_order_append(VqOrder *order, const VqArena *arena, const VqStand *stands, int n)
{
	/* The fence of an empty block may be after what is appended. */
	if (order->empty > 0)
		vq_order_trim(order, arena);
	while (n > 0)
	{
		BlockDesc  *desc;
		uint32		last = order->used - 1;
		int			more;

		if (order->used == 0 || descriptors(order, arena)[last].count == BLOCK_STANDS)
		{
			if (!add_block(order, arena, order->used, stands))
				return false;
			last = order->used - 1;
		}
		desc = descriptors(order, arena);
		more = Min(n, (int) (BLOCK_STANDS - desc[last].count));
		memcpy(stands_of(arena, &desc[last]) + desc[last].count, stands, more * sizeof(VqStand));
		add_to_count(order, desc, last, more);
		stands += more;
		n -= more;
	}
	return true;
}

static void
remove_at(VqOrder *order, const VqArena *arena, BlockDesc *desc, uint32 at, uint32 i)
{
	VqStand    *stands = stands_of(arena, &desc[at]);

	memmove(stands + i, stands + i + 1, (desc[at].count - i - 1) * sizeof(VqStand));
	add_to_count(order, desc, at, -1);
}

bool
vq_order_remove(VqOrder *order, const VqArena *arena, int64 key, int64 ticket)
{
	BlockDesc  *desc;
	uint32		at;
	uint32		i;

	if (order->used == 0)
		return false;
	desc = descriptors(order, arena);
	at = find_block(order, desc, key, ticket);
	i = find_in_block(stands_of(arena, &desc[at]), desc[at].count, key, ticket);
	if (!is_at(stands_of(arena, &desc[at]), desc[at].count, i, key, ticket))
		return false;
	remove_at(order, arena, desc, at, i);
	return true;
}

bool
vq_order_remove_ticket(VqOrder *order, const VqArena *arena, int64 ticket)
{
	BlockDesc  *desc;

	if (order->used == 0)
		return false;
	desc = descriptors(order, arena);
	for (uint32 at = 0; at < order->used; at++)
	{
		const VqStand *stands = stands_of(arena, &desc[at]);

		for (uint32 i = 0; i < desc[at].count; i++)
			if (stands[i].ticket == ticket)
			{
				remove_at(order, arena, desc, at, i);
				return true;
			}
	}
	return false;
}

/* ---- rank and select ---- */

int64
vq_order_rank(const VqOrder *order, const VqArena *arena, int64 key, int64 ticket)
{
	BlockDesc  *desc;
	uint32		at;

	if (order->count == 0)
		return 0;
	desc = descriptors(order, arena);
	at = find_block(order, desc, key, ticket);
	return vq_tree_sum(tree_of(order, desc), at) +
		find_in_block(stands_of(arena, &desc[at]), desc[at].count, key, ticket);
}

int
vq_order_select(const VqOrder *order, const VqArena *arena, int64 rank, VqStand *stands, int n)
{
	BlockDesc  *desc;
	uint32		at;
	int			found = 0;

	if (rank < 0 || rank >= order->count)
		return 0;
	desc = descriptors(order, arena);
	for (at = vq_tree_find(tree_of(order, desc), order->used, &rank); at < order->used && found < n; at++)
	{
		int			more = Min(n - found, (int) desc[at].count - (int) rank);

		memcpy(stands + found, stands_of(arena, &desc[at]) + rank, more * sizeof(VqStand));
		found += more;
		rank = 0;
	}
	return found;
}

/* ---- the whole order ---- */

void
vq_order_filter(VqOrder *order, const VqArena *arena, VqOrderFilter keep, void *ctx)
{
	BlockDesc  *desc;

	if (order->used == 0)
		return;
	desc = descriptors(order, arena);
	order->count = 0;
	order->empty = 0;
	for (uint32 at = 0; at < order->used; at++)
	{
		VqStand    *stands = stands_of(arena, &desc[at]);
		uint32		kept = 0;

		for (uint32 i = 0; i < desc[at].count; i++)
			if (keep(ctx, &stands[i]))
				stands[kept++] = stands[i];
		desc[at].count = kept;
		order->count += kept;
		order->empty += (kept == 0);
	}
	build_tree(order, desc);
}

void
vq_order_trim(VqOrder *order, const VqArena *arena)
{
	uint32		last = 0;		/* the last block kept */

	if (order->count == 0)
	{
		vq_order_destroy(order, arena);
		return;
	}
	for (uint32 at = 1; at < order->used; at++)
	{
		/* Every free may move the directory. */
		BlockDesc  *desc = descriptors(order, arena);

		if (desc[at].count > 0 && desc[last].count + desc[at].count > SPARSE)
			desc[++last] = desc[at];
		else
		{
			VqRef		block = desc[at].block;

			memcpy(stands_of(arena, &desc[last]) + desc[last].count, stands_of(arena, &desc[at]),
				   desc[at].count * sizeof(VqStand));
			desc[last].count += desc[at].count;
			arena->free(arena->ctx, block, sizeof(Block));
		}
	}
	order->used = last + 1;
	order->empty = 0;
	build_tree(order, descriptors(order, arena));
}

void
vq_order_destroy(VqOrder *order, const VqArena *arena)
{
	for (uint32 at = 0; at < order->used; at++)
		arena->free(arena->ctx, descriptors(order, arena)[at].block, sizeof(Block));
	if (order->directory != 0)
		arena->free(arena->ctx, order->directory, directory_size(order->capacity));
	memset(order, 0, sizeof(VqOrder));
}
