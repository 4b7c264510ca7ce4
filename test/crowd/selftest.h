/*
 * selftest.h
 *		Tests of the crowd itself, without a server.
 */
#ifndef CROWD_SELFTEST_H
#define CROWD_SELFTEST_H

/* Print results as TAP; the exit status. */
extern int	self_test(const char *trace_path);

#endif							/* CROWD_SELFTEST_H */
