/*
 * main.c
 *		The crowd: replays a trace of arrivals into a waiting room, watches it,
 *		and checks what came of it.
 *
 * The server is found by the usual variables (PGHOST, PGDATABASE, ...); it has
 * the extension and no queue of the crowd's name.  Exit status: 0 if all
 * held, 1 if something did not, 2 if the crowd could not do its work.
 */
#include <getopt.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crowd.h"
#include "selftest.h"
#include "storm.h"
#include "summary.h"
#include "watch.h"

/* How long to wait, after all is over, for events still under way. */
#define EVENTS_LATE (5 * SECOND)

/* Seconds beyond those for a run in which the server has to answer everything else. */
#define GRACE 10

typedef struct Options
{
	const char *trace;
	const char *queue;
	int64_t		speed;
	int64_t		rate_per_minute;
	int64_t		cap;
	int64_t		connections;
	int64_t		give_up_after;	/* seconds */
	int64_t		seed;
	bool		self_test;
	bool		storm;
	StormOptions of_storm;
} Options;

/* All that takes part in a run. */
typedef struct Run
{
	const Options *options;
	Pool	   *pool;
	Ledger	   *ledger;
	Crowd	   *crowd;
	Listener   *listener;
	Watch	   *watch;
	struct pollfd *fds;
	Evidence	evidence;
} Run;

/* ---- options ---- */

static int64_t
number_option(const char *name, const char *text, int64_t low, int64_t high)
{
	int64_t		number;

	if (!parse_number(text, strlen(text), &number) || number < low || number > high)
		die("%s must be a number from %lld to %lld, not \"%s\"", name, (long long) low,
			(long long) high, text);
	return number;
}

static void
usage(void)
{
	puts("Usage: crowd --trace FILE [OPTION...]\n"
		 "       crowd --storm [OPTION...]\n"
		 "\n"
		 "Replaying a trace:\n"
		 "  --trace FILE        arrivals a second\n"
		 "  --queue NAME        queue to create and use (nasa)\n"
		 "  --speed N           times as fast as the trace (120)\n"
		 "  --rate N            releases a minute (21600)\n"
		 "  --cap N             users inside at once (520)\n"
		 "  --connections N     worker connections (24)\n"
		 "  --give-up-after N   seconds (45)\n"
		 "  --self-test         test the crowd itself, without a server\n"
		 "\n"
		 "A storm of everything at random:\n"
		 "  --seconds N         at most so long; SIGTERM or SIGUSR1 ends it earlier (10)\n"
		 "  --clients N         connections (24)\n"
		 "  --queues N          queues to create (6)\n"
		 "  --prefix NAME       their names are NAME1 to NAMEN (storm)\n"
		 "  --rate N            releases a minute, to begin with (6000)\n"
		 "  --cap N             users inside at once, to begin with (60)\n"
		 "  --faults            connections may be lost, and errors may come of faults\n"
		 "  --no-settings       do not change settings\n"
		 "  --sick              with one more queue, in which every release fails\n"
		 "  --ledger FILE       append a line for each change that was acknowledged\n"
		 "  --direct CONNINFO   the server itself, for who listens and observes, where clients\n"
		 "                      go through a pooler\n"
		 "\n"
		 "VQ_SEED sets the seed of what is random (1995 for a trace, or else any).");
}

static Options
read_options(int argc, char **argv)
{
	static const struct option known[] = {
		{"trace", required_argument, NULL, 't'},
		{"queue", required_argument, NULL, 'q'},
		{"speed", required_argument, NULL, 's'},
		{"rate", required_argument, NULL, 'r'},
		{"cap", required_argument, NULL, 'c'},
		{"connections", required_argument, NULL, 'n'},
		{"give-up-after", required_argument, NULL, 'g'},
		{"self-test", no_argument, NULL, 'S'},
		{"storm", no_argument, NULL, 'T'},
		{"seconds", required_argument, NULL, 'd'},
		{"clients", required_argument, NULL, 'C'},
		{"queues", required_argument, NULL, 'Q'},
		{"prefix", required_argument, NULL, 'p'},
		{"faults", no_argument, NULL, 'F'},
		{"no-settings", no_argument, NULL, 'N'},
		{"sick", no_argument, NULL, 'K'},
		{"ledger", required_argument, NULL, 'l'},
		{"direct", required_argument, NULL, 'D'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0}
	};
	Options		options = {.queue = "nasa",.speed = 120,.rate_per_minute = 21600,.cap = 520,
	.connections = 24,.give_up_after = 45,.seed = 1995,
	.of_storm = {.seconds = 10,.clients = 24,.queues = 6,.prefix = "storm",.rate = 6000,.cap = 60,
	.settings = true}};
	const char *seed = getenv("VQ_SEED");
	int			c;

	while ((c = getopt_long(argc, argv, "", known, NULL)) >= 0)
	{
		switch (c)
		{
			case 't':
				options.trace = optarg;
				break;
			case 'q':
				options.queue = optarg;
				break;
			case 's':
				options.speed = number_option("--speed", optarg, 1, 100000);
				break;
			case 'r':
				options.rate_per_minute = number_option("--rate", optarg, 1, 10000000);
				options.of_storm.rate = options.rate_per_minute;
				break;
			case 'c':
				options.cap = number_option("--cap", optarg, 1, 100000000);
				options.of_storm.cap = options.cap;
				break;
			case 'n':
				options.connections = number_option("--connections", optarg, 1, 1000);
				break;
			case 'g':
				options.give_up_after = number_option("--give-up-after", optarg, 1, 1000000);
				break;
			case 'S':
				options.self_test = true;
				break;
			case 'T':
				options.storm = true;
				break;
			case 'd':
				options.of_storm.seconds = number_option("--seconds", optarg, 1, 100000);
				break;
			case 'C':
				options.of_storm.clients = number_option("--clients", optarg, 1, 1000);
				break;
			case 'Q':
				options.of_storm.queues = number_option("--queues", optarg, 1, 1000);
				break;
			case 'p':
				options.of_storm.prefix = optarg;
				break;
			case 'F':
				options.of_storm.faults = true;
				break;
			case 'N':
				options.of_storm.settings = false;
				break;
			case 'K':
				options.of_storm.sick = true;
				break;
			case 'l':
				options.of_storm.ledger = optarg;
				break;
			case 'D':
				options.of_storm.direct = optarg;
				break;
			case 'h':
				usage();
				exit(0);
			default:
				exit(2);
		}
	}
	if (optind < argc)
		die("\"%s\" is one argument too many", argv[optind]);
	if (options.trace == NULL && !options.storm)
		die("neither --trace nor --storm was given");
	options.of_storm.seed = wall_time() % 1000000000;
	if (seed != NULL && seed[0] != '\0')
	{
		options.seed = number_option("VQ_SEED", seed, 0, INT64_C(999999999999999999));
		options.of_storm.seed = options.seed;
	}
	return options;
}

/* ---- the server ---- */

/* Run a statement with parameters, or die; how many rows came back. */
static int
command(PGconn *conn, const char *sql, int n, const char *const *params)
{
	PGresult   *result = PQexecParams(conn, sql, n, NULL, params, NULL, NULL, 0);
	int			rows;

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		die("%s failed: %s", sql, PQresultErrorMessage(result));
	rows = PQntuples(result);
	PQclear(result);
	return rows;
}

static void
create_queue(PGconn *conn, const Options *options)
{
	char		rate[30];
	char		cap[30];
	const char *params[] = {options->queue, rate, cap};

	snprintf(rate, sizeof(rate), "%lld", (long long) options->rate_per_minute);
	snprintf(cap, sizeof(cap), "%lld", (long long) options->cap);
	command(conn, "SELECT vqueue.create_queue($1, release_rate_per_minute => $2,"
			" max_concurrent_users => $3)", 3, params);
}

/* What check() finds; each difference is told. */
static int
count_differences(PGconn *conn)
{
	PGresult   *result = PQexec(conn, "SELECT queue, what, in_memory, in_table FROM vqueue.check()");
	int			n;

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		die("vqueue.check() failed: %s", PQresultErrorMessage(result));
	n = PQntuples(result);
	for (int i = 0; i < n && i < 10; i++)
		printf("difference: queue %s, %s: %s in memory, %s in the table\n",
			   PQgetvalue(result, i, 0), PQgetvalue(result, i, 1), PQgetvalue(result, i, 2),
			   PQgetvalue(result, i, 3));
	PQclear(result);
	return n;
}

/* ---- running ---- */

/* A server that does not answer at all must not hold us up for ever. */
static void
too_late(int signal)
{
	static const char message[] = "crowd: the server does not answer any more\n";

	(void) signal;
	(void) !write(STDERR_FILENO, message, sizeof(message) - 1);
	_exit(2);
}

static void
limit_time(const Options *options)
{
	struct sigaction action = {.sa_handler = too_late};

	sigaction(SIGALRM, &action, NULL);
	alarm(options->give_up_after + GRACE);
}

static void
heard(void *owner, const Event *event, int64_t heard_at)
{
	Run		   *run = owner;

	ledger_heard(run->ledger, event, heard_at);
	watch_heard(run->watch, event);
	if (event->type != RELEASED_EVENT)
		return;
	for (int i = 0; i < event->n_sessions; i++)
		crowd_called(run->crowd, &event->sessions[i].id);
}

/* Wait for what comes first, an answer, an event or this moment, and deal with it. */
static void
step(Run *run, int64_t until)
{
	int			n = pool_size(run->pool);
	int64_t		pause = until - steady_time();
	int			timeout = pause <= 0 ? 0 : pause > SECOND ? 1000 : (int) ((pause + 999) / 1000);

	pool_wants(run->pool, run->fds);
	run->fds[n].fd = listener_socket(run->listener);
	run->fds[n].events = POLLIN;
	run->fds[n].revents = 0;
	if (poll(run->fds, n + 1, timeout) <= 0)
		return;
	pool_go_on(run->pool, run->fds);
	if (run->fds[n].revents != 0)
		listener_go_on(run->listener);
}

static int64_t
earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Until everybody has come and gone, or it takes too long; how long it took. */
static int64_t
replay(Run *run)
{
	int64_t		started_at = steady_time();
	int64_t		give_up_at = started_at + run->options->give_up_after * SECOND;
	int64_t		now = started_at;

	crowd_start(run->crowd, started_at);
	watch_start(run->watch, started_at);
	while (now < give_up_at && !(crowd_is_over(run->crowd) && pool_unanswered(run->pool) == 0))
	{
		crowd_go_on(run->crowd, now);
		watch_go_on(run->watch, now);
		step(run, earlier(earlier(crowd_next(run->crowd), watch_next(run->watch)), give_up_at));
		now = steady_time();
	}
	if (!crowd_is_over(run->crowd))
		printf("Not everybody has come and gone after %lld s.\n",
			   (long long) run->options->give_up_after);
	return now - started_at;
}

/* Whether every release and end of the table has been heard of. */
static bool
all_heard(const Run *run)
{
	for (int i = 0; i < run->evidence.n_rows; i++)
	{
		const Row  *row = &run->evidence.rows[i];
		const Record *record = ledger_find(run->ledger, &row->id);

		if (row->served_at != 0 && (record == NULL || record->released_events == 0))
			return false;
		if (row->left_at != 0 && (record == NULL || record->ended_events == 0))
			return false;
	}
	return true;
}

/*
 * Close the queue, so that nothing more happens in it, and listen until the
 * event of that and all events due have been heard.
 */
static void
hear_the_rest(Run *run, PGconn *conn)
{
	const char *params[] = {run->options->queue};
	int64_t		give_up_at = steady_time() + EVENTS_LATE;

	command(conn, "SELECT vqueue.close($1)", 1, params);
	run->evidence.rows = rows_fetch(conn, run->options->queue, &run->evidence.n_rows);
	while (steady_time() < give_up_at &&
		   !(listener_events(run->listener, STATE_EVENT) > 0 && all_heard(run)))
		step(run, give_up_at);
}

static void
gather_evidence(Run *run, PGconn *conn)
{
	Evidence   *evidence = &run->evidence;

	evidence->rate_per_minute = run->options->rate_per_minute;
	evidence->burst = default_burst(run->options->rate_per_minute);
	evidence->cap = run->options->cap;
	evidence->ledger = run->ledger;
	evidence->differences = count_differences(conn);
	evidence->refused = pool_refused(run->pool);
	evidence->notices = pool_notices(run->pool);
	evidence->malformed = listener_malformed(run->listener);
	evidence_index(evidence);
	if (pool_complaint(run->pool) != NULL)
		printf("The server said: %s\n", pool_complaint(run->pool));
	if (listener_complaint(run->listener) != NULL)
		printf("A malformed event: %s\n", listener_complaint(run->listener));
}

static void
announce(const Options *options, const Trace *trace)
{
	printf("%d arrivals in %d s, played %lld times as fast by %lld connections; at most %g let in a second,"
		   " %lld inside at once; seed %lld\n", trace->total, trace->seconds,
		   (long long) options->speed, (long long) options->connections,
		   options->rate_per_minute / 60.0, (long long) options->cap, (long long) options->seed);
	fflush(stdout);
}

/* Say how it went; how many checks failed. */
static int
report(Run *run, int64_t took)
{
	CrowdFigures crowd = crowd_figures(run->crowd);
	RunFigures	figures = {took, watch_longest_line(run->watch), &crowd, run->listener};

	putchar('\n');
	summary_print(&figures, &run->evidence);
	putchar('\n');
	return verdicts_print(&run->evidence);
}

static void
open_run(Run *run, const Trace *trace, Screen *screen)
{
	const Options *options = run->options;
	WatchPlan	plan = {options->queue, options->speed, trace->seconds, options->cap,
	options->rate_per_minute};

	run->ledger = ledger_make();
	run->pool = pool_open(options->connections);
	run->fds = get_memory((options->connections + 1) * sizeof(struct pollfd));
	run->crowd = crowd_make(trace, options->speed, &usual_habits, options->seed, options->queue,
							run->pool, run->ledger);
	run->listener = listener_open(options->queue, heard, run);
	run->watch = watch_make(&plan, run->crowd, run->pool, run->listener, screen);
}

static void
close_run(Run *run)
{
	evidence_forget(&run->evidence);
	free((Row *) run->evidence.rows);
	watch_free(run->watch);
	listener_close(run->listener);
	crowd_free(run->crowd);
	free(run->fds);
	pool_close(run->pool);
	ledger_free(run->ledger);
}

static int
run_crowd(const Options *options)
{
	Trace		trace = trace_read(options->trace);
	Screen	   *screen = screen_open();
	Run			run = {.options = options};
	PGconn	   *conn;
	int64_t		took;
	int			failed;

	limit_time(options);
	announce(options, &trace);
	conn = connect_server("crowd observer");
	create_queue(conn, options);
	open_run(&run, &trace, screen);
	took = replay(&run);
	screen_close(screen);
	hear_the_rest(&run, conn);
	gather_evidence(&run, conn);
	failed = report(&run, took);
	close_run(&run);
	PQfinish(conn);
	free(trace.arrivals);
	return failed > 0 ? 1 : 0;
}

int
main(int argc, char **argv)
{
	Options		options;

	setlocale(LC_CTYPE, "");
	options = read_options(argc, argv);
	if (options.self_test)
		return self_test(options.trace);
	if (options.storm)
		return storm_run(&options.of_storm);
	return run_crowd(&options);
}
