/*
 * chunk.h
 *		How a chunk of a line is laid out; for line.c and mark.c alone.
 *
 * A chunk holds what is known of VQ_CHUNK tickets: a bitmap a kind, a count a
 * lane for every block of 512 tickets, and the marks of mark.h.
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

/* The chunk of a ticket, or NULL. */
extern VqChunk *vq_line_chunk(const VqLine *line, const VqArena *arena, int64 ticket);

/* As vq_mark_row, in the ticket's chunk. */
extern void vq_mark_row_in(VqChunk *chunk, int64 ticket, uint32 block, uint16 offset);

#endif							/* VQ_CHUNK_H */
