/*
 * mingle.h
 *		A lane in which newcomers come to random places: which of those who stand in
 *		it now will have been let in.
 *
 * Somebody who is ahead of all but a share of the others stays ahead of all but a
 * share that changes only by who is let in: newcomers come ahead of it and behind
 * it in the same proportion.  So each that is let in, of however many stand then, takes one in so
 * many from the part that is still behind.
 *
 * Knows nothing of the server and takes no locks.
 */
#ifndef VQ_MINGLE_H
#define VQ_MINGLE_H

typedef struct VqMingle
{
	double		owed;			/* to be let in before anybody who stands here */
	double		first;			/* who stood ahead of all newcomers at first, of other lanes too, */
	double		ahead;			/* and of these, who still do */
	double		present;		/* who stood at random places at first */
	double		pool;			/* who do now, newcomers too */
	double		beyond;			/* let in though nobody stood any more */
	double		behind;			/* e to the power of minus this is the part that has not come in, */
	double		spread;			/* and of this how many places one at first has become */
	double		newcomers[2];	/* so many, discounted by spread; and times e to the power of behind */
	double		chances[2];		/* the same discounted by its square */
} VqMingle;

extern void vq_mingle_begin(VqMingle *mingle, double ahead, double present);

/*
 * So many were let in, and so many joined, while of those who stand a share of 1 - e^-impatience
 * walked away; growth is how many of those at first one who stands ahead of all newcomers stands
 * for by now.
 */
extern void vq_mingle_move(VqMingle *mingle, double let_in, double joined, double impatience, double growth);

/* Present positions let in by now, and how many more one more let in would make. */
extern double vq_mingle_passed(const VqMingle *mingle);
extern double vq_mingle_slope(const VqMingle *mingle, double growth);

/* The variance of that by the chance of places, if so many joins tell how many join. */
extern double vq_mingle_variance(const VqMingle *mingle, double joins);

#endif							/* VQ_MINGLE_H */
