/*
 * line.c
 *		The line of one queue: bitmaps over tickets with rank and select.
 *
 * Chunks are as chunk.h says.  The directory is one allocation: descriptors
 * sorted by chunk number, which repeat the chunk's counts so that nobody has to
 * touch a chunk without anything to find, then a Fenwick tree a lane over those
 * counts.
 *
 * A freed chunk leaves its descriptor behind, dead and with zero counts, so
 * that freeing shifts nothing; the dead are squeezed out now and then.
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "port/pg_bitutils.h"

#include "chunk.h"
#include "line.h"
#include "tree.h"

#define FIRST_CAPACITY	16
#define LAST_CAPACITY	(UINT32_C(1) << 30)

typedef struct ChunkDesc
{
	int64		number;			/* the first ticket divided by VQ_CHUNK */
	VqRef		chunk;			/* 0 if dead */
	uint32		busy;			/* sum of count[] without VQ_TOUCHED */
	uint16		count[VQ_KINDS];	/* bits set, by kind */
} ChunkDesc;

/* ---- directory ---- */

static inline size_t
directory_size(uint32 capacity)
{
	return capacity * (sizeof(ChunkDesc) + VQ_LANES * sizeof(int64));
}

static inline ChunkDesc *
descriptors(const VqLine *line, const VqArena *arena)
{
	return (ChunkDesc *) arena->addr(arena->ctx, line->directory);
}

static inline int64 *
lane_tree(const VqLine *line, ChunkDesc *desc, int lane)
{
	return (int64 *) (desc + line->capacity) + (size_t) lane * line->capacity;
}

static inline VqChunk *
chunk_of(const VqArena *arena, const ChunkDesc *desc)
{
	return (VqChunk *) arena->addr(arena->ctx, desc->chunk);
}

static void
build_trees(const VqLine *line, ChunkDesc *desc)
{
	for (int lane = 0; lane < VQ_LANES; lane++)
	{
		int64	   *tree = lane_tree(line, desc, lane);

		for (uint32 i = 0; i < line->used; i++)
			tree[i] = desc[i].count[lane];
		vq_tree_build(tree, line->used);
	}
}

/*
 * The first descriptor whose number is not below this one, or used.
 *
 * Numbers rise by one at least from descriptor to descriptor, so the distance
 * to the first and to the last bound the search; without gaps on either side
 * they leave nothing to search for.
 */
static uint32
lower_bound(const VqLine *line, const ChunkDesc *desc, int64 number)
{
	uint32		last = line->used - 1;
	int64		low = 0;
	int64		high;

	if (line->used == 0 || number <= desc[0].number)
		return 0;
	if (number > desc[last].number)
		return line->used;
	low = Max(low, last - (desc[last].number - number));
	high = Min((int64) last, number - desc[0].number);
	while (low < high)
	{
		int64		middle = (low + high) / 2;

		if (desc[middle].number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return (uint32) low;
}

/* The descriptor of a ticket's chunk, dead or alive, or NULL; and the first of them all. */
static ChunkDesc *
find_descriptor(const VqLine *line, const VqArena *arena, int64 ticket, ChunkDesc **first)
{
	ChunkDesc  *desc;
	uint32		at;

	if (line->used == 0 || ticket < 1)
		return NULL;
	*first = desc = descriptors(line, arena);
	at = lower_bound(line, desc, ticket / VQ_CHUNK);
	if (at == line->used || desc[at].number != ticket / VQ_CHUNK)
		return NULL;
	return &desc[at];
}

VqChunk *
vq_line_chunk(const VqLine *line, const VqArena *arena, int64 ticket)
{
	ChunkDesc  *first;
	ChunkDesc  *desc = find_descriptor(line, arena, ticket, &first);

	return desc != NULL && desc->chunk != 0 ? chunk_of(arena, desc) : NULL;
}

/* Move the live descriptors to target, which may be where they are. */
static void
pack_descriptors(VqLine *line, ChunkDesc *target, const ChunkDesc *desc)
{
	uint32		live = 0;

	for (uint32 i = 0; i < line->used; i++)
	{
		if (desc[i].chunk != 0)
			target[live++] = desc[i];
	}
	line->used = live;
	line->dead = 0;
	build_trees(line, target);
}

static bool
grow_directory(VqLine *line, const VqArena *arena)
{
	VqRef		old = line->directory;
	uint32		old_capacity = line->capacity;
	uint32		capacity = old == 0 ? FIRST_CAPACITY : old_capacity * 2;
	VqRef		new;

	if (capacity > LAST_CAPACITY)
		return false;
	new = arena->alloc(arena->ctx, directory_size(capacity));
	if (new == 0)
		return false;
	line->directory = new;
	line->capacity = capacity;
	if (old != 0)
	{
		pack_descriptors(line, descriptors(line, arena),
						 (const ChunkDesc *) arena->addr(arena->ctx, old));
		arena->free(arena->ctx, old, directory_size(old_capacity));
	}
	return true;
}

/*
 * Make room for one more descriptor.  Squeezing out the dead is enough if they
 * are so many that it will not have to be done again soon, or if need be.
 */
static bool
make_room(VqLine *line, const VqArena *arena)
{
	if (line->used < line->capacity)
		return true;
	if (line->dead <= line->capacity / 4 && grow_directory(line, arena))
		return true;
	if (line->dead == 0)
		return false;
	pack_descriptors(line, descriptors(line, arena), descriptors(line, arena));
	return true;
}

/* Enter a descriptor for which there is room; its counts are zero. */
static void
insert_descriptor(VqLine *line, const VqArena *arena, int64 number, VqRef chunk)
{
	ChunkDesc  *desc = descriptors(line, arena);
	uint32		at = lower_bound(line, desc, number);

	memmove(desc + at + 1, desc + at, (line->used - at) * sizeof(ChunkDesc));
	memset(&desc[at], 0, sizeof(ChunkDesc));
	desc[at].number = number;
	desc[at].chunk = chunk;
	line->used++;
	if (at < line->used - 1)
		build_trees(line, desc);
	else
	{
		for (int lane = 0; lane < VQ_LANES; lane++)
			vq_tree_append(lane_tree(line, desc, lane), line->used);
	}
}

bool
vq_line_reserve(VqLine *line, const VqArena *arena, int64 ticket)
{
	ChunkDesc  *first;
	ChunkDesc  *desc = find_descriptor(line, arena, ticket, &first);
	bool		dead = (desc != NULL && desc->chunk == 0);
	VqRef		chunk;

	if (ticket < 1)
		return false;
	if (desc != NULL && !dead)
		return true;
	chunk = arena->alloc(arena->ctx, sizeof(VqChunk));
	if (chunk == 0)
		return false;
	if (!dead && !make_room(line, arena))
	{
		arena->free(arena->ctx, chunk, sizeof(VqChunk));
		return false;
	}
	memset(arena->addr(arena->ctx, chunk), 0, sizeof(VqChunk));
	if (!dead)
		insert_descriptor(line, arena, ticket / VQ_CHUNK, chunk);
	else
	{
		find_descriptor(line, arena, ticket, &first)->chunk = chunk;
		line->dead--;
	}
	line->empty++;
	return true;
}

/* ---- bits ---- */

static inline uint64 *
word_of(VqChunk *chunk, int kind, int64 ticket)
{
	return &chunk->bits[kind][ticket % VQ_CHUNK / WORD_BITS];
}

static inline uint64
mask_of(int64 ticket)
{
	return UINT64CONST(1) << (ticket % WORD_BITS);
}

static bool
change_bit_in(VqLine *line, ChunkDesc *first, ChunkDesc *desc, VqChunk *chunk,
			  VqKind kind, int64 ticket, int by)
{
	uint64	   *word = word_of(chunk, kind, ticket);

	if (((*word & mask_of(ticket)) != 0) == (by > 0))
		return false;
	*word ^= mask_of(ticket);
	line->count[kind] += by;
	desc->count[kind] += by;
	if (kind < VQ_LANES)
	{
		chunk->block[kind][ticket % VQ_CHUNK / BLOCK_BITS] += by;
		vq_tree_add(lane_tree(line, first, kind), line->used, desc - first, by);
	}
	if (kind != VQ_TOUCHED)
	{
		line->empty -= (desc->busy == 0);
		desc->busy += by;
		line->empty += (desc->busy == 0);
	}
	return true;
}

static bool
change_bit(VqLine *line, const VqArena *arena, VqKind kind, int64 ticket, int by)
{
	ChunkDesc  *first;
	ChunkDesc  *desc = find_descriptor(line, arena, ticket, &first);

	Assert(kind < VQ_KINDS);
	if (desc == NULL || desc->chunk == 0)
		return false;
	return change_bit_in(line, first, desc, chunk_of(arena, desc), kind, ticket, by);
}

bool
vq_line_set(VqLine *line, const VqArena *arena, VqKind kind, int64 ticket)
{
	return change_bit(line, arena, kind, ticket, 1);
}

bool
vq_line_enter(VqLine *line, const VqArena *arena, VqKind kind, int64 ticket,
			  uint32 block, uint16 offset)
{
	ChunkDesc  *first;
	ChunkDesc  *desc = find_descriptor(line, arena, ticket, &first);
	VqChunk    *chunk;

	Assert(kind < VQ_KINDS);
	if (desc == NULL || desc->chunk == 0)
		return false;
	chunk = chunk_of(arena, desc);
	(void) change_bit_in(line, first, desc, chunk, kind, ticket, 1);
	vq_mark_row_in(chunk, ticket, block, offset);
	return true;
}

bool
vq_line_clear(VqLine *line, const VqArena *arena, VqKind kind, int64 ticket)
{
	return change_bit(line, arena, kind, ticket, -1);
}

bool
vq_line_test(const VqLine *line, const VqArena *arena, VqKind kind, int64 ticket)
{
	VqChunk    *chunk = vq_line_chunk(line, arena, ticket);

	return chunk != NULL && (*word_of(chunk, kind, ticket) & mask_of(ticket)) != 0;
}

int
vq_line_lane(const VqLine *line, const VqArena *arena, int64 ticket)
{
	ChunkDesc  *first;
	ChunkDesc  *desc = find_descriptor(line, arena, ticket, &first);

	/* The words of lanes in which nobody stands are not even touched. */
	for (int lane = 0; desc != NULL && lane < VQ_LANES; lane++)
	{
		if (desc->count[lane] > 0 &&
			(*word_of(chunk_of(arena, desc), lane, ticket) & mask_of(ticket)) != 0)
			return lane;
	}
	return -1;
}

/* ---- rank and select ---- */

/* How many of the chunk's tickets before this offset stand in lane. */
static int64
rank_in_chunk(const VqChunk *chunk, VqKind lane, int offset)
{
	int			end = offset / WORD_BITS;
	int			block = end / BLOCK_WORDS;
	uint64		before = (UINT64CONST(1) << (offset % WORD_BITS)) - 1;
	int64		rank = 0;

	for (int i = 0; i < block; i++)
		rank += chunk->block[lane][i];
	for (int i = block * BLOCK_WORDS; i < end; i++)
		rank += pg_popcount64(chunk->bits[lane][i]);
	return rank + pg_popcount64(chunk->bits[lane][end] & before);
}

int64
vq_line_rank(const VqLine *line, const VqArena *arena, VqKind lane, int64 ticket)
{
	ChunkDesc  *desc;
	uint32		at;
	int64		rank;

	Assert(lane < VQ_LANES);
	if (line->count[lane] == 0 || ticket < 1)
		return 0;
	desc = descriptors(line, arena);
	at = lower_bound(line, desc, ticket / VQ_CHUNK);
	if (at == line->used)
		return line->count[lane];
	rank = vq_tree_sum(lane_tree(line, desc, lane), at);
	if (desc[at].number == ticket / VQ_CHUNK && desc[at].count[lane] > 0)
		rank += rank_in_chunk(chunk_of(arena, &desc[at]), lane, ticket % VQ_CHUNK);
	return rank;
}

/* The offset of whoever stands in lane behind so many others of the chunk. */
static int
nth_in_chunk(const VqChunk *chunk, VqKind lane, int rank)
{
	int			block = 0;
	int			i;
	uint64		word;

	while (rank >= chunk->block[lane][block])
		rank -= chunk->block[lane][block++];
	for (i = block * BLOCK_WORDS;; i++)
	{
		int			n = pg_popcount64(chunk->bits[lane][i]);

		if (rank < n)
			break;
		rank -= n;
	}
	for (word = chunk->bits[lane][i]; rank > 0; rank--)
		word &= word - 1;
	return i * WORD_BITS + pg_rightmost_one_pos64(word);
}

int64
vq_line_nth(const VqLine *line, const VqArena *arena, VqKind lane, int64 rank)
{
	ChunkDesc  *desc;
	uint32		at;

	Assert(lane < VQ_LANES);
	if (rank < 0 || rank >= line->count[lane])
		return 0;
	desc = descriptors(line, arena);
	at = vq_tree_find(lane_tree(line, desc, lane), line->used, &rank);
	return desc[at].number * VQ_CHUNK + nth_in_chunk(chunk_of(arena, &desc[at]), lane, rank);
}

/* The chunk's first n tickets from this offset with a bit of kind, or free ones of a lane. */
static int
gather_in_chunk(const VqChunk *chunk, VqKind kind, bool only_free, int offset,
				int64 first_ticket, int64 *tickets, int n)
{
	uint64		wanted = ~UINT64CONST(0) << (offset % WORD_BITS);
	int			found = 0;

	for (int i = offset / WORD_BITS; i < CHUNK_WORDS; i++)
	{
		uint64		word = chunk->bits[kind][i] & wanted;

		if (only_free)
			word &= ~(chunk->bits[VQ_HELD][i] | chunk->bits[VQ_INSIDE][i]);
		for (; word != 0; word &= word - 1)
		{
			if (found == n)
				return found;
			tickets[found++] = first_ticket + i * WORD_BITS + pg_rightmost_one_pos64(word);
		}
		wanted = ~UINT64CONST(0);
	}
	return found;
}

static int
gather(const VqLine *line, const VqArena *arena, VqKind kind, bool only_free,
	   int64 from, int64 *tickets, int n)
{
	ChunkDesc  *desc;
	int			found = 0;

	if (line->count[kind] == 0 || n <= 0)
		return 0;
	from = Max(from, 1);
	desc = descriptors(line, arena);
	for (uint32 at = lower_bound(line, desc, from / VQ_CHUNK); at < line->used && found < n; at++)
	{
		int			offset = desc[at].number == from / VQ_CHUNK ? from % VQ_CHUNK : 0;

		if (desc[at].count[kind] > 0)
			found += gather_in_chunk(chunk_of(arena, &desc[at]), kind, only_free, offset,
									 desc[at].number * VQ_CHUNK, tickets + found, n - found);
	}
	return found;
}

int
vq_line_select(const VqLine *line, const VqArena *arena, VqKind lane,
			   int64 from, int64 *tickets, int n)
{
	Assert(lane < VQ_LANES);
	return gather(line, arena, lane, true, from, tickets, n);
}

int
vq_line_collect(const VqLine *line, const VqArena *arena, VqKind kind,
				int64 from, int64 *tickets, int n)
{
	Assert(kind < VQ_KINDS);
	return gather(line, arena, kind, false, from, tickets, n);
}

int64
vq_line_next_chunk(const VqLine *line, const VqArena *arena, VqKind kind, int64 from)
{
	ChunkDesc  *desc;

	if (line->count[kind] == 0)
		return 0;
	from = Max(from, 1);
	desc = descriptors(line, arena);
	for (uint32 at = lower_bound(line, desc, from / VQ_CHUNK); at < line->used; at++)
	{
		if (desc[at].count[kind] > 0)
			return Max(from, desc[at].number * VQ_CHUNK);
	}
	return 0;
}

/* ---- the whole line ---- */

int
vq_line_trim(VqLine *line, const VqArena *arena, int64 below)
{
	int64		end = below / VQ_CHUNK; /* this chunk may reach past it */
	int			freed = 0;

	if (line->empty == 0)
		return 0;
	for (uint32 at = 0; at < line->used && line->empty > 0; at++)
	{
		/* Every free may move the directory. */
		ChunkDesc  *desc = descriptors(line, arena) + at;
		VqRef		chunk = desc->chunk;

		if (desc->number >= end)
			break;
		if (chunk == 0 || desc->busy > 0)
			continue;
		line->count[VQ_TOUCHED] -= desc->count[VQ_TOUCHED];
		desc->count[VQ_TOUCHED] = 0;
		desc->chunk = 0;
		line->dead++;
		line->empty--;
		freed++;
		arena->free(arena->ctx, chunk, sizeof(VqChunk));
	}
	if (line->dead == line->used)
		vq_line_destroy(line, arena);
	else if (line->dead > line->used / 2)
		pack_descriptors(line, descriptors(line, arena), descriptors(line, arena));
	return freed;
}

/* Keep only what is HELD of one kind, and count it anew. */
static void
keep_held(VqChunk *chunk, ChunkDesc *desc, VqKind kind)
{
	uint16		total = 0;

	for (int block = 0; block < CHUNK_BLOCKS; block++)
	{
		uint16		count = 0;

		for (int i = block * BLOCK_WORDS; i < (block + 1) * BLOCK_WORDS; i++)
		{
			chunk->bits[kind][i] &= chunk->bits[VQ_HELD][i];
			count += pg_popcount64(chunk->bits[kind][i]);
		}
		if (kind < VQ_LANES)
			chunk->block[kind][block] = count;
		total += count;
	}
	desc->busy -= desc->count[kind] - total;
	desc->count[kind] = total;
}

void
vq_line_wipe(VqLine *line, const VqArena *arena)
{
	ChunkDesc  *desc;

	if (line->used == 0)
		return;
	desc = descriptors(line, arena);
	memset(line->count, 0, sizeof(line->count));
	line->empty = 0;
	for (uint32 at = 0; at < line->used; at++)
	{
		VqChunk    *chunk;

		if (desc[at].chunk == 0)
			continue;
		chunk = chunk_of(arena, &desc[at]);
		for (int kind = 0; kind <= VQ_CALLED; kind++)
		{
			if (desc[at].count[kind] > 0)
				keep_held(chunk, &desc[at], kind);
		}
		memset(chunk->bits[VQ_TOUCHED], 0, sizeof(chunk->bits[VQ_TOUCHED]));
		memset(chunk->row, 0, sizeof(chunk->row));
		chunk->row_base = 0;
		desc[at].count[VQ_TOUCHED] = 0;
		for (int kind = 0; kind < VQ_KINDS; kind++)
			line->count[kind] += desc[at].count[kind];
		line->empty += (desc[at].busy == 0);
	}
	build_trees(line, desc);
}

void
vq_line_destroy(VqLine *line, const VqArena *arena)
{
	for (uint32 at = 0; at < line->used; at++)
	{
		VqRef		chunk = descriptors(line, arena)[at].chunk;

		if (chunk != 0)
			arena->free(arena->ctx, chunk, sizeof(VqChunk));
	}
	if (line->directory != 0)
		arena->free(arena->ctx, line->directory, directory_size(line->capacity));
	memset(line, 0, sizeof(VqLine));
}

size_t
vq_line_memory(const VqLine *line, const VqArena *arena)
{
	return directory_size(line->capacity) + (line->used - line->dead) * sizeof(VqChunk);
}
