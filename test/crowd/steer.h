/*
 * steer.h
 *		The operator of a storm: changes settings, one after the other, and notes
 *		which may have been in force when.
 */
#ifndef CROWD_STEER_H
#define CROWD_STEER_H

#include "link.h"
#include "storm.h"

typedef struct Steer Steer;

extern Steer *steer_open(Storm *storm);
extern void steer_close(Steer *steer);
extern Link *steer_link(const Steer *steer);

/* Do what is due; returns when to call again. */
extern int64_t steer_go_on(Steer *steer, int64_t now);

/* No change is under way, and no queue is paused, closed, or of another method than it began with. */
extern bool steer_is_idle(const Steer *steer);

extern int64_t steer_changes(const Steer *steer);

/* The settings that a queue of a storm begins with. */
extern Setting steer_beginning(const StormOptions *options, Kind kind);

#endif							/* CROWD_STEER_H */
