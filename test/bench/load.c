/*
 * load.c
 *		Many clients that run prepared statements, each time with another
 *		parameter drawn at random; prints how many a second were answered.
 *
 * pgbench can draw only numbers, and sessions are known by ids: with it, ids
 * would have to be looked up, or be spread over many statements, and either
 * costs more than what is measured.  Here a client has one prepared statement,
 * as a real one has.  Otherwise this does what pgbench -M prepared does: each
 * thread polls the sockets of its connections.
 *
 * Several loads, each with connections of its own, take turns by fractions of
 * a second, as the speed of a virtual machine may change from second to second.
 *
 * load CLIENTS THREADS WARM ROUNDS SECONDS [DATABASE FILE STATEMENT]...
 *
 * In each round every load runs for so long, and its answers a second are
 * printed, a line a round, in the order of the loads, but for the first WARM
 * rounds.  FILE has the values of the statement's one parameter, one a line;
 * without lines it has none.
 */
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "client.h"

#define MAX_CLIENTS 200
#define MAX_LOADS 12
#define MAX_VALUE 8000

typedef struct Load
{
	PGconn	   *conns[MAX_CLIENTS];
	char	  **params;
	int			n_params;
} Load;

/* A thread has a share of each load's connections. */
typedef struct Thread
{
	pthread_t	handle;
	int			number;
	int			first;
	int			last;
	uint64_t	random;
} Thread;

static Load loads[MAX_LOADS];
static int	n_loads;
static int	n_clients;
static int	n_threads;

/*
 * Rounds before the first one that counts: statements are planned anew, caches
 * fill, and each server process meets the pages of shared memory for the first
 * time, which costs it a page fault each.
 */
static int	n_warm;
static int	n_rounds;
static int64_t turn_time;

/* What the threads count in the present turn; between turns all of them wait. */
static pthread_barrier_t barrier;
static int64_t counts[MAX_CLIENTS];
static int64_t turn_end;

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
ask(Thread *thread, const Load *load, PGconn *conn)
{
	const char *values[1];

	if (load->n_params > 0)
		values[0] = load->params[draw(thread) % load->n_params];
	if (!PQsendQueryPrepared(conn, "s", load->n_params > 0, values, NULL, NULL, 0))
		die("%s", PQerrorMessage(conn));
}

/* Whether all of the answer has come; it has to be rows. */
static bool
answered(PGconn *conn)
{
	PGresult   *result;

	if (!PQconsumeInput(conn))
		die("%s", PQerrorMessage(conn));
	while (!PQisBusy(conn))
	{
		result = PQgetResult(conn);
		if (result == NULL)
			return true;
		if (PQresultStatus(result) != PGRES_TUPLES_OK)
			die("%s", PQresultErrorMessage(result));
		PQclear(result);
	}
	return false;
}

/* Ask until the turn ends, then wait for the answers that are out; how many came in time. */
static int64_t
take_turn(Thread *thread, Load *load)
{
	struct pollfd fds[MAX_CLIENTS];
	int			n = thread->last - thread->first;
	int			asked = n;
	int64_t		count = 0;

	for (int i = 0; i < n; i++)
	{
		fds[i].fd = PQsocket(load->conns[thread->first + i]);
		fds[i].events = POLLIN;
		ask(thread, load, load->conns[thread->first + i]);
	}
	while (asked > 0)
	{
		bool		in_time;

		if (poll(fds, n, 1000) < 0)
			die("poll failed");
		in_time = now() < turn_end;
		for (int i = 0; i < n; i++)
			if (fds[i].revents != 0 && answered(load->conns[thread->first + i]))
			{
				count += in_time;
				asked -= !in_time;
				if (in_time)
					ask(thread, load, load->conns[thread->first + i]);
			}
	}
	return count;
}

/* Answers a second of the turn that all have ended. */
static double
turn_speed(void)
{
	int64_t		total = 0;

	for (int t = 0; t < n_threads; t++)
		total += counts[t];
	return total * (double) SECOND / turn_time;
}

static void *
run(void *argument)
{
	Thread	   *thread = argument;

	for (int round = -n_warm; round < n_rounds; round++)
	{
		for (int l = 0; l < n_loads; l++)
		{
			if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
				turn_end = now() + turn_time;
			pthread_barrier_wait(&barrier);
			counts[thread->number] = take_turn(thread, &loads[l]);
			if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD && round >= 0)
				printf("%.9g%c", turn_speed(), l < n_loads - 1 ? ' ' : '\n');
		}
	}
	return NULL;
}

static void
read_params(Load *load, const char *path)
{
	FILE	   *file = fopen(path, "r");
	char		line[MAX_VALUE];
	int			room = 0;

	if (file == NULL)
		die("could not open %s", path);
	while (fgets(line, sizeof(line), file) != NULL)
	{
		line[strcspn(line, "\n")] = '\0';
		if (load->n_params == room)
		{
			room = room == 0 ? 1000 : 2 * room;
			load->params = realloc(load->params, room * sizeof(char *));
		}
		if (load->params == NULL || (load->params[load->n_params++] = strdup(line)) == NULL)
			die("out of memory");
	}
	fclose(file);
}

static void
read_arguments(int argc, char **argv)
{
	if (argc < 9 || (argc - 6) % 3 != 0 || (argc - 6) / 3 > MAX_LOADS)
		die("usage: load CLIENTS THREADS WARM ROUNDS SECONDS [DATABASE FILE STATEMENT]...");
	n_clients = atoi(argv[1]);
	n_threads = atoi(argv[2]);
	n_warm = atoi(argv[3]);
	n_rounds = atoi(argv[4]);
	turn_time = (int64_t) (atof(argv[5]) * SECOND);
	n_loads = (argc - 6) / 3;
	if (n_clients < 1 || n_clients > MAX_CLIENTS || n_threads < 1 || n_threads > n_clients ||
		n_warm < 0 || n_rounds < 1 || turn_time < 1)
		die("load: a number is out of range");
	for (int l = 0; l < n_loads; l++)
	{
		read_params(&loads[l], argv[7 + 3 * l]);
		for (int i = 0; i < n_clients; i++)
		{
			loads[l].conns[i] = connect_to(argv[6 + 3 * l]);
			prepare(loads[l].conns[i], "s", argv[8 + 3 * l]);
		}
	}
}

int
main(int argc, char **argv)
{
	Thread		threads[MAX_CLIENTS] = {0};

	read_arguments(argc, argv);
	if (pthread_barrier_init(&barrier, NULL, n_threads) != 0)
		die("no barrier could be made");
	for (int t = 0; t < n_threads; t++)
	{
		threads[t].number = t;
		threads[t].first = n_clients * t / n_threads;
		threads[t].last = n_clients * (t + 1) / n_threads;
		threads[t].random = UINT64_C(0x9E3779B97F4A7C15) * (t + 1);
		if (pthread_create(&threads[t].handle, NULL, run, &threads[t]) != 0)
			die("no thread could be started");
	}
	for (int t = 0; t < n_threads; t++)
		pthread_join(threads[t].handle, NULL);
	for (int l = 0; l < n_loads; l++)
		for (int i = 0; i < n_clients; i++)
			PQfinish(loads[l].conns[i]);
	return 0;
}
