/*
 * pool.h
 *		Connections that ask the server, many at a time, without ever blocking.
 *
 * A request waits until a connection is free, in the order of asking, and its
 * owner is called back with the answer.
 */
#ifndef CROWD_POOL_H
#define CROWD_POOL_H

#include <libpq-fe.h>
#include <poll.h>

#include "basics.h"

#define MAX_PARAMS	2

typedef struct Statement
{
	const char *name;
	const char *sql;
	int			params;
} Statement;

typedef struct Request Request;

/* An answer of rows, or NULL if the server refused. */
typedef void (*Answer) (void *owner, const Request *request, const PGresult *result);

struct Request
{
	const Statement *statement;
	char	   *params[MAX_PARAMS];
	int			subject;		/* whatever the owner wants to know it by */
	int64_t		asked_at;		/* wall time at which it went out */
	int64_t		answered_at;	/* and at which all of the answer was here */
	Answer		answer;
	void	   *owner;
	Request    *next;
};

typedef struct Pool Pool;

/* Open the connections, as the environment says; then prepare statements on all of them. */
extern Pool *pool_open(int connections);
extern void pool_prepare(Pool *pool, const Statement *statements, int n);
extern void pool_close(Pool *pool);

/* Ask; the parameters are copied. */
extern void pool_ask(Pool *pool, const Statement *statement, const char *const *params,
					 int subject, Answer answer, void *owner);

/* Fill in what to wait for, one a connection, and afterwards go on with what is ready. */
extern int	pool_size(const Pool *pool);
extern void pool_wants(const Pool *pool, struct pollfd *fds);
extern void pool_go_on(Pool *pool, const struct pollfd *fds);

/* Requests asked and not answered. */
extern int	pool_unanswered(const Pool *pool);

/* Requests that the server refused, and notices that it gave; the first message of them or NULL. */
extern int	pool_refused(const Pool *pool);
extern int	pool_notices(const Pool *pool);
extern const char *pool_complaint(const Pool *pool);

/* A connection as the environment says, or die. */
extern PGconn *connect_server(const char *application_name);

#endif							/* CROWD_POOL_H */
