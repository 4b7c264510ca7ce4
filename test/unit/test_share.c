/*
 * test_share.c
 *		Who is in a share: as many as it says, as by lot, and the same ones always.
 */
#include "postgres_fe.h"

#include <math.h>

#include "share.h"
#include "tap.h"

#define TICKETS 1000000

/* More deviations than this are none by chance: one in some hundred million. */
#define A_LOT 6.0

static const unsigned char ids[3][VQ_SHARE_ID_SIZE] = {
	{0}, {1}, {0x01, 0x94, 0x7a, 0x10, 0xc2, 0x33, 0x7e, 0x01, 0x9a, 0xff, 0x13, 0x99, 0x58, 0x01, 0x22, 0x7c}
};

/* How many deviations a count is off what it should be if each of n is counted by a chance. */
static double
deviations(int64 count, int64 n, double chance)
{
	return fabs(count - n * chance) / sqrt(n * chance * (1 - chance));
}

static int64
count(const VqShare *share, int64 first, int64 n, int64 step)
{
	int64		in = 0;

	for (int64 i = 0; i < n; i++)
		in += vq_share_has(share, first + i * step);
	return in;
}

/* As many as it says: in any stretch of tickets, and of those that are so far apart. */
static void
test_size(double size)
{
	static const int64 firsts[] = {1, 4096, INT64CONST(1) << 32, (INT64CONST(1) << 60) - TICKETS};
	static const int64 steps[] = {1, 2, 4, 10, 64, 1024, 4096};
	double		worst = 0;
	double		shortest = 0;

	for (int id = 0; id < 3; id++)
	{
		VqShare		share;

		vq_share_begin(&share, size, 1, ids[id]);
		for (int f = 0; f < 4; f++)
		{
			worst = Max(worst, deviations(count(&share, firsts[f], TICKETS, 1), TICKETS, size));
			for (int64 first = firsts[f]; first < firsts[f] + TICKETS; first += TICKETS / 100)
				shortest = Max(shortest, deviations(count(&share, first, TICKETS / 100, 1), TICKETS / 100, size));
		}
		for (int s = 0; s < 7; s++)
			worst = Max(worst, deviations(count(&share, 1, TICKETS / 10, steps[s]), TICKETS / 10, size));
	}
	ok(worst < A_LOT, "a share of %g has as many as it says (off by %.1f deviations at the most)", size, worst);
	ok(shortest < A_LOT, "and so in short stretches (%.1f)", shortest);
}

/* Whether the next one is in it does not depend on who was before, nor on another share. */
static void
test_independence(void)
{
	VqShare		one;
	VqShare		other;
	int64		both = 0;
	double		worst = 0;

	vq_share_begin(&one, 0.1, 1, ids[1]);
	vq_share_begin(&other, 0.1, 1, ids[2]);
	for (int distance = 1; distance <= 64; distance++)
	{
		int64		pairs = 0;

		for (int64 t = 1; t <= TICKETS; t++)
			pairs += vq_share_has(&one, t) && vq_share_has(&one, t + distance);
		worst = Max(worst, deviations(pairs, TICKETS, 0.01));
	}
	for (int64 t = 1; t <= TICKETS; t++)
		both += vq_share_has(&one, t) && vq_share_has(&other, t);
	ok(worst < A_LOT, "neighbours are in it independently (%.1f deviations)", worst);
	ok(deviations(both, TICKETS, 0.01) < A_LOT, "another share is drawn anew (%.1f)", deviations(both, TICKETS, 0.01));
}

/* The longest runs of those in it, and of those not, are no longer than chance has them. */
static void
test_runs(void)
{
	VqShare		half;
	int			run = 0;
	int			longest = 0;

	vq_share_begin(&half, 0.5, 1, ids[2]);
	for (int64 t = 2; t <= TICKETS; t++)
	{
		run = vq_share_has(&half, t) == vq_share_has(&half, t - 1) ? run + 1 : 0;
		longest = Max(longest, run);
	}
	ok(longest >= 12 && longest <= 45, "runs are of a length that chance has (%d)", longest);
}

static void
test_bounds(void)
{
	VqShare		share = {0};

	is(count(&share, 1, 1000, 1), 0, "nobody is in none");
	vq_share_begin(&share, 1, 1, ids[2]);
	is(count(&share, 1, TICKETS, 1), TICKETS, "all are in all");
	vq_share_begin(&share, 0, 1, ids[2]);
	is(count(&share, 1, TICKETS, 1), 0, "nobody is in a share of 0");
	vq_share_begin(&share, 1e-300, 1, ids[2]);
	is(share.below, 1, "the smallest share is not nobody");
	vq_share_begin(&share, 1, 501, ids[2]);
	is(count(&share, 1, 1000, 1), 500, "it begins with the ticket that it says");
	ok(!vq_share_has(&share, 500) && vq_share_has(&share, 501), "with that very one");
	vq_share_begin(&share, 1, 0, ids[2]);
	is(share.from, 1, "from 0 is from the first");
	ok(vq_share_has(&share, INT64CONST(1) << 60), "the last ticket there may be is in it");
}

/* The same in every build, or a standby would have others in it: these were drawn once. */
static void
test_constant(void)
{
	VqShare		share;
	uint64		sum = 0;

	vq_share_begin(&share, 0.1, 1, ids[2]);
	for (int64 t = 1; t <= 640; t++)
		sum = sum * 31 + vq_share_has(&share, t);
	is(sum, INT64CONST(2465877757392106323), "the same are in it as ever");
}

int
main(void)
{
	test_bounds();
	test_size(0.5);
	test_size(0.1);
	test_size(0.01);
	test_size(0.9);
	test_independence();
	test_runs();
	test_constant();
	return tap_done();
}
