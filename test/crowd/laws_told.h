/*
 * laws_told.h
 *		The laws of a storm about what is told: events by NOTIFY, the log of events,
 *		and statistics.
 */
#ifndef CROWD_LAWS_TOLD_H
#define CROWD_LAWS_TOLD_H

#include "laws.h"

extern void law_events(const Case *it, Verdict *verdict);
extern void law_log(const Case *it, Verdict *verdict);
extern void law_statistics(const Case *it, Verdict *verdict);

#endif							/* CROWD_LAWS_TOLD_H */
