/*
 * line.c
 *		The line of one queue: bitmaps over tickets with rank and select.
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "line.h"
#include "port/pg_bitutils.h"

#define WORDS			(VQ_CHUNK / 64)
#define BLOCK_WORDS		8		/* a block is a cache line of bits */
#define BLOCKS			(WORDS / BLOCK_WORDS)
#define FIRST_CAPACITY	16

typedef struct Chunk
{
	uint16		block_count[VQ_LANES][BLOCKS];
	uint64		bits[VQ_KINDS][WORDS];
	uint32		stamps[VQ_CHUNK];
} Chunk;

typedef struct Descriptor
{
	int64		number;			/* tickets number * VQ_CHUNK and on */
	VqRef		chunk;			/* 0: dead */
	uint16		count[VQ_KINDS];
} Descriptor;

/*
 * The directory: descriptors sorted by number, and for each lane a Fenwick
 * tree over their counts, whose node i (from 1) is the sum of the lowbit(i)
 * descriptors that end with the i-th.
 */
typedef struct Directory
{
	Descriptor *descriptors;
	int64	   *trees[VQ_LANES];
} Directory;

static size_t
directory_size(uint32 capacity)
{
	return capacity * (sizeof(Descriptor) + VQ_LANES * sizeof(int64));
}

static Directory
lay_out(void *memory, uint32 capacity)
{
	Directory	dir;

	dir.descriptors = memory;
	for (int lane = 0; lane < VQ_LANES; lane++)
		dir.trees[lane] = (int64 *) (dir.descriptors + capacity) + lane * capacity;
	return dir;
}

static Directory
directory_of(const VqLine *line, const VqArena *arena)
{
	Directory	dir = {NULL};

	if (line->directory != 0)
		dir = lay_out(arena->addr(arena->ctx, line->directory), line->capacity);
	return dir;
}

static Chunk *
chunk_at(const VqArena *arena, VqRef ref)
{
	return arena->addr(arena->ctx, ref);
}

/* ---- the Fenwick trees ---- */

static void
tree_add(int64 *tree, uint32 used, uint32 index, int64 change)
{
	for (uint32 i = index + 1; i <= used; i += i & -i)
		tree[i - 1] += change;
}

/* Sum over the descriptors before index. */
static int64
tree_sum(const int64 *tree, uint32 index)
{
	int64		sum = 0;

	for (uint32 i = index; i > 0; i -= i & -i)
		sum += tree[i - 1];
	return sum;
}

static void
build_trees(const VqLine *line, Directory dir)
{
	for (int lane = 0; lane < VQ_LANES; lane++)
	{
		int64	   *tree = dir.trees[lane];

		for (uint32 i = 0; i < line->used; i++)
			tree[i] = dir.descriptors[i].count[lane];
		for (uint32 i = 1; i <= line->used; i++)
		{
			uint32		parent = i + (i & -i);

			if (parent <= line->used)
				tree[parent - 1] += tree[i - 1];
		}
	}
}

/* Append an empty node at the end: the sum of what it covers. */
static void
extend_trees(const VqLine *line, Directory dir)
{
	uint32		i = line->used;
	uint32		low = i & -i;

	for (int lane = 0; lane < VQ_LANES; lane++)
		dir.trees[lane][i - 1] = tree_sum(dir.trees[lane], i - 1) - tree_sum(dir.trees[lane], i - low);
}

/* ---- the directory ---- */

/* Index of the first descriptor with number >= this one. */
static uint32
lower_bound(const VqLine *line, Directory dir, int64 number)
{
	uint32		low = 0;
	uint32		high = line->used;
	int64		guess;

	if (high == 0 || number <= dir.descriptors[0].number)
		return 0;

	/* Right away where no chunk is missing in between. */
	guess = number - dir.descriptors[0].number;
	if (guess < high && dir.descriptors[guess].number == number)
		return guess;
	while (low < high)
	{
		uint32		middle = low + (high - low) / 2;

		if (dir.descriptors[middle].number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The descriptor of a ticket's chunk if that exists, with its index. */
static Descriptor *
find(const VqLine *line, const VqArena *arena, int64 ticket, uint32 *index, Directory *dir)
{
	int64		number = ticket / VQ_CHUNK;

	*dir = directory_of(line, arena);
	if (ticket <= 0 || dir->descriptors == NULL)
		return NULL;
	*index = lower_bound(line, *dir, number);
	if (*index >= line->used || dir->descriptors[*index].number != number ||
		dir->descriptors[*index].chunk == 0)
		return NULL;
	return &dir->descriptors[*index];
}

/* Squeeze dead descriptors out, in place. */
static void
compact(VqLine *line, Directory dir)
{
	uint32		to = 0;

	for (uint32 from = 0; from < line->used; from++)
		if (dir.descriptors[from].chunk != 0)
			dir.descriptors[to++] = dir.descriptors[from];
	line->used = to;
	line->dead = 0;
	build_trees(line, dir);
}

/* Make room for one more descriptor; false when out of memory. */
static bool
make_room(VqLine *line, const VqArena *arena)
{
	uint32		capacity = Max(FIRST_CAPACITY, line->capacity * 2);
	Directory	old = directory_of(line, arena);
	Directory	new;
	VqRef		ref;

	if (line->used < line->capacity)
		return true;
	if (line->dead > 0)
	{
		compact(line, old);
		return true;
	}
	ref = arena->alloc(arena->ctx, directory_size(capacity));
	if (ref == 0)
		return false;
	new = lay_out(arena->addr(arena->ctx, ref), capacity);
	old = directory_of(line, arena);
	if (line->directory != 0)
	{
		memcpy(new.descriptors, old.descriptors, line->used * sizeof(Descriptor));
		for (int lane = 0; lane < VQ_LANES; lane++)
			memcpy(new.trees[lane], old.trees[lane], line->used * sizeof(int64));
		arena->free(arena->ctx, line->directory, directory_size(line->capacity));
	}
	line->directory = ref;
	line->capacity = capacity;
	return true;
}

bool
vq_line_reserve(VqLine *line, const VqArena *arena, int64 ticket)
{
	int64		number = ticket / VQ_CHUNK;
	Directory	dir;
	Descriptor *descriptor;
	uint32		index;
	VqRef		ref;

	if (find(line, arena, ticket, &index, &dir) != NULL)
		return true;
	if (ticket <= 0 || !make_room(line, arena))
		return false;
	ref = arena->alloc(arena->ctx, sizeof(Chunk));
	if (ref == 0)
		return false;
	memset(chunk_at(arena, ref), 0, sizeof(Chunk));

	dir = directory_of(line, arena);
	index = lower_bound(line, dir, number);
	descriptor = &dir.descriptors[index];
	if (index < line->used && descriptor->number == number)
		line->dead--;			/* its chunk was freed; the descriptor stayed */
	else
	{
		memmove(descriptor + 1, descriptor, (line->used - index) * sizeof(Descriptor));
		memset(descriptor, 0, sizeof(Descriptor));
		descriptor->number = number;
		line->used++;
		if (index == line->used - 1)
			extend_trees(line, dir);
		else
			build_trees(line, dir);
	}
	descriptor->chunk = ref;
	line->empty++;
	return true;
}

/* ---- bits ---- */

static bool
is_empty(const Descriptor *descriptor)
{
	for (int kind = 0; kind < VQ_TOUCHED; kind++)
		if (descriptor->count[kind] > 0)
			return false;
	return true;
}

static bool
change(VqLine *line, const VqArena *arena, VqKind kind, int64 ticket, int by)
{
	Directory	dir;
	uint32		index;
	Descriptor *descriptor = find(line, arena, ticket, &index, &dir);
	int			offset = ticket % VQ_CHUNK;
	uint64		mask = UINT64CONST(1) << (offset % 64);
	bool		was_empty;
	Chunk	   *chunk;
	uint64	   *word;

	if (descriptor == NULL)
		return false;
	chunk = chunk_at(arena, descriptor->chunk);
	word = &chunk->bits[kind][offset / 64];
	if (((*word & mask) != 0) == (by > 0))
		return false;
	was_empty = is_empty(descriptor);
	*word ^= mask;
	descriptor->count[kind] += by;
	line->count[kind] += by;
	if (kind < VQ_LANES)
	{
		chunk->block_count[kind][offset / 64 / BLOCK_WORDS] += by;
		tree_add(dir.trees[kind], line->used, index, by);
	}
	line->empty += (int) is_empty(descriptor) - (int) was_empty;
	return true;
}

bool
vq_line_set(VqLine *line, const VqArena *arena, VqKind kind, int64 ticket)
{
	return change(line, arena, kind, ticket, 1);
}

bool
vq_line_clear(VqLine *line, const VqArena *arena, VqKind kind, int64 ticket)
{
	return change(line, arena, kind, ticket, -1);
}

static bool
has_bit(const Chunk *chunk, VqKind kind, int64 ticket)
{
	int			offset = ticket % VQ_CHUNK;

	return (chunk->bits[kind][offset / 64] >> (offset % 64)) & 1;
}

bool
vq_line_test(const VqLine *line, const VqArena *arena, VqKind kind, int64 ticket)
{
	Directory	dir;
	uint32		index;
	Descriptor *descriptor = find(line, arena, ticket, &index, &dir);

	return descriptor != NULL && has_bit(chunk_at(arena, descriptor->chunk), kind, ticket);
}

int
vq_line_lane(const VqLine *line, const VqArena *arena, int64 ticket)
{
	Directory	dir;
	uint32		index;
	Descriptor *descriptor = find(line, arena, ticket, &index, &dir);

	if (descriptor != NULL)
	{
		Chunk	   *chunk = chunk_at(arena, descriptor->chunk);

		for (int lane = 0; lane < VQ_LANES; lane++)
			if (has_bit(chunk, lane, ticket))
				return lane;
	}
	return -1;
}

/* ---- rank and select ---- */

/* How many of the chunk's tickets below offset stand in lane. */
static int64
rank_in_chunk(const Chunk *chunk, VqKind lane, int offset)
{
	int			word = offset / 64;
	int			block = word / BLOCK_WORDS;
	int64		rank = 0;

	for (int b = 0; b < block; b++)
		rank += chunk->block_count[lane][b];
	for (int w = block * BLOCK_WORDS; w < word; w++)
		rank += pg_popcount64(chunk->bits[lane][w]);
	if (offset % 64 != 0)
		rank += pg_popcount64(chunk->bits[lane][word] << (64 - offset % 64));
	return rank;
}

int64
vq_line_rank(const VqLine *line, const VqArena *arena, VqKind lane, int64 ticket)
{
	Directory	dir = directory_of(line, arena);
	int64		number = ticket / VQ_CHUNK;
	uint32		index;
	int64		rank;

	if (dir.descriptors == NULL || ticket <= 0)
		return 0;
	index = lower_bound(line, dir, number);
	rank = tree_sum(dir.trees[lane], index);
	if (index < line->used && dir.descriptors[index].number == number &&
		dir.descriptors[index].chunk != 0)
		rank += rank_in_chunk(chunk_at(arena, dir.descriptors[index].chunk), lane, ticket % VQ_CHUNK);
	return rank;
}

/* Append the tickets of a chunk from offset on, up to n. */
static int
gather(const Chunk *chunk, VqKind kind, bool free_only, int64 base, int offset,
	   int64 *tickets, int n)
{
	int			found = 0;

	for (int w = offset / 64; w < WORDS && found < n; w++)
	{
		uint64		word = chunk->bits[kind][w];

		if (free_only)
			word &= ~(chunk->bits[VQ_HELD][w] | chunk->bits[VQ_INSIDE][w]);
		if (w == offset / 64)
			word &= ~UINT64CONST(0) << (offset % 64);
		while (word != 0 && found < n)
		{
			tickets[found++] = base + w * 64 + pg_rightmost_one_pos64(word);
			word &= word - 1;
		}
	}
	return found;
}

static int
scan(const VqLine *line, const VqArena *arena, VqKind kind, bool free_only,
	 int64 from, int64 *tickets, int n)
{
	Directory	dir = directory_of(line, arena);
	int			found = 0;

	if (dir.descriptors == NULL)
		return 0;
	from = Max(from, 1);
	for (uint32 i = lower_bound(line, dir, from / VQ_CHUNK); i < line->used && found < n; i++)
	{
		Descriptor *descriptor = &dir.descriptors[i];
		int64		base = descriptor->number * VQ_CHUNK;

		if (descriptor->chunk == 0 || descriptor->count[kind] == 0)
			continue;
		found += gather(chunk_at(arena, descriptor->chunk), kind, free_only, base,
						from > base ? (int) (from - base) : 0, tickets + found, n - found);
	}
	return found;
}

int
vq_line_select(const VqLine *line, const VqArena *arena, VqKind lane,
			   int64 from, int64 *tickets, int n)
{
	return scan(line, arena, lane, true, from, tickets, n);
}

int
vq_line_collect(const VqLine *line, const VqArena *arena, VqKind kind,
				int64 from, int64 *tickets, int n)
{
	return scan(line, arena, kind, false, from, tickets, n);
}

/* ---- stamps ---- */

void
vq_line_set_stamp(VqLine *line, const VqArena *arena, int64 ticket, uint32 stamp)
{
	Directory	dir;
	uint32		index;
	Descriptor *descriptor = find(line, arena, ticket, &index, &dir);

	if (descriptor != NULL)
		chunk_at(arena, descriptor->chunk)->stamps[ticket % VQ_CHUNK] = stamp;
}

uint32
vq_line_stamp(const VqLine *line, const VqArena *arena, int64 ticket)
{
	Directory	dir;
	uint32		index;
	Descriptor *descriptor = find(line, arena, ticket, &index, &dir);

	return descriptor == NULL ? 0 : chunk_at(arena, descriptor->chunk)->stamps[ticket % VQ_CHUNK];
}

/* ---- giving memory back ---- */

int
vq_line_trim(VqLine *line, const VqArena *arena, int64 below)
{
	Directory	dir = directory_of(line, arena);
	int			freed = 0;

	for (uint32 i = 0; i < line->used && line->empty > 0; i++)
	{
		Descriptor *descriptor = &dir.descriptors[i];

		if ((descriptor->number + 1) * VQ_CHUNK > below)
			break;
		if (descriptor->chunk == 0 || !is_empty(descriptor))
			continue;
		line->count[VQ_TOUCHED] -= descriptor->count[VQ_TOUCHED];
		descriptor->count[VQ_TOUCHED] = 0;
		arena->free(arena->ctx, descriptor->chunk, sizeof(Chunk));
		dir = directory_of(line, arena);
		dir.descriptors[i].chunk = 0;
		line->dead++;
		line->empty--;
		freed++;
	}
	if (line->dead > line->used / 2)
		compact(line, dir);
	return freed;
}

static void
recount(Descriptor *descriptor, Chunk *chunk)
{
	for (int kind = 0; kind < VQ_KINDS; kind++)
	{
		descriptor->count[kind] = 0;
		for (int b = 0; b < BLOCKS; b++)
		{
			int			count = pg_popcount((char *) &chunk->bits[kind][b * BLOCK_WORDS],
											BLOCK_WORDS * sizeof(uint64));

			descriptor->count[kind] += count;
			if (kind < VQ_LANES)
				chunk->block_count[kind][b] = count;
		}
	}
}

void
vq_line_wipe(VqLine *line, const VqArena *arena)
{
	Directory	dir = directory_of(line, arena);

	memset(line->count, 0, sizeof(line->count));
	line->empty = 0;
	for (uint32 i = 0; i < line->used; i++)
	{
		Descriptor *descriptor = &dir.descriptors[i];
		Chunk	   *chunk;

		if (descriptor->chunk == 0)
			continue;
		chunk = chunk_at(arena, descriptor->chunk);
		for (int w = 0; w < WORDS; w++)
		{
			for (int kind = 0; kind <= VQ_INSIDE; kind++)
				chunk->bits[kind][w] &= chunk->bits[VQ_HELD][w];
			chunk->bits[VQ_TOUCHED][w] = 0;
		}
		recount(descriptor, chunk);
		for (int kind = 0; kind < VQ_KINDS; kind++)
			line->count[kind] += descriptor->count[kind];
		line->empty += is_empty(descriptor);
	}
	if (dir.descriptors != NULL)
		build_trees(line, dir);
}

void
vq_line_destroy(VqLine *line, const VqArena *arena)
{
	if (line->directory != 0)
	{
		for (uint32 i = 0; i < line->used; i++)
		{
			VqRef		ref = directory_of(line, arena).descriptors[i].chunk;

			if (ref != 0)
				arena->free(arena->ctx, ref, sizeof(Chunk));
		}
		arena->free(arena->ctx, line->directory, directory_size(line->capacity));
	}
	memset(line, 0, sizeof(*line));
}

size_t
vq_line_memory(const VqLine *line, const VqArena *arena)
{
	return (size_t) (line->used - line->dead) * sizeof(Chunk) +
		(line->directory != 0 ? directory_size(line->capacity) : 0);
}
