/*
 * breaches_sessions.c
 *		Breaches of the laws about sessions: nobody lost, nobody twice.
 */
#include "breaches_inside.h"

static Touch *
end_of(const Weather *weather, int session)
{
	const Case *it = &weather->it;

	return &it->book->touches[it->touches[it->first_touch[session + 1] - 1]];
}

static Row *
add_row(const Weather *weather, int queue)
{
	BookQueue  *of = &weather->book->queues[queue];

	of->rows[of->n_rows] = of->rows[0];
	of->rows[of->n_rows].id.bytes[0] ^= 1;
	of->rows[of->n_rows].user_id.bytes[0] ^= 1;
	of->rows[of->n_rows].ticket = 1000000;
	of->rows[of->n_rows].order_key = 0;
	of->rows[of->n_rows].status = WAITING;
	of->rows[of->n_rows].served_at = of->rows[of->n_rows].left_at = 0;
	return &of->rows[of->n_rows++];
}

/* ---- I1 ---- */

static void
lose_row(Weather *weather)
{
	Row		   *row = breach_row(weather, breach_waiting(weather));
	BookQueue  *of = &weather->book->queues[0];

	*row = of->rows[--of->n_rows];
}

static void
lose_unsure_row(Weather *weather)
{
	int			session = breach_waiting(weather);
	Book	   *book = weather->book;
	int			join = book_join_asked(book, book->sessions[session].queue, &book->sessions[session].user,
									   book->sessions[session].lane, book->sessions[session].known_at - 2);

	book_join_over(book, join, UNKNOWN, true, book->sessions[session].known_at - 1);
	lose_row(weather);
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
	breach_row(weather, breach_waiting(weather))->user_id.bytes[0] ^= 1;
}

static void
swap_lane(Weather *weather)
{
	Row		   *row = breach_row(weather, breach_waiting(weather));

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
	Row		   *row = breach_row(weather, breach_served(weather));

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
	int			session = breach_served(weather);
	const Row  *row = breach_row(weather, session);
	Place		place = {row->id, row->user_id, SERVING, row->lane, row->ticket, 0, -1, -1};

	book_place_seen(weather->book, &place, row->served_at + 1, row->left_at - 2, row->left_at - 1);
}

static void
join_elsewhere(Weather *weather)
{
	Book	   *book = weather->book;
	int			session = breach_waiting(weather);
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

static const Breach sessions[] = {
	{"a lost row", "I1 I17", lose_row},
	{"a lost row of a user whose first join was never answered", "I17", lose_unsure_row},
	{"a row that was rolled back", "I1 I17", keep_rolled_back},
	{"a row that nobody asked for", "I1 I17", invent_row},
	{"a row of another user", "I1", swap_user},
	{"a row in another lane", "I1", swap_lane},
	{"an end that was committed and is not there", "I1 I16 I17", undo_end},
	{"an end that was rolled back and is there", "I1", end_rolled_back},
	{"an end whose answer was lost", "", end_unsurely},
	{"an end before the release", "I1", leave_before_served},
	{"an order other than its transaction", "I1", lose_order},
	{"an order whose answer was lost", "", lose_order_unsurely},
	{"a ticket issued again after it was rolled back", "I2", issue_twice},
	{"a release at two times", "I2", serve_twice},
	{"a second session for one user", "I2", join_elsewhere},
	{"two live sessions of one user in a snapshot", "I2", live_twice},
};

const Breach *
breaches_of_sessions(int *n)
{
	*n = sizeof(sessions) / sizeof(sessions[0]);
	return sessions;
}
