/*
 * look.h
 *		The onlookers of a storm: one takes snapshots of the tables, one listens.
 */
#ifndef CROWD_LOOK_H
#define CROWD_LOOK_H

#include "link.h"
#include "storm.h"

/* Counts who is inside, again and again. */
typedef struct Counter Counter;

extern Counter *counter_open(Storm *storm);
extern void counter_close(Counter *counter);
extern Link *counter_link(const Counter *counter);
extern int64_t counter_go_on(Counter *counter, int64_t now);

/*
 * Listens for all queues' events.  While it is connected it asks something every
 * now and then: whatever was sent before such a question has arrived with the answer,
 * so that it is known from when on events may have been missed.
 */
typedef struct Hearer Hearer;

extern Hearer *hearer_open(Storm *storm);
extern void hearer_close(Hearer *hearer);	/* notes the last absence */
extern Link *hearer_link(const Hearer *hearer);
extern int64_t hearer_go_on(Hearer *hearer, int64_t now);
extern bool hearer_listens(const Hearer *hearer);
extern int64_t hearer_heard(const Hearer *hearer);	/* events */

#endif							/* CROWD_LOOK_H */
