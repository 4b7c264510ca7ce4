/*
 * breaches_inside.h
 *		What the breaches of laws share: breaches.c has those of the first ones and
 *		tries all, breaches_ways.c those of the ways in which a queue may be set up.
 */
#ifndef CROWD_BREACHES_INSIDE_H
#define CROWD_BREACHES_INSIDE_H

#include "weather.h"

typedef struct Breach
{
	const char *what;
	const char *caught_by;		/* names of laws, in their order; "" if it is none */
	void		(*spoil) (Weather *weather);
} Breach;

extern const Breach *breaches_of_ways(int *n);

/* In a queue, a session of this status that was not moved, from a number on. */
extern int	breach_session(const Weather *weather, int queue, Status status, int from);
extern Row *breach_row(const Weather *weather, int session);

/* A join that was rolled back. */
extern int	breach_rolled_back(const Weather *weather);

/* Two of a lane that came in one after the other, and stood there before, change places; the first. */
extern int	breach_swap(Weather *weather, int queue);

#endif							/* CROWD_BREACHES_INSIDE_H */
