/*
 * listener.c
 *		Follows a queue's events on a connection of its own.
 */
#include "listener.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool.h"

struct Listener
{
	PGconn	   *conn;
	char	   *queue;
	char	   *channel;
	Heard		heard;
	void	   *owner;
	int64_t		events[EVENT_TYPES];
	int64_t		malformed;
	char		complaint[300];
};

static void
ask_for_channel(Listener *listener)
{
	PGresult   *result;
	const char *queue = listener->queue;

	result = PQexecParams(listener->conn, "SELECT vqueue.channel($1)", 1, NULL, &queue, NULL, NULL, 0);
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		die("could not ask for the channel: %s", PQresultErrorMessage(result));
	listener->channel = get_memory(PQgetlength(result, 0, 0) + 1);
	strcpy(listener->channel, PQgetvalue(result, 0, 0));
	PQclear(result);
}

static void
listen_on_channel(Listener *listener)
{
	char	   *name = PQescapeIdentifier(listener->conn, listener->channel, strlen(listener->channel));
	char		command[200];
	PGresult   *result;

	if (name == NULL)
		die("could not quote a channel: %s", PQerrorMessage(listener->conn));
	snprintf(command, sizeof(command), "LISTEN %s", name);
	result = PQexec(listener->conn, command);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		die("could not listen: %s", PQresultErrorMessage(result));
	PQclear(result);
	PQfreemem(name);
}

Listener *
listener_open(const char *queue, Heard heard, void *owner)
{
	Listener   *listener = get_memory(sizeof(Listener));

	listener->conn = connect_server("crowd listener");
	listener->queue = get_memory(strlen(queue) + 1);
	strcpy(listener->queue, queue);
	listener->heard = heard;
	listener->owner = owner;
	ask_for_channel(listener);
	listen_on_channel(listener);
	return listener;
}

void
listener_close(Listener *listener)
{
	PQfinish(listener->conn);
	free(listener->channel);
	free(listener->queue);
	free(listener);
}

int
listener_socket(const Listener *listener)
{
	return PQsocket(listener->conn);
}

static void
note_malformed(Listener *listener, const char *payload, const char *expected)
{
	if (listener->malformed++ == 0)
		snprintf(listener->complaint, sizeof(listener->complaint), "expected %s in %.200s",
				 expected, payload);
}

static void
hear(Listener *listener, const PGnotify *notify)
{
	Event		event;
	const char *expected;

	if (!event_parse(notify->extra, &event, &expected))
		note_malformed(listener, notify->extra, expected);
	else if (strcmp(notify->relname, listener->channel) != 0 ||
			 strcmp(event.queue, listener->queue) != 0)
		note_malformed(listener, notify->extra, "an event of this queue alone");
	else
	{
		listener->events[event.type]++;
		listener->heard(listener->owner, &event, wall_time());
	}
}

void
listener_go_on(Listener *listener)
{
	PGnotify   *notify;

	if (!PQconsumeInput(listener->conn))
		die("lost the listener's connection: %s", PQerrorMessage(listener->conn));
	while ((notify = PQnotifies(listener->conn)) != NULL)
	{
		hear(listener, notify);
		PQfreemem(notify);
	}
}

/* ---- figures ---- */

int64_t
listener_events(const Listener *listener, EventType type)
{
	return listener->events[type];
}

int64_t
listener_malformed(const Listener *listener)
{
	return listener->malformed;
}

const char *
listener_complaint(const Listener *listener)
{
	return listener->malformed > 0 ? listener->complaint : NULL;
}
