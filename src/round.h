/*
 * round.h
 *		One round of the worker: visits of the queues that are due.
 */
#ifndef VQ_ROUND_H
#define VQ_ROUND_H

/*
 * Visit what is due, by turns, as much as one transaction should hold; false if
 * nothing was.  Never fails: a queue that does is backed off and reported, and
 * locked tables are tried again a little later.
 */
extern bool vq_make_round(void);

#endif							/* VQ_ROUND_H */
