/*
 * watch.h
 *		Asks the server how the queue stands, follows one user in the line, and
 *		has the screen show it.
 */
#ifndef CROWD_WATCH_H
#define CROWD_WATCH_H

#include "crowd.h"
#include "listener.h"
#include "screen.h"

typedef struct WatchPlan
{
	const char *queue;
	int			speed;
	int			trace_seconds;
	int64_t		cap;
	int64_t		rate_per_minute;
} WatchPlan;

typedef struct Watch Watch;

extern Watch *watch_make(const WatchPlan *plan, Crowd *crowd, Pool *pool, const Listener *listener,
						 Screen *screen);
extern void watch_free(Watch *watch);

extern void watch_start(Watch *watch, int64_t now);
extern int64_t watch_next(const Watch *watch);
extern void watch_go_on(Watch *watch, int64_t now);

/* An event that the listener heard. */
extern void watch_heard(Watch *watch, const Event *event);

/* The longest that the line was, as far as it was looked at. */
extern int64_t watch_longest_line(const Watch *watch);

#endif							/* CROWD_WATCH_H */
