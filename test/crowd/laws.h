/*
 * laws.h
 *		What has to hold of a storm, whatever has happened in it.
 *
 * A law looks at the book alone: it asks no server, so that it can be shown to
 * fail.  Where an answer was lost or two things went on at the same time, it
 * goes by what may have been; it accuses only where nothing else is possible.
 */
#ifndef CROWD_LAWS_H
#define CROWD_LAWS_H

#include "book.h"
#include "checks.h"

/* How long after a release was seen its event may be on its way. */
#define EVENT_PATIENCE (15 * SECOND)

/* The book, with what the laws look up in it. */
typedef struct Case
{
	const Book *book;
	int64_t		judged_from;	/* when liveness is judged: not while faults are under way */
	int64_t		judged_to;
	bool		silent;			/* print nothing of what is amiss */

	int		   *rows;			/* of each session: its row in its queue, or -1 */
	int		   *first_touch;	/* touches of session s: touches[first_touch[s]] up to the next's */
	int		   *touches;		/* by session, then in the order of asking */
} Case;

extern void case_open(Case *it, const Book *book);
extern void case_close(Case *it);

/* The row of a session, or NULL. */
extern const Row *case_row(const Case *it, int session);

/* Print all that is known of a session, for whoever has to find out what went wrong. */
extern void case_tell(const Case *it, int session);

extern int	laws_count(void);
extern const char *law_name(int law);
extern void law_run(int law, const Case *it, Verdict *verdict);

#endif							/* CROWD_LAWS_H */
