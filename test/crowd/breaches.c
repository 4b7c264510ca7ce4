/*
 * breaches.c
 *		Tests that each law of a storm catches what it is there for.
 *
 * Each test makes a right storm, spoils one thing in it, and wants exactly the
 * named laws to fail: a law that sees nothing fails the test, and so does one
 * that sees ghosts.
 */
#include "breaches.h"

#include <stdio.h>
#include <string.h>

#include "breaches_inside.h"
#include "tap.h"

#define SEED	1
#define SEEDS	20				/* right storms */

/* In a queue, a session of this status that was not moved, from the middle of the storm. */
int
breach_session(const Weather *weather, int queue, Status status, int from)
{
	const Case *it = &weather->it;

	for (int s = from; s < it->book->n_sessions; s++)
	{
		const Row  *row = it->book->sessions[s].queue == queue ? case_row(it, s) : NULL;
		bool		moved = false;

		if (row == NULL || row->status != status || it->book->sessions[s].known_at == NEVER)
			continue;
		for (int t = it->first_touch[s]; t < it->first_touch[s + 1]; t++)
			moved |= it->book->touches[it->touches[t]].verb == V_MOVE;
		if (!moved)
			return s;
	}
	die("the made-up storm has no %s session", status_names[status]);
}

static int
served(const Weather *weather)
{
	return breach_session(weather, 0, COMPLETED, 120);
}

static int
waiting(const Weather *weather)
{
	return breach_session(weather, 0, WAITING, 120);
}

Row *
breach_row(const Weather *weather, int session)
{
	return (Row *) case_row(&weather->it, session);
}

static Touch *
end_of(const Weather *weather, int session)
{
	const Case *it = &weather->it;

	return &it->book->touches[it->touches[it->first_touch[session + 1] - 1]];
}

/* The server and all answers say that it came in at another time. */
static void
serve_at(const Weather *weather, int session, int64_t at)
{
	breach_row(weather, session)->served_at = at;
	for (int i = 0; i < weather->book->n_servings; i++)
		if (weather->book->servings[i].session == session)
			weather->book->servings[i].served_at = at;
}

int
breach_rolled_back(const Weather *weather)
{
	const Book *book = weather->book;

	for (int j = 120; j < book->n_joins; j++)
		if (book->joins[j].deed.outcome == ROLLED_BACK &&
			book->sessions[book->joins[j].session].known_at == NEVER)
			return j;
	die("the made-up storm has no join that was rolled back");
}

static Row *
add_row(const Weather *weather, int queue)
{
	BookQueue  *of = &weather->book->queues[queue];

	of->rows[of->n_rows] = of->rows[0];
	of->rows[of->n_rows].id.bytes[0] ^= 1;
	of->rows[of->n_rows].user_id.bytes[0] ^= 1;
	of->rows[of->n_rows].ticket = 1000000;
	of->rows[of->n_rows].status = WAITING;
	of->rows[of->n_rows].served_at = of->rows[of->n_rows].left_at = 0;
	return &of->rows[of->n_rows++];
}

/* ---- I1 ---- */

static void
lose_row(Weather *weather)
{
	Row		   *row = breach_row(weather, waiting(weather));
	BookQueue  *of = &weather->book->queues[0];

	*row = of->rows[--of->n_rows];
}

static void
keep_rolled_back(Weather *weather)
{
	const Join *join = &weather->book->joins[breach_rolled_back(weather)];
	const Session *session = &weather->book->sessions[join->session];
	Row		   *row = add_row(weather, session->queue);

	row->id = session->id;
	row->user_id = session->user;
	row->ticket = session->ticket;
	row->lane = session->lane;
}

static void
invent_row(Weather *weather)
{
	(void) add_row(weather, 0);
}

static void
swap_user(Weather *weather)
{
	breach_row(weather, waiting(weather))->user_id.bytes[0] ^= 1;
}

static void
swap_lane(Weather *weather)
{
	Row		   *row = breach_row(weather, waiting(weather));

	row->lane = row->lane == LOW ? NORMAL : LOW;
}

static void
undo_end(Weather *weather)
{
	int			session = breach_session(weather, 0, LEFT, 120);
	Row		   *row = breach_row(weather, session);

	row->status = WAITING;
	row->left_at = 0;
	weather->book->sessions[session].ended_events = 0;
}

static void
end_rolled_back(Weather *weather)
{
	end_of(weather, breach_session(weather, 0, LEFT, 120))->deed.outcome = ROLLED_BACK;
}

static void
end_unsurely(Weather *weather)
{
	end_of(weather, breach_session(weather, 0, LEFT, 120))->deed.outcome = UNKNOWN;
}

static void
leave_before_served(Weather *weather)
{
	Row		   *row = breach_row(weather, served(weather));

	row->left_at = row->served_at - 1;
}

static void
lose_order(Weather *weather)
{
	Order	   *order = &weather->book->orders[0];

	order->deed.outcome = order->deed.outcome == COMMITTED ? ROLLED_BACK : COMMITTED;
}

static void
lose_order_unsurely(Weather *weather)
{
	weather->book->orders[0].deed.outcome = UNKNOWN;
}

/* ---- I2 ---- */

static void
issue_twice(Weather *weather)
{
	const Join *join = &weather->book->joins[breach_rolled_back(weather)];
	Session    *session = &weather->book->sessions[join->session];

	session->ticket++;
}

static void
serve_twice(Weather *weather)
{
	int			session = served(weather);
	const Row  *row = breach_row(weather, session);
	Place		place = {row->id, row->user_id, SERVING, row->lane, row->ticket, 0, -1, -1};

	book_place_seen(weather->book, &place, row->served_at + 1, row->left_at - 2, row->left_at - 1);
}

static void
join_elsewhere(Weather *weather)
{
	Book	   *book = weather->book;
	int			session = waiting(weather);
	int			other = breach_session(weather, 0, WAITING, session + 1);
	int64_t		at = weather->it.judged_to;
	int			join = book_join_asked(book, 0, &book->sessions[session].user, NORMAL, at);

	book->joins[join].deed.answered_at = at + 1;
	book->joins[join].session = other;
	book_join_over(book, join, ROLLED_BACK, false, at + 1);
}

static void
live_twice(Weather *weather)
{
	weather->book->queues[1].snapshots[3].doubles = 1;
}

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
				serve_at(weather, s, late->served_at - 1);
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
	serve_at(weather, last, pause + 401);
}

/* ---- I5 ---- */

/* Two of a lane that came in one after the other, and stood there before, change places; the first. */
int
breach_swap(Weather *weather, int queue)
{
	const Case *it = &weather->it;

	for (int s = 120; s < it->book->n_sessions; s++)
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
			serve_at(weather, s, second->served_at);
			serve_at(weather, t, at);
			return s;
		}
	die("the made-up storm lets no two in one after the other");
}

static void
pass_by(Weather *weather)
{
	(void) breach_swap(weather, 0);
}

/* The same, while somebody was about to move the one that was passed by. */
static void
pass_by_locked(Weather *weather)
{
	int			session = breach_swap(weather, 0);
	int			touch = book_touch_asked(weather->book, V_MOVE, session, LOW,
										 weather->book->sessions[session].known_at + 1);

	book_touch_over(weather->book, touch, ROLLED_BACK, false, breach_row(weather, session)->served_at);
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
	int			session = waiting(weather);

	book_position_read(weather->book, session, 40, at, at + 1);
	book_position_read(weather->book, session, 41, at + 2, at + 3);
}

static void
move_back_by_join(Weather *weather)
{
	int64_t		at = long_after(weather);
	Uuid		user = {{1}};
	int			session = waiting(weather);
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

static void
come_out_again(Weather *weather)
{
	int			session = served(weather);
	int64_t		at = breach_row(weather, session)->left_at;

	book_position_read(weather->book, session, 0, at - 4, at - 3);
	book_position_read(weather->book, session, 1, at - 2, at - 1);
}

/* ---- I7 ---- */

static void
tell_never(Weather *weather)
{
	weather->book->sessions[served(weather)].released_events = 0;
}

static void
tell_while_away(Weather *weather)
{
	int64_t		at = breach_row(weather, served(weather))->served_at;

	tell_never(weather);
	spans_add(&weather->book->away, at + 1000, at + 2000);
}

static void
tell_twice(Weather *weather)
{
	weather->book->sessions[served(weather)].released_events = 2;
}

static void
tell_of_rolled_back(Weather *weather)
{
	weather->book->sessions[weather->book->joins[breach_rolled_back(weather)].session].released_events = 1;
}

static void
tell_of_other_ticket(Weather *weather)
{
	weather->book->sessions[served(weather)].event_differs = true;
}

static void
end_never(Weather *weather)
{
	weather->book->sessions[served(weather)].ended_events = 0;
}

static void
end_as_other(Weather *weather)
{
	weather->book->sessions[served(weather)].ended_event_status = REMOVED;
}

static void
garble_event(Weather *weather)
{
	weather->book->malformed = 1;
}

/* ---- the rest ---- */

static void
differ_in_memory(Weather *weather)
{
	weather->book->differences = 1;
}

static void
never_check(Weather *weather)
{
	weather->book->checks_made = 0;
}

static void
refuse(Weather *weather)
{
	weather->book->refused = 1;
}

static void
excuse_stall(Weather *weather)
{
	spans_add(&weather->book->stalled, WEATHER_BEGINS + STALL_AFTER,
			  WEATHER_BEGINS + STALL_AFTER + STALL_LASTS);
}

/* Nobody knows whether an operator has paused it. */
static void
pause_unsurely(Weather *weather)
{
	Settings   *states = &weather->book->queues[0].states;
	Setting		setting = {.open = false};

	settings_over(states, settings_asked(states, &setting, WEATHER_BEGINS + STALL_AFTER), UNKNOWN, 0);
	states->list[states->n - 1].to = WEATHER_BEGINS + STALL_AFTER + STALL_LASTS;
}

static void
change_nothing(Weather *weather)
{
	(void) weather;
}

static const Breach breaches[] = {
	{"a lost row", "I1", lose_row},
	{"a row that was rolled back", "I1", keep_rolled_back},
	{"a row that nobody asked for", "I1", invent_row},
	{"a row of another user", "I1", swap_user},
	{"a row in another lane", "I1", swap_lane},
	{"an end that was committed and is not there", "I1", undo_end},
	{"an end that was rolled back and is there", "I1", end_rolled_back},
	{"an end whose answer was lost", "", end_unsurely},
	{"an end before the release", "I1", leave_before_served},
	{"an order other than its transaction", "I1", lose_order},
	{"an order whose answer was lost", "", lose_order_unsurely},
	{"a ticket issued again after it was rolled back", "I2", issue_twice},
	{"a release at two times", "I2", serve_twice},
	{"a second session for one user", "I2", join_elsewhere},
	{"two live sessions of one user in a snapshot", "I2", live_twice},
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
	{"a position other than counted", "I6", count_wrongly},
	{"a position that grows", "I6", move_back},
	{"a position that grows by a join ahead that is rolled back", "", move_back_by_join},
	{"a position that grows by a join behind", "I6", move_back_by_join_behind},
	{"a position after having been inside", "I6", come_out_again},
	{"a release never told", "I7", tell_never},
	{"a release told while nobody listened", "", tell_while_away},
	{"a release told twice", "I7", tell_twice},
	{"a release told that was rolled back", "I7", tell_of_rolled_back},
	{"an event with another ticket", "I7", tell_of_other_ticket},
	{"an end never told", "I7", end_never},
	{"an end told with another status", "I7", end_as_other},
	{"a malformed event", "I7", garble_event},
	{"a difference between memory and table", "I8", differ_in_memory},
	{"memory that was never checked", "I8", never_check},
	{"an error that may not be", "answers", refuse},
};

/* The same of a storm with a stall. */
static const Breach stalls[] = {
	{"a stall of a little more than a second", "I9", change_nothing},
	{"the same while the machine stood still", "", excuse_stall},
	{"the same while it may have been paused", "", pause_unsurely},
};

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* The names of the laws that fail, in their order. */
static void
list_failing(const Case *it, char *list, size_t size)
{
	size_t		length = 0;

	list[0] = '\0';
	for (int law = 0; law < laws_count(); law++)
	{
		Verdict		verdict;

		law_run(law, it, &verdict);
		if (!verdict.holds)
			length += snprintf(list + length, size - length, "%s%s", length > 0 ? " " : "", law_name(law));
	}
}

static void
judge(Weather *weather, const char *what, const char *caught_by)
{
	char		failing[200];

	weather->it.silent = true;
	case_open(&weather->it, weather->book);
	list_failing(&weather->it, failing, sizeof(failing));
	case_close(&weather->it);
	tap(strcmp(failing, caught_by) == 0, "storm, %s: caught by %s", what,
		caught_by[0] ? caught_by : "none");
	if (strcmp(failing, caught_by) != 0)
		tap_note("it was caught by: %s", failing);
}

static void
test_breach(const Breach *breach, bool stall)
{
	Weather    *weather = weather_make(SEED, stall);

	case_open(&weather->it, weather->book);
	breach->spoil(weather);
	case_close(&weather->it);
	judge(weather, breach->what, breach->caught_by);
	weather_free(weather);
}

/* No law is without a breach that it catches. */
static void
test_all_can_fail(void)
{
	for (int law = 0; law < laws_count(); law++)
	{
		bool		can_fail = false;
		int			n_ways;
		const Breach *ways = breaches_of_ways(&n_ways);

		for (size_t b = 0; b < LENGTH(breaches); b++)
			can_fail |= strcmp(breaches[b].caught_by, law_name(law)) == 0;
		for (int b = 0; b < n_ways; b++)
			can_fail |= strcmp(ways[b].caught_by, law_name(law)) == 0;
		for (size_t b = 0; b < LENGTH(stalls); b++)
			can_fail |= strcmp(stalls[b].caught_by, law_name(law)) == 0;
		tap(can_fail, "law %s has a breach to catch", law_name(law));
	}
}

void
test_breaches(void)
{
	int			n_ways;
	const Breach *ways = breaches_of_ways(&n_ways);

	for (int seed = 1; seed <= SEEDS; seed++)
	{
		Weather    *weather = weather_make(seed, false);

		judge(weather, "a right one", "");
		weather_free(weather);
	}
	for (size_t b = 0; b < LENGTH(breaches); b++)
		test_breach(&breaches[b], false);
	for (int b = 0; b < n_ways; b++)
		test_breach(&ways[b], false);
	for (size_t b = 0; b < LENGTH(stalls); b++)
		test_breach(&stalls[b], true);
	test_all_can_fail();
}
