/*
 * draw.c
 *		A random order that anyone can recompute: a keyed permutation.
 *
 * A number x stands in row x / columns and column x % columns.  In even rounds
 * its row moves by what the key says of its column, in odd ones the column by
 * what it says of the row, both around the edge.
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "draw.h"

void
vq_draw_shape(VqDraw *draw, uint64 n)
{
	uint64		rows = 1;

	Assert(n >= 1 && n <= VQ_DRAW_MAX);

	/* The least whole number whose square is not below n, bit by bit. */
	for (uint64 bit = UINT64CONST(1) << 20; bit > 0; bit /= 2)
		if ((rows - 1 + bit) * (rows - 1 + bit) < n)
			rows += bit;
	draw->n = n;
	draw->rows = (uint32) rows;
	draw->columns = (uint32) ((n + rows - 1) / rows);
	draw->steps = NULL;
}

size_t
vq_draw_steps(const VqDraw *draw)
{
	return (size_t) VQ_DRAW_ROUNDS * draw->rows;
}

void
vq_draw_fill(const VqDraw *draw, uint32 *steps, VqDrawFunction function, void *ctx)
{
	for (int round = 0; round < VQ_DRAW_ROUNDS; round++)
	{
		bool		moves_rows = round % 2 == 0;
		uint32		values = moves_rows ? draw->columns : draw->rows;
		uint32		length = moves_rows ? draw->rows : draw->columns;

		for (uint32 value = 0; value < values; value++)
			steps[(size_t) round * draw->rows + value] = (uint32) (function(ctx, round, value) % length);
	}
}

static inline uint32
step_on(uint32 at, uint32 by, uint32 length)
{
	return at >= length - by ? at - (length - by) : at + by;
}

static inline uint32
step_back(uint32 at, uint32 by, uint32 length)
{
	return at >= by ? at - by : at + (length - by);
}

uint64
vq_draw_place(const VqDraw *draw, uint64 number)
{
	uint64		x = number;

	Assert(number < draw->n && draw->steps != NULL);
	do
	{
		uint32		row = (uint32) (x / draw->columns);
		uint32		column = (uint32) (x % draw->columns);
		const uint32 *steps = draw->steps;

		for (int round = 0; round < VQ_DRAW_ROUNDS; round += 2, steps += 2 * (size_t) draw->rows)
		{
			row = step_on(row, steps[column], draw->rows);
			column = step_on(column, steps[draw->rows + row], draw->columns);
		}
		x = (uint64) row * draw->columns + column;
	} while (x >= draw->n);
	return x;
}

uint64
vq_draw_number(const VqDraw *draw, uint64 place)
{
	uint64		x = place;

	Assert(place < draw->n && draw->steps != NULL);
	do
	{
		uint32		row = (uint32) (x / draw->columns);
		uint32		column = (uint32) (x % draw->columns);

		for (int round = VQ_DRAW_ROUNDS - 2; round >= 0; round -= 2)
		{
			const uint32 *steps = draw->steps + (size_t) round * draw->rows;

			column = step_back(column, steps[draw->rows + row], draw->columns);
			row = step_back(row, steps[column], draw->rows);
		}
		x = (uint64) row * draw->columns + column;
	} while (x >= draw->n);
	return x;
}
