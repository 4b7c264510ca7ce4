/*
 * mingle.c
 *		A lane in which newcomers come to random places: which of those who stand in
 *		it now will have been let in.
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include <math.h>

#include "mingle.h"

/* e to the power of more than this is as good as all, or never. */
#define LONGEST			60.0

void
vq_mingle_begin(VqMingle *mingle, double ahead, double present)
{
	memset(mingle, 0, sizeof(*mingle));
	mingle->first = mingle->ahead = ahead;
	mingle->present = mingle->pool = present;
}

/* How many stand on average while the pool goes evenly from one number to another. */
static double
mean_pool(double from, double to)
{
	double		ratio = to / from;

	if (fabs(ratio - 1) < 1e-4)
		return (from + to) / 2;
	return (to - from) / log(ratio);
}

/* So many come into the pool, while so many stand in it and those let in get further by a gap. */
static void
add_newcomers(VqMingle *mingle, double joined, double standing, double gap)
{
	double		spread = mingle->spread + joined / standing / 2;
	double		behind = exp(Min(mingle->behind + gap / 2, LONGEST));

	mingle->newcomers[0] += joined * exp(-spread);
	mingle->newcomers[1] += joined * exp(-spread) * behind;
	mingle->chances[0] += joined * exp(-2 * spread);
	mingle->chances[1] += joined * exp(-2 * spread) * behind;
	mingle->spread = Min(mingle->spread + joined / standing, LONGEST);
}

static void
move_pool(VqMingle *mingle, double let_in, double joined, double impatience)
{
	double		share = impatience > 1e-6 ? -expm1(-impatience) / impatience : 1;
	double		after = mingle->pool * exp(-impatience) + (joined - let_in) * share;
	double		least = mingle->pool * exp(-LONGEST);
	double		standing;
	double		gap;

	if (mingle->pool <= 0)
	{
		/* Whoever joins now comes in after all who are asked about. */
		mingle->beyond += let_in;
		return;
	}
	if (after <= least)
	{
		mingle->behind = LONGEST;
		mingle->beyond += Max(-after, 0);
		mingle->pool = 0;
		return;
	}
	standing = mean_pool(mingle->pool, after);
	gap = let_in / standing;
	if (joined > 0)
		add_newcomers(mingle, joined, standing, gap);
	mingle->behind = Min(mingle->behind + gap, LONGEST);
	mingle->pool = after;
}

void
vq_mingle_move(VqMingle *mingle, double let_in, double joined, double impatience, double growth)
{
	double		part;

	/* Those who hold a slot already, or have yet to be paid for. */
	mingle->owed -= let_in;
	let_in = Max(-mingle->owed, 0);
	mingle->owed = Max(mingle->owed, 0);

	part = Min(let_in * growth, mingle->ahead);
	mingle->ahead -= part;
	let_in -= part / growth;
	move_pool(mingle, let_in, joined, impatience);
}

double
vq_mingle_passed(const VqMingle *mingle)
{
	double		pool = mingle->present * -expm1(-mingle->behind);

	/* Where others come in between, each place stands for the half of it that is ahead. */
	if (mingle->behind > 0)
		pool += -expm1(-mingle->spread) / 2;
	return mingle->first - mingle->ahead + Min(pool, mingle->present) + mingle->beyond - mingle->owed;
}

double
vq_mingle_slope(const VqMingle *mingle, double growth)
{
	if (mingle->ahead > 0)
		return growth;
	return mingle->pool > 0 ? mingle->present * exp(-mingle->behind) / mingle->pool : 1;
}

double
vq_mingle_variance(const VqMingle *mingle, double joins)
{
	double		part = exp(-mingle->behind);
	double		newcomers = Max(mingle->newcomers[0] - mingle->newcomers[1] * part, 0);
	double		chances = Max(mingle->chances[0] - mingle->chances[1] * part, 0);

	return chances + newcomers * newcomers / (joins + 1);
}
