/*
 * mark.c
 *		What a line remembers of a ticket beside its bits: the last sign of life,
 *		and where its row is in the table.
 *
 * Two bytes each.  The rows of neighbouring tickets were inserted at about the
 * same time, so their blocks are near each other: a row is remembered by its
 * offset and by its block's distance to a base that the chunk's tickets share.
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "port/pg_bitutils.h"

#include "chunk.h"
#include "mark.h"
#include "rank.h"

#define STAMPS			UINT64CONST(65535)	/* of 1 to 65535; 0 is none */

/* Seconds by which another may have read the clock later. */
#define LATER			3600

#define OFFSET_BITS		6		/* rows a block, for rows as long as ours */
#define OFFSET_MAX		((1 << OFFSET_BITS) - 1)
#define BLOCK_SPAN		(1 << (16 - OFFSET_BITS))

/* ---- signs of life ---- */

static inline uint64
stamp_of(int64 second)
{
	return (uint64) second / VQ_MARK_SECONDS % STAMPS;
}

void
vq_mark_alive_in(VqChunk *chunk, int64 ticket, int64 second)
{
	chunk->stamp[ticket % VQ_CHUNK] = 1 + stamp_of(second);
}

void
vq_mark_alive(const VqLine *line, const VqArena *arena, int64 ticket, int64 second)
{
	VqChunk    *chunk = vq_line_chunk(line, arena, ticket);

	if (chunk != NULL)
		vq_mark_alive_in(chunk, ticket, second);
}

int64
vq_mark_silence(const VqLine *line, const VqArena *arena, int64 ticket, int64 second)
{
	VqChunk    *chunk = vq_line_chunk(line, arena, ticket);
	uint64		stamp = chunk != NULL ? chunk->stamp[ticket % VQ_CHUNK] : 0;

	if (stamp == 0)
		return -1;
	return (stamp_of(second) + STAMPS - (stamp - 1)) % STAMPS * VQ_MARK_SECONDS;
}

void
vq_mark_forget(const VqLine *line, const VqArena *arena)
{
	for (int kind = 0; kind < VQ_KINDS; kind++)
	{
		int64		ticket = 1;

		while ((ticket = vq_line_next_chunk(line, arena, kind, ticket)) != 0)
		{
			VqChunk    *chunk = vq_line_chunk(line, arena, ticket);

			memset(chunk->stamp, 0, sizeof(chunk->stamp));
			if (ticket / VQ_CHUNK == PG_INT64_MAX / VQ_CHUNK)
				break;			/* there is no chunk behind it */
			ticket += VQ_CHUNK - ticket % VQ_CHUNK;
		}
	}
}

static inline bool
has_bit(const VqChunk *chunk, VqKind kind, int offset)
{
	return kind < VQ_KINDS && (chunk->bits[kind][offset / WORD_BITS] >> (offset % WORD_BITS) & 1) != 0;
}

/* Whether a ticket is found out to be silent; one that is not counts for the longest silence. */
static bool
is_silent(VqChunk *chunk, int offset, VqSilence *silence)
{
	uint64		now = stamp_of(silence->second);
	int64		silent;

	if (has_bit(chunk, VQ_HELD, offset) || has_bit(chunk, silence->except, offset))
		return false;
	if (chunk->stamp[offset] == 0)
		chunk->stamp[offset] = 1 + now;
	silent = (now + STAMPS - (chunk->stamp[offset] - 1)) % STAMPS * VQ_MARK_SECONDS;

	/* Somebody who has read the clock after us. */
	if (silent > (int64) STAMPS * VQ_MARK_SECONDS - LATER)
		silent = 0;
	if (silent >= silence->limit + VQ_MARK_SECONDS)
		return true;
	silence->longest = Max(silence->longest, silent);
	return false;
}

int
vq_mark_silent(const VqLine *line, const VqArena *arena, VqSilence *silence, int64 *tickets)
{
	int64		from = vq_line_next_chunk(line, arena, silence->kind, silence->next);
	VqChunk    *chunk = from == 0 ? NULL : vq_line_chunk(line, arena, from);
	int64		first = from - from % VQ_CHUNK;
	int			n = 0;

	silence->next = chunk == NULL ? 0 : first + VQ_CHUNK;
	for (int i = from % VQ_CHUNK / WORD_BITS; chunk != NULL && i < CHUNK_WORDS; i++)
	{
		for (uint64 word = chunk->bits[silence->kind][i]; word != 0; word &= word - 1)
		{
			int			offset = i * WORD_BITS + pg_rightmost_one_pos64(word);

			if (silence->share != NULL && vq_share_has(silence->share, first + offset) == silence->others)
				continue;
			if (is_silent(chunk, offset, silence))
				tickets[n++] = first + offset;
		}
	}
	return n;
}

/* ---- rows ---- */

void
vq_mark_row_in(VqChunk *chunk, int64 ticket, uint32 block, uint16 offset)
{
	uint32		base;

	/* Two who set the base at once may mislead readers, who then find another row there. */
	if (chunk->row_base == 0)
		chunk->row_base = 1 + (block > BLOCK_SPAN / 4 ? block - BLOCK_SPAN / 4 : 0);
	base = chunk->row_base - 1;
	if (block < base || block - base >= BLOCK_SPAN || offset > OFFSET_MAX)
		chunk->row[ticket % VQ_CHUNK] = 0;
	else
		chunk->row[ticket % VQ_CHUNK] = (block - base) << OFFSET_BITS | offset;
}

void
vq_mark_row(const VqLine *line, const VqArena *arena, int64 ticket, uint32 block, uint16 offset)
{
	VqChunk    *chunk = vq_line_chunk(line, arena, ticket);

	if (chunk != NULL)
		vq_mark_row_in(chunk, ticket, block, offset);
}

bool
vq_marked_row(const VqLine *line, const VqArena *arena, int64 ticket, uint32 *block, uint16 *offset)
{
	VqChunk    *chunk = vq_line_chunk(line, arena, ticket);
	uint16		row = chunk != NULL ? chunk->row[ticket % VQ_CHUNK] : 0;

	if (row == 0 || chunk->row_base == 0)
		return false;
	*block = chunk->row_base - 1 + (row >> OFFSET_BITS);
	*offset = row & OFFSET_MAX;

	/* Each piece of the rest would otherwise have to be waited for in turn. */
	__builtin_prefetch(&chunk->stamp[ticket % VQ_CHUNK], 1);
	__builtin_prefetch(chunk->block);
	for (int lane = 0; lane < VQ_LANES; lane++)
	{
		if (line->count[lane] > 0)
			__builtin_prefetch(&chunk->bits[lane][ticket % VQ_CHUNK / WORD_BITS]);
	}
	return true;
}
