/*
 * laws_order.c
 *		Who surely waited when, and the law that goes by that: order.
 */
#include "highest.h"
#include "laws_time.h"

#include <stdlib.h>

#include "checks_time.h"

/* A release step that found a row locked does not look at it again, for about so long. */
#define STEP		(SECOND / 2)

int64_t
line_key(Lane lane, int64_t ticket)
{
	return (int64_t) lane << 61 | ticket;
}

/* ---- who surely waited ---- */

typedef struct StandList
{
	Stand	   *list;
	int			n;
	int			room;
} StandList;

static void
add_stand(StandList *stands, int session, const Row *row, int64_t from, int64_t to, Lane lane)
{
	Stand		stand = {from, to, to, line_key(lane, row->ticket), session};

	if (row->served_at != 0 && row->served_at < to)
	{
		stand.to = row->served_at;
		stand.seen_to = NEVER;
	}
	if (stand.from >= stand.to)
		return;
	stands->list = grow(stands->list, stands->n, &stands->room, sizeof(Stand));
	stands->list[stands->n++] = stand;
}

/* From when a committed join was known to when somebody set about to end it, but for moves. */
static void
add_stands(const Case *it, int session, StandList *stands)
{
	const Session *of = &it->book->sessions[session];
	const Row  *row = case_row(it, session);
	int64_t		from = of->known_at;
	Lane		lane = of->lane;
	int64_t		last_move = 0;

	if (row == NULL || of->known_at == NEVER)
		return;
	for (int t = it->first_touch[session]; t < it->first_touch[session + 1]; t++)
	{
		const Touch *touch = &it->book->touches[it->touches[t]];
		const Deed *deed = &touch->deed;

		add_stand(stands, session, row, from, deed->asked_at, lane);
		if (deed->outcome == UNKNOWN || deed->outcome == OPEN ||
			(deed->outcome == COMMITTED && touch->verb != V_MOVE))
			return;
		if (deed_end(deed) + STEP > from)
			from = deed_end(deed) + STEP;
		if (deed->outcome != COMMITTED || !touch->changed)
			continue;
		if (deed->asked_at < last_move)
			return;				/* two moves at a time: either may have been the last */
		last_move = deed_end(deed);
		lane = touch->lane;
	}
	add_stand(stands, session, row, from, NEVER, lane);
}

Stand *
stands_of(const Case *it, int queue, int *n)
{
	StandList	stands = {0};

	for (int s = 0; s < it->book->n_sessions; s++)
		if (it->book->sessions[s].queue == queue)
			add_stands(it, s, &stands);
	*n = stands.n;
	return stands.list;
}

/* ---- I5: order ---- */

typedef struct Entrance
{
	int64_t		at;
	int64_t		seen_at;		/* when the crowd first knew */
	int64_t		key;
	int			session;
} Entrance;

/* Entrances by time, and the highest keys among them. */
typedef struct Entrances
{
	Entrance   *list;
	int			n;
	Highest    *highest;
} Entrances;

static int
by_entrance(const void *a, const void *b)
{
	return compare_numbers(((const Entrance *) a)->at, ((const Entrance *) b)->at);
}

/* Whether it may have changed its lane while it was let in. */
static bool
may_have_moved(const Case *it, int session, int64_t from, int64_t to)
{
	for (int t = it->first_touch[session]; t < it->first_touch[session + 1]; t++)
	{
		const Touch *touch = &it->book->touches[it->touches[t]];

		if (touch->verb == V_MOVE && touch->deed.asked_at <= to && deed_end(&touch->deed) >= from)
			return true;
	}
	return false;
}

static Entrances
get_entrances(const Case *it, int queue)
{
	Entrances	entrances = {.list = get_memory(it->book->n_sessions * sizeof(Entrance))};

	for (int s = 0; s < it->book->n_sessions; s++)
	{
		const Session *session = &it->book->sessions[s];
		const Row  *row = session->queue == queue ? case_row(it, s) : NULL;
		Entrance   *entrance = &entrances.list[entrances.n];

		if (row == NULL || row->served_at == 0)
			continue;
		entrance->at = row->served_at;
		entrance->session = s;
		entrance->seen_at = session->seen_serving_at != 0 ? session->seen_serving_at : NEVER;
		entrance->key = line_key(row->lane, row->ticket);
		if (!may_have_moved(it, s, entrance->at, entrance->seen_at))
			entrances.n++;
	}
	qsort(entrances.list, entrances.n, sizeof(Entrance), by_entrance);
	entrances.highest = highest_make(entrances.n);
	for (int i = 0; i < entrances.n; i++)
		highest_add(entrances.highest, entrances.list[i].at, entrances.list[i].key);
	return entrances;
}

static void
free_entrances(Entrances *entrances)
{
	highest_free(entrances->highest);
	free(entrances->list);
}

/* Somebody who came in from further behind while this one surely stood there; or NULL. */
static const Entrance *
find_passer(const Entrances *entrances, const Stand *stand)
{
	int			from = highest_first(entrances->highest, stand->from + 1);
	int			to = highest_first(entrances->highest, stand->to);

	if (highest_between(entrances->highest, from, to) <= stand->key)
		return NULL;
	for (int i = from; i < to; i++)
		if (entrances->list[i].key > stand->key &&
			(stand->seen_to == NEVER || entrances->list[i].seen_at < stand->seen_to))
			return &entrances->list[i];
	return NULL;
}

void
law_order(const Case *it, Verdict *verdict)
{
	int			stood = 0;
	int			entered = 0;
	int			passed = 0;

	for (int q = 0; q < it->book->n_queues; q++)
	{
		int			n;
		Stand	   *stands = stands_of(it, q, &n);
		Entrances	entrances = get_entrances(it, q);

		stood += n;
		entered += entrances.n;
		for (int i = 0; i < n; i++)
		{
			const Entrance *passer = find_passer(&entrances, &stands[i]);

			if (passer == NULL)
				continue;
			if (passed++ > 0)
				continue;
			case_tell(it, stands[i].session);
			case_tell(it, passer->session);
		}
		free_entrances(&entrances);
		free(stands);
	}
	verdict_say(verdict, passed == 0, "%d came in while %d times somebody surely stood; %d passed by",
				entered, stood, passed);
}
