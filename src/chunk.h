/*
 * chunk.h
 *		How a line and its chunks are laid out; for line.c, rank.c and mark.c alone.
 *
 * A chunk holds what is known of VQ_CHUNK tickets: a bitmap a kind, a count a
 * lane for every block of 512 tickets, and the marks of mark.h.
 *
 * The directory of a line is one allocation: descriptors sorted by chunk number,
 * which repeat the chunk's counts so that nobody has to touch a chunk without
 * anything to find, then a Fenwick tree a lane over those counts.
 */
#ifndef VQ_CHUNK_H
#define VQ_CHUNK_H

#include "line.h"

#define WORD_BITS		64
#define CHUNK_WORDS		(VQ_CHUNK / WORD_BITS)
#define BLOCK_WORDS		8		/* a cache line of one bitmap */
#define BLOCK_BITS		(BLOCK_WORDS * WORD_BITS)
#define CHUNK_BLOCKS	(CHUNK_WORDS / BLOCK_WORDS)

typedef struct VqChunk
{
	uint64		bits[VQ_KINDS][CHUNK_WORDS];
	uint16		block[VQ_LANES][CHUNK_BLOCKS];	/* bits set, by block */
	uint32		row_base;		/* 1 + the block from which row[] counts, 0 while it has none */
	uint16		row[VQ_CHUNK];	/* mark.c */
	uint16		stamp[VQ_CHUNK];	/* mark.c */
} VqChunk;

/* DSA gives twelve such pieces out of 64 kB; a larger chunk would waste. */
StaticAssertDecl(sizeof(VqChunk) <= 5456, "a chunk has outgrown its size class");

typedef struct VqChunkDesc
{
	int64		number;			/* the first ticket divided by VQ_CHUNK */
	VqRef		chunk;			/* 0 if dead */
	uint32		busy;			/* sum of count[] without VQ_TOUCHED */
	uint16		count[VQ_KINDS];	/* bits set, by kind */
} VqChunkDesc;

static inline VqChunkDesc *
vq_chunk_descs(const VqLine *line, const VqArena *arena)
{
	return (VqChunkDesc *) arena->addr(arena->ctx, line->directory);
}

static inline int64 *
vq_lane_tree(const VqLine *line, VqChunkDesc *desc, int lane)
{
	return (int64 *) (desc + line->capacity) + (size_t) lane * line->capacity;
}

static inline VqChunk *
vq_chunk_of(const VqArena *arena, const VqChunkDesc *desc)
{
	return (VqChunk *) arena->addr(arena->ctx, desc->chunk);
}

static inline uint64 *
vq_word_of(VqChunk *chunk, int kind, int64 ticket)
{
	return &chunk->bits[kind][ticket % VQ_CHUNK / WORD_BITS];
}

static inline uint64
vq_mask_of(int64 ticket)
{
	return UINT64CONST(1) << (ticket % WORD_BITS);
}

/* The first descriptor whose number is not below this one, or used. */
extern uint32 vq_line_lower_bound(const VqLine *line, const VqChunkDesc *desc, int64 number);

/* The descriptor of a ticket's chunk, dead or alive, or NULL; and the first of them all. */
extern VqChunkDesc *vq_line_find(const VqLine *line, const VqArena *arena, int64 ticket, VqChunkDesc **first);

/* The chunk of a ticket, or NULL. */
extern VqChunk *vq_line_chunk(const VqLine *line, const VqArena *arena, int64 ticket);

/* As vq_mark_row and vq_mark_alive, in the ticket's chunk. */
extern void vq_mark_row_in(VqChunk *chunk, int64 ticket, uint32 block, uint16 offset);
extern void vq_mark_alive_in(VqChunk *chunk, int64 ticket, int64 second);

/* As vq_line_lane, where the chunk was found. */
static inline int
vq_lane_in(const VqChunkDesc *desc, VqChunk *chunk, int64 ticket)
{
	/* The words of lanes in which nobody stands are not even touched. */
	for (int lane = 0; lane < VQ_LANES; lane++)
	{
		if (desc->count[lane] > 0 && (*vq_word_of(chunk, lane, ticket) & vq_mask_of(ticket)) != 0)
			return lane;
	}
	return -1;
}

#endif							/* VQ_CHUNK_H */
