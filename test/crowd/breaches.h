/*
 * breaches.h
 *		Tests that each law of a storm catches what it is there for.
 */
#ifndef CROWD_BREACHES_H
#define CROWD_BREACHES_H

extern void test_breaches(void);

#endif							/* CROWD_BREACHES_H */
