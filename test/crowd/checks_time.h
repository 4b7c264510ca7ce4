/*
 * checks_time.h
 *		The checks that go by tickets and times; called by checks.c alone.
 */
#ifndef CROWD_CHECKS_TIME_H
#define CROWD_CHECKS_TIME_H

#include "checks.h"

extern void verdict_say(Verdict *verdict, bool holds, const char *format,...)
			__attribute__((format(printf, 3, 4)));

extern void check_tickets(const Evidence *evidence, Verdict *verdict);
extern void check_arrival(const Evidence *evidence, Verdict *verdict);
extern void check_order(const Evidence *evidence, Verdict *verdict);
extern void check_rate(const Evidence *evidence, Verdict *verdict);
extern void check_cap(const Evidence *evidence, Verdict *verdict);

#endif							/* CROWD_CHECKS_TIME_H */
