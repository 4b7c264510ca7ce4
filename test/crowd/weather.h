/*
 * weather.h
 *		A made-up storm in which every law holds, to seed violations into.
 */
#ifndef CROWD_WEATHER_H
#define CROWD_WEATHER_H

#include "laws.h"

/* When it begins, and for how long the first of its queues is paused after how long. */
#define WEATHER_BEGINS	INT64_C(1767225600000000)
#define PAUSE_AFTER		(4 * SECOND)
#define PAUSE_LASTS		(SECOND / 2)

/*
 * The third queue calls and has timeouts.  The fourth has turns by weight, rejects
 * newcomers for a while, then lets all in, then closes and opens by the clock.
 */
#define CALLING_QUEUE	2
#define WEIGHTED_QUEUE	3
#define REJECTS_AFTER	(1 * SECOND)
#define PASSES_AFTER	(2 * SECOND)
#define CLOSES_AFTER	(3 * SECOND)
#define METHOD_LASTS	(SECOND / 4)

/*
 * The fifth queue opens with a draw among so many who came before; those who come
 * later come to random places behind them.
 */
#define RANDOM_QUEUE	4
#define ENTRANTS		30

/* With a stall, the first queue lets nobody in for a while after so long. */
#define STALL_AFTER		(2 * SECOND)
#define STALL_LASTS		(5 * SECOND / 4)

typedef struct Weather
{
	Book	   *book;
	Case		it;
} Weather;

/* Queues with paced and capped releases, and clients as in a storm. */
extern Weather *weather_make(uint64_t seed, bool stall);
extern void weather_free(Weather *weather);

#endif							/* CROWD_WEATHER_H */
