/*
 * draw.h
 *		A random order that anyone can recompute: a keyed permutation.
 *
 * Numbers 0 to n - 1 are arranged as a rectangle of a rows and b columns, just
 * large enough.  In turns, each number moves along its column by what the key
 * says of the column's partner, and so on: a Feistel network.  A number that
 * ends up outside of 0 to n - 1 goes through it again until it does not (cycle
 * walking).  What the key says is a pseudorandom function that the caller
 * brings; as it has but a or b arguments a round, it is tabulated.
 *
 * Knows nothing of the server; all memory is the caller's.
 */
#ifndef VQ_DRAW_H
#define VQ_DRAW_H

/*
 * Ten rounds are the custom, and too few for small crowds: of the orders of 6
 * some are 1.5 times as likely as others after 10, and within 0.01 percent of
 * each other after 32.
 */
#define VQ_DRAW_ROUNDS	32

/* The most who may be drawn, so that a number of a rectangle has 62 bits at the most. */
#define VQ_DRAW_MAX		(UINT64CONST(1) << 40)

typedef struct VqDraw
{
	uint64		n;				/* who are drawn */
	uint32		rows;
	uint32		columns;		/* rows * columns >= n; rows >= columns */
	const uint32 *steps;		/* [VQ_DRAW_ROUNDS][rows]: how far to move, less than rows or
								 * columns */
} VqDraw;

/* What the key says in a round of a value: 64 pseudorandom bits. */
typedef uint64(*VqDrawFunction) (void *ctx, int round, uint32 value);

/* Set the shape for n from 1 to VQ_DRAW_MAX; steps are the caller's to bring. */
extern void vq_draw_shape(VqDraw *draw, uint64 n);

/* The number of steps there are, and how to fill them. */
extern size_t vq_draw_steps(const VqDraw *draw);
extern void vq_draw_fill(const VqDraw *draw, uint32 *steps, VqDrawFunction function, void *ctx);

/* The place (from 0) of a number (from 0), and the number that has a place. */
extern uint64 vq_draw_place(const VqDraw *draw, uint64 number);
extern uint64 vq_draw_number(const VqDraw *draw, uint64 place);

#endif							/* VQ_DRAW_H */
