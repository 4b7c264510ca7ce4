/*
 * summary.h
 *		Tells in figures how a run went, and what held.
 */
#ifndef CROWD_SUMMARY_H
#define CROWD_SUMMARY_H

#include "checks.h"
#include "crowd.h"
#include "listener.h"

typedef struct RunFigures
{
	int64_t		took;
	int64_t		longest_line;
	const CrowdFigures *crowd;
	const Listener *listener;
} RunFigures;

extern void summary_print(const RunFigures *run, const Evidence *evidence);

/* Print what held and what did not; how many did not. */
extern int	verdicts_print(const Evidence *evidence);

#endif							/* CROWD_SUMMARY_H */
