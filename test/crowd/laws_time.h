/*
 * laws_time.h
 *		The laws of a storm that go by times: cap, rate, order, draws and liveness.
 */
#ifndef CROWD_LAWS_TIME_H
#define CROWD_LAWS_TIME_H

#include "laws.h"

extern void law_cap(const Case *it, Verdict *verdict);
extern void law_rate(const Case *it, Verdict *verdict);
extern void law_order(const Case *it, Verdict *verdict);
extern void law_draws(const Case *it, Verdict *verdict);
extern void law_liveness(const Case *it, Verdict *verdict);

/* While a session surely waited, in a lane that is known, with its row locked by nobody. */
typedef struct Stand
{
	int64_t		from;
	int64_t		to;
	int64_t		seen_to;		/* who was let in meanwhile must have been seen inside before then */
	int64_t		key;			/* place in the line: by lane, then by place in it */
	int			session;
} Stand;

extern Stand *stands_of(const Case *it, int queue, int *n);

#endif							/* CROWD_LAWS_TIME_H */
