/*
 * still.h
 *		A connection that waits for its answers: it sets the stage for a storm, looks
 *		at the line while it stands still, and reads the tables in the end.
 */
#ifndef CROWD_STILL_H
#define CROWD_STILL_H

#include "storm.h"

typedef struct Still Still;

extern Still *still_open(Storm *storm);
extern void still_close(Still *still);

/* Make queues and table, and in the end take away what was only for the storm. */
extern void still_begin(Still *still);
extern void still_end(Still *still);

/* Open the queues that are not yet, each with its draw; and in the end recompute those. */
extern void still_hold_draws(Still *still);
extern void still_verify_draws(Still *still);

/* All is at rest: read what was told, by the log of events, and counted. */
extern void still_read_told(Still *still);

/* No client does anything: pause, compare positions with a count, check memory, resume. */
extern void still_moment(Still *still);

/* The parts of that. */
extern void still_pause(Still *still);
extern void still_compare(Still *still);

/* Wait until the server has no process of a client any more. */
extern void still_await_clients(Still *still);

/* Read sessions and orders. */
extern void still_fetch(Still *still);

#endif							/* CROWD_STILL_H */
