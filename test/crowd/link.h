/*
 * link.h
 *		One connection that never blocks, and comes back after it was lost.
 *
 * It is found by a connection string, where one is given, and else as the environment
 * says, also among several hosts.  Its owner is
 * called when it is ready, when a statement has been answered, and when it was
 * lost; a lost one is connected anew by itself until it is closed.
 */
#ifndef CROWD_LINK_H
#define CROWD_LINK_H

#include <libpq-fe.h>
#include <poll.h>

#include "basics.h"

typedef struct Link Link;

typedef struct LinkOwner
{
	void	   *owner;
	void		(*ready) (void *owner);
	/* The last result of a statement, which may be an error, and when all of it was here. */
	void		(*answered) (void *owner, const PGresult *result, int64_t at);
	/* All that was asked and not answered never will be. */
	void		(*lost) (void *owner, int64_t at);
	void		(*notified) (void *owner, const PGnotify *notify, int64_t at);	/* or NULL */
} LinkOwner;

extern Link *link_open(const char *server, const char *application_name, const LinkOwner *owner);
extern void link_close(Link *link);

extern bool link_is_ready(const Link *link);	/* connected, and nothing is under way */
extern bool link_is_connected(const Link *link);

/*
 * The last answer came with the warning that a cancel ended the wait for a standby:
 * it has committed, but will be lost with the primary.
 */
extern bool link_is_unsure(const Link *link);
extern const char *link_complaint(const Link *link);	/* about the last loss */

/* Ask; the link must be ready.  Returns when it was sent. */
extern int64_t link_ask(Link *link, const char *sql, int n, const char *const *params);

/* Try to have the server cancel what is under way. */
extern void link_cancel(Link *link);

/* What to wait for, and afterwards to go on with what came. */
extern void link_wants(const Link *link, struct pollfd *fd);
extern void link_go_on(Link *link, short revents);

#endif							/* CROWD_LINK_H */
