/*
 * still_inside.h
 *		What the parts of the connection that waits for its answers share: still.c
 *		has most, still_draw.c what there is about draws.
 */
#ifndef CROWD_STILL_INSIDE_H
#define CROWD_STILL_INSIDE_H

#include <libpq-fe.h>

#include "still.h"

struct Still
{
	Storm	   *storm;
	PGconn	   *conn;
	int64_t		log_begun;		/* which log of events it is */
	int64_t		cursor;			/* where it ended before the storm */
};

/* Ask until it succeeds, or die; with faults, a server that is away may come back. */
extern PGresult *still_ask(Still *still, const char *sql, int n, const char *const *params);
extern void still_tell(Still *still, const char *sql);
extern void still_nap(void);	/* before looking again */

/* Where the log of events begins to be the storm's. */
extern void still_mark_log(Still *still);

/* Prepare the draw of a queue, and have some come before it opens. */
extern void still_gather(Still *still, int queue);

#endif							/* CROWD_STILL_INSIDE_H */
