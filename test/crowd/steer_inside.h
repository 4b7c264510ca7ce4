/*
 * steer_inside.h
 *		What the parts of the operator share: steer.c changes settings, steer_clock.c
 *		has the clock change a queue's state.
 */
#ifndef CROWD_STEER_INSIDE_H
#define CROWD_STEER_INSIDE_H

#include "steer.h"

/* A queue that closes by the clock, lets people join again, and opens. */
typedef struct Clock
{
	int			queue;			/* -1: none */
	int			stage;
	bool		asking;			/* a statement is under way */
	int64_t		asked_at;
	int64_t		give_up_at;
	int			n;				/* changes that are still to come of this stage */
	int			changes[2];		/* of the queue's states */
	int			moments[2];		/* of the queue's */
} Clock;

struct Steer
{
	Storm	   *storm;
	Link	   *link;
	Random		random;
	int64_t		next;			/* steady time */
	Settings   *changing;		/* what the change under way is noted in, or NULL */
	int			change;
	bool		in_rollback;	/* the change is made in a transaction that is rolled back */
	int			stage;
	char		sql[300];
	int			changed_queue;	/* one that is to be changed back, or -1 */
	bool		changed_method; /* its method was changed, else its state */
	bool		undoing;
	int64_t		changes;
	Clock		clock;
};

/* Begin with a queue; go on; a statement was answered, or NULL refused; or it never will be. */
extern void clock_begin(Steer *steer, int queue);
extern void clock_go_on(Steer *steer);
extern void clock_answered(Steer *steer, const PGresult *result, int64_t at);
extern void clock_lost(Steer *steer);

#endif							/* CROWD_STEER_INSIDE_H */
