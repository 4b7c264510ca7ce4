/*
 * visit.c
 *		A visit with libpq (Debian: libpq-dev): visit ADDRESS SESSION QUEUE...
 *
 * SESSION is what the visitor's cookie has from an earlier visit.  The server is found
 * as libpq's environment says; DIRECT_PORT is its own port, where PGPORT is a pooler's.
 *
 * Everything comes as text, so a length of time is asked for in seconds, and a moment
 * in milliseconds since 1970; what is in an event the server takes apart.
 */
#include <libpq-fe.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Tells when a queue has something new, and comes back when its connection is lost. */
typedef struct Listener
{
	PGconn	   *conn;			/* NULL while it is lost */
	const char *queue;
	char		channel[200];
	char		cursor[30];
} Listener;

static void
give_up(const char *message)
{
	fprintf(stderr, "%s", message);
	exit(1);
}

static PGconn *
connect_server(const char *port)
{
	const char *keywords[] = {"port", NULL};
	const char *values[] = {port, NULL};

	return PQconnectdbParams(keywords, values, 0);
}

/* The result of a statement; the caller looks whether it is one. */
static PGresult *
ask(PGconn *db, const char *sql, const char *a, const char *b, const char *c)
{
	const char *values[] = {a, b, c};
	int			n = 0;

	for (const char *s = sql; (s = strchr(s, '$')) != NULL; s++)
		n = s[1] - '0' > n ? s[1] - '0' : n;
	return PQexecParams(db, sql, n, NULL, values, NULL, NULL, 0);
}

/* The same, of one that has no reason to fail. */
static PGresult *
must(PGconn *db, const char *sql, const char *a, const char *b, const char *c)
{
	PGresult   *result = ask(db, sql, a, b, c);

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		give_up(PQresultErrorMessage(result));
	return result;
}

/* A field as text that lives on; NULL for null. */
static char *
field(const PGresult *result, int row, const char *name)
{
	int			column = PQfnumber(result, name);

	return PQgetisnull(result, row, column) ? NULL : strdup(PQgetvalue(result, row, column));
}

static bool
failed_with(const PGresult *result, const char *sqlstate)
{
	const char *got = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	return got != NULL && strcmp(got, sqlstate) == 0;
}

/* ---- events ---- */

static void
listen_server(Listener *listener)
{
	char		sql[250];

	listener->conn = connect_server(getenv("DIRECT_PORT"));
	snprintf(sql, sizeof(sql), "LISTEN %s", listener->channel);
	PQclear(PQexec(listener->conn, sql));
}

static Listener
open_listener(PGconn *db, const char *queue)
{
	Listener	listener = {.queue = queue};
	PGresult   *result = must(db, "SELECT quote_ident(vqueue.channel($1))", queue, NULL, NULL);

	snprintf(listener.channel, sizeof(listener.channel), "%s", PQgetvalue(result, 0, 0));
	PQclear(result);
	listen_server(&listener);
	result = must(db, "SELECT vqueue.event_cursor($1)", queue, NULL, NULL);
	snprintf(listener.cursor, sizeof(listener.cursor), "%s", PQgetvalue(result, 0, 0));
	PQclear(result);
	return listener;
}

/* Until something was told, or the connection is lost, but not for longer than this. */
static void
rest(Listener *listener, int milliseconds)
{
	PGnotify   *notify;

	if (listener->conn != NULL && PQstatus(listener->conn) == CONNECTION_OK)
	{
		struct pollfd fd = {.fd = PQsocket(listener->conn),.events = POLLIN};

		(void) poll(&fd, 1, milliseconds);
		(void) PQconsumeInput(listener->conn);
		while ((notify = PQnotifies(listener->conn)) != NULL)
			PQfreemem(notify);
		return;
	}
	PQfinish(listener->conn);
	listen_server(listener);
	if (PQstatus(listener->conn) != CONNECTION_OK)
		(void) poll(NULL, 0, milliseconds < 200 ? milliseconds : 200);
}

/*
 * Whether the session was released by what was told since the last call: waits for
 * events, but not for longer than this.
 */
static bool
is_called(PGconn *db, Listener *listener, const char *session, double patience)
{
	double		end = time(NULL) + patience;
	bool		called = false;

	for (;;)
	{
		/* Whoever listens again first reads what it has missed. */
		PGresult   *result = must(db, "SELECT seq, event = 'released' AND"
								  " payload -> 'sessions' @> jsonb_build_array(jsonb_build_object('id', $3::text)) AS mine"
								  " FROM vqueue.events_since($1, $2)", listener->queue, listener->cursor, session);
		int			n = PQntuples(result);
		double		left = end - time(NULL);

		for (int i = 0; i < n; i++)
		{
			called |= PQgetvalue(result, i, 1)[0] == 't';
			snprintf(listener->cursor, sizeof(listener->cursor), "%s", PQgetvalue(result, i, 0));
		}
		PQclear(result);
		if (n > 0 || left <= 0)
			return called;
		rest(listener, (int) (left * 1000));
	}
}

/* ---- the visit ---- */

#define POLL "SELECT status, position, extract(epoch FROM next_poll_after) AS next_poll_after FROM vqueue.poll($1)"

/* Join the first of the queues that takes somebody; NULL if none does. */
static PGresult *
join(PGconn *db, const char *address, char **queues, const char **queue)
{
	for (; (*queue = *queues) != NULL; queues++)
	{
		PGresult   *result = ask(db, "SELECT id, status, position, user_id"
								 " FROM vqueue.join($1, vqueue.user_id($2), user_name => $3)", *queue, address, NULL);

		if (PQresultStatus(result) == PGRES_TUPLES_OK)
			return result;
		if (failed_with(result, "53400"))
			puts("full");
		else if (failed_with(result, "55000"))
			puts("closed");
		else
			give_up(PQresultErrorMessage(result));
		PQclear(result);
	}
	return NULL;
}

/* Wait to be called. */
static void
stand_in_line(PGconn *db, const char *queue, const char *session)
{
	Listener	listener = open_listener(db, queue);
	PGresult   *place = must(db, POLL, session, NULL, NULL);

	while (strcmp(PQgetvalue(place, 0, 0), "waiting") == 0)
	{
		if (is_called(db, &listener, session, atof(PQgetvalue(place, 0, 2))))
			puts("called");
		PQclear(place);
		place = must(db, POLL, session, NULL, NULL);
	}
	printf("polled %s %s %s\n", PQgetvalue(place, 0, 0), PQgetvalue(place, 0, 1),
		   PQgetisnull(place, 0, 2) ? "null" : PQgetvalue(place, 0, 2));
	PQclear(place);
	PQfinish(listener.conn);
}

static void
go_in(PGconn *db, const char *queue, const char *session)
{
	PGresult   *claimed = must(db, "SELECT status, floor(extract(epoch FROM served_at) * 1000) FROM vqueue.claim($1)", session, NULL, NULL);
	PGresult   *pass = must(db, "SELECT vqueue.pass($1, $2)", session, "5 minutes", NULL);
	PGresult   *verdict = must(db, "SELECT valid, extract(epoch FROM expires_at - issued_at) FROM vqueue.verify_pass($1, $2)",
							   PQgetvalue(pass, 0, 0), queue, NULL);
	PGresult   *board = must(db, "SELECT b ->> 'v', b ->> 'waiting' FROM vqueue.board($1) b", queue, NULL, NULL);
	PGresult   *completed = must(db, "SELECT status, position FROM vqueue.complete($1)", session, NULL, NULL);

	printf("claimed %s %lld\n", PQgetvalue(claimed, 0, 0), atoll(PQgetvalue(claimed, 0, 1)));
	printf("pass %s %g\n", PQgetvalue(verdict, 0, 0)[0] == 't' ? "good" : "bad", atof(PQgetvalue(verdict, 0, 1)));
	printf("board %s %s\n", PQgetvalue(board, 0, 0), PQgetvalue(board, 0, 1));
	printf("done %s %s\n", PQgetvalue(completed, 0, 0), PQgetisnull(completed, 0, 1) ? "null" : PQgetvalue(completed, 0, 1));
	PQclear(claimed);
	PQclear(pass);
	PQclear(verdict);
	PQclear(board);
	PQclear(completed);
}

int
main(int argc, char **argv)
{
	PGconn	   *db = connect_server(NULL);
	PGresult   *result;
	const char *queue;
	char	   *session;

	if (argc < 4)
		give_up("visit ADDRESS SESSION QUEUE...\n");
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (PQstatus(db) != CONNECTION_OK)
		give_up(PQerrorMessage(db));

	result = ask(db, POLL, argv[2], NULL, NULL);
	if (failed_with(result, "42704"))
		puts("unknown session");
	PQclear(result);

	result = join(db, argv[1], argv + 3, &queue);
	if (result != NULL)
	{
		session = field(result, 0, "id");
		printf("joined %s %s %s\n", PQgetvalue(result, 0, 1), PQgetvalue(result, 0, 2), PQgetvalue(result, 0, 3));
		PQclear(result);
		stand_in_line(db, queue, session);
		go_in(db, queue, session);
		free(session);
	}
	PQfinish(db);
	return 0;
}
