/*
 * weather_visitors.c
 *		Who comes into the made-up storm, and what they do.
 */
#include <string.h>

#include "weather_inside.h"

static Place
place_of(const Row *row, int64_t position)
{
	Place		place = {row->id, row->user_id, row->status, row->lane, row->ticket, position, -1, -1};

	return place;
}

bool
weather_is_ahead(const Row *a, const Row *b)
{
	if (a->lane != b->lane)
		return a->lane < b->lane;
	return a->order_key != b->order_key ? a->order_key < b->order_key : a->ticket < b->ticket;
}

static int64_t
weather_position(Server *server, int queue, int visitor)
{
	const BookQueue *of = &server->weather->book->queues[queue];
	int64_t		position = 1;

	for (int r = 0; r < of->n_rows; r++)
		if (of->rows[r].status == WAITING && weather_is_ahead(&of->rows[r], &of->rows[visitor]))
			position++;
	return position;
}

/* ---- joining ---- */

/* Further from the door than anybody who has come in, by some random number. */
static int64_t
random_place(Server *server, int queue)
{
	return server->doors[queue].passed + random_between(server->random, 1, INT64_C(1) << 32);
}

static int
add_visitor(Server *server, int queue, const Uuid *user, Lane lane, int64_t now)
{
	BookQueue  *of = &server->weather->book->queues[queue];
	Door	   *door = &server->doors[queue];
	Row		   *row;

	of->rows = grow(of->rows, of->n_rows + 1, &door->rows_room, sizeof(Row));
	door->visitors = grow(door->visitors, of->n_rows, &door->room, sizeof(Visitor));
	memset(&door->visitors[of->n_rows], 0, sizeof(Visitor));
	row = &of->rows[of->n_rows];
	memset(row, 0, sizeof(Row));
	row->id = uuid_random(server->random);
	row->user_id = *user;
	row->status = WAITING;
	row->lane = lane;
	row->ticket = ++door->ticket;
	row->joined_at = now + 1;
	row->order_key = queue == RANDOM_QUEUE && door->drawn ? random_place(server, queue) : 0;
	door->visitors[of->n_rows].sign_at = now + 1;
	return of->n_rows++;
}

void
weather_join(Server *server, int queue, int64_t now)
{
	Book	   *book = server->weather->book;
	Door	   *door = &server->doors[queue];
	Uuid		user = uuid_random(server->random);
	Lane		lane = random_between(server->random, 0, LANES - 1);
	int			asked = book_join_asked(book, queue, &user, lane, now);
	int			it;
	Visitor    *visitor;
	Row		   *row;
	Place		place;

	if (door->rejects || door->closed)
	{
		book->joins[asked].shut_out = true;
		book_join_over(book, asked, ROLLED_BACK, false, now + TRAVEL);
		return;
	}
	it = add_visitor(server, queue, &user, lane, now);
	visitor = &door->visitors[it];
	row = weather_row(server, queue, it);
	visitor->session = -1;
	if (door->passes)
	{
		row->status = SERVING;
		row->served_at = row->joined_at;
		door->held++;
		weather_hear(server, queue, it, RELEASED_EVENT, now + HEARING);
		place = place_of(row, 0);
		book_join_answered(book, asked, &place, row->served_at, now + TRAVEL);
		book_join_over(book, asked, COMMITTED, false, now + TRAVEL);
		visitor->session = book->joins[asked].session;
		visitor->known_at = now + TRAVEL;
		return;
	}
	place = place_of(row, -1);
	visitor->known_at = now + TRAVEL;
	if (weather_chance(server, 0.01))
	{
		book_join_over(book, asked, UNKNOWN, true, now + TRAVEL);
		return;
	}
	book_join_answered(book, asked, &place, 0, now + TRAVEL);
	if (weather_chance(server, 0.05))
	{
		/* Its row goes, its ticket does not come again. */
		book_join_over(book, asked, ROLLED_BACK, false, now + TRAVEL);
		book->queues[queue].n_rows--;
		return;
	}
	book_join_over(book, asked, COMMITTED, false, now + TRAVEL);
	visitor->session = book->joins[asked].session;
}

void
weather_join_again(Server *server, int queue, int64_t now)
{
	Book	   *book = server->weather->book;
	int			it = weather_choose(server, queue, WAITING, now);
	Place		place;
	int			asked;

	if (it < 0)
		return;
	place = place_of(weather_row(server, queue, it), weather_position(server, queue, it));
	asked = book_join_asked(book, queue, &place.user_id, place.lane, now);
	book_join_answered(book, asked, &place, 0, now + TRAVEL);
	book_was_alive(book);
	server->doors[queue].visitors[it].sign_at = now;
	book_join_over(book, asked, weather_chance(server, 0.5) ? COMMITTED : ROLLED_BACK, false, now + TRAVEL);
}

/* ---- going and moving ---- */

void
weather_end(Server *server, int queue, int it, Verb verb, Status status, int64_t now)
{
	Book	   *book = server->weather->book;
	Visitor    *visitor = &server->doors[queue].visitors[it];
	Row		   *row = weather_row(server, queue, it);
	Place		place;
	int			touch;

	visitor->freed_at = now + TRAVEL;
	row->status = status;
	row->left_at = now + 1;
	place = place_of(row, -1);
	if (visitor->session >= 0)
	{
		touch = book_touch_asked(book, verb, visitor->session, VIP, now);
		book_end_answered(book, touch, &place, row->served_at, now + TRAVEL);
		book_touch_over(book, touch, COMMITTED, false, now + TRAVEL);
	}
	weather_hear(server, queue, it, ENDED_EVENT, now + HEARING);
}

void
weather_move(Server *server, int queue, int64_t now)
{
	Book	   *book = server->weather->book;
	int			it = weather_choose(server, queue, WAITING, now);
	Lane		lane = random_between(server->random, 0, LANES - 1);
	int			touch;

	if (it < 0)
		return;
	touch = book_touch_asked(book, V_MOVE, server->doors[queue].visitors[it].session, lane, now);
	book_move_answered(book, touch, true, now + TRAVEL);
	server->doors[queue].visitors[it].locked_until = now + TRAVEL;
	if (weather_chance(server, 0.7))
	{
		Row		   *row = weather_row(server, queue, it);

		if (queue == RANDOM_QUEUE && lane != row->lane && row->order_key > 0)
			row->order_key = random_place(server, queue);
		row->lane = lane;
	}
	else
	{
		book_touch_over(book, touch, ROLLED_BACK, false, now + TRAVEL);
		return;
	}
	book_touch_over(book, touch, COMMITTED, false, now + TRAVEL);
}

void
weather_look(Server *server, int queue, int64_t now)
{
	Book	   *book = server->weather->book;
	int			it = weather_choose(server, queue, WAITING, now);

	if (it < 0)
		return;
	book_position_read(book, server->doors[queue].visitors[it].session,
					   weather_position(server, queue, it), now, now + TRAVEL);
	if (weather_chance(server, 0.3))
	{
		book_was_alive(book);
		server->doors[queue].visitors[it].sign_at = now;
	}
}

/* ---- calls ---- */

/* A step of a session that neither ends nor moves it: claim, extend, readmit. */
static void
take_step(Server *server, int queue, int it, Verb verb, const Row *past, int64_t now)
{
	Book	   *book = server->weather->book;
	Visitor    *visitor = &server->doors[queue].visitors[it];
	const Row  *row = weather_row(server, queue, it);
	Place		place = place_of(row, verb == V_READMIT ? -1 : 0);
	int			touch = book_touch_asked(book, verb, visitor->session, VIP, now);

	book_step_answered(book, touch, &place, row->served_at, past, now + TRAVEL);
	book_touch_over(book, touch, COMMITTED, false, now + TRAVEL);
	visitor->locked_until = now + TRAVEL;
}

void
weather_claim(Server *server, int queue, int64_t now)
{
	int			it = weather_choose(server, queue, READY, now);

	if (it < 0)
		return;
	weather_row(server, queue, it)->status = SERVING;
	weather_row(server, queue, it)->served_at = now + 1;
	take_step(server, queue, it, V_CLAIM, NULL, now);
}

void
weather_extend(Server *server, int queue, int64_t now)
{
	int			it = weather_choose(server, queue, SERVING, now);

	if (it < 0)
		return;
	weather_row(server, queue, it)->extended_at = now + 1;
	take_step(server, queue, it, V_EXTEND, NULL, now);
}

void
weather_readmit(Server *server, int queue, Status from, int64_t now)
{
	int			it = weather_choose(server, queue, from, now);
	Row		   *row;
	Row			past;

	if (it < 0)
		return;
	row = weather_row(server, queue, it);
	past = *row;
	row->status = WAITING;
	row->ready_at = row->served_at = row->extended_at = row->left_at = 0;
	server->doors[queue].visitors[it].freed_at = 0;
	server->doors[queue].visitors[it].sign_at = now;
	take_step(server, queue, it, V_READMIT, &past, now);
}

/* ---- the business ---- */

void
weather_order(Server *server, int64_t now)
{
	Book	   *book = server->weather->book;
	Uuid		id = uuid_random(server->random);
	int			it = book_order_asked(book, &id, now);
	bool		committed = weather_chance(server, 0.7);

	book_order_over(book, it, committed ? COMMITTED : ROLLED_BACK, false, now + TRAVEL);
	if (committed)
		(void) idmap_add(book->orders_found, &id, book->n_orders_found++);
}

