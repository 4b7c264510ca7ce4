/*
 * laws_log.c
 *		The laws of a storm about the log of events and about statistics.
 *
 * What happened is known from the visits.  Listeners may be away, the log never is;
 * but of a session that was readmitted about the time that the server went down, what
 * was not told by then is lost (see src/recall.h), so the log may lack that.
 */
#include "laws_told.h"

#include <stdio.h>
#include <stdlib.h>

#include "checks_time.h"

/* ---- the log, by session ---- */

/* Which lines of the log tell of which rows; the rows of all queues are numbered in one go. */
typedef struct LogIndex
{
	IdMap	   *rows;
	int			n_rows;
	int		   *first;			/* lines of row r: lines[first[r]] up to the next's */
	int		   *lines;			/* of the log */
	int			strangers;		/* lines of sessions that have no row in that queue */
} LogIndex;

/* What the law finds of the log. */
typedef struct LogFaults
{
	int			told;			/* of the first that are amiss all is told */
	int			lost;			/* between two servers, as may be */
	int			missing;
	int			repeated;
	int			otherwise;		/* in another order, or otherwise than it happened */
	int			differing;		/* from what was heard */
	int			unlogged;		/* heard only */
	int			unheard;		/* logged only */
	int			states;
} LogFaults;

static void
number_rows(const Book *book, LogIndex *index)
{
	index->rows = idmap_make();
	for (int q = 0; q < book->n_queues; q++)
		for (int r = 0; r < book->queues[q].n_rows; r++)
			(void) idmap_add(index->rows, &book->queues[q].rows[r].id, index->n_rows++);
}

static void
index_log(const Book *book, LogIndex *index)
{
	int		   *row_of = get_memory(book->logged.n * sizeof(int));
	int		   *next;

	number_rows(book, index);
	index->first = get_memory((index->n_rows + 1) * sizeof(int));
	index->lines = get_memory(book->logged.n * sizeof(int));
	next = get_memory(index->n_rows * sizeof(int));
	for (int i = 0; i < book->logged.n; i++)
	{
		const Telling *line = &book->logged.list[i];

		row_of[i] = line->type == STATE_EVENT ? -1 : idmap_find(index->rows, &line->session.id);
		if (row_of[i] >= 0)
			index->first[row_of[i] + 1]++;
		else
			index->strangers += line->type != STATE_EVENT;
	}
	for (int r = 0; r < index->n_rows; r++)
	{
		index->first[r + 1] += index->first[r];
		next[r] = index->first[r];
	}
	for (int i = 0; i < book->logged.n; i++)
		if (row_of[i] >= 0)
			index->lines[next[row_of[i]]++] = i;
	free(row_of);
	free(next);
}

static void
forget_log(LogIndex *index)
{
	idmap_free(index->rows);
	free(index->first);
	free(index->lines);
}

/* Something that happened to a session, to be told, and what may have been told of it later instead. */
typedef struct Happened
{
	EventType	type;
	Status		status;			/* of an end */
	bool		losable;		/* somebody was away, maybe the server, before it was undone */
} Happened;

#define MOST_HAPPENED 200

/* All that happened in a row's visits, of which the first is given. */
static int
list_happened(const Case *it, const Visit *visits, int n_visits, Happened *list)
{
	int			n = 0;

	for (int v = 0; v < n_visits && n + 2 <= MOST_HAPPENED; v++)
	{
		const Row  *row = visits[v].row;
		bool		losable = visits[v].revived_at != NEVER &&
			spans_touch(&it->book->away, row->left_at, visits[v].revived_at + EVENT_PATIENCE);

		if (row_let_in_at(row) != 0)
			list[n++] = (Happened) {RELEASED_EVENT, WAITING, losable};
		if (row->left_at != 0)
			list[n++] = (Happened) {ENDED_EVENT, row->status, losable};
	}
	return n;
}

static bool
tells_of(const Telling *line, const Happened *happened)
{
	return line->type == happened->type &&
		(line->type == RELEASED_EVENT || line->session.status == happened->status);
}

/* Whether some lines are all that happened, in order, but for what may have been lost. */
static bool
tell_all(const Book *book, const int *lines, int n_lines, const Happened *happened, int n, int *lost)
{
	int			l = 0;

	*lost = 0;
	for (int h = 0; h < n; h++)
	{
		if (l < n_lines && tells_of(&book->logged.list[lines[l]], &happened[h]))
			l++;
		else if (happened[h].losable)
			(*lost)++;
		else
			return false;
	}
	return l == n_lines;
}

static bool
same_session(const Telling *line, const Row *row)
{
	return uuid_equal(&line->session.user_id, &row->user_id) && line->session.ticket == row->ticket;
}

/* The visits of a queue that begin with this one and are of the same row. */
static int
count_visits(const Visits *visits, int first)
{
	int			n = 1;

	while (visits->list[first].session >= 0 && first + n < visits->n &&
		   visits->list[first + n].session == visits->list[first].session)
		n++;
	return n;
}

/* Hold what the log tells of a row against its visits; whether it has all of them. */
static bool
look_at_row(const Case *it, const LogIndex *index, int number, const Row *row, const Visit *visits, int n_visits,
			LogFaults *faults)
{
	const int  *lines = &index->lines[index->first[number]];
	int			n_lines = index->first[number + 1] - index->first[number];
	Happened	happened[MOST_HAPPENED];
	int			n = list_happened(it, visits, n_visits, happened);
	int			lost = 0;
	bool		all;

	for (int l = 0; l < n_lines; l++)
		faults->otherwise += !same_session(&it->book->logged.list[lines[l]], row);
	if (visits->session >= 0 && it->patchy[visits->session])
		return false;
	all = tell_all(it->book, lines, n_lines, happened, n, &lost);
	faults->lost += lost;
	if (all)
		return lost == 0;
	faults->missing += n_lines < n;
	faults->repeated += n_lines > n;
	faults->otherwise += n_lines == n;
	if (faults->told++ < 2 && visits->session >= 0)
		case_tell(it, visits->session);
	return true;
}

/* Called for each row, with whether the log may lack something of it. */
typedef void (*RowVisitor) (const Case *it, const LogIndex *index, int number, int queue, const Visit *visits,
							int n_visits, bool complete, void *arg);

static void
look_at_rows(const Case *it, const LogIndex *index, LogFaults *faults, RowVisitor visitor, void *arg)
{
	for (int q = 0; q < it->book->n_queues; q++)
		for (int v = 0; v < it->visits[q].n;)
		{
			const Visit *visits = &it->visits[q].list[v];
			int			n = count_visits(&it->visits[q], v);
			const Row  *row = visits[n - 1].row;
			int			number = idmap_find(index->rows, &row->id);
			bool		complete = look_at_row(it, index, number, row, visits, n, faults);

			if (visitor != NULL)
				visitor(it, index, number, q, visits, n, complete, arg);
			v += n;
		}
}

/* ---- I16: the log ---- */

static int
by_number(const void *a, const void *b)
{
	const Telling *x = a;
	const Telling *y = b;

	if (x->queue != y->queue)
		return x->queue - y->queue;
	if (x->seq != y->seq)
		return compare_numbers(x->seq, y->seq);
	return x->number - y->number;
}

static bool
same_telling(const Telling *x, const Telling *y)
{
	if (x->type != y->type)
		return false;
	if (x->type == STATE_EVENT)
		return x->state == y->state;
	return uuid_equal(&x->session.id, &y->session.id) && uuid_equal(&x->session.user_id, &y->session.user_id) &&
		x->session.ticket == y->session.ticket &&
		(x->type == RELEASED_EVENT || x->session.status == y->session.status);
}

static Telling *
sorted(const Tellings *tellings)
{
	Telling    *list = get_memory(tellings->n * sizeof(Telling));

	for (int i = 0; i < tellings->n; i++)
		list[i] = tellings->list[i];
	qsort(list, tellings->n, sizeof(Telling), by_number);
	return list;
}

/* Hold what was heard against what was logged, line by line; one of them may have a line twice. */
static void
compare_with_heard(const Book *book, LogFaults *faults)
{
	Telling    *heard = sorted(&book->heard);
	Telling    *logged = sorted(&book->logged);
	int			h = 0;
	int			l = 0;

	while (h < book->heard.n || l < book->logged.n)
	{
		int			order = h >= book->heard.n ? 1 : l >= book->logged.n ? -1 : by_number(&heard[h], &logged[l]);

		if (order == 0)
			faults->differing += !same_telling(&heard[h], &logged[l]);
		else if (order < 0)
			faults->unlogged++;
		else if (!spans_touch(&book->away, logged[l].at, logged[l].at + EVENT_PATIENCE))
			faults->unheard++;
		h += order <= 0;
		l += order >= 0;
	}
	free(heard);
	free(logged);
}

static QueueState
state_of(const Setting *setting)
{
	return setting->open ? (setting->shut ? IS_DRAINING : IS_OPEN) : setting->shut ? IS_CLOSED : IS_PAUSED;
}

/*
 * Whether a queue that was told to be in a state may have been in another one before
 * it was told again: what is short may be over when the worker comes to tell of it.
 */
static bool
may_have_changed(const Settings *states, const Telling *before, const Telling *again)
{
	int			since = -1;

	for (int i = 0; i < states->n; i++)
		if (state_of(&states->list[i]) == before->state && states->list[i].from <= before->at &&
			states->list[i].to >= states->list[i].from)
			since = i;
	for (int i = since + 1; i < states->n; i++)
		if (state_of(&states->list[i]) != again->state && states->list[i].from <= again->at &&
			states->list[i].to >= states->list[i].from)
			return true;
	return false;
}

/* Each queue's lines come by their numbers; it is told to be what it was not, and in the end what it is. */
static void
look_at_order(const Book *book, LogFaults *faults)
{
	const Telling **last = get_memory(book->n_queues * sizeof(Telling *));
	const Telling **state = get_memory(book->n_queues * sizeof(Telling *));

	for (int i = 0; i < book->logged.n; i++)
	{
		const Telling *line = &book->logged.list[i];
		const Telling *before = state[line->queue];

		if (last[line->queue] != NULL && by_number(line, last[line->queue]) <= 0)
			faults->otherwise++;
		last[line->queue] = line;
		if (line->type != STATE_EVENT)
			continue;
		faults->states += before != NULL && before->state == line->state &&
			!may_have_changed(&book->queues[line->queue].states, before, line);
		state[line->queue] = line;
	}
	for (int q = 0; q < book->n_queues; q++)
		faults->states += state[q] != NULL && state[q]->state != book->queues[q].state;
	free(last);
	free(state);
}

void
law_log(const Case *it, Verdict *verdict)
{
	const Book *book = it->book;
	LogFaults	faults = {0};
	LogIndex	index = {0};

	if (!book->log_read)
	{
		verdict_say(verdict, true, "not judged: there is none, or it is another server's");
		return;
	}
	index_log(book, &index);
	look_at_rows(it, &index, &faults, NULL, NULL);
	compare_with_heard(book, &faults);
	look_at_order(book, &faults);
	verdict_say(verdict, faults.missing + faults.repeated + faults.otherwise + faults.differing + faults.unlogged +
				faults.unheard + faults.states + index.strangers == 0,
				"%d logged, %d heard; of the tables %d missing, %d repeated, %d otherwise, %d lost with a server; "
				"%d of nobody; %d heard but not logged, %d logged but not heard, %d differing; %d states amiss",
				book->logged.n, book->heard.n, faults.missing, faults.repeated, faults.otherwise, faults.lost,
				index.strangers, faults.unlogged, faults.unheard, faults.differing, faults.states);
	forget_log(&index);
}

/* ---- I17: statistics ---- */

/* Of each queue, and where the tables do not tell all of a session, what the log does. */
static void
count_row(const Case *it, const LogIndex *index, int number, int queue, const Visit *visits, int n_visits,
		  bool complete, void *arg)
{
	int64_t    *figures = (int64_t *) arg + queue * FIGURES;
	Happened	happened[MOST_HAPPENED];
	int			n = list_happened(it, visits, n_visits, happened);

	figures[JOINED_FIGURE]++;
	for (int h = 0; h < n && complete; h++)
		figures[happened[h].type == RELEASED_EVENT ? RELEASED_FIGURE : figure_of(happened[h].status)]++;
	for (int l = index->first[number]; l < index->first[number + 1] && !complete; l++)
	{
		const Telling *line = &it->book->logged.list[index->lines[l]];

		figures[line->type == RELEASED_EVENT ? RELEASED_FIGURE : figure_of(line->session.status)]++;
	}
}

void
law_statistics(const Case *it, Verdict *verdict)
{
	const Book *book = it->book;
	LogFaults	faults = {.told = 2};	/* all that is amiss in the log is told by its own law */
	LogIndex	index = {0};
	int64_t    *figures;
	int64_t		counted = 0;
	int			differing = 0;
	char		first[100] = "";

	if (!book->log_read || !book->counted)
	{
		verdict_say(verdict, true, "not judged: there are none, or they are another server's");
		return;
	}
	figures = get_memory(book->n_queues * FIGURES * sizeof(int64_t));
	index_log(book, &index);
	look_at_rows(it, &index, &faults, count_row, figures);
	for (int q = 0; q < book->n_queues; q++)
		for (int f = 0; f < FIGURES; f++)
		{
			int64_t		expected = figures[q * FIGURES + f];

			counted += expected;
			if (expected != book->queues[q].figures[f] && differing++ == 0)
				snprintf(first, sizeof(first), ", the first: %lld %s of %.40s rather than %lld",
						 (long long) book->queues[q].figures[f], figure_names[f], book->queues[q].name,
						 (long long) expected);
		}
	verdict_say(verdict, differing == 0, "%lld counted; %d figures differ from the tables%s",
				(long long) counted, differing, first);
	forget_log(&index);
	free(figures);
}
