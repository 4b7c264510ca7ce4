/*
 * arena.c
 *		An arena over malloc that counts, poisons, moves and fails.
 */
#include "arena.h"

#include "source.h"

/* No small number is a reference, and no reference a pointer. */
#define REF_BASE		UINT64CONST(0x5000000000000000)

static size_t
rounded(size_t size)
{
	return size > 8192 ? TYPEALIGN(4096, size) : size;
}

static Block *
block_of(TestArena *arena, VqRef ref)
{
	MUST(ref >= REF_BASE && ref - REF_BASE < arena->n_blocks);
	MUST(arena->blocks[ref - REF_BASE].memory != NULL);
	return &arena->blocks[ref - REF_BASE];
}

static void
move_block(Block *block)
{
	void	   *memory = malloc(block->size);

	MUST(memory != NULL);
	memcpy(memory, block->memory, block->size);
	memset(block->memory, 0x5A, block->size);
	free(block->memory);
	block->memory = memory;
}

/* Move the small blocks, among them the directory, and a large one in turn. */
static void
move_some(TestArena *arena)
{
	if (!arena->moving || arena->n_blocks == 0)
		return;
	for (uint32 i = 0; i < arena->n_blocks; i++)
	{
		if (arena->blocks[i].memory != NULL && arena->blocks[i].size < 32768)
			move_block(&arena->blocks[i]);
	}
	if (++arena->next_moved >= arena->n_blocks)
		arena->next_moved = 0;
	if (arena->blocks[arena->next_moved].memory != NULL)
		move_block(&arena->blocks[arena->next_moved]);
}

static VqRef
arena_alloc(void *ctx, size_t size)
{
	TestArena  *arena = ctx;
	uint32		at = arena->hint;

	MUST(size > 0);
	if (arena->fail_after == 0)
	{
		arena->failures++;
		return 0;
	}
	if (arena->fail_after > 0)
		arena->fail_after--;
	move_some(arena);
	while (at < arena->n_blocks && arena->blocks[at].memory != NULL)
		at++;
	arena->hint = at + 1;
	if (at == arena->n_blocks)
	{
		uint32		n = Max(64, at * 2);

		arena->blocks = realloc(arena->blocks, n * sizeof(Block));
		MUST(arena->blocks != NULL);
		memset(arena->blocks + at, 0, (n - at) * sizeof(Block));
		arena->n_blocks = n;
	}
	arena->blocks[at].memory = malloc(size);
	MUST(arena->blocks[at].memory != NULL);
	memset(arena->blocks[at].memory, 0xA5, size);
	arena->blocks[at].size = size;
	arena->allocs++;
	arena->bytes += size;
	arena->rounded += rounded(size);
	arena->largest = Max(arena->largest, size);
	return REF_BASE + at;
}

static void
arena_free(void *ctx, VqRef ref, size_t size)
{
	TestArena  *arena = ctx;
	Block	   *block = block_of(arena, ref);

	MUST(block->size == size);
	memset(block->memory, 0x5A, size);
	free(block->memory);
	block->memory = NULL;
	arena->hint = Min(arena->hint, ref - REF_BASE);
	arena->frees++;
	arena->bytes -= size;
	arena->rounded -= rounded(size);
	move_some(arena);
}

static void *
arena_addr(void *ctx, VqRef ref)
{
	TestArena  *arena = ctx;

	arena->lookups++;
	return block_of(arena, ref)->memory;
}

void
arena_init(TestArena *arena, bool moving)
{
	memset(arena, 0, sizeof(TestArena));
	arena->arena.alloc = arena_alloc;
	arena->arena.free = arena_free;
	arena->arena.addr = arena_addr;
	arena->arena.ctx = arena;
	arena->moving = moving;
	arena->fail_after = -1;
}

bool
arena_close(TestArena *arena)
{
	bool		clean = (arena->bytes == 0 && arena->allocs == arena->frees);

	for (uint32 i = 0; i < arena->n_blocks; i++)
		free(arena->blocks[i].memory);
	free(arena->blocks);
	arena->blocks = NULL;
	arena->n_blocks = 0;
	return clean;
}
