/*
 * steps.h
 *		Who came in and who went, in the order of time.
 */
#ifndef CROWD_STEPS_H
#define CROWD_STEPS_H

#include "place.h"

typedef struct Step
{
	int64_t		at;
	int			change;			/* 1: came in; -1: went */
} Step;

/* The steps of all rows that were let in; who goes at the moment when another comes makes room for that. */
extern Step *steps_of(const Row *rows, int n_rows, int *n);

#endif							/* CROWD_STEPS_H */
