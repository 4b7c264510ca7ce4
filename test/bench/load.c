/*
 * load.c
 *		Many clients that run one prepared statement, each time with another
 *		parameter drawn at random; prints how many a second were answered.
 *
 * pgbench can draw only numbers, and sessions are known by ids: with it, ids
 * would have to be looked up, or be spread over many statements, and either
 * costs more than what is measured.  Here a client has one prepared statement,
 * as a real one has.  Otherwise this does what pgbench -M prepared does: each
 * thread polls the sockets of its connections.
 *
 * The server is found by the usual variables.  Parameters are read from
 * standard input, one a line; without any the statement has none.
 */
#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_CLIENTS 1000
#define SECOND INT64_C(1000000000)

typedef struct Thread
{
	pthread_t	handle;
	int			first;			/* of its connections */
	int			last;
	uint64_t	random;
	int64_t		answered;		/* while it counted */
} Thread;

static PGconn *conns[MAX_CLIENTS];
static char **params;
static int	n_params;
static int64_t warm_at;			/* when counting begins */
static int64_t stop_at;

static void
die(const char *format,...)
{
	va_list		args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

/* Monotonic time in nanoseconds. */
static int64_t
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SECOND + t.tv_nsec;
}

/* xorshift64*: good enough to draw, and cheap beside a round trip. */
static uint64_t
draw(Thread *thread)
{
	uint64_t	x = thread->random;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	thread->random = x;
	return (x * UINT64_C(2685821657736338717)) >> 16;
}

static void
ask(Thread *thread, PGconn *conn)
{
	const char *values[1];

	if (n_params > 0)
		values[0] = params[draw(thread) % n_params];
	if (!PQsendQueryPrepared(conn, "s", n_params > 0, values, NULL, NULL, 0))
		die("%s", PQerrorMessage(conn));
}

/* Whether all of the answer has come. */
static int
answered(PGconn *conn)
{
	PGresult   *result;

	if (!PQconsumeInput(conn))
		die("%s", PQerrorMessage(conn));
	while (!PQisBusy(conn))
	{
		result = PQgetResult(conn);
		if (result == NULL)
			return 1;
		if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK)
			die("%s", PQresultErrorMessage(result));
		PQclear(result);
	}
	return 0;
}

static void *
run(void *argument)
{
	Thread	   *thread = argument;
	struct pollfd fds[MAX_CLIENTS];
	int			n = thread->last - thread->first;
	int64_t		moment = 0;

	for (int i = 0; i < n; i++)
	{
		fds[i].fd = PQsocket(conns[thread->first + i]);
		fds[i].events = POLLIN;
		ask(thread, conns[thread->first + i]);
	}
	while (moment < stop_at)
	{
		if (poll(fds, n, 1000) < 0)
			die("poll failed");
		moment = now();
		for (int i = 0; i < n; i++)
			if (fds[i].revents != 0 && answered(conns[thread->first + i]))
			{
				thread->answered += moment >= warm_at && moment < stop_at;
				ask(thread, conns[thread->first + i]);
			}
	}
	return NULL;
}

static void
read_params(void)
{
	char		line[1000];
	int			room = 0;

	while (fgets(line, sizeof(line), stdin) != NULL)
	{
		line[strcspn(line, "\n")] = '\0';
		if (n_params == room)
		{
			room = room == 0 ? 1000 : 2 * room;
			params = realloc(params, room * sizeof(char *));
		}
		if (params == NULL || (params[n_params++] = strdup(line)) == NULL)
			die("out of memory");
	}
}

static PGconn *
connect_and_prepare(const char *sql)
{
	PGconn	   *conn = PQconnectdb("");
	PGresult   *result;

	if (PQstatus(conn) != CONNECTION_OK)
		die("%s", PQerrorMessage(conn));
	result = PQprepare(conn, "s", sql, 0, NULL);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		die("%s", PQresultErrorMessage(result));
	PQclear(result);
	return conn;
}

/* load CLIENTS THREADS SECONDS STATEMENT; the first second, in which caches fill, does not count. */
int
main(int argc, char **argv)
{
	Thread		threads[MAX_CLIENTS] = {0};
	int			n_clients = argc == 5 ? atoi(argv[1]) : 0;
	int			n_threads = argc == 5 ? atoi(argv[2]) : 0;
	double		seconds = argc == 5 ? atof(argv[3]) : 0;
	int64_t		total = 0;

	if (n_clients < 1 || n_clients > MAX_CLIENTS || n_threads < 1 || n_threads > n_clients || seconds <= 0)
		die("usage: load CLIENTS THREADS SECONDS STATEMENT < PARAMETERS");
	read_params();
	for (int i = 0; i < n_clients; i++)
		conns[i] = connect_and_prepare(argv[4]);
	warm_at = now() + SECOND;
	stop_at = warm_at + (int64_t) (seconds * SECOND);
	for (int t = 0; t < n_threads; t++)
	{
		threads[t].first = n_clients * t / n_threads;
		threads[t].last = n_clients * (t + 1) / n_threads;
		threads[t].random = UINT64_C(0x9E3779B97F4A7C15) * (t + 1);
		if (pthread_create(&threads[t].handle, NULL, run, &threads[t]) != 0)
			die("no thread could be started");
	}
	for (int t = 0; t < n_threads; t++)
	{
		pthread_join(threads[t].handle, NULL);
		total += threads[t].answered;
	}
	for (int i = 0; i < n_clients; i++)
		PQfinish(conns[i]);
	printf("%.9g\n", total / seconds);
	return 0;
}
