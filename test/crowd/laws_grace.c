/*
 * laws_grace.c
 *		The law of a storm about timeouts: nobody is ended before time, nor lives on
 *		long after it.
 *
 * A sign of life has come at some time between question and answer.  For "too early"
 * it is taken to have come with the question, for "too late" with the answer, and
 * whatever may have locked the row, or have been a sign, begins the time anew.
 */
#include "laws_ways.h"

#include <stdlib.h>

#include "checks_time.h"

/*
 * As documented, so late somebody may be ended.  How late a busy machine makes it nobody
 * knows, but whoever looks for those whose time is up ends them all: to be passed over
 * while others of the queue are ended again and again is to be forgotten, and so it is to
 * live on for very long.
 */
#define DOCUMENTED	(4 * SECOND)
#define BUSY		(2 * SECOND)
#define VERY_BUSY	(25 * SECOND)

/* Who is found silent may give a sign before the end is written: between these it is too late for that. */
#define RACE		(SECOND / 2)
#define SLOW_RACE	(5 * SECOND)	/* where the machine stood still */

typedef int64_t (*Timeout) (const Setting *setting);

static int64_t
waiting_timeout(const Setting *setting)
{
	return setting->waiting_timeout;
}

static int64_t
claim_timeout(const Setting *setting)
{
	return setting->claim_timeout;
}

static int64_t
serving_timeout(const Setting *setting)
{
	return setting->serving_timeout;
}

/* The shortest that may have been in force; NEVER if there was none. */
static int64_t
shortest(const Settings *graces, int64_t from, int64_t to, Timeout timeout)
{
	int64_t		least = NEVER;

	for (int i = 0; i < graces->n; i++)
	{
		int64_t		value = timeout(&graces->list[i]);

		if (graces->list[i].from <= to && graces->list[i].to >= from && value > 0 && value < least)
			least = value;
	}
	return least;
}

/* The longest; NEVER if there may have been none for a while. */
static int64_t
longest(const Settings *graces, int64_t from, int64_t to, Timeout timeout)
{
	int64_t		most = 0;

	for (int i = 0; i < graces->n; i++)
	{
		int64_t		value = timeout(&graces->list[i]);

		if (graces->list[i].from > to || graces->list[i].to < from)
			continue;
		if (value == 0)
			return NEVER;
		most = value > most ? value : most;
	}
	return most > 0 ? most : NEVER;
}

/* ---- signs of life ---- */

/* Readings that were signs of life, by session, then in the order of asking. */
typedef struct Signs
{
	const Reading **list;
	int		   *first;			/* of each session, up to the next's */
} Signs;

static int
by_asking(const void *a, const void *b)
{
	const Reading *x = *(const Reading *const *) a;
	const Reading *y = *(const Reading *const *) b;

	return x->session != y->session ? x->session - y->session : compare_numbers(x->asked_at, y->asked_at);
}

static Signs
get_signs(const Book *book)
{
	Signs		signs = {get_memory(book->n_readings * sizeof(Reading *)),
	get_memory((book->n_sessions + 1) * sizeof(int))};
	int			n = 0;

	for (int r = 0; r < book->n_readings; r++)
		if (book->readings[r].alive)
		{
			signs.list[n++] = &book->readings[r];
			signs.first[book->readings[r].session + 1]++;
		}
	for (int s = 0; s < book->n_sessions; s++)
		signs.first[s + 1] += signs.first[s];
	qsort(signs.list, n, sizeof(Reading *), by_asking);
	return signs;
}

/* ---- too early ---- */

/* The last time, for sure, at which something began the time of a visit anew. */
static int64_t
last_sign(const Case *it, const Signs *signs, const Visit *visit, int64_t before)
{
	int			session = visit->session;
	const Row  *row = visit->row;
	int64_t		last = visit->begun_at;

	if (row->status == NO_SHOW)
		return row->ready_at;
	if (row->status == EXPIRED)
		last = row->extended_at > row->served_at ? row->extended_at : row->served_at;
	if (session < 0)
		return last;
	for (int t = it->first_touch[session]; t < it->first_touch[session + 1]; t++)
	{
		const Touch *touch = &it->book->touches[it->touches[t]];

		/* Its row is asked again, so no extension comes too late that has committed. */
		if (touch->verb == V_EXTEND && row->status == EXPIRED &&
			touch->deed.outcome == COMMITTED && touch->deed.answered_at != 0 &&
			touch->deed.asked_at >= visit->begun_at && touch->deed.ended_at < row->left_at &&
			touch->deed.asked_at > last)
			last = touch->deed.asked_at;
	}
	for (int s = signs->first[session]; s < signs->first[session + 1] && row->status == ABANDONED; s++)
		if (signs->list[s]->position > 0 && signs->list[s]->answered_at < before &&
			signs->list[s]->asked_at > last)
			last = signs->list[s]->asked_at;
	return last;
}

static bool
ended_early(const Case *it, int queue, const Signs *signs, const Visit *visit)
{
	const Row  *row = visit->row;
	bool		stalled = spans_touch(&it->book->stalled, row->left_at - SLOW_RACE, row->left_at + SECOND);
	int64_t		race = stalled ? SLOW_RACE : RACE;
	Timeout		timeout = row->status == ABANDONED ? waiting_timeout :
		row->status == NO_SHOW ? claim_timeout : serving_timeout;
	int64_t		least = shortest(&it->book->queues[queue].graces, row->left_at - race, row->left_at, timeout);

	return least == NEVER || row->left_at < last_sign(it, signs, visit, row->left_at - race) + least;
}

/* ---- too late ---- */

typedef struct Lateness
{
	int			late;
	int64_t		latest;			/* beyond its time somebody surely was let be */
} Lateness;

/*
 * Whether a queue surely was looked through as a whole between two times.  All whom one
 * look ends as no-shows have the same time, and likewise those whose lease ends; so
 * between the first and the last of three such times there was one look from its
 * beginning to its end.  It goes by rows that ended for good.
 */
static bool
looked_through(const Case *it, int queue, Status status, int64_t from, int64_t to)
{
	int64_t		first = NEVER;
	int64_t		last = 0;

	for (int v = 0; v < it->visits[queue].n; v++)
	{
		const Row  *row = it->visits[queue].list[v].row;

		if (row->status != status || row->left_at <= from || row->left_at >= to)
			continue;
		first = row->left_at < first ? row->left_at : first;
		last = row->left_at > last ? row->left_at : last;
	}
	for (int v = 0; v < it->visits[queue].n; v++)
	{
		const Row  *row = it->visits[queue].list[v].row;

		if (row->status == status && row->left_at > first && row->left_at < last)
			return true;
	}
	return false;
}

/* Nothing happened to a session from one time to another: was there time to end it? */
static void
look_at_silence(const Case *it, int queue, int session, int64_t from, int64_t to, Timeout timeout,
				Lateness *lateness)
{
	int64_t		most;

	from = from > it->judged_from ? from : it->judged_from;
	to = to < it->judged_to ? to : it->judged_to;
	if (to - from < SECOND)
		return;
	most = longest(&it->book->queues[queue].graces, from, to, timeout);
	if (most == NEVER || to - from <= most || spans_touch(&it->book->stalled, from + most, to))
		return;
	lateness->latest = to - from - most > lateness->latest ? to - from - most : lateness->latest;
	if (to - from <= most + DOCUMENTED + BUSY)
		return;
	from += most + DOCUMENTED;
	if (to - from > VERY_BUSY || looked_through(it, queue, NO_SHOW, from, to) ||
		looked_through(it, queue, EXPIRED, from, to))
	{
		if (lateness->late++ == 0)
			case_tell(it, session);
	}
}

/* All silences of a session within a time; polls are signs of those who wait. */
static void
look_at_stretch(const Case *it, int queue, int session, const Signs *signs, int64_t from, int64_t to,
				Timeout timeout, Lateness *lateness)
{
	int			t = it->first_touch[session];
	int			s = signs->first[session];
	int			last_touch = it->first_touch[session + 1];
	int			last_sign = timeout == waiting_timeout ? signs->first[session + 1] : s;

	while (from < to && (t < last_touch || s < last_sign))
	{
		const Deed *deed = t < last_touch ? &it->book->touches[it->touches[t]].deed : NULL;
		bool		touched = deed != NULL && (s >= last_sign || deed->asked_at < signs->list[s]->asked_at);
		int64_t		begin = touched ? deed->asked_at : signs->list[s]->asked_at;
		int64_t		end = touched ? deed_end(deed) : signs->list[s]->answered_at;

		if (touched && deed->outcome == OPEN)
			return;
		t += touched;
		s += !touched;
		if (end < from)
			continue;
		if (begin > from)
			look_at_silence(it, queue, session, from, begin < to ? begin : to, timeout, lateness);
		from = end > from ? end : from;
	}
	if (from < to)
		look_at_silence(it, queue, session, from, to, timeout, lateness);
}

static int64_t
first_of(int64_t a, int64_t b)
{
	return a != 0 ? a : b != 0 ? b : NEVER;
}

static void
look_at_visit(const Case *it, int queue, const Signs *signs, const Visit *visit, Lateness *lateness)
{
	const Row  *row = visit->row;
	int64_t		let_in_at = row_let_in_at(row);

	/* What is not known of a session with gaps may be a sign of life. */
	if (visit->session < 0 || visit->from == NEVER || it->patchy[visit->session])
		return;
	look_at_stretch(it, queue, visit->session, signs, visit->from, first_of(let_in_at, row->left_at),
					waiting_timeout, lateness);
	if (row->ready_at != 0)
		look_at_stretch(it, queue, visit->session, signs,
						row->ready_at > visit->from ? row->ready_at : visit->from,
						first_of(row->served_at, row->left_at), claim_timeout, lateness);
	if (row->served_at != 0)
		look_at_stretch(it, queue, visit->session, signs,
						row->served_at > visit->from ? row->served_at : visit->from,
						first_of(0, row->left_at), serving_timeout, lateness);
}

void
law_timeouts(const Case *it, Verdict *verdict)
{
	Signs		signs = get_signs(it->book);
	Lateness	lateness = {0};
	int			ended[STATUSES] = {0};
	int			early = 0;

	for (int q = 0; q < it->book->n_queues; q++)
		for (int v = 0; v < it->visits[q].n; v++)
		{
			const Visit *visit = &it->visits[q].list[v];
			Status		status = visit->row->status;

			ended[status]++;
			if ((status == ABANDONED || status == NO_SHOW || status == EXPIRED) &&
				ended_early(it, q, &signs, visit) && early++ == 0 && visit->session >= 0)
				case_tell(it, visit->session);
			look_at_visit(it, q, &signs, visit, &lateness);
		}
	free(signs.list);
	free(signs.first);
	verdict_say(verdict, early + lateness.late == 0,
				"%d abandoned, %d no_show, %d expired; %d early; %d late, surely by %.3f s at the most",
				ended[ABANDONED], ended[NO_SHOW], ended[EXPIRED], early, lateness.late,
				(double) lateness.latest / SECOND);
}
