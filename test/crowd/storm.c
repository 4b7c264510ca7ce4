/*
 * storm.c
 *		A storm: many clients that do everything at random, and the laws that have
 *		to hold of it all.
 */
#include "storm.h"

#include <ctype.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "laws.h"
#include "look.h"
#include "steer.h"
#include "still.h"
#include "tap.h"

/* The loop is late by so much only if the machine, or we, stood still. */
#define LATE		(SECOND / 10)

/* Between moments at which all is held still. */
#define STILL_INTERVAL (4 * SECOND)

/* How long statements may take to come to an end, and the server to come back. */
#define END_PATIENCE (30 * SECOND)
#define RETURN_PATIENCE (60 * SECOND)

/* After faults: until all is well again, and how long it is then looked at. */
#define RECOVERY	(3 * SECOND)
#define CALM		(3 * SECOND)

/* For events that are under way in the end. */
#define LAST_EVENTS (15 * SECOND)

/* All that takes part in a storm. */
typedef struct Run
{
	Storm		storm;
	const StormOptions *options;
	Client	  **clients;
	Steer	   *steer;
	Counter    *counter;
	Hearer	   *hearer;
	Still	   *still;
	struct pollfd *fds;
	int			n_clients;		/* that are still open */
	Case		it;
} Run;

static volatile sig_atomic_t asked_to_end = 0;

static void
end_now(int signal)
{
	(void) signal;
	asked_to_end = 1;
}

static void
too_late(int signal)
{
	static const char message[] = "crowd: the server does not answer any more\n";

	(void) signal;
	(void) !write(STDERR_FILENO, message, sizeof(message) - 1);
	_exit(2);
}

static void
catch_signals(const StormOptions *options)
{
	struct sigaction end = {.sa_handler = end_now};
	struct sigaction late = {.sa_handler = too_late};

	sigaction(SIGTERM, &end, NULL);
	sigaction(SIGUSR1, &end, NULL);
	sigaction(SIGALRM, &late, NULL);
	alarm(options->seconds + 240);
}

/* ---- refusals ---- */

/*
 * Clients cancel, meet in deadlocks, and complete those who still wait, or claim and
 * extend those who do not serve; and so on.  With
 * faults, all may fail that a lost server or one short of something makes fail.
 */
static bool
may_be(const Storm *storm, const char *sqlstate, Verb verb)
{
	if (strcmp(sqlstate, "57014") == 0 || strcmp(sqlstate, "40P01") == 0 ||
		strcmp(sqlstate, "40001") == 0)
		return true;
	if (strcmp(sqlstate, "55000") == 0 &&
		(verb == V_COMPLETE || verb == V_CLAIM || verb == V_EXTEND || verb == V_READMIT || verb == V_PRIORITY))
		return true;
	return storm->options->faults &&
		(strncmp(sqlstate, "57", 2) == 0 || strncmp(sqlstate, "08", 2) == 0 ||
		 strncmp(sqlstate, "53", 2) == 0 || strncmp(sqlstate, "40", 2) == 0 ||
		 strcmp(sqlstate, "25006") == 0);
}

void
storm_refused(Storm *storm, const char *sqlstate, const char *message, Verb verb)
{
	Book	   *book = storm->book;

	if (sqlstate == NULL)
		sqlstate = "08006";
	if (may_be(storm, sqlstate, verb))
	{
		book->excused++;
		return;
	}
	if (book->refused++ == 0)
		snprintf(book->complaint, sizeof(book->complaint), "%s %s: %.*s",
				 verb < VERBS ? verb_names[verb] : "statement", sqlstate,
				 (int) strcspn(message, "\n"), message);
}

Kind
storm_kind(const StormOptions *options, int queue)
{
	return options->settings ? (Kind) (queue % KINDS) : PLAIN;
}

/* ---- the loop ---- */

static int64_t
earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Whatever comes first, an answer, an event or this moment: deal with it. */
static void
go_on(Run *run, int64_t until)
{
	int64_t		now = steady_time();
	int64_t		wall = wall_time();
	int64_t		next = earlier(until, now + SECOND / 20);
	int			n = 0;
	int			timeout;

	for (int c = 0; c < run->n_clients; c++)
	{
		next = earlier(next, client_go_on(run->clients[c], now));
		link_wants(client_link(run->clients[c]), &run->fds[n++]);
	}
	if (run->steer != NULL)
	{
		next = earlier(next, steer_go_on(run->steer, now));
		next = earlier(next, counter_go_on(run->counter, now));
		link_wants(steer_link(run->steer), &run->fds[n++]);
		link_wants(counter_link(run->counter), &run->fds[n++]);
	}
	next = earlier(next, hearer_go_on(run->hearer, now));
	link_wants(hearer_link(run->hearer), &run->fds[n++]);

	timeout = next <= now ? 0 : (int) ((next - now + 999) / 1000);
	if (poll(run->fds, n, timeout) < 0)
		return;
	n = 0;
	for (int c = 0; c < run->n_clients; c++)
		link_go_on(client_link(run->clients[c]), run->fds[n++].revents);
	if (run->steer != NULL)
	{
		link_go_on(steer_link(run->steer), run->fds[n++].revents);
		link_go_on(counter_link(run->counter), run->fds[n++].revents);
	}
	link_go_on(hearer_link(run->hearer), run->fds[n++].revents);
	if (steady_time() > now + timeout * 1000 + LATE)
		spans_add(&run->storm.book->stalled, wall, wall_time());
}

static bool
all_idle(const Run *run)
{
	for (int c = 0; c < run->n_clients; c++)
		if (!client_is_idle(run->clients[c]))
			return false;
	return steer_is_idle(run->steer);
}

static bool
all_connected(const Run *run)
{
	for (int c = 0; c < run->n_clients; c++)
		if (!link_is_connected(client_link(run->clients[c])))
			return false;
	return link_is_connected(steer_link(run->steer)) && link_is_connected(counter_link(run->counter)) &&
		hearer_listens(run->hearer);
}

/* Have all come to an end of what they do; false if it takes too long. */
static bool
hold(Run *run)
{
	int64_t		give_up_at = steady_time() + END_PATIENCE;

	run->storm.holding = true;
	while (!all_idle(run) && steady_time() < give_up_at)
		go_on(run, give_up_at);
	return all_idle(run);
}

static void
connect_all(Run *run)
{
	int64_t		give_up_at = steady_time() + RETURN_PATIENCE;

	while (!all_connected(run))
	{
		if (steady_time() > give_up_at)
			die("could not connect: %s", link_complaint(steer_link(run->steer)));
		go_on(run, give_up_at);
	}
}

static void
blow(Run *run, int64_t seconds, bool to_the_end)
{
	int64_t		end = steady_time() + seconds;
	int64_t		next_still = steady_time() + STILL_INTERVAL;

	while (steady_time() < end && (to_the_end || !asked_to_end))
	{
		go_on(run, end);
		if (run->options->faults || steady_time() < next_still)
			continue;
		if (hold(run))
			still_moment(run->still);
		run->storm.holding = false;
		next_still = steady_time() + STILL_INTERVAL;
	}
}

/* ---- beginning and end ---- */

static void
name_queues(Run *run)
{
	for (int q = 0; q < run->storm.book->n_queues; q++)
	{
		BookQueue  *queue = &run->storm.book->queues[q];

		queue->name = get_memory(strlen(run->options->prefix) + 20);
		sprintf(queue->name, "%s%d", run->options->prefix, q + 1);
	}
}

static void
open_run(Run *run)
{
	const StormOptions *options = run->options;

	for (const char *c = options->prefix; *c != '\0'; c++)
		if (!islower((unsigned char) *c) && !isdigit((unsigned char) *c) && *c != '_')
			die("--prefix may have letters a to z, digits and _, unlike \"%s\"", options->prefix);
	run->storm.options = options;
	run->storm.book = book_make(options->queues);
	snprintf(run->storm.name, sizeof(run->storm.name), "crowd storm %d", (int) getpid());
	snprintf(run->storm.orders, sizeof(run->storm.orders), "%.40s_orders", options->prefix);
	if (options->ledger != NULL)
	{
		run->storm.book->ledger = fopen(options->ledger, "a");
		if (run->storm.book->ledger == NULL)
			die("could not open \"%s\"", options->ledger);
	}
	name_queues(run);
	run->still = still_open(&run->storm);
	still_begin(run->still);

	run->fds = get_memory((options->clients + 3) * sizeof(struct pollfd));
	run->clients = get_memory(options->clients * sizeof(Client *));
	run->hearer = hearer_open(&run->storm);
	run->counter = counter_open(&run->storm);
	run->steer = steer_open(&run->storm);
	for (int c = 0; c < options->clients; c++)
		run->clients[c] = client_open(&run->storm, c);
	run->n_clients = options->clients;
}

static void
close_clients(Run *run)
{
	while (run->n_clients > 0)
		client_close(run->clients[--run->n_clients]);
	steer_close(run->steer);
	counter_close(run->counter);
	run->steer = NULL;
}

static void
listen_on(Run *run, int64_t until)
{
	while (steady_time() < until)
		go_on(run, until);
}

/* Nobody asks any more: let it come to rest, hear what is still told, and read the tables. */
static void
come_to_rest(Run *run)
{
	int64_t		give_up_at;

	still_await_clients(run->still);
	still_pause(run->still);
	give_up_at = steady_time() + LAST_EVENTS;
	do
	{
		listen_on(run, steady_time() + 3 * SECOND / 2);
		still_fetch(run->still);
	} while (!laws_all_heard(run->storm.book) && steady_time() < give_up_at);
	still_compare(run->still);
	still_verify_draws(run->still);
	still_read_told(run->still);
	still_end(run->still);
}

static void
announce(const StormOptions *options)
{
	printf("# storm: seed %lld, %lld clients, %lld queues, %lld a minute, cap %lld, %lld s%s%s\n",
		   (long long) options->seed, (long long) options->clients, (long long) options->queues,
		   (long long) options->rate, (long long) options->cap, (long long) options->seconds,
		   options->faults ? ", with faults" : "", options->settings ? "" : ", settings unchanged");
	fflush(stdout);
}

static void
print_figures(const Run *run, int64_t changes)
{
	const Storm *storm = &run->storm;

	printf("# answered:");
	for (int v = 0; v < VERBS; v++)
		printf(" %lld %s%s", (long long) storm->done[v], verb_names[v], v + 1 < VERBS ? "," : "\n");
	printf("# %lld transactions committed, %lld rolled back, %lld savepoints, %lld cancels,"
		   " %lld changes of settings, %lld connections lost, %lld events\n",
		   (long long) storm->committed, (long long) storm->rolled_back, (long long) storm->savepoints,
		   (long long) storm->cancels, (long long) changes, (long long) storm->losses,
		   (long long) hearer_heard(run->hearer));
}

/* One test a law; the exit status. */
static int
judge(Run *run)
{
	int			status;

	case_open(&run->it, run->storm.book);
	for (int law = 0; law < laws_count(); law++)
	{
		Verdict		verdict;

		law_run(law, &run->it, &verdict);
		tap(verdict.holds, "%s %s (%s)", law_name(law), verdict.claim, verdict.figures);
	}
	status = tap_done();
	case_close(&run->it);
	return status;
}

static void
storm_itself(Run *run)
{
	run->storm.holding = true;
	connect_all(run);
	still_hold_draws(run->still);
	run->storm.holding = false;
	run->it.judged_from = wall_time();
	blow(run, run->options->seconds * SECOND, false);
	if (run->options->faults)
	{
		/* Now there are none any more: it has to recover, and to go on as ever. */
		connect_all(run);
		blow(run, RECOVERY, true);
		run->it.judged_from = wall_time();
		blow(run, CALM, true);
	}
	run->it.judged_to = wall_time();
	if (!hold(run))
		storm_refused(&run->storm, "", "something was never answered", VERBS);
}

int
storm_run(const StormOptions *options)
{
	Run			run = {.options = options};
	int64_t		changes;
	int			status;

	catch_signals(options);
	announce(options);
	open_run(&run);
	storm_itself(&run);
	changes = steer_changes(run.steer);
	close_clients(&run);
	come_to_rest(&run);
	print_figures(&run, changes);
	hearer_close(run.hearer);
	status = judge(&run);
	still_close(run.still);
	book_free(run.storm.book);
	free(run.clients);
	free(run.fds);
	return status;
}
