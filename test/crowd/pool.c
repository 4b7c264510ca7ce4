/*
 * pool.c
 *		Connections that ask the server, many at a time, without ever blocking.
 */
#include "pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Line
{
	PGconn	   *conn;
	Request    *request;		/* what it is busy with, or NULL */
	PGresult   *result;			/* the last part of the answer so far */
	bool		unsent;			/* some of the request is still to go out */
} Line;

struct Pool
{
	Line	   *lines;
	int			size;
	Request    *first;			/* requests that no connection has taken yet */
	Request    *last;
	int			unanswered;
	int			refused;
	int			notices;
	char	   *complaint;
};

/* ---- opening and closing ---- */

PGconn *
connect_server(const char *application_name)
{
	static const char *const keywords[] = {"application_name", NULL};
	const char *values[] = {application_name, NULL};
	PGconn	   *conn = PQconnectdbParams(keywords, values, 0);

	if (PQstatus(conn) != CONNECTION_OK)
		die("could not connect: %s", PQerrorMessage(conn));
	return conn;
}

static void
complain(Pool *pool, const char *message)
{
	size_t		length = strcspn(message, "\n");

	if (pool->complaint != NULL)
		return;
	pool->complaint = get_memory(length + 1);
	memcpy(pool->complaint, message, length);
}

static void
note_notice(void *arg, const char *message)
{
	Pool	   *pool = arg;

	pool->notices++;
	complain(pool, message);
}

Pool *
pool_open(int connections)
{
	Pool	   *pool = get_memory(sizeof(Pool));

	pool->size = connections;
	pool->lines = get_memory(connections * sizeof(Line));
	for (int i = 0; i < connections; i++)
	{
		PGconn	   *conn = connect_server("crowd");

		if (PQsetnonblocking(conn, 1) != 0)
			die("could not make a connection non-blocking: %s", PQerrorMessage(conn));
		PQsetNoticeProcessor(conn, note_notice, pool);
		pool->lines[i].conn = conn;
	}
	return pool;
}

void
pool_prepare(Pool *pool, const Statement *statements, int n)
{
	for (int i = 0; i < pool->size; i++)
		for (int s = 0; s < n; s++)
		{
			PGresult   *result = PQprepare(pool->lines[i].conn, statements[s].name,
										   statements[s].sql, 0, NULL);

			if (PQresultStatus(result) != PGRES_COMMAND_OK)
				die("could not prepare %s: %s", statements[s].name, PQresultErrorMessage(result));
			PQclear(result);
		}
}

static void
free_request(Request *request)
{
	for (int i = 0; i < MAX_PARAMS; i++)
		free(request->params[i]);
	free(request);
}

void
pool_close(Pool *pool)
{
	for (int i = 0; i < pool->size; i++)
	{
		Line	   *line = &pool->lines[i];

		if (line->request != NULL)
			free_request(line->request);
		PQclear(line->result);
		PQfinish(line->conn);
	}
	while (pool->first != NULL)
	{
		Request    *request = pool->first;

		pool->first = request->next;
		free_request(request);
	}
	free(pool->complaint);
	free(pool->lines);
	free(pool);
}

/* ---- asking ---- */

static void
flush(Line *line)
{
	int			left = PQflush(line->conn);

	if (left < 0)
		die("could not send: %s", PQerrorMessage(line->conn));
	line->unsent = left > 0;
}

static void
send_request(Line *line, Request *request)
{
	line->request = request;
	request->asked_at = wall_time();
	if (!PQsendQueryPrepared(line->conn, request->statement->name, request->statement->params,
							 (const char *const *) request->params, NULL, NULL, 0))
		die("could not ask: %s", PQerrorMessage(line->conn));
	flush(line);
}

/* Give waiting requests to free connections. */
static void
hand_out(Pool *pool)
{
	for (int i = 0; i < pool->size && pool->first != NULL; i++)
	{
		Request    *request = pool->first;

		if (pool->lines[i].request != NULL)
			continue;
		pool->first = request->next;
		request->next = NULL;
		send_request(&pool->lines[i], request);
	}
}

void
pool_ask(Pool *pool, const Statement *statement, const char *const *params,
		 int subject, Answer answer, void *owner)
{
	Request    *request = get_memory(sizeof(Request));

	request->statement = statement;
	for (int i = 0; i < statement->params; i++)
	{
		request->params[i] = get_memory(strlen(params[i]) + 1);
		strcpy(request->params[i], params[i]);
	}
	request->subject = subject;
	request->answer = answer;
	request->owner = owner;
	if (pool->first == NULL)
		pool->first = request;
	else
		pool->last->next = request;
	pool->last = request;
	pool->unanswered++;
	hand_out(pool);
}

/* ---- answers ---- */

/* The whole answer is here: the connection is free before its owner asks again. */
static void
deliver(Pool *pool, Line *line)
{
	Request    *request = line->request;
	PGresult   *result = line->result;
	bool		good = PQresultStatus(result) == PGRES_TUPLES_OK;

	line->request = NULL;
	line->result = NULL;
	pool->unanswered--;
	request->answered_at = wall_time();
	if (!good)
	{
		pool->refused++;
		complain(pool, PQresultErrorMessage(result));
	}
	request->answer(request->owner, request, good ? result : NULL);
	PQclear(result);
	free_request(request);
}

static void
read_line(Pool *pool, Line *line)
{
	if (!PQconsumeInput(line->conn))
		die("lost a connection: %s", PQerrorMessage(line->conn));
	while (line->request != NULL && !PQisBusy(line->conn))
	{
		PGresult   *result = PQgetResult(line->conn);

		if (result == NULL)
			deliver(pool, line);
		else
		{
			PQclear(line->result);
			line->result = result;
		}
	}
}

int
pool_size(const Pool *pool)
{
	return pool->size;
}

void
pool_wants(const Pool *pool, struct pollfd *fds)
{
	for (int i = 0; i < pool->size; i++)
	{
		fds[i].fd = PQsocket(pool->lines[i].conn);
		fds[i].events = POLLIN | (pool->lines[i].unsent ? POLLOUT : 0);
		fds[i].revents = 0;
	}
}

void
pool_go_on(Pool *pool, const struct pollfd *fds)
{
	for (int i = 0; i < pool->size; i++)
	{
		if (fds[i].revents == 0)
			continue;
		read_line(pool, &pool->lines[i]);
		if (pool->lines[i].unsent)
			flush(&pool->lines[i]);
	}
	hand_out(pool);
}

/* ---- figures ---- */

int
pool_unanswered(const Pool *pool)
{
	return pool->unanswered;
}

int
pool_refused(const Pool *pool)
{
	return pool->refused;
}

int
pool_notices(const Pool *pool)
{
	return pool->notices;
}

const char *
pool_complaint(const Pool *pool)
{
	return pool->complaint;
}
