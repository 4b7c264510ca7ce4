/*
 * naive_laws.h
 *		Tests the storm's clever laws against simple ones that look at every pair.
 */
#ifndef CROWD_NAIVE_LAWS_H
#define CROWD_NAIVE_LAWS_H

extern void test_laws_against_naive(void);

#endif							/* CROWD_NAIVE_LAWS_H */
