/*
 * crowd_model.h
 *		A queue and its crowd by a clock of its own, played event by event.
 *
 * Everybody is a record with a moment of joining, of losing patience and of
 * leaving; positions are counted.  Only pacer and lanes are the true ones, as it
 * is their decisions that estimates are about.
 */
#ifndef VQ_CROWD_MODEL_H
#define VQ_CROWD_MODEL_H

#include "source.h"

#include "estimate.h"

typedef enum Stays
{
	EQUAL,						/* all the same */
	JITTERY,					/* but for a tenth either way */
	RANDOM,						/* exponential */
	MIXED						/* one in five is four times as long as the others */
} Stays;

/* What happens in a scenario.  Times in seconds. */
typedef struct Scenario
{
	const char *name;
	int			rate;			/* a minute */
	int			cap;
	Stays		stays;
	double		stay;			/* mean */
	double		patience;		/* mean time to walking away while waiting, 0 for ever */
	double		joins[VQ_LANES];	/* a second, all the time */
	int			crowd;			/* who join at once */
	double		crowd_at;
	int			weight[VQ_LANES];
	bool		random;			/* newcomers come to random places, */
	double		random_from;	/* from then on; who came before stands ahead of them */
	double		ask_from;		/* estimates from then on count */
	double		until;
} Scenario;

/* What came of the estimates that were asked for, for waits of 30 s or more. */
typedef struct Outcome
{
	int			asked;
	int			untold;			/* without an answer */
	double		error;			/* median of |estimate - wait| / wait */
	double		within;			/* share of waits that were no longer than the 90 % figure */
	double		longest;		/* wait in seconds */
} Outcome;

/* Play a scenario so many times. */
extern Outcome crowd_model_run(const Scenario *scenario, uint64 seed, int times);

#endif							/* VQ_CROWD_MODEL_H */
