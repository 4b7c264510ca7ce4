/*
 * link.c
 *		One connection that never blocks, and comes back after it was lost.
 */
#include "link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Time between attempts to connect, and how long one may take. */
#define RETRY_DELAY		(SECOND / 10)
#define CONNECT_PATIENCE (5 * SECOND)

struct Link
{
	PGconn	   *conn;			/* NULL: lost, and not tried again yet */
	const char *server;			/* a connection string, or NULL */
	char		name[40];
	LinkOwner	owner;
	bool		connected;
	bool		busy;			/* a statement is under way */
	bool		unsent;			/* some of it is still to go out */
	bool		unsure;			/* it was committed here, but not on a standby */
	PostgresPollingStatusType polling;
	int64_t		next_try;		/* steady time */
	PGresult   *result;
	char		complaint[300];
};

static void
take_notice(void *arg, const PGresult *notice)
{
	Link	   *link = arg;
	const char *message = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);

	if (message != NULL && strstr(message, "synchronous replication") != NULL)
		link->unsure = true;
}

static void
begin_connecting(Link *link)
{
	const char *keywords[] = {"dbname", "application_name", NULL};
	const char *values[] = {link->server, link->name, NULL};

	link->conn = PQconnectStartParams(keywords, values, 1);
	link->polling = PGRES_POLLING_WRITING;
	link->next_try = steady_time() + CONNECT_PATIENCE;
	if (link->conn == NULL)
		die("out of memory");
	PQsetNoticeReceiver(link->conn, take_notice, link);
}

Link *
link_open(const char *server, const char *application_name, const LinkOwner *owner)
{
	Link	   *link = get_memory(sizeof(Link));

	link->server = server;
	snprintf(link->name, sizeof(link->name), "%s", application_name);
	link->owner = *owner;
	begin_connecting(link);
	return link;
}

void
link_close(Link *link)
{
	PQclear(link->result);
	PQfinish(link->conn);
	free(link);
}

bool
link_is_ready(const Link *link)
{
	return link->connected && !link->busy;
}

bool
link_is_connected(const Link *link)
{
	return link->connected;
}

bool
link_is_unsure(const Link *link)
{
	return link->unsure;
}

const char *
link_complaint(const Link *link)
{
	return link->complaint;
}

/* Drop the connection; the owner hears of it if it had one. */
static void
lose(Link *link)
{
	bool		had = link->connected;

	snprintf(link->complaint, sizeof(link->complaint), "%s",
			 link->result != NULL ? PQresultErrorMessage(link->result) : PQerrorMessage(link->conn));
	PQclear(link->result);
	link->result = NULL;
	PQfinish(link->conn);
	link->conn = NULL;
	link->connected = link->busy = link->unsent = false;
	link->next_try = steady_time() + RETRY_DELAY;
	if (had)
		link->owner.lost(link->owner.owner, wall_time());
}

static void
go_on_connecting(Link *link)
{
	link->polling = PQconnectPoll(link->conn);
	if (link->polling == PGRES_POLLING_FAILED)
		lose(link);
	else if (link->polling == PGRES_POLLING_OK)
	{
		PQsetnonblocking(link->conn, 1);
		link->connected = true;
		link->owner.ready(link->owner.owner);
	}
}

/* ---- asking ---- */

static void
flush_link(Link *link)
{
	link->unsent = PQflush(link->conn) > 0; /* if it failed, reading will too */
}

int64_t
link_ask(Link *link, const char *sql, int n, const char *const *params)
{
	int64_t		at = wall_time();

	link->busy = true;
	link->unsure = false;
	if (n > 0)
		(void) PQsendQueryParams(link->conn, sql, n, NULL, params, NULL, NULL, 0);
	else
		(void) PQsendQuery(link->conn, sql);
	flush_link(link);
	return at;
}

void
link_cancel(Link *link)
{
	char		message[256];
	PGcancel   *cancel;

	if (!link->busy)
		return;
	cancel = PQgetCancel(link->conn);
	if (cancel != NULL)
		(void) PQcancel(cancel, message, sizeof(message));
	PQfreeCancel(cancel);
}

/* ---- answers ---- */

/* Whether a result means that the connection is gone. */
static bool
is_end(const PGresult *result)
{
	const char *severity;

	if (PQresultStatus(result) != PGRES_FATAL_ERROR)
		return false;
	severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
	return severity == NULL || strcmp(severity, "ERROR") != 0;
}

static void
deliver(Link *link)
{
	PGresult   *result = link->result;

	link->result = NULL;
	link->busy = false;
	link->owner.answered(link->owner.owner, result, wall_time());
	PQclear(result);
}

static void
read_link(Link *link)
{
	bool		alive = PQconsumeInput(link->conn) != 0;
	PGnotify   *notify;

	while (link->busy && !PQisBusy(link->conn))
	{
		PGresult   *result = PQgetResult(link->conn);

		if (result == NULL && link->result != NULL)
		{
			deliver(link);
			if (link->conn == NULL || !link->connected)
				return;
			continue;
		}
		if (result == NULL || is_end(result))
		{
			if (result != NULL)
			{
				PQclear(link->result);
				link->result = result;
			}
			lose(link);
			return;
		}
		PQclear(link->result);
		link->result = result;
	}
	while ((notify = PQnotifies(link->conn)) != NULL)
	{
		if (link->owner.notified != NULL)
			link->owner.notified(link->owner.owner, notify, wall_time());
		PQfreemem(notify);
	}
	if (!alive || PQstatus(link->conn) == CONNECTION_BAD)
		lose(link);
}

void
link_wants(const Link *link, struct pollfd *fd)
{
	fd->fd = -1;
	fd->events = 0;
	fd->revents = 0;
	if (link->conn == NULL)
		return;
	fd->fd = PQsocket(link->conn);
	if (link->connected)
		fd->events = POLLIN | (link->unsent ? POLLOUT : 0);
	else
		fd->events = link->polling == PGRES_POLLING_READING ? POLLIN : POLLOUT;
}

void
link_go_on(Link *link, short revents)
{
	if (link->conn == NULL)
	{
		if (steady_time() >= link->next_try)
			begin_connecting(link);
	}
	else if (!link->connected)
	{
		/* Refused at once, it has no socket on which anything would come. */
		if (revents != 0 || PQstatus(link->conn) == CONNECTION_BAD)
			go_on_connecting(link);
		else if (steady_time() >= link->next_try)
			lose(link);
	}
	else if (revents != 0)
	{
		read_link(link);
		if (link->connected && link->unsent)
			flush_link(link);
	}
}
