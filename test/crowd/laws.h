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

/*
 * A session's way through its queue.  There is one more after each time that it was
 * readmitted; the row is what was there before, as the readmission answered, or
 * in the end what is in the table.
 */
typedef struct Visit
{
	int			session;		/* -1: the book does not know it */
	const Row  *row;
	int64_t		from;			/* since when it surely stood, unless it was let in before; NEVER: not known */
	int64_t		begun_at;		/* the earliest time at which it may have begun */
	int64_t		revived_at;		/* by when it surely was over, being readmitted; NEVER: it was not */
} Visit;

typedef struct Visits
{
	Visit	   *list;			/* a session's stand together, in their order */
	int			n;
	int			room;
} Visits;

/* The book, with what the laws look up in it. */
typedef struct Case
{
	const Book *book;
	int64_t		judged_from;	/* when liveness is judged: not while faults are under way */
	int64_t		judged_to;
	bool		silent;			/* print nothing of what is amiss */

	int		   *rows;			/* of each session: its row in its queue, or -1 */
	int64_t    *ranks;			/* of each session: its place by key and ticket, from 1; 0: it may have had others */
	int		   *first_touch;	/* touches of session s: touches[first_touch[s]] up to the next's */
	int		   *touches;		/* by session, then in the order of asking */
	Visits	   *visits;			/* of each queue */
	int		   *first_visit;	/* of each session in its queue; -1: none */
	bool	   *patchy;			/* of each session: it may have been readmitted without our knowing */
} Case;

extern void case_open(Case *it, const Book *book);
extern void case_close(Case *it);

/*
 * Places of a lane: that of a session, which is by key and ticket; or behind all who
 * have one, for who may have had another; or behind even those.
 */
#define RANK_UNKNOWN	((INT64_C(1) << 61) - 2)
#define RANK_NONE		((INT64_C(1) << 61) - 1)

/* A place in the whole line: by lane, then by place in it. */
extern int64_t line_key(Lane lane, int64_t rank);

/* The row of a session, or NULL. */
extern const Row *case_row(const Case *it, int session);

/* The visits of a session: the first, and how many. */
extern const Visit *case_visits(const Case *it, int session, int *n);

/* The rows of all visits of a queue. */
extern Row *case_visit_rows(const Case *it, int queue, int *n);

/* Print all that is known of a session, for whoever has to find out what went wrong. */
extern void case_tell(const Case *it, int session);

/* Whether every release and end that is known to have been has been told, or could not be heard. */
extern bool laws_all_heard(const Book *book);

extern int	laws_count(void);
extern const char *law_name(int law);
extern void law_run(int law, const Case *it, Verdict *verdict);

#endif							/* CROWD_LAWS_H */
