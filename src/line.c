/*
 * line.c
 *		The line of one queue: bitmaps over tickets with rank and select.
 *
 * Chunks and the directory are as chunk.h says; what is asked of all of a line at
 * once is in rank.c.
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

/* ---- directory ---- */

static inline size_t
directory_size(uint32 capacity)
{
	return capacity * (sizeof(VqChunkDesc) + VQ_LANES * sizeof(int64));
}

static void
build_trees(const VqLine *line, VqChunkDesc *desc)
{
	for (int lane = 0; lane < VQ_LANES; lane++)
	{
		int64	   *tree = vq_lane_tree(line, desc, lane);

		for (uint32 i = 0; i < line->used; i++)
			tree[i] = desc[i].count[lane];
		vq_tree_build(tree, line->used);
	}
}

/*
 * Numbers rise by one at least from descriptor to descriptor, so the distance
 * to the first and to the last bound the search; without gaps on either side
 * they leave nothing to search for.
 */
uint32
vq_line_lower_bound(const VqLine *line, const VqChunkDesc *desc, int64 number)
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

VqChunkDesc *
vq_line_find(const VqLine *line, const VqArena *arena, int64 ticket, VqChunkDesc **first)
{
	VqChunkDesc *desc;
	uint32		at;

	if (line->used == 0 || ticket < 1)
		return NULL;
	*first = desc = vq_chunk_descs(line, arena);
	at = vq_line_lower_bound(line, desc, ticket / VQ_CHUNK);
	if (at == line->used || desc[at].number != ticket / VQ_CHUNK)
		return NULL;
	return &desc[at];
}

VqChunk *
vq_line_chunk(const VqLine *line, const VqArena *arena, int64 ticket)
{
	VqChunkDesc *first;
	VqChunkDesc *desc = vq_line_find(line, arena, ticket, &first);

	return desc != NULL && desc->chunk != 0 ? vq_chunk_of(arena, desc) : NULL;
}

/* Move the live descriptors to target, which may be where they are. */
static void
pack_descriptors(VqLine *line, VqChunkDesc *target, const VqChunkDesc *desc)
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
		pack_descriptors(line, vq_chunk_descs(line, arena),
						 (const VqChunkDesc *) arena->addr(arena->ctx, old));
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
	pack_descriptors(line, vq_chunk_descs(line, arena), vq_chunk_descs(line, arena));
	return true;
}

/* Enter a descriptor for which there is room; its counts are zero. */
static void
insert_descriptor(VqLine *line, const VqArena *arena, int64 number, VqRef chunk)
{
	VqChunkDesc *desc = vq_chunk_descs(line, arena);
	uint32		at = vq_line_lower_bound(line, desc, number);

	memmove(desc + at + 1, desc + at, (line->used - at) * sizeof(VqChunkDesc));
	memset(&desc[at], 0, sizeof(VqChunkDesc));
	desc[at].number = number;
	desc[at].chunk = chunk;
	line->used++;
	if (at < line->used - 1)
		build_trees(line, desc);
	else
	{
		for (int lane = 0; lane < VQ_LANES; lane++)
			vq_tree_append(vq_lane_tree(line, desc, lane), line->used);
	}
}

bool
vq_line_reserve(VqLine *line, const VqArena *arena, int64 ticket)
{
	VqChunkDesc *first;
	VqChunkDesc *desc = vq_line_find(line, arena, ticket, &first);
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
		vq_line_find(line, arena, ticket, &first)->chunk = chunk;
		line->dead--;
	}
	line->empty++;
	return true;
}

/* ---- bits ---- */

static bool
change_bit_in(VqLine *line, VqChunkDesc *first, VqChunkDesc *desc, VqChunk *chunk,
			  VqKind kind, int64 ticket, int by)
{
	uint64	   *word = vq_word_of(chunk, kind, ticket);

	if (((*word & vq_mask_of(ticket)) != 0) == (by > 0))
		return false;
	*word ^= vq_mask_of(ticket);
	line->count[kind] += by;
	desc->count[kind] += by;
	if (kind < VQ_LANES)
	{
		chunk->block[kind][ticket % VQ_CHUNK / BLOCK_BITS] += by;
		vq_tree_add(vq_lane_tree(line, first, kind), line->used, desc - first, by);
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
	VqChunkDesc *first;
	VqChunkDesc *desc = vq_line_find(line, arena, ticket, &first);

	Assert(kind < VQ_KINDS);
	if (desc == NULL || desc->chunk == 0)
		return false;
	return change_bit_in(line, first, desc, vq_chunk_of(arena, desc), kind, ticket, by);
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
	VqChunkDesc *first;
	VqChunkDesc *desc = vq_line_find(line, arena, ticket, &first);
	VqChunk    *chunk;

	Assert(kind < VQ_KINDS);
	if (desc == NULL || desc->chunk == 0)
		return false;
	chunk = vq_chunk_of(arena, desc);
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

	return chunk != NULL && (*vq_word_of(chunk, kind, ticket) & vq_mask_of(ticket)) != 0;
}

int
vq_line_lane(const VqLine *line, const VqArena *arena, int64 ticket)
{
	VqChunkDesc *first;
	VqChunkDesc *desc = vq_line_find(line, arena, ticket, &first);

	return desc == NULL || desc->chunk == 0 ? -1 : vq_lane_in(desc, vq_chunk_of(arena, desc), ticket);
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
		VqChunkDesc *desc = vq_chunk_descs(line, arena) + at;
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
		pack_descriptors(line, vq_chunk_descs(line, arena), vq_chunk_descs(line, arena));
	return freed;
}

/* Keep only what is HELD of one kind, and count it anew. */
static void
keep_held(VqChunk *chunk, VqChunkDesc *desc, VqKind kind)
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
	VqChunkDesc *desc;

	if (line->used == 0)
		return;
	desc = vq_chunk_descs(line, arena);
	memset(line->count, 0, sizeof(line->count));
	line->empty = 0;
	for (uint32 at = 0; at < line->used; at++)
	{
		VqChunk    *chunk;

		if (desc[at].chunk == 0)
			continue;
		chunk = vq_chunk_of(arena, &desc[at]);
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
		VqRef		chunk = vq_chunk_descs(line, arena)[at].chunk;

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
