/*
 * laws_moving.h
 *		The law of positions: what they may do while the line moves.
 */
#ifndef CROWD_LAWS_MOVING_H
#define CROWD_LAWS_MOVING_H

#include "laws.h"

extern void law_positions(const Case *it, Verdict *verdict);

#endif							/* CROWD_LAWS_MOVING_H */
