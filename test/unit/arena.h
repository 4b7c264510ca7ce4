/*
 * arena.h
 *		An arena over malloc that counts, poisons, moves and fails.
 *
 * Every alloc and free moves another block, so that a pointer kept across
 * them, which the contract of VqArena forbids, is a use after free.
 */
#ifndef VQ_TEST_ARENA_H
#define VQ_TEST_ARENA_H

#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "line.h"

typedef struct Block
{
	void	   *memory;			/* NULL: free */
	size_t		size;
} Block;

typedef struct TestArena
{
	VqArena		arena;			/* what the line is given */
	Block	   *blocks;			/* a VqRef is an index into it, plus REF_BASE */
	uint32		n_blocks;
	uint32		hint;			/* no free entry below it */
	uint32		next_moved;
	bool		moving;
	int64		fail_after;		/* allocations until one fails; negative: none */
	uint64		failures;
	uint64		allocs;
	uint64		frees;
	uint64		lookups;
	size_t		bytes;			/* as asked for */
	size_t		rounded;		/* above 8 kB rounded up to 4 kB, as the server's */
	size_t		largest;
} TestArena;

extern void arena_init(TestArena *arena, bool moving);

/* Free what the arena itself took; true if no block was left in it. */
extern bool arena_close(TestArena *arena);

#endif							/* VQ_TEST_ARENA_H */
