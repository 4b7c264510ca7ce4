/*
 * test_draw.c
 *		The draw: that it is a permutation, that its inverse undoes it, that all
 *		orders are alike likely, and that it is what the documents say.
 */
#include "postgres_fe.h"

#include <math.h>

#include "draw.h"
#include "source.h"
#include "tap.h"

/* A pseudorandom function of a key, good enough for statistics. */
static uint64
mixed(void *ctx, int round, uint32 value)
{
	Source		source = source_of_seed(*(uint64 *) ctx ^ (((uint64) round << 32 | value) * UINT64CONST(0xD6E8FEB86659FD93)), 0);

	(void) source_bits(&source, 0);
	return source_bits(&source, 0);
}

static uint32 *
begin(VqDraw *draw, uint64 n, uint64 key)
{
	uint32	   *steps;

	vq_draw_shape(draw, n);
	steps = malloc(vq_draw_steps(draw) * sizeof(uint32));
	vq_draw_fill(draw, steps, mixed, &key);
	draw->steps = steps;
	return steps;
}

static void
test_shape(void)
{
	bool		right = true;
	VqDraw		draw;

	for (uint64 n = 1; n <= VQ_DRAW_MAX; n = n < 3000 ? n + 1 : n * 3 - 1)
	{
		vq_draw_shape(&draw, n);
		right &= (uint64) draw.rows * draw.rows >= n && (uint64) (draw.rows - 1) * (draw.rows - 1) < n;
		right &= (uint64) draw.rows * draw.columns >= n && (uint64) draw.rows * (draw.columns - 1) < n;
		right &= draw.columns <= draw.rows;
	}
	vq_draw_shape(&draw, VQ_DRAW_MAX);
	right &= (uint64) draw.rows * draw.columns >= VQ_DRAW_MAX;
	ok(right, "the rectangle is the least one with as many rows as the root");
}

/* Every number has a place of its own, and the place leads back to it. */
static bool
is_permutation(uint64 n, uint64 key)
{
	VqDraw		draw;
	uint32	   *steps = begin(&draw, n, key);
	uint8	   *taken = calloc(n, 1);
	bool		right = true;

	for (uint64 i = 0; i < n && right; i++)
	{
		uint64		place = vq_draw_place(&draw, i);

		right = place < n && taken[place]++ == 0 && vq_draw_number(&draw, place) == i;
	}
	free(taken);
	free(steps);
	return right;
}

static void
test_permutation(uint64 seed, bool small)
{
	bool		right = true;

	for (uint64 n = 1; n <= (small ? 300 : 2000); n++)
		right &= is_permutation(n, seed + n);
	ok(right, "a permutation, undone by its inverse, for small crowds");
	right = is_permutation(65536, seed) && is_permutation(65537, seed) && is_permutation(100003, seed);
	if (!small)
		right &= is_permutation(1000000, seed);
	ok(right, "for large ones");
}

static void
test_huge(uint64 seed)
{
	Source		source = source_of_seed(seed, 0);
	uint64		n = VQ_DRAW_MAX / 1000 - 3;
	VqDraw		draw;
	uint32	   *steps = begin(&draw, n, seed);
	bool		right = true;

	for (int i = 0; i < 1000; i++)
	{
		uint64		number = i < 2 ? i * (n - 1) : source_below(&source, n);
		uint64		place = vq_draw_place(&draw, number);

		right &= place < n && vq_draw_number(&draw, place) == number;
	}
	ok(right, "numbers of a crowd of a billion lead to places and back");
	free(steps);
}

/*
 * The statistic less its expectation, in standard deviations: more than 5 comes
 * by chance once in some hundred thousand tests.
 */
static double
deviation(const int *count, int cells, double expected)
{
	double		chi = 0;

	for (int i = 0; i < cells; i++)
		chi += (count[i] - expected) * (count[i] - expected) / expected;
	return (chi - (cells - 1)) / sqrt(2.0 * (cells - 1));
}

/* The number of an order of n among all. */
static int
order_number(const VqDraw *draw)
{
	int			number = 0;

	for (uint64 i = 0; i < draw->n; i++)
	{
		int			before = 0;

		for (uint64 j = i + 1; j < draw->n; j++)
			before += vq_draw_place(draw, j) < vq_draw_place(draw, i);
		number = number * (int) (draw->n - i) + before;
	}
	return number;
}

/* All orders of a few are alike likely. */
static void
test_orders(uint64 seed, int n, int orders)
{
	const int	draws = orders * 400;
	int		   *count = calloc(orders, sizeof(int));
	double		off;

	for (int i = 0; i < draws; i++)
	{
		VqDraw		draw;
		uint32	   *steps = begin(&draw, n, seed + UINT64CONST(7919) * i);

		count[order_number(&draw)]++;
		free(steps);
	}
	off = deviation(count, orders, 400);
	ok(fabs(off) < 5, "the %d orders of %d are alike likely: chi-square is %.1f deviations off", orders, n, off);
	free(count);
}

/* So are all places of anybody, and all distances between two of them. */
static void
test_places(uint64 seed, int n)
{
	const int	draws = n * 300;
	int		   *first = calloc(n, sizeof(int));
	int		   *last = calloc(n, sizeof(int));
	int		   *distance = calloc(n, sizeof(int));

	for (int i = 0; i < draws; i++)
	{
		VqDraw		draw;
		uint32	   *steps = begin(&draw, n, seed + UINT64CONST(104729) * i);
		int			a = vq_draw_place(&draw, 0);
		int			b = vq_draw_place(&draw, n - 1);

		first[a]++;
		last[b]++;
		distance[(b - a + n) % n]++;
		free(steps);
	}
	ok(fabs(deviation(first, n, 300)) < 5, "the first of %d gets any place", n);
	ok(fabs(deviation(last, n, 300)) < 5, "so does the last");
	distance[0] = draws / (n - 1);	/* never comes */
	ok(fabs(deviation(distance, n, (double) draws / (n - 1))) < 5, "and they are any distance apart");
	free(first);
	free(last);
	free(distance);
}

/* A function that is easily done by hand. */
static uint64
plain(void *ctx, int round, uint32 value)
{
	return round * 7 + value * 3;
}

/* What a Python program of three lines says for n = 11. */
static void
test_vectors(void)
{
	static const uint64 wanted[] = {7, 8, 0, 10, 9, 3, 1, 2, 6, 4, 5};
	VqDraw		draw;
	uint32		steps[VQ_DRAW_ROUNDS * 4];
	bool		right = true;

	vq_draw_shape(&draw, 11);
	vq_draw_fill(&draw, steps, plain, NULL);
	draw.steps = steps;
	is(vq_draw_steps(&draw), lengthof(steps), "as many steps as rounds and rows");
	for (uint64 i = 0; i < draw.n; i++)
		right &= vq_draw_place(&draw, i) == wanted[i];
	ok(right, "fixed places");
}

int
main(int argc, char **argv)
{
	uint64		seed = tap_seed(argc, argv, 20260302);
	bool		small = getenv("VQ_EFFORT") != NULL;

	test_shape();
	test_permutation(seed, small);
	test_huge(seed);
	test_orders(seed, 2, 2);
	test_orders(seed, 3, 6);
	test_orders(seed, 5, 120);
	if (!small)
		test_orders(seed, 6, 720);
	test_places(seed, small ? 20 : 100);
	test_vectors();
	return tap_done();
}
