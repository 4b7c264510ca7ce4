/*
 * tap.h
 *		Results of tests, one a line, in the Test Anything Protocol.
 */
#ifndef CROWD_TAP_H
#define CROWD_TAP_H

#include <stdbool.h>

extern void tap(bool passed, const char *format,...) __attribute__((format(printf, 2, 3)));

/* An explanation, after a test that failed. */
extern void tap_note(const char *format,...) __attribute__((format(printf, 1, 2)));

/* Print the plan; the exit status. */
extern int	tap_done(void);

#endif							/* CROWD_TAP_H */
