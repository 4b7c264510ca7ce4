/*
 * laws.c
 *		What has to hold of a storm: the list of laws, and what they look up.
 */
#include "laws.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checks_time.h"
#include "laws_moving.h"
#include "laws_ways.h"
#include "laws_sessions.h"
#include "laws_time.h"
#include "laws_told.h"

/* ---- looking up ---- */

static void
index_rows(Case *it, const Book *book)
{
	it->rows = get_memory(book->n_sessions * sizeof(int));
	for (int s = 0; s < book->n_sessions; s++)
		it->rows[s] = -1;
	for (int q = 0; q < book->n_queues; q++)
		for (int r = 0; r < book->queues[q].n_rows; r++)
		{
			int			session = idmap_find(book->by_id, &book->queues[q].rows[r].id);

			if (session >= 0 && book->sessions[session].queue == q)
				it->rows[session] = r;
		}
}

/* The one piece of state that a comparison needs. */
static const Touch *all_touches;

static int
by_touched(const void *a, const void *b)
{
	const Touch *x = &all_touches[*(const int *) a];
	const Touch *y = &all_touches[*(const int *) b];

	if (x->session != y->session)
		return x->session - y->session;
	return compare_numbers(x->deed.asked_at, y->deed.asked_at);
}

static void
index_touches(Case *it, const Book *book)
{
	it->first_touch = get_memory((book->n_sessions + 1) * sizeof(int));
	it->touches = get_memory(book->n_touches * sizeof(int));
	for (int t = 0; t < book->n_touches; t++)
	{
		it->touches[t] = t;
		it->first_touch[book->touches[t].session + 1]++;
	}
	for (int s = 0; s < book->n_sessions; s++)
		it->first_touch[s + 1] += it->first_touch[s];
	all_touches = book->touches;
	qsort(it->touches, book->n_touches, sizeof(int), by_touched);
}

/* ---- places ---- */

int64_t
line_key(Lane lane, int64_t rank)
{
	return (int64_t) lane << 61 | rank;
}

static const Row *all_rows;

static int
by_place(const void *a, const void *b)
{
	const Row  *x = &all_rows[*(const int *) a];
	const Row  *y = &all_rows[*(const int *) b];

	if (x->order_key != y->order_key)
		return compare_numbers(x->order_key, y->order_key);
	return compare_numbers(x->ticket, y->ticket);
}

static bool
was_moved(const Case *it, int session)
{
	for (int t = it->first_touch[session]; t < it->first_touch[session + 1]; t++)
	{
		const Touch *touch = &it->book->touches[it->touches[t]];

		if (verb_moves(touch->verb) && touch->deed.outcome != ROLLED_BACK)
			return true;
	}
	return false;
}

/*
 * The key that a row has in the end is that of all its visits, unless it was moved:
 * who comes into another lane of a queue with random places has a new one.
 */
static void
index_ranks(Case *it, const Book *book)
{
	it->ranks = get_memory(book->n_sessions * sizeof(int64_t));
	for (int q = 0; q < book->n_queues; q++)
	{
		const BookQueue *queue = &book->queues[q];
		int		   *order = get_memory(queue->n_rows * sizeof(int));
		bool		random = false;

		for (int r = 0; r < queue->n_rows; r++)
		{
			order[r] = r;
			random |= queue->rows[r].order_key > 0;
		}
		all_rows = queue->rows;
		qsort(order, queue->n_rows, sizeof(int), by_place);
		for (int i = 0; i < queue->n_rows; i++)
		{
			int			session = idmap_find(book->by_id, &queue->rows[order[i]].id);

			if (session >= 0 && book->sessions[session].queue == q && !(random && was_moved(it, session)))
				it->ranks[session] = i + 1;
		}
		free(order);
	}
}

/* ---- visits ---- */

static void
add_visit(Visits *visits, const Visit *visit)
{
	visits->list = grow(visits->list, visits->n, &visits->room, sizeof(Visit));
	visits->list[visits->n++] = *visit;
}

/* A row's visit, and before it those that were over when somebody readmitted it. */
static void
add_visits(Case *it, Visits *visits, int session, const Row *row)
{
	Visit		visit = {session, row, NEVER, row->joined_at, NEVER};

	if (session < 0)
	{
		add_visit(visits, &visit);
		return;
	}
	it->first_visit[session] = visits->n;
	visit.from = it->book->sessions[session].known_at;
	for (int t = it->first_touch[session]; t < it->first_touch[session + 1]; t++)
	{
		const Touch *touch = &it->book->touches[it->touches[t]];

		if (touch->verb != V_READMIT || touch->deed.outcome == ROLLED_BACK)
			continue;
		if (touch->deed.answered_at != 0 && !touch->changed)
			continue;
		if (touch->deed.outcome != COMMITTED || touch->deed.answered_at == 0)
		{
			it->patchy[session] = true;
			continue;
		}
		visit.row = &touch->past;
		visit.revived_at = deed_end(&touch->deed);
		add_visit(visits, &visit);
		visit.row = row;
		visit.from = visit.revived_at;
		visit.begun_at = touch->deed.asked_at;
		visit.revived_at = NEVER;
	}
	add_visit(visits, &visit);
}

static void
index_visits(Case *it, const Book *book)
{
	it->visits = get_memory(book->n_queues * sizeof(Visits));
	it->first_visit = get_memory(book->n_sessions * sizeof(int));
	it->patchy = get_memory(book->n_sessions * sizeof(bool));
	for (int s = 0; s < book->n_sessions; s++)
		it->first_visit[s] = -1;
	for (int q = 0; q < book->n_queues; q++)
		for (int r = 0; r < book->queues[q].n_rows; r++)
		{
			const Row  *row = &book->queues[q].rows[r];
			int			session = idmap_find(book->by_id, &row->id);

			if (session >= 0 && book->sessions[session].queue != q)
				session = -1;
			add_visits(it, &it->visits[q], session, row);
		}
}

const Visit *
case_visits(const Case *it, int session, int *n)
{
	const Visits *visits = &it->visits[it->book->sessions[session].queue];
	int			first = it->first_visit[session];

	*n = 0;
	if (first < 0)
		return NULL;
	while (first + *n < visits->n && visits->list[first + *n].session == session)
		(*n)++;
	return &visits->list[first];
}

Row *
case_visit_rows(const Case *it, int queue, int *n)
{
	const Visits *visits = &it->visits[queue];
	Row		   *rows = get_memory(visits->n * sizeof(Row));

	for (int v = 0; v < visits->n; v++)
		rows[v] = *visits->list[v].row;
	*n = visits->n;
	return rows;
}

void
case_open(Case *it, const Book *book)
{
	it->book = book;
	index_rows(it, book);
	index_touches(it, book);
	index_ranks(it, book);
	index_visits(it, book);
}

void
case_close(Case *it)
{
	free(it->rows);
	free(it->ranks);
	free(it->first_touch);
	free(it->touches);
	for (int q = 0; q < it->book->n_queues; q++)
		free(it->visits[q].list);
	free(it->visits);
	free(it->first_visit);
	free(it->patchy);
}

const Row *
case_row(const Case *it, int session)
{
	const Session *of = &it->book->sessions[session];

	return it->rows[session] < 0 ? NULL : &it->book->queues[of->queue].rows[it->rows[session]];
}

static void
tell_deed(const Deed *deed, const char *what, const char *how)
{
	static const char *const outcomes[] = {"open", "committed", "rolled back", "unknown"};

	printf("#   %lld to %lld to %lld: %s %s, %s%s\n", (long long) deed->asked_at,
		   (long long) deed->answered_at, (long long) deed->ended_at, what, how,
		   outcomes[deed->outcome], deed->lost ? ", lost" : "");
}

static void
tell_row(const Row *row)
{
	printf("#   row: %s, lane %s, joined %lld, called %lld, served %lld, extended %lld, left %lld\n",
		   status_names[row->status], lane_names[row->lane], (long long) row->joined_at,
		   (long long) row->ready_at, (long long) row->served_at, (long long) row->extended_at,
		   (long long) row->left_at);
}

void
case_tell(const Case *it, int session)
{
	const Book *book = it->book;
	const Session *of = &book->sessions[session];
	char		id[UUID_TEXT];
	int			n_visits;
	const Visit *visits;

	if (it->silent)
		return;
	printf("# session %s of %s, lane %s, ticket %lld, known at %lld, seen inside at %lld\n",
		   uuid_print(&of->id, id), book->queues[of->queue].name, lane_names[of->lane],
		   (long long) of->ticket, (long long) of->known_at, (long long) of->seen_serving_at);
	visits = case_visits(it, session, &n_visits);
	for (int v = 0; v < n_visits; v++)
		tell_row(visits[v].row);
	printf("#   %d released events, the last at %lld; %d ended events, the last at %lld\n",
		   of->released_events, (long long) of->released_heard_at, of->ended_events,
		   (long long) of->ended_heard_at);
	for (int j = 0; j < book->n_joins; j++)
		if (book->joins[j].session == session)
			tell_deed(&book->joins[j].deed, "join", status_names[book->joins[j].status]);
	for (int t = it->first_touch[session]; t < it->first_touch[session + 1]; t++)
	{
		const Touch *touch = &book->touches[it->touches[t]];

		tell_deed(&touch->deed, verb_names[touch->verb],
				  !verb_moves(touch->verb) ? status_names[touch->status] :
				  touch->changed ? lane_names[touch->lane] : "nothing");
	}
}

/* ---- I8 and answers ---- */

static void
law_memory(const Case *it, Verdict *verdict)
{
	verdict_say(verdict, it->book->differences == 0 && it->book->checks_made > 0,
				"%lld differences in %lld calls of check()", (long long) it->book->differences,
				(long long) it->book->checks_made);
}

static void
law_answers(const Case *it, Verdict *verdict)
{
	verdict_say(verdict, it->book->refused == 0, "%lld errors that may be, %lld others%s%s",
				(long long) it->book->excused, (long long) it->book->refused,
				it->book->refused > 0 ? ", the first: " : "", it->book->complaint);
}

/* ---- the list ---- */

typedef struct Law
{
	const char *name;
	const char *claim;
	void		(*run) (const Case *it, Verdict *verdict);
} Law;

static const Law laws[] = {
	{"I1", "nobody lost: who was answered is there in one status, who was rolled back is not",
	law_nobody_lost},
	{"I2", "nobody twice: one live session a user, one session a ticket, one release a session",
	law_nobody_twice},
	{"I3", "the cap: never more inside than may be", law_cap},
	{"I4", "the rate: in any window at most burst + rate * window, none while paused", law_rate},
	{"I5", "order: nobody let in past one who waited before", law_order},
	{"I6", "positions: as counted when the line stands, and none grows but for others moved ahead",
	law_positions},
	{"I7", "events: each release and each end told exactly once, and nothing else", law_events},
	{"I8", "memory equals tables", law_memory},
	{"I9", "liveness: with a slot, a token and somebody waiting one comes in within a second",
	law_liveness},
	{"I10", "timeouts: nobody is ended before time, nor lives on long after it", law_timeouts},
	{"I11", "claims: who is called comes in by claiming alone, and is called where claims are wanted",
	law_claims},
	{"I12", "turns: each lane in which somebody stands has its share by weight", law_turns},
	{"I13", "doors: nobody joins where joins are refused, nor is refused elsewhere; passthrough keeps nobody waiting",
	law_doors},
	{"I14", "the clock: a queue changes at its moment, not before and not late", law_clock},
	{"I15", "draws: all who came before the opening drew their places, nobody else, and anyone can recompute them",
	law_draws},
	{"I16", "the log of events: it has each release, each end and each state once and in order, as it was told", law_log},
	{"I17", "statistics: they count what the tables have", law_statistics},
	{"answers", "every statement was answered, or refused for a reason", law_answers},
};

int
laws_count(void)
{
	return sizeof(laws) / sizeof(laws[0]);
}

const char *
law_name(int law)
{
	return laws[law].name;
}

void
law_run(int law, const Case *it, Verdict *verdict)
{
	verdict->claim = laws[law].claim;
	verdict->holds = false;
	laws[law].run(it, verdict);
}
