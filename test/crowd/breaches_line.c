/*
 * breaches_line.c
 *		Breaches of the laws about who comes in when, and who stands where: cap, rate,
 *		order, positions, draws.
 */
#include "breaches_inside.h"

#include <stdlib.h>

#include "laws_time.h"

/* ---- I3 ---- */

static void
lower_cap(Weather *weather)
{
	weather->book->queues[1].limits.list[0].cap--;
}

static void
outstay(Weather *weather)
{
	const BookQueue *of = &weather->book->queues[0];

	for (int r = 0; r < of->n_rows; r++)
		if (of->rows[r].status == COMPLETED)
			of->rows[r].left_at += 12000;
}

static void
crowd_snapshot(Weather *weather)
{
	weather->book->queues[0].snapshots[20].serving = 13;
}

/* A cap that was lowered while more are inside sends nobody away. */
static void
stay_under_lower_cap(Weather *weather)
{
	BookQueue  *of = &weather->book->queues[0];
	Setting		setting = of->limits.list[0];
	int64_t		at = weather->it.judged_to;

	setting.cap = 1;
	settings_over(&of->limits, settings_asked(&of->limits, &setting, at), COMMITTED, at + 1);
	for (int i = 0; i < 2; i++)
	{
		of->snapshots[of->n_snapshots - 1 - i].asked_at = at + (10 - i) * SECOND;
		of->snapshots[of->n_snapshots - 1 - i].answered_at = at + (10 - i) * SECOND + 1;
		of->snapshots[of->n_snapshots - 1 - i].serving = 5;
	}
}

/* ---- I4 ---- */

static void
slow_down(Weather *weather)
{
	weather->book->queues[0].limits.list[0].rate -= 5;
}

static void
no_burst(Weather *weather)
{
	weather->book->queues[1].limits.list[1].burst = 0;
}

/* Two that came in as fast as may be; the later one comes a microsecond earlier. */
static void
serve_early(Weather *weather)
{
	const Case *it = &weather->it;

	for (int s = 120; s < it->book->n_sessions; s++)
		for (int t = s - 40; t < s + 40 && t < it->book->n_sessions; t++)
		{
			const Row  *late = it->book->sessions[s].queue == 0 ? case_row(it, s) : NULL;
			const Row  *early = it->book->sessions[t].queue == 0 ? case_row(it, t) : NULL;

			if (late && early && early->served_at != 0 && late->served_at == early->served_at + 10000 &&
				it->book->sessions[s].known_at < early->served_at)
			{
				breach_serve_at(weather, s, late->served_at - 1);
				return;
			}
		}
	die("the made-up storm lets nobody in as fast as may be");
}

/* The last to come in before the pause does so in it. */
static void
serve_in_pause(Weather *weather)
{
	const Case *it = &weather->it;
	int64_t		pause = WEATHER_BEGINS + PAUSE_AFTER;
	int			last = -1;

	for (int s = 0; s < it->book->n_sessions; s++)
	{
		const Row  *row = it->book->sessions[s].queue == 0 ? case_row(it, s) : NULL;

		if (row && row->served_at != 0 && row->served_at <= pause &&
			(last < 0 || row->served_at > breach_row(weather, last)->served_at))
			last = s;
	}
	breach_serve_at(weather, last, pause + 401);
}

/* ---- I5 ---- */

/* Two of a lane that came in one after the other, and stood there before, change places; the first. */
int
breach_swap(Weather *weather, int queue, int from)
{
	const Case *it = &weather->it;

	for (int s = from; s < it->book->n_sessions; s++)
		for (int t = s + 1; t < s + 100 && t < it->book->n_sessions; t++)
		{
			Row		   *first = it->book->sessions[s].queue == queue ? breach_row(weather, s) : NULL;
			Row		   *second = it->book->sessions[t].queue == queue ? breach_row(weather, t) : NULL;
			int64_t		at;

			if (first == NULL || second == NULL || first->status != COMPLETED ||
				second->status != COMPLETED || first->lane != second->lane ||
				it->book->sessions[s].known_at == NEVER || it->book->sessions[t].known_at == NEVER ||
				first->served_at >= second->served_at || first->served_at + 30000 < second->served_at ||
				it->book->sessions[t].known_at > first->served_at ||
				it->first_touch[s + 1] > it->first_touch[s] + 1 ||
				it->first_touch[t + 1] > it->first_touch[t] + 1)
				continue;
			at = first->served_at;
			breach_serve_at(weather, s, second->served_at);
			breach_serve_at(weather, t, at);
			return s;
		}
	die("the made-up storm lets no two in one after the other");
}

static void
pass_by(Weather *weather)
{
	(void) breach_swap(weather, 0, 120);
}

/* The same, while somebody was about to move the one that was passed by. */
static void
pass_by_locked(Weather *weather)
{
	int			session = breach_swap(weather, 0, 120);
	int			touch = book_touch_asked(weather->book, V_MOVE, session, LOW,
										 weather->book->sessions[session].known_at + 1);

	book_touch_over(weather->book, touch, ROLLED_BACK, false, breach_row(weather, session)->served_at);
}

static void
pass_by_at_random(Weather *weather)
{
	(void) breach_swap(weather, RANDOM_QUEUE, 120);
}

static void
pass_by_drawn(Weather *weather)
{
	int			session = breach_swap(weather, RANDOM_QUEUE, 0);

	if (breach_row(weather, session)->order_key >= 0)
		die("the made-up storm lets no two in who were drawn");
}

/* The same, but nobody knows where the one that was passed by stood before it was moved. */
static void
pass_by_moved(Weather *weather)
{
	int			session = breach_swap(weather, RANDOM_QUEUE, 120);
	int64_t		at = weather->book->sessions[session].known_at + 1;
	int			touch = book_touch_asked(weather->book, V_MOVE, session, breach_row(weather, session)->lane, at);

	book_move_answered(weather->book, touch, true, at + 1);
	book_touch_over(weather->book, touch, COMMITTED, false, at + 1);
}

static void
come_straight_in(Weather *weather)
{
	int			n;
	Stand	   *stands = stands_of(&weather->it, 0, &n);

	for (int s = breach_served(weather);; s = breach_session(weather, 0, COMPLETED, s + 1))
	{
		Row		   *row = breach_row(weather, s);

		for (int i = 0; i < n; i++)
			if (stands[i].from < row->served_at && stands[i].to > row->served_at && stands[i].seen_to == NEVER &&
				stands[i].key >> 61 == (int64_t) row->lane && stands[i].session != s)
			{
				row->joined_at = row->served_at;
				free(stands);
				return;
			}
	}
}

/* ---- I6 ---- */

static void
count_wrongly(Weather *weather)
{
	weather->book->still_wrong = 1;
}

/* A time at which nothing can be under way any more. */
static int64_t
long_after(const Weather *weather)
{
	return weather->it.judged_to + 2 * LINGERING;
}

static void
move_back(Weather *weather)
{
	int64_t		at = long_after(weather);
	int			session = breach_waiting(weather);

	book_position_read(weather->book, session, 40, at, at + 1);
	book_position_read(weather->book, session, 41, at + 2, at + 3);
}

static void
move_back_by_join(Weather *weather)
{
	int64_t		at = long_after(weather);
	Uuid		user = {{1}};
	int			session = breach_waiting(weather);
	int			join;

	book_position_read(weather->book, session, 40, at, at + 1);
	join = book_join_asked(weather->book, 0, &user, VIP, at + 2);
	book_join_over(weather->book, join, ROLLED_BACK, false, at + 3);
	book_position_read(weather->book, session, 41, at + 2, at + 3);
}

static void
move_back_by_join_behind(Weather *weather)
{
	move_back_by_join(weather);
	weather->book->joins[weather->book->n_joins - 1].lane = LOW;
}

/* A join of the same lane. */
static void
move_back_by_join_of_lane(Weather *weather, int queue)
{
	int64_t		at = long_after(weather);
	Uuid		user = {{1}};
	int			session = breach_session(weather, queue, WAITING, 120);
	int			join;

	book_position_read(weather->book, session, 40, at, at + 1);
	join = book_join_asked(weather->book, queue, &user, breach_row(weather, session)->lane, at + 2);
	book_join_over(weather->book, join, ROLLED_BACK, false, at + 3);
	book_position_read(weather->book, session, 41, at + 2, at + 3);
}

static void
move_back_by_join_beside(Weather *weather)
{
	move_back_by_join_of_lane(weather, 0);
}

static void
move_back_by_random_join(Weather *weather)
{
	move_back_by_join_of_lane(weather, RANDOM_QUEUE);
}

/* An entrant was asked for before the draw, and after it, or twice after it. */
static void
move_back_of_drawn(Weather *weather, int64_t first)
{
	int64_t		at = weather->book->queues[RANDOM_QUEUE].drawn_to + 1;

	for (int s = 0; s < weather->book->n_sessions; s++)
	{
		const Session *session = &weather->book->sessions[s];

		if (session->queue != RANDOM_QUEUE || session->known_at == NEVER || case_row(&weather->it, s)->order_key >= 0)
			continue;
		book_position_read(weather->book, s, 7, first, first + 1);
		book_position_read(weather->book, s, 29, at + 4, at + 5);
		return;
	}
	die("the made-up storm draws nobody");
}

static void
move_back_by_draw(Weather *weather)
{
	move_back_of_drawn(weather, weather->book->queues[RANDOM_QUEUE].drawn_from - 2);
}

static void
move_back_after_draw(Weather *weather)
{
	move_back_of_drawn(weather, weather->book->queues[RANDOM_QUEUE].drawn_to + 1);
}

static void
come_out_again(Weather *weather)
{
	int			session = breach_served(weather);
	int64_t		at = breach_row(weather, session)->left_at;

	book_position_read(weather->book, session, 0, at - 4, at - 3);
	book_position_read(weather->book, session, 1, at - 2, at - 1);
}

/* ---- I15 ---- */

/* The last in its lane of those who were drawn. */
static Row *
some_drawn(const Weather *weather)
{
	const BookQueue *queue = &weather->book->queues[RANDOM_QUEUE];
	Row		   *last = NULL;

	for (int r = 0; r < queue->n_rows; r++)
		if (queue->rows[r].order_key < 0 && queue->rows[r].lane == LOW &&
			(last == NULL || queue->rows[r].order_key > last->order_key))
			last = &queue->rows[r];
	if (last == NULL)
		die("the made-up storm draws nobody of the lowest lane");
	return last;
}

static void
leave_out(Weather *weather)
{
	some_drawn(weather)->order_key = 0;
}

static void
draw_latecomer(Weather *weather)
{
	breach_row(weather, breach_session(weather, RANDOM_QUEUE, WAITING, 120))->order_key = -1;
}

/* Two of different lanes, so that their order is right. */
static void
draw_twice(Weather *weather)
{
	const BookQueue *queue = &weather->book->queues[RANDOM_QUEUE];
	Row		   *last = some_drawn(weather);

	for (int r = 0; r < queue->n_rows; r++)
		if (queue->rows[r].order_key < 0 && queue->rows[r].lane != LOW)
		{
			last->order_key = queue->rows[r].order_key;
			return;
		}
	die("the made-up storm draws nobody of other lanes");
}

static void
recompute_wrongly(Weather *weather)
{
	weather->book->draws_wrong = 1;
}

static void
recompute_none(Weather *weather)
{
	weather->book->draws_verified = 0;
}

static const Breach lines[] = {
	{"a cap that was one less", "I3", lower_cap},
	{"slots taken before they were free", "I3", outstay},
	{"a snapshot with one too many", "I3", crowd_snapshot},
	{"more inside than a cap that was lowered", "", stay_under_lower_cap},
	{"a rate that was a little less", "I4", slow_down},
	{"a burst of none", "I4", no_burst},
	{"a release a microsecond too early", "I4", serve_early},
	{"a release while paused", "I4", serve_in_pause},
	{"a later ticket let in first", "I5", pass_by},
	{"a later ticket let in first, as the earlier one was locked", "", pass_by_locked},
	{"somebody let in before who stood ahead at a random place", "I5", pass_by_at_random},
	{"somebody let in before who had drawn a better place", "I5", pass_by_drawn},
	{"the same where places are not known, as somebody was moved", "", pass_by_moved},
	{"somebody who came straight in past those who stood", "I5", come_straight_in},
	{"a position other than counted", "I6", count_wrongly},
	{"a position that grows", "I6", move_back},
	{"a position that grows by a join ahead that is rolled back", "", move_back_by_join},
	{"a position that grows by a join behind", "I6", move_back_by_join_behind},
	{"a position that grows by a join of the same lane", "I6", move_back_by_join_beside},
	{"the same where places are random", "", move_back_by_random_join},
	{"a position that grows by the draw", "", move_back_by_draw},
	{"a position that grows after the draw", "I6", move_back_after_draw},
	{"a position after having been inside", "I6", come_out_again},
	{"somebody who came before the draw and was left out", "I15", leave_out},
	{"somebody who came after the draw and was drawn", "I15", draw_latecomer},
	{"a place drawn twice", "I15", draw_twice},
	{"a place that cannot be recomputed", "I15", recompute_wrongly},
	{"a draw that was not recomputed", "I15", recompute_none},
};

const Breach *
breaches_of_lines(int *n)
{
	*n = sizeof(lines) / sizeof(lines[0]);
	return lines;
}
