/*
 * laws_order.c
 *		Who surely waited when, and the laws about where they stood: order and draws.
 */
#include "highest.h"
#include "laws_time.h"

#include <stdlib.h>

#include "checks_time.h"

/* A release step that found a row locked does not look at it again, for about so long. */
#define STEP		(SECOND / 2)

/* ---- who surely waited ---- */

typedef struct StandList
{
	Stand	   *list;
	int			n;
	int			room;
} StandList;

/* Whether a session that somebody found ended was readmitted later on. */
static bool
may_come_again(const Case *it, int session, int touch)
{
	for (int t = touch + 1; t < it->first_touch[session + 1]; t++)
		if (it->book->touches[it->touches[t]].verb == V_READMIT)
			return true;
	return false;
}

/* As much of a time as one of the session's visits was waiting for. */
static void
add_stand(const Case *it, StandList *stands, int session, int64_t from, int64_t to, Lane lane)
{
	int64_t		key = line_key(lane, it->ranks[session] > 0 ? it->ranks[session] : RANK_UNKNOWN);
	int			n;
	const Visit *visits = case_visits(it, session, &n);

	for (int v = 0; v < n; v++)
	{
		const Row  *row = visits[v].row;
		int64_t		let_in_at = row_let_in_at(row);
		Stand		stand = {from, to, to, key, session};

		if (visits[v].from > stand.from)
			stand.from = visits[v].from;
		if (let_in_at != 0 && let_in_at < to)
		{
			stand.to = let_in_at;
			stand.seen_to = NEVER;
		}
		else if (let_in_at == 0 && row->left_at != 0 && row->left_at < to)
			stand.to = stand.seen_to = row->left_at;
		if (stand.from >= stand.to)
			continue;
		stands->list = grow(stands->list, stands->n, &stands->room, sizeof(Stand));
		stands->list[stands->n++] = stand;
	}
}

/* From when a committed join was known to when somebody set about to end it, but for moves. */
static void
add_stands(const Case *it, int session, StandList *stands)
{
	const Session *of = &it->book->sessions[session];
	int64_t		from = of->known_at;
	Lane		lane = of->lane;
	int64_t		last_move = 0;

	/* Of who may have been readmitted without our knowing the row does not say when it was let in first. */
	if (of->known_at == NEVER || it->patchy[session])
		return;
	for (int t = it->first_touch[session]; t < it->first_touch[session + 1]; t++)
	{
		const Touch *touch = &it->book->touches[it->touches[t]];
		const Deed *deed = &touch->deed;

		if (from < deed->asked_at)
			add_stand(it, stands, session, from, deed->asked_at, lane);
		if (deed->outcome == UNKNOWN || deed->outcome == OPEN)
			return;
		if (deed->outcome == COMMITTED && verb_ends(touch->verb) && !may_come_again(it, session, t))
			return;
		if (deed_end(deed) + STEP > from)
			from = deed_end(deed) + STEP;
		if (deed->outcome != COMMITTED || !touch->changed || !verb_moves(touch->verb))
			continue;
		if (deed->asked_at < last_move)
			return;				/* two moves at a time: either may have been the last */
		last_move = deed_end(deed);
		lane = touch->lane;
	}
	add_stand(it, stands, session, from, NEVER, lane);
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

/* All entrances into a queue that go by strict priority, and those from each lane alone. */
typedef struct Doorway
{
	Entrances	strict;
	Entrances	lanes[LANES];
} Doorway;

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

		if (verb_moves(touch->verb) && touch->deed.asked_at <= to && deed_end(&touch->deed) >= from)
			return true;
	}
	return false;
}

static void
add_entrance(Entrances *entrances, const Entrance *entrance, int room)
{
	if (entrances->list == NULL)
		entrances->list = get_memory(room * sizeof(Entrance));
	entrances->list[entrances->n++] = *entrance;
}

static void
sort_entrances(Entrances *entrances)
{
	if (entrances->n > 0)
		qsort(entrances->list, entrances->n, sizeof(Entrance), by_entrance);
	entrances->highest = highest_make(entrances->n);
	for (int i = 0; i < entrances->n; i++)
		highest_add(entrances->highest, entrances->list[i].at, entrances->list[i].key);
}

/* When the crowd first knew that a visit had been let in; NEVER if that may have been another one. */
static int64_t
seen_inside_at(const Case *it, const Visit *visit)
{
	int			n;

	(void) case_visits(it, visit->session, &n);
	if (n > 1 || it->patchy[visit->session] || it->book->sessions[visit->session].seen_serving_at == 0)
		return NEVER;
	return it->book->sessions[visit->session].seen_serving_at;
}

/* Who comes straight in never stood: nobody may, while anybody does. */
static int64_t
rank_at_door(const Case *it, const Visit *visit)
{
	return row_let_in_at(visit->row) == visit->row->joined_at ? RANK_NONE : it->ranks[visit->session];
}

static Doorway
get_doorway(const Case *it, int queue)
{
	const BookQueue *of = &it->book->queues[queue];
	const Visits *visits = &it->visits[queue];
	Doorway		doorway = {0};

	for (int v = 0; v < visits->n; v++)
	{
		const Row  *row = visits->list[v].row;
		int64_t		at = row_let_in_at(row);
		Entrance	entrance = {at, NEVER, 0, visits->list[v].session};

		if (at == 0 || entrance.session < 0 || queue_may_pass(of, at, at))
			continue;
		entrance.key = line_key(row->lane, rank_at_door(it, &visits->list[v]));
		entrance.seen_at = seen_inside_at(it, &visits->list[v]);
		if (may_have_moved(it, entrance.session, at, entrance.seen_at))
			continue;
		add_entrance(&doorway.lanes[row->lane], &entrance, visits->n);
		if (!settings_any(&of->turns, at, at, setting_is_weighted))
			add_entrance(&doorway.strict, &entrance, visits->n);
	}
	sort_entrances(&doorway.strict);
	for (int lane = 0; lane < LANES; lane++)
		sort_entrances(&doorway.lanes[lane]);
	return doorway;
}

static void
free_entrances(Entrances *entrances)
{
	highest_free(entrances->highest);
	free(entrances->list);
}

static void
free_doorway(Doorway *doorway)
{
	free_entrances(&doorway->strict);
	for (int lane = 0; lane < LANES; lane++)
		free_entrances(&doorway->lanes[lane]);
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

/* The same by strict priority, or else within the lane. */
static const Entrance *
find_passer_of(const Doorway *doorway, const Stand *stand)
{
	const Entrance *passer = find_passer(&doorway->strict, stand);

	return passer != NULL ? passer : find_passer(&doorway->lanes[stand->key >> 61], stand);
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
		Doorway		doorway = get_doorway(it, q);

		stood += n;
		for (int lane = 0; lane < LANES; lane++)
			entered += doorway.lanes[lane].n;
		for (int i = 0; i < n; i++)
		{
			const Entrance *passer = find_passer_of(&doorway, &stands[i]);

			if (passer == NULL)
				continue;
			if (passed++ > 0)
				continue;
			case_tell(it, stands[i].session);
			case_tell(it, passer->session);
		}
		free_doorway(&doorway);
		free(stands);
	}
	verdict_say(verdict, passed == 0, "%d came in while %d times somebody surely stood; %d passed by",
				entered, stood, passed);
}

/* ---- I15: draws ---- */

typedef struct Draws
{
	int			drawn;
	int			left_out;
	int			intruders;
	int			misplaced;		/* two of a place, or one beyond the last */
} Draws;

static bool
is_drawn(const Row *row)
{
	return row->order_key < 0;
}

/* Places are the numbers from 0 on; keys are those, and below 0. */
static void
look_at_places(const BookQueue *queue, Draws *draws)
{
	int			drawn = 0;
	bool	   *taken;

	for (int r = 0; r < queue->n_rows; r++)
		drawn += is_drawn(&queue->rows[r]);
	taken = get_memory(drawn * sizeof(bool));
	for (int r = 0; r < queue->n_rows; r++)
	{
		int64_t		place = queue->rows[r].order_key + (INT64_C(1) << 62);

		if (!is_drawn(&queue->rows[r]))
			continue;
		if (place >= drawn || taken[place])
			draws->misplaced++;
		else
			taken[place] = true;
	}
	draws->drawn += drawn;
	free(taken);
}

/* When somebody first asked for each session; NEVER: nobody did. */
static int64_t *
first_asked(const Book *book)
{
	int64_t    *asked = get_memory(book->n_sessions * sizeof(int64_t));

	for (int s = 0; s < book->n_sessions; s++)
		asked[s] = NEVER;
	for (int j = 0; j < book->n_joins; j++)
	{
		const Join *join = &book->joins[j];

		if (join->session >= 0 && join->deed.asked_at < asked[join->session])
			asked[join->session] = join->deed.asked_at;
	}
	return asked;
}

/* Whether somebody may have ended a session, or tried to, before a time. */
static bool
may_have_ended(const Case *it, int session, int64_t by)
{
	for (int t = it->first_touch[session]; t < it->first_touch[session + 1]; t++)
		if (it->book->touches[it->touches[t]].deed.asked_at <= by)
			return true;
	return false;
}

void
law_draws(const Case *it, Verdict *verdict)
{
	const Book *book = it->book;
	int64_t    *asked = first_asked(book);
	Draws		draws = {0};

	for (int q = 0; q < book->n_queues; q++)
		look_at_places(&book->queues[q], &draws);
	for (int s = 0; s < book->n_sessions; s++)
	{
		const Session *session = &book->sessions[s];
		const Row  *row = case_row(it, s);
		const BookQueue *queue = row != NULL ? &book->queues[session->queue] : NULL;

		if (row == NULL || session->known_at == NEVER)
			continue;
		if (!is_drawn(row))
			draws.left_out += session->known_at < queue->drawn_from && !may_have_ended(it, s, queue->drawn_to);
		else if (queue->drawn_from == 0 || (asked[s] != NEVER && asked[s] > queue->drawn_to))
			draws.intruders++;
	}
	free(asked);
	verdict_say(verdict, draws.left_out + draws.intruders + draws.misplaced + book->draws_wrong == 0 &&
				book->draws_verified == draws.drawn,
				"%d drawn, %lld recomputed, %lld of them wrong; %d left out, %d came later, %d misplaced",
				draws.drawn, (long long) book->draws_verified, (long long) book->draws_wrong, draws.left_out,
				draws.intruders, draws.misplaced);
}
