/*
 * violations.h
 *		Tests that each check catches what it is there for.
 */
#ifndef CROWD_VIOLATIONS_H
#define CROWD_VIOLATIONS_H

extern void test_violations(void);

#endif							/* CROWD_VIOLATIONS_H */
