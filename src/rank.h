/*
 * rank.h
 *		How many stand ahead in a line, and who comes next.
 *
 * All of this reads a line, and needs the caller's shared lock.
 */
#ifndef VQ_RANK_H
#define VQ_RANK_H

#include "line.h"

/* How many tickets below this one stand in lane. */
extern int64 vq_line_rank(const VqLine *line, const VqArena *arena, VqKind lane, int64 ticket);

/*
 * What a poll asks of a ticket, at the price of one lookup: the lane in which it
 * stands, or -1; how many tickets below it stand there too; and its sign of life at
 * a second, as vq_mark_alive, but for one below 0.
 */
extern int	vq_line_look(const VqLine *line, const VqArena *arena, int64 ticket, int64 second, int64 *rank);

/* The ticket that stands in lane behind so many others, whether HELD or not; 0 if there is none. */
extern int64 vq_line_nth(const VqLine *line, const VqArena *arena, VqKind lane, int64 rank);

/*
 * The first n tickets >= from, ascending, that stand in lane and are neither
 * HELD nor INSIDE; returns how many were found.
 */
extern int	vq_line_select(const VqLine *line, const VqArena *arena, VqKind lane,
						   int64 from, int64 *tickets, int n);

/* The first n tickets >= from, ascending, with a bit of this kind. */
extern int	vq_line_collect(const VqLine *line, const VqArena *arena, VqKind kind,
							int64 from, int64 *tickets, int n);

/*
 * The first ticket >= from of a chunk in which some ticket has a bit of this
 * kind, the ticket itself or not; 0 if there is none.
 */
extern int64 vq_line_next_chunk(const VqLine *line, const VqArena *arena, VqKind kind, int64 from);

#endif							/* VQ_RANK_H */
