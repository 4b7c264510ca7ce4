/*
 * samples.h
 *		Numbers to take percentiles of.
 */
#ifndef CROWD_SAMPLES_H
#define CROWD_SAMPLES_H

#include "basics.h"

typedef struct Samples
{
	int64_t    *values;
	int			n;
	int			room;
} Samples;

extern void samples_add(Samples *samples, int64_t value);
extern void samples_free(Samples *samples);

/* Sort; to be called before asking for percentiles. */
extern void samples_sort(Samples *samples);

/* The least value that at least this share of all do not exceed; 0 if there are none. */
extern int64_t samples_percentile(const Samples *samples, double share);

#endif							/* CROWD_SAMPLES_H */
