/*
 * laws_sessions.h
 *		The laws of a storm about sessions: nobody is lost, and nobody is there twice.
 */
#ifndef CROWD_LAWS_SESSIONS_H
#define CROWD_LAWS_SESSIONS_H

#include "laws.h"

extern void law_nobody_lost(const Case *it, Verdict *verdict);
extern void law_nobody_twice(const Case *it, Verdict *verdict);

#endif							/* CROWD_LAWS_SESSIONS_H */
