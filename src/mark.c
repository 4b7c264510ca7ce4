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

#include "chunk.h"
#include "mark.h"

#define STAMPS			UINT64CONST(65535)	/* of 1 to 65535; 0 is none */

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
vq_mark_alive(const VqLine *line, const VqArena *arena, int64 ticket, int64 second)
{
	VqChunk    *chunk = vq_line_chunk(line, arena, ticket);

	if (chunk != NULL)
		chunk->stamp[ticket % VQ_CHUNK] = 1 + stamp_of(second);
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
