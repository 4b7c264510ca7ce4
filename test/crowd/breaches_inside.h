/*
 * breaches_inside.h
 *		What the breaches of laws share: breaches.c tries all, and each of the other
 *		files has those of some laws.
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

extern const Breach *breaches_of_sessions(int *n);
extern const Breach *breaches_of_lines(int *n);
extern const Breach *breaches_of_told(int *n);
extern const Breach *breaches_of_ways(int *n);

/* In a queue, a session of this status that was not moved, from a number on. */
extern int	breach_session(const Weather *weather, int queue, Status status, int from);
extern Row *breach_row(const Weather *weather, int session);

/* The same of the first queue, from the middle of the storm: who was let in and completed; who waits. */
extern int	breach_served(const Weather *weather);
extern int	breach_waiting(const Weather *weather);

/* The server and all answers say that somebody came in at another time. */
extern void breach_serve_at(const Weather *weather, int session, int64_t at);

/* Who was readmitted, and ended again. */
extern int	breach_readmitted(const Weather *weather);

/* A join that was rolled back. */
extern int	breach_rolled_back(const Weather *weather);

/*
 * Two of a lane that came in one after the other, and stood there before, change places: the
 * first ones from a number of session on; returns who was the first.
 */
extern int	breach_swap(Weather *weather, int queue, int from);

#endif							/* CROWD_BREACHES_INSIDE_H */
