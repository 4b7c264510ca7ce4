/*
 * figures.h
 *		What is counted of a queue for those who watch it.
 *
 * Figures are counted when a transaction has committed, under the queue's lock,
 * which that takes anyhow.  They begin at 0 with the server.
 */
#ifndef VQ_FIGURES_H
#define VQ_FIGURES_H

/* How long people waited is counted in so many buckets with a bound, and one without. */
#define VQ_WAIT_BOUNDS	12

/* Final states of a session; the first is VQ_COMPLETED. */
#define VQ_ENDS			6

/* Lives in shared memory; zeroed at first. */
typedef struct VqFigures
{
	int64		waited[VQ_WAIT_BOUNDS + 1]; /* let in out of the line, by how long they had waited */
	int64		waited_usecs;	/* and how long that was together */
	int64		ended[VQ_ENDS]; /* by the final status */
	int64		able_since;		/* mono time since when somebody could be let in, and nobody was;
								 * 0: cannot */
	int64		able_released;	/* releases counted by then */
} VqFigures;

/* Upper bounds of the buckets, in seconds. */
extern const double vq_wait_bounds[VQ_WAIT_BOUNDS];

/* Somebody was let in who had waited so long (microseconds). */
extern void vq_count_wait(VqFigures *figures, int64 wait);

#endif							/* VQ_FIGURES_H */
