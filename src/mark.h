/*
 * mark.h
 *		What a line remembers of a ticket beside its bits: the last sign of life,
 *		and where its row is in the table.
 *
 * Neither counts for anything but speed and patience.  Where the row is, is a
 * hint: whoever follows it makes sure that the row is the one that was meant.
 * All of this needs only the shared lock, as each mark is one aligned word and
 * the last writer may win.  A ticket without a chunk has no marks, and setting
 * them is a no-op.
 */
#ifndef VQ_MARK_H
#define VQ_MARK_H

#include "line.h"
#include "share.h"

/* Signs of life are told apart by so many seconds, and for a day and a half. */
#define VQ_MARK_SECONDS 2

/* The session of a ticket gave a sign of life at this second of the monotonic clock. */
extern void vq_mark_alive(const VqLine *line, const VqArena *arena, int64 ticket, int64 second);

/*
 * Seconds since the last sign of life, up to VQ_MARK_SECONDS too many or too
 * few; -1 if there was none.  A silence of more than 36 hours is told as a
 * shorter one.
 */
extern int64 vq_mark_silence(const VqLine *line, const VqArena *arena, int64 ticket, int64 second);

/* Nobody who has a bit in the line has given a sign of life.  Takes the exclusive lock, as it may not lose any since. */
extern void vq_mark_forget(const VqLine *line, const VqArena *arena);

/* Looking for tickets whose last sign of life is long ago. */
typedef struct VqSilence
{
	VqKind		kind;			/* of those who have this bit */
	VqKind		except;			/* and not this one; VQ_KINDS: all of them */
	int64		second;			/* now, by the monotonic clock */
	int64		limit;			/* seconds without a sign of life; up to a day */
	int64		next;			/* where to look from; 0 when all have been looked at */
	int64		longest;		/* the longest silence met below the limit */
	const VqShare *share;		/* only of those who are in it, */
	bool		others;			/* or only of those who are not; NULL: of all */
} VqSilence;

/*
 * Look at a chunk's worth of tickets from silence->next on: up to VQ_CHUNK of
 * them were silent for more than the limit, surely, and are not HELD.  They are
 * put into tickets; returns how many.  Whoever never gave a sign of life is taken
 * to have given one now.
 */
extern int	vq_mark_silent(const VqLine *line, const VqArena *arena, VqSilence *silence, int64 *tickets);

/*
 * The row of a ticket is at this block and offset, the latter from 1.  Not
 * every place can be remembered: those too far from the rows of neighbours, or
 * too far down in the block, are not.
 */
extern void vq_mark_row(const VqLine *line, const VqArena *arena, int64 ticket,
						uint32 block, uint16 offset);

/*
 * Where the row of a ticket was last seen; false if that is not known.  The
 * ticket's lane, rank and other marks are about to be asked for: they are
 * brought near.
 */
extern bool vq_marked_row(const VqLine *line, const VqArena *arena, int64 ticket,
						  uint32 *block, uint16 *offset);

#endif							/* VQ_MARK_H */
