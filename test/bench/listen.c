/*
 * listen.c
 *		How long after a slot was freed a listener hears who got it.
 *
 * One connection listens, the other completes the one who is inside.  The cap
 * is one, so the next event "released" names the next one, who is completed
 * after a pause, and so on.
 *
 * listen DATABASE CHANNEL SESSION TIMES PAUSE
 *
 * SESSION is inside at the beginning, PAUSE is in milliseconds.  A line a time:
 * the milliseconds from the answer to complete(), which is when the slot is
 * free for sure, until the event was there, and those from sending complete().
 */
#include <poll.h>
#include <string.h>

#include "client.h"

#define PATIENCE 10000
#define ID_LENGTH 36

static void
wait_readable(PGconn *conn)
{
	struct pollfd fd = {PQsocket(conn), POLLIN, 0};

	if (poll(&fd, 1, PATIENCE) <= 0)
		die("listen: no event came for %d ms", PATIENCE);
}

/* The id in the next event "released". */
static void
hear(PGconn *conn, char *id)
{
	static const char *const mark = "\"sessions\":[{\"id\":\"";

	for (;;)
	{
		PGnotify   *event;
		char	   *found = NULL;

		if (!PQconsumeInput(conn))
			die("%s", PQerrorMessage(conn));
		while (found == NULL && (event = PQnotifies(conn)) != NULL)
		{
			if (strstr(event->extra, "\"event\":\"released\"") != NULL)
				found = strstr(event->extra, mark);
			if (found != NULL)
				snprintf(id, ID_LENGTH + 1, "%.*s", ID_LENGTH, found + strlen(mark));
			PQfreemem(event);
		}
		if (found != NULL)
			return;
		wait_readable(conn);
	}
}

int
main(int argc, char **argv)
{
	PGconn	   *listener;
	PGconn	   *visitor;
	char		command[200];
	char		id[ID_LENGTH + 1];
	const char *values[1] = {id};

	if (argc != 6)
		die("usage: listen DATABASE CHANNEL SESSION TIMES PAUSE");
	listener = connect_to(argv[1]);
	visitor = connect_to(argv[1]);
	snprintf(command, sizeof(command), "LISTEN \"%s\"", argv[2]);
	PQclear(checked(PQexec(listener, command)));
	prepare(visitor, "complete", "SELECT vqueue.complete($1)");
	snprintf(id, sizeof(id), "%s", argv[3]);
	for (int i = atoi(argv[4]); i > 0; i--)
	{
		int64_t		sent;
		int64_t		answered;
		int64_t		heard;

		pause_for((int64_t) (atof(argv[5]) * SECOND / 1000));
		sent = now();
		PQclear(checked(PQexecPrepared(visitor, "complete", 1, values, NULL, NULL, 0)));
		answered = now();
		hear(listener, id);
		heard = now();
		printf("%.4f %.4f\n", (heard - answered) * 1000.0 / SECOND, (heard - sent) * 1000.0 / SECOND);
	}
	PQfinish(listener);
	PQfinish(visitor);
	return 0;
}
