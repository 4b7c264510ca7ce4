/*
 * weather.c
 *		A made-up storm in which every law holds, to seed violations into.
 *
 * Time goes in milliseconds.  A statement is asked at the beginning of one and is
 * answered a fraction of it later; what it does is done at its beginning.
 */
#include "weather.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUEUES		4
#define STEPS		6000
#define MILLISECOND 1000
#define TRAVEL		400			/* of an answer */
#define HEARING		600			/* of an event */
#define STAY		150000
#define RATE		6000
#define LATER_RATE	12000
#define CAP			12
#define LATER_CAP	14
#define WAITING_TIMEOUT	(900 * MILLISECOND)
#define CLAIM_TIMEOUT	(60 * MILLISECOND)
#define SERVING_TIMEOUT (300 * MILLISECOND)

static const int weights[LANES] = {8, 4, 2, 1};

/* Where a session of the made-up server stands; its index is that of its row. */
typedef struct Visitor
{
	int			session;		/* in the book; -1: its join was never answered */
	int64_t		known_at;
	int64_t		locked_until;
	int64_t		freed_at;		/* of its slot; 0: it has not ended */
	int64_t		sign_at;		/* of life */
} Visitor;

typedef struct Door
{
	int64_t		ticket;			/* the last one issued */
	int64_t		next_token;
	int64_t		interval;
	int			cap;
	int			held;			/* slots */
	bool		open;
	bool		rejects;
	bool		passes;
	bool		closed;
	int			credit[LANES];
	Visitor    *visitors;
	int			room;
	int			rows_room;
} Door;

typedef struct Server
{
	Weather    *weather;
	Random		random;
	Door		doors[QUEUES];
	bool		stall;
} Server;

static Row *
row_of(Server *server, int queue, int visitor)
{
	return &server->weather->book->queues[queue].rows[visitor];
}

static bool
chance(Server *server, double probability)
{
	return random_chance(&server->random, probability);
}

static Place
place_of(const Row *row, int64_t position)
{
	Place		place = {row->id, row->user_id, row->status, row->lane, row->ticket, position, -1, -1};

	return place;
}

static int64_t
row_key(const Row *row)
{
	return (int64_t) row->lane << 61 | row->ticket;
}

static int64_t
position_of(Server *server, int queue, int visitor)
{
	const BookQueue *of = &server->weather->book->queues[queue];
	int64_t		position = 1;

	for (int r = 0; r < of->n_rows; r++)
		if (of->rows[r].status == WAITING && row_key(&of->rows[r]) < row_key(&of->rows[visitor]))
			position++;
	return position;
}

static void
hear(Server *server, int queue, int visitor, EventType type, int64_t at)
{
	static Event event;
	const Row  *row = row_of(server, queue, visitor);

	event.type = type;
	strcpy(event.queue, server->weather->book->queues[queue].name);
	event.n_sessions = 1;
	event.sessions[0] = (EventSession) {row->id, row->user_id, row->ticket, row->status};
	book_heard(server->weather->book, &event, at);
}

/* ---- joining ---- */

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
	row->id = uuid_random(&server->random);
	row->user_id = *user;
	row->status = WAITING;
	row->lane = lane;
	row->ticket = ++door->ticket;
	row->joined_at = now + 1;
	door->visitors[of->n_rows].sign_at = now + 1;
	return of->n_rows++;
}

static void
join(Server *server, int queue, int64_t now)
{
	Book	   *book = server->weather->book;
	Door	   *door = &server->doors[queue];
	Uuid		user = uuid_random(&server->random);
	Lane		lane = random_between(&server->random, 0, LANES - 1);
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
	row = row_of(server, queue, it);
	visitor->session = -1;
	if (door->passes)
	{
		row->status = SERVING;
		row->served_at = row->joined_at;
		door->held++;
		hear(server, queue, it, RELEASED_EVENT, now + HEARING);
		place = place_of(row, 0);
		book_join_answered(book, asked, &place, row->served_at, now + TRAVEL);
		book_join_over(book, asked, COMMITTED, false, now + TRAVEL);
		visitor->session = book->joins[asked].session;
		visitor->known_at = now + TRAVEL;
		return;
	}
	place = place_of(row, -1);
	visitor->known_at = now + TRAVEL;
	if (chance(server, 0.01))
	{
		book_join_over(book, asked, UNKNOWN, true, now + TRAVEL);
		return;
	}
	book_join_answered(book, asked, &place, 0, now + TRAVEL);
	if (chance(server, 0.05))
	{
		/* Its row goes, its ticket does not come again. */
		book_join_over(book, asked, ROLLED_BACK, false, now + TRAVEL);
		book->queues[queue].n_rows--;
		return;
	}
	book_join_over(book, asked, COMMITTED, false, now + TRAVEL);
	visitor->session = book->joins[asked].session;
}

/* Somebody who waits, or is inside, and is known to the crowd; or -1. */
static int
choose(Server *server, int queue, Status status, int64_t now)
{
	int			n = server->weather->book->queues[queue].n_rows;

	for (int tries = 0; n > 0 && tries < 40; tries++)
	{
		int			it = random_between(&server->random, n > 150 ? n - 150 : 0, n - 1);
		const Visitor *visitor = &server->doors[queue].visitors[it];

		if (row_of(server, queue, it)->status == status && visitor->session >= 0 &&
			visitor->known_at < now && visitor->locked_until < now)
			return it;
	}
	return -1;
}

static void
join_again(Server *server, int queue, int64_t now)
{
	Book	   *book = server->weather->book;
	int			it = choose(server, queue, WAITING, now);
	Place		place;
	int			asked;

	if (it < 0)
		return;
	place = place_of(row_of(server, queue, it), position_of(server, queue, it));
	asked = book_join_asked(book, queue, &place.user_id, place.lane, now);
	book_join_answered(book, asked, &place, 0, now + TRAVEL);
	book_was_alive(book);
	server->doors[queue].visitors[it].sign_at = now;
	book_join_over(book, asked, chance(server, 0.5) ? COMMITTED : ROLLED_BACK, false, now + TRAVEL);
}

/* ---- moving on ---- */

/* The first of a lane that can be let in, or -1. */
static int
first_of_lane(Server *server, int queue, int lane, int64_t now)
{
	const BookQueue *of = &server->weather->book->queues[queue];
	const Door *door = &server->doors[queue];

	for (int r = 0; r < of->n_rows; r++)
		if (of->rows[r].status == WAITING && (int) of->rows[r].lane == lane &&
			door->visitors[r].known_at < now && door->visitors[r].locked_until < now)
			return r;
	return -1;
}

/* Whose turn it is by weight: every lane that is there gains, one pays for all. */
static int
next_lane(Door *door, const int *firsts)
{
	int			next = -1;
	int			gained = 0;

	for (int lane = 0; lane < LANES; lane++)
	{
		if (firsts[lane] < 0)
		{
			door->credit[lane] = 0;
			continue;
		}
		door->credit[lane] += weights[lane];
		gained += weights[lane];
		if (next < 0 || door->credit[lane] > door->credit[next])
			next = lane;
	}
	if (next >= 0)
		door->credit[next] -= gained;
	return next;
}

static int
next_in_line(Server *server, int queue, int64_t now)
{
	int			firsts[LANES];
	int			next = -1;

	for (int lane = LANES - 1; lane >= 0; lane--)
	{
		firsts[lane] = first_of_lane(server, queue, lane, now);
		next = firsts[lane] >= 0 ? firsts[lane] : next;
	}
	if (queue != WEIGHTED_QUEUE || next < 0)
		return next;
	return firsts[next_lane(&server->doors[queue], firsts)];
}

/* False if there is nobody. */
static bool
let_in(Server *server, int queue, int64_t now)
{
	Door	   *door = &server->doors[queue];
	int			next = next_in_line(server, queue, now);
	Row		   *row;

	if (next < 0)
		return false;
	row = row_of(server, queue, next);
	if (queue == CALLING_QUEUE)
	{
		row->status = READY;
		row->ready_at = now;
	}
	else
	{
		row->status = SERVING;
		row->served_at = now;
	}
	if (!door->passes)
		door->next_token = now + door->interval;
	door->held++;
	hear(server, queue, next, RELEASED_EVENT, now + HEARING);
	return true;
}

static void
end(Server *server, int queue, int it, Verb verb, Status status, int64_t now)
{
	Book	   *book = server->weather->book;
	Visitor    *visitor = &server->doors[queue].visitors[it];
	Row		   *row = row_of(server, queue, it);
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
	hear(server, queue, it, ENDED_EVENT, now + HEARING);
}

/* Those who came in go again, and slots come free. */
static void
let_out(Server *server, int queue, int64_t now)
{
	const BookQueue *of = &server->weather->book->queues[queue];
	Door	   *door = &server->doors[queue];

	for (int r = 0; r < of->n_rows; r++)
	{
		const Row  *row = &of->rows[r];
		bool		overstays = queue == CALLING_QUEUE && r % 5 == 0;

		if (row_let_in_at(row) != 0 && door->visitors[r].freed_at != 0 &&
			door->visitors[r].freed_at / MILLISECOND == now / MILLISECOND - 1)
			door->held--;
		if (row->status == SERVING && row->served_at + STAY < now && !overstays)
			end(server, queue, r, V_COMPLETE, COMPLETED, now);
	}
}

static void
move(Server *server, int queue, int64_t now)
{
	Book	   *book = server->weather->book;
	int			it = choose(server, queue, WAITING, now);
	Lane		lane = random_between(&server->random, 0, LANES - 1);
	int			touch;

	if (it < 0)
		return;
	touch = book_touch_asked(book, V_MOVE, server->doors[queue].visitors[it].session, lane, now);
	book_move_answered(book, touch, true, now + TRAVEL);
	server->doors[queue].visitors[it].locked_until = now + TRAVEL;
	if (chance(server, 0.7))
		row_of(server, queue, it)->lane = lane;
	else
	{
		book_touch_over(book, touch, ROLLED_BACK, false, now + TRAVEL);
		return;
	}
	book_touch_over(book, touch, COMMITTED, false, now + TRAVEL);
}

static void
look(Server *server, int queue, int64_t now)
{
	Book	   *book = server->weather->book;
	int			it = choose(server, queue, WAITING, now);

	if (it < 0)
		return;
	book_position_read(book, server->doors[queue].visitors[it].session,
					   position_of(server, queue, it), now, now + TRAVEL);
	if (chance(server, 0.3))
	{
		book_was_alive(book);
		server->doors[queue].visitors[it].sign_at = now;
	}
}

/* ---- calls and timeouts ---- */

/* A step of a session that neither ends nor moves it: claim, extend, readmit. */
static void
take_step(Server *server, int queue, int it, Verb verb, const Row *past, int64_t now)
{
	Book	   *book = server->weather->book;
	Visitor    *visitor = &server->doors[queue].visitors[it];
	const Row  *row = row_of(server, queue, it);
	Place		place = place_of(row, verb == V_READMIT ? -1 : 0);
	int			touch = book_touch_asked(book, verb, visitor->session, VIP, now);

	book_step_answered(book, touch, &place, row->served_at, past, now + TRAVEL);
	book_touch_over(book, touch, COMMITTED, false, now + TRAVEL);
	visitor->locked_until = now + TRAVEL;
}

static void
claim(Server *server, int queue, int64_t now)
{
	int			it = choose(server, queue, READY, now);

	if (it < 0)
		return;
	row_of(server, queue, it)->status = SERVING;
	row_of(server, queue, it)->served_at = now + 1;
	take_step(server, queue, it, V_CLAIM, NULL, now);
}

static void
extend(Server *server, int queue, int64_t now)
{
	int			it = choose(server, queue, SERVING, now);

	if (it < 0)
		return;
	row_of(server, queue, it)->extended_at = now + 1;
	take_step(server, queue, it, V_EXTEND, NULL, now);
}

static void
readmit(Server *server, int queue, Status from, int64_t now)
{
	int			it = choose(server, queue, from, now);
	Row		   *row;
	Row			past;

	if (it < 0)
		return;
	row = row_of(server, queue, it);
	past = *row;
	row->status = WAITING;
	row->ready_at = row->served_at = row->extended_at = row->left_at = 0;
	server->doors[queue].visitors[it].freed_at = 0;
	server->doors[queue].visitors[it].sign_at = now;
	take_step(server, queue, it, V_READMIT, &past, now);
}

static void
time_out(Server *server, int queue, int it, Status status, int64_t now)
{
	Row		   *row = row_of(server, queue, it);
	Visitor    *visitor = &server->doors[queue].visitors[it];

	row->status = status;
	row->left_at = now;
	visitor->freed_at = now;
	visitor->locked_until = now + 2 * MILLISECOND;
	hear(server, queue, it, ENDED_EVENT, now + HEARING);
}

static void
reap(Server *server, int queue, int64_t now)
{
	const BookQueue *of = &server->weather->book->queues[queue];

	for (int r = 0; r < of->n_rows; r++)
	{
		const Row  *row = &of->rows[r];
		const Visitor *visitor = &server->doors[queue].visitors[r];
		int64_t		lease = row->extended_at > row->served_at ? row->extended_at : row->served_at;

		if (visitor->known_at >= now || visitor->locked_until >= now)
			continue;
		if (row->status == WAITING && visitor->sign_at + WAITING_TIMEOUT <= now)
			time_out(server, queue, r, ABANDONED, now);
		else if (row->status == READY && row->ready_at + CLAIM_TIMEOUT <= now)
			time_out(server, queue, r, NO_SHOW, now);
		else if (row->status == SERVING && lease + SERVING_TIMEOUT <= now)
			time_out(server, queue, r, EXPIRED, now);
	}
}

static void
call_and_reap(Server *server, int queue, int64_t now)
{
	static const Status ended[] = {ABANDONED, NO_SHOW, EXPIRED};

	reap(server, queue, now);
	if (chance(server, 0.15))
		claim(server, queue, now);
	if (chance(server, 0.02))
		extend(server, queue, now);
	if (chance(server, 0.02))
		readmit(server, queue, ended[random_between(&server->random, 0, 2)], now);
}

static void
order(Server *server, int64_t now)
{
	Book	   *book = server->weather->book;
	Uuid		id = uuid_random(&server->random);
	int			it = book_order_asked(book, &id, now);
	bool		committed = chance(server, 0.7);

	book_order_over(book, it, committed ? COMMITTED : ROLLED_BACK, false, now + TRAVEL);
	if (committed)
		(void) idmap_add(book->orders_found, &id, book->n_orders_found++);
}

/* ---- settings ---- */

static void
set_limits(Server *server, int queue, int64_t rate, int cap, int64_t now)
{
	Settings   *limits = &server->weather->book->queues[queue].limits;
	Setting		setting = {.rate = rate,.burst = 1,.cap = cap};
	int			change = settings_asked(limits, &setting, now);

	settings_over(limits, change, COMMITTED, now + TRAVEL);
	server->doors[queue].interval = MINUTE / rate;
	server->doors[queue].cap = cap;
}

static void
set_open(Server *server, int queue, bool open, int64_t now)
{
	Settings   *states = &server->weather->book->queues[queue].states;
	Setting		setting = {.open = open};
	int			change = settings_asked(states, &setting, now);

	settings_over(states, change, COMMITTED, now + TRAVEL);
	server->doors[queue].open = open;
}

static void
set_method(Server *server, int queue, bool passes, bool rejects, int64_t now)
{
	Settings   *methods = &server->weather->book->queues[queue].methods;
	Setting		setting = {.passes = passes,.shut = rejects};

	settings_over(methods, settings_asked(methods, &setting, now), COMMITTED, now + TRAVEL);
	server->doors[queue].passes = passes;
	server->doors[queue].rejects = rejects;
}

/* The clock changes the state, just in time. */
static void
change_by_clock(Server *server, int queue, bool open, int64_t now)
{
	BookQueue  *of = &server->weather->book->queues[queue];
	Setting		setting = {.open = open,.shut = !open};
	Moment		moment = {now, now + 1, now + TRAVEL};

	settings_over(&of->states, settings_asked(&of->states, &setting, now), COMMITTED, now + TRAVEL);
	of->moments = grow(of->moments, of->n_moments, &of->moments_room, sizeof(Moment));
	of->moments[of->n_moments++] = moment;
	server->doors[queue].open = open;
	server->doors[queue].closed = !open;
}

/* What the third and the fourth queue are set to from the beginning. */
static void
set_ways(Server *server, int64_t now)
{
	Book	   *book = server->weather->book;
	Setting		calling = {.waiting_timeout = WAITING_TIMEOUT,.serving_timeout = SERVING_TIMEOUT,
	.claim_timeout = CLAIM_TIMEOUT};
	Setting		weighted = {0};

	memcpy(weighted.weights, weights, sizeof(weights));
	(void) settings_asked(&book->queues[CALLING_QUEUE].graces, &calling, now);
	(void) settings_asked(&book->queues[WEIGHTED_QUEUE].turns, &weighted, now);
	set_method(server, WEIGHTED_QUEUE, false, false, now);
}

static void
change_ways(Server *server, int queue, int64_t since, int64_t now)
{
	if (since == REJECTS_AFTER || since == REJECTS_AFTER + METHOD_LASTS)
		set_method(server, queue, false, since == REJECTS_AFTER, now);
	if (since == PASSES_AFTER || since == PASSES_AFTER + METHOD_LASTS)
		set_method(server, queue, since == PASSES_AFTER, false, now);
	if (since == CLOSES_AFTER || since == CLOSES_AFTER + METHOD_LASTS)
		change_by_clock(server, queue, since != CLOSES_AFTER, now);
}

static void
take_snapshot(Server *server, int queue, int64_t now)
{
	BookQueue  *of = &server->weather->book->queues[queue];
	Snapshot	snapshot = {now, now + TRAVEL, 0, 0};

	for (int r = 0; r < of->n_rows; r++)
		snapshot.serving += of->rows[r].status == SERVING || of->rows[r].status == READY;
	of->snapshots = grow(of->snapshots, of->n_snapshots, &of->snapshots_room, sizeof(Snapshot));
	of->snapshots[of->n_snapshots++] = snapshot;
}

static void
step(Server *server, int queue, int64_t now)
{
	Door	   *door = &server->doors[queue];
	int64_t		since = now - WEATHER_BEGINS;
	bool		stalled = server->stall && queue == 0 && since >= STALL_AFTER &&
		since < STALL_AFTER + STALL_LASTS;

	if (queue == 0 && since == PAUSE_AFTER)
		set_open(server, queue, false, now);
	if (queue == 0 && since == PAUSE_AFTER + PAUSE_LASTS)
		set_open(server, queue, true, now);
	/* Long enough for those who are readmitted to stand for a while. */
	if (queue == CALLING_QUEUE && (since == 4 * SECOND || since == 4 * SECOND + SECOND * 7 / 10))
		set_open(server, queue, since != 4 * SECOND, now);
	if (queue == 1 && since == 3 * SECOND)
		set_limits(server, queue, LATER_RATE, LATER_CAP, now);
	if (queue == WEIGHTED_QUEUE)
		change_ways(server, queue, since, now);
	let_out(server, queue, now);
	if (queue == CALLING_QUEUE)
		call_and_reap(server, queue, now);
	if (door->open && door->passes)
	{
		while (let_in(server, queue, now))
			;
	}
	else if (door->open && !stalled && door->held < door->cap && door->next_token <= now)
		(void) let_in(server, queue, now);
	if (chance(server, 0.12))
		join(server, queue, now);
	if (chance(server, 0.01))
		join_again(server, queue, now);
	if (chance(server, 0.01))
		move(server, queue, now);
	if (chance(server, 0.01))
	{
		int			it = choose(server, queue, WAITING, now);

		if (it >= 0)
			end(server, queue, it, V_LEAVE, LEFT, now);
	}
	if (chance(server, 0.2))
		look(server, queue, now);
	if (since % (SECOND / 10) == 0)
		take_snapshot(server, queue, now);
}

Weather *
weather_make(uint64_t seed, bool stall)
{
	Weather    *weather = get_memory(sizeof(Weather));
	Server		server = {.weather = weather,.random = random_start(seed),.stall = stall};

	weather->book = book_make(QUEUES);
	for (int q = 0; q < QUEUES; q++)
	{
		weather->book->queues[q].name = get_memory(10);
		sprintf(weather->book->queues[q].name, "queue%d", q + 1);
		set_limits(&server, q, RATE, CAP, WEATHER_BEGINS - SECOND);
		set_open(&server, q, true, WEATHER_BEGINS - SECOND);
	}
	set_ways(&server, WEATHER_BEGINS - SECOND);
	spans_add(&weather->book->away, 0, WEATHER_BEGINS - 1);
	for (int s = 0; s < STEPS; s++)
	{
		for (int q = 0; q < QUEUES; q++)
			step(&server, q, WEATHER_BEGINS + (int64_t) s * MILLISECOND);
		if (s % 20 == 0)
			order(&server, WEATHER_BEGINS + (int64_t) s * MILLISECOND);
	}
	weather->book->still_compared = 100;
	weather->book->checks_made = 3;
	weather->it.judged_from = WEATHER_BEGINS;
	weather->it.judged_to = WEATHER_BEGINS + (int64_t) STEPS * MILLISECOND;
	for (int q = 0; q < QUEUES; q++)
		free(server.doors[q].visitors);
	return weather;
}

void
weather_free(Weather *weather)
{
	book_free(weather->book);
	free(weather);
}
