/*
 * rank.c
 *		How many stand ahead in a line, and who comes next.
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "port/pg_bitutils.h"

#include "chunk.h"
#include "rank.h"
#include "tree.h"

/* ---- rank ---- */

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
	VqChunkDesc *desc;
	uint32		at;
	int64		rank;

	Assert(lane < VQ_LANES);
	if (line->count[lane] == 0 || ticket < 1)
		return 0;
	desc = vq_chunk_descs(line, arena);
	at = vq_line_lower_bound(line, desc, ticket / VQ_CHUNK);
	if (at == line->used)
		return line->count[lane];
	rank = vq_tree_sum(vq_lane_tree(line, desc, lane), at);
	if (desc[at].number == ticket / VQ_CHUNK && desc[at].count[lane] > 0)
		rank += rank_in_chunk(vq_chunk_of(arena, &desc[at]), lane, ticket % VQ_CHUNK);
	return rank;
}

int
vq_line_look(const VqLine *line, const VqArena *arena, int64 ticket, int64 second, int64 *rank)
{
	VqChunkDesc *first;
	VqChunkDesc *desc = vq_line_find(line, arena, ticket, &first);
	VqChunk    *chunk;
	int			lane;

	if (desc == NULL || desc->chunk == 0)
		return -1;
	chunk = vq_chunk_of(arena, desc);
	if (second >= 0)
		vq_mark_alive_in(chunk, ticket, second);
	lane = vq_lane_in(desc, chunk, ticket);
	if (lane >= 0)
		*rank = vq_tree_sum(vq_lane_tree(line, first, lane), desc - first) +
			rank_in_chunk(chunk, lane, ticket % VQ_CHUNK);
	return lane;
}

/* ---- select ---- */

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
	VqChunkDesc *desc;
	uint32		at;

	Assert(lane < VQ_LANES);
	if (rank < 0 || rank >= line->count[lane])
		return 0;
	desc = vq_chunk_descs(line, arena);
	at = vq_tree_find(vq_lane_tree(line, desc, lane), line->used, &rank);
	return desc[at].number * VQ_CHUNK + nth_in_chunk(vq_chunk_of(arena, &desc[at]), lane, rank);
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
	VqChunkDesc *desc;
	int			found = 0;

	if (line->count[kind] == 0 || n <= 0)
		return 0;
	from = Max(from, 1);
	desc = vq_chunk_descs(line, arena);
	for (uint32 at = vq_line_lower_bound(line, desc, from / VQ_CHUNK); at < line->used && found < n; at++)
	{
		int			offset = desc[at].number == from / VQ_CHUNK ? from % VQ_CHUNK : 0;

		if (desc[at].count[kind] > 0)
			found += gather_in_chunk(vq_chunk_of(arena, &desc[at]), kind, only_free, offset,
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
	VqChunkDesc *desc;

	if (line->count[kind] == 0)
		return 0;
	from = Max(from, 1);
	desc = vq_chunk_descs(line, arena);
	for (uint32 at = vq_line_lower_bound(line, desc, from / VQ_CHUNK); at < line->used; at++)
	{
		if (desc[at].count[kind] > 0)
			return Max(from, desc[at].number * VQ_CHUNK);
	}
	return 0;
}
