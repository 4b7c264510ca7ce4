/*
 * life.c
 *		Whole lives of sessions: join, polls, being let in, complete.
 *
 * Each client, a thread with a connection of its own, has a ring of sessions
 * that it has joined for.  It takes the oldest one, polls it, and if that has
 * been let in, completes it and joins anew, polling the new one EARLY times.
 * So the line always holds as many as the rings do: those that exceed the cap
 * wait, all else goes as fast as the server lets it.  If the oldest one still
 * waits, the client looks again a millisecond later; such a poll counts too.
 *
 * Who lets in?  The server by itself, or a statement that one more connection
 * runs over and over, which returns how many it let in; a millisecond's pause
 * follows when that was nobody.
 *
 * life DATABASE CLIENTS RING EARLY SECONDS SESSIONS JOIN POLL COMPLETE [RELEASE]
 *
 * It ends after so many seconds or sessions, the other being 0.  JOIN returns a
 * column "id"; POLL and COMPLETE take an id, and POLL returns a column "status".
 * It prints the sessions completed, seconds, bytes of WAL and polls.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "client.h"

#define MAX_CLIENTS 100
#define ID_LENGTH 37
#define LOOK_AGAIN (SECOND / 1000)

typedef struct Client
{
	pthread_t	handle;
	PGconn	   *conn;
	char		(*ring)[ID_LENGTH];
	int64_t		polls;
} Client;

static const char *database;
static int	n_clients;
static int	ring_size;
static int	early_polls;
static double wanted_seconds;
static int64_t wanted_sessions;
static const char *statements[4];
enum {JOIN, POLL, COMPLETE, RELEASE};
static const char *const names[] = {"join", "poll", "complete", "release"};

static pthread_barrier_t all_full;
static pthread_barrier_t measured;
static atomic_bool stopped;
static atomic_int_fast64_t completed;

static PGresult *
run(PGconn *conn, int statement, const char *id)
{
	const char *values[1] = {id};

	return checked(PQexecPrepared(conn, names[statement], id != NULL, values, NULL, NULL, 0));
}

static const char *
field(const PGresult *result, const char *name)
{
	int			column = PQfnumber(result, name);

	if (PQntuples(result) != 1 || column < 0 || PQgetisnull(result, 0, column))
		die("life: an answer has no %s", name);
	return PQgetvalue(result, 0, column);
}

static void
join(Client *client, char *id)
{
	PGresult   *result = run(client->conn, JOIN, NULL);

	snprintf(id, ID_LENGTH, "%s", field(result, "id"));
	PQclear(result);
}

static bool
is_serving(Client *client, const char *id)
{
	PGresult   *result = run(client->conn, POLL, id);
	bool		serving = strcmp(field(result, "status"), "serving") == 0;

	PQclear(result);
	client->polls++;
	return serving;
}

static void *
live(void *argument)
{
	Client	   *client = argument;
	int			oldest = 0;

	for (int i = 0; i < ring_size; i++)
		join(client, client->ring[i]);
	pthread_barrier_wait(&all_full);
	pthread_barrier_wait(&measured);
	while (!atomic_load(&stopped))
	{
		char	   *id = client->ring[oldest];

		if (!is_serving(client, id))
		{
			pause_for(LOOK_AGAIN);
			continue;
		}
		PQclear(run(client->conn, COMPLETE, id));
		if (atomic_fetch_add(&completed, 1) + 1 == wanted_sessions)
			atomic_store(&stopped, true);
		join(client, id);
		for (int i = 0; i < early_polls; i++)
			is_serving(client, id);
		oldest = (oldest + 1) % ring_size;
	}
	return NULL;
}

static void *
release(void *argument)
{
	PGconn	   *conn = argument;

	while (!atomic_load(&stopped))
	{
		PGresult   *result = run(conn, RELEASE, NULL);
		int			n = atoi(field(result, "released"));

		PQclear(result);
		if (n == 0)
			pause_for(LOOK_AGAIN);
	}
	return NULL;
}

static double
wal_bytes(PGconn *conn)
{
	PGresult   *result = checked(PQexec(conn, "SELECT pg_current_wal_insert_lsn() - '0/0' AS bytes"));
	double		bytes = atof(field(result, "bytes"));

	PQclear(result);
	return bytes;
}

static void
start_client(Client *client)
{
	client->ring = calloc(ring_size, sizeof(*client->ring));
	if (client->ring == NULL)
		die("out of memory");
	client->conn = connect_to(database);
	for (int s = JOIN; s <= COMPLETE; s++)
		prepare(client->conn, names[s], statements[s]);
	if (pthread_create(&client->handle, NULL, live, client) != 0)
		die("no thread could be started");
}

static void
print_result(int64_t start, int64_t end, double wal, const Client *clients)
{
	int64_t		polls = 0;

	for (int i = 0; i < n_clients; i++)
		polls += clients[i].polls;
	printf("%lld %.6f %.0f %lld\n", (long long) atomic_load(&completed), (end - start) / (double) SECOND,
		   wal, (long long) polls);
}

int
main(int argc, char **argv)
{
	static Client clients[MAX_CLIENTS];
	pthread_t	releaser;
	PGconn	   *own;
	double		wal;
	int64_t		start;
	int64_t		end;

	if (argc != 10 && argc != 11)
		die("usage: life DATABASE CLIENTS RING EARLY SECONDS SESSIONS JOIN POLL COMPLETE [RELEASE]");
	database = argv[1];
	n_clients = atoi(argv[2]);
	ring_size = atoi(argv[3]);
	early_polls = atoi(argv[4]);
	wanted_seconds = atof(argv[5]);
	wanted_sessions = atoll(argv[6]);
	for (int s = JOIN; s < argc - 7; s++)
		statements[s] = argv[7 + s];
	if (n_clients < 1 || n_clients > MAX_CLIENTS || ring_size < 1 || early_polls < 0 ||
		(wanted_seconds > 0) == (wanted_sessions > 0))
		die("life: a number is out of range");

	own = connect_to(database);
	if (pthread_barrier_init(&all_full, NULL, n_clients + 1) != 0 ||
		pthread_barrier_init(&measured, NULL, n_clients + 1) != 0)
		die("no barrier could be made");
	if (statements[RELEASE] != NULL)
	{
		PGconn	   *conn = connect_to(database);

		prepare(conn, names[RELEASE], statements[RELEASE]);
		if (pthread_create(&releaser, NULL, release, conn) != 0)
			die("no thread could be started");
	}
	for (int i = 0; i < n_clients; i++)
		start_client(&clients[i]);

	pthread_barrier_wait(&all_full);
	wal = wal_bytes(own);
	start = now();
	pthread_barrier_wait(&measured);
	if (wanted_seconds > 0)
	{
		pause_for((int64_t) (wanted_seconds * SECOND));
		atomic_store(&stopped, true);
	}
	for (int i = 0; i < n_clients; i++)
		pthread_join(clients[i].handle, NULL);
	end = now();
	if (statements[RELEASE] != NULL)
		pthread_join(releaser, NULL);
	print_result(start, end, wal_bytes(own) - wal, clients);
	return 0;
}
