/*
 * highest.h
 *		Numbers at times: the highest of those within any stretch of time.
 */
#ifndef CROWD_HIGHEST_H
#define CROWD_HIGHEST_H

#include "basics.h"

typedef struct Highest Highest;

/* Add numbers in the order of their times, then ask. */
extern Highest *highest_make(int room);
extern void highest_add(Highest *highest, int64_t at, int64_t number);
extern void highest_free(Highest *highest);

/* The place of the first one at or after a time, from 0; the number of all if there is none. */
extern int	highest_first(const Highest *highest, int64_t at);

/* The highest of the places from one up to, but not with, another; 0 of none. */
extern int64_t highest_between(Highest *highest, int from, int to);

#endif							/* CROWD_HIGHEST_H */
