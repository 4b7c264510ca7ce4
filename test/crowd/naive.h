/*
 * naive.h
 *		Tests the clever checks against simple ones that look at every pair.
 */
#ifndef CROWD_NAIVE_H
#define CROWD_NAIVE_H

extern void test_against_naive(void);

#endif							/* CROWD_NAIVE_H */
