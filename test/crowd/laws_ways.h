/*
 * laws_ways.h
 *		The laws of a storm about the ways in which a queue may be set up: timeouts,
 *		claims, turns by weight, methods, and the clock.
 */
#ifndef CROWD_LAWS_WAYS_H
#define CROWD_LAWS_WAYS_H

#include "laws.h"

extern void law_timeouts(const Case *it, Verdict *verdict);
extern void law_claims(const Case *it, Verdict *verdict);
extern void law_turns(const Case *it, Verdict *verdict);
extern void law_doors(const Case *it, Verdict *verdict);
extern void law_clock(const Case *it, Verdict *verdict);

#endif							/* CROWD_LAWS_WAYS_H */
