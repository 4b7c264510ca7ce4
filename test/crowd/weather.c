/*
 * weather.c
 *		A made-up storm in which every law holds, to seed violations into.
 *
 * Time goes in milliseconds.  A statement is asked at the beginning of one and is
 * answered a fraction of it later; what it does is done at its beginning.
 */
#include "weather_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int weights[LANES] = {8, 4, 2, 1};

Row *
weather_row(Server *server, int queue, int visitor)
{
	return &server->weather->book->queues[queue].rows[visitor];
}

bool
weather_chance(Server *server, double probability)
{
	return random_chance(server->random, probability);
}

/* Somebody who waits, or is inside, and is known to the crowd; or -1. */
int
weather_choose(Server *server, int queue, Status status, int64_t now)
{
	int			n = server->weather->book->queues[queue].n_rows;

	for (int tries = 0; n > 0 && tries < 40; tries++)
	{
		int			it = random_between(server->random, n > 150 ? n - 150 : 0, n - 1);
		const Visitor *visitor = &server->doors[queue].visitors[it];

		if (weather_row(server, queue, it)->status == status && visitor->session >= 0 &&
			visitor->known_at < now && visitor->locked_until < now)
			return it;
	}
	return -1;
}

/* Tell it: the log has it at once, a listener a little later. */
static void
tell(Server *server, int queue, Event *event, int64_t at)
{
	Book	   *book = server->weather->book;

	event->seq = ++server->seq;
	strcpy(event->queue, book->queues[queue].name);
	book_logged(book, event, at - HEARING);
	book_heard(book, event, at);
}

void
weather_hear(Server *server, int queue, int visitor, EventType type, int64_t at)
{
	static Event event;
	const Row  *row = weather_row(server, queue, visitor);

	event.type = type;
	event.n_sessions = 1;
	event.sessions[0] = (EventSession) {row->id, row->user_id, row->ticket, row->status};
	tell(server, queue, &event, at);
	server->weather->book->queues[queue].figures[type == RELEASED_EVENT ? RELEASED_FIGURE : figure_of(row->status)]++;
}

static void
tell_state(Server *server, int queue, QueueState state, int64_t now)
{
	static Event event;

	if (server->doors[queue].told == state)
		return;
	server->doors[queue].told = server->weather->book->queues[queue].state = state;
	event.type = STATE_EVENT;
	event.n_sessions = 0;
	event.state = state;
	tell(server, queue, &event, now + HEARING);
}

/* ---- letting in and out ---- */

/* The first of a lane that can be let in, or -1. */
static int
first_of_lane(Server *server, int queue, int lane, int64_t now)
{
	const BookQueue *of = &server->weather->book->queues[queue];
	const Door *door = &server->doors[queue];
	int			first = -1;

	for (int r = 0; r < of->n_rows; r++)
		if (of->rows[r].status == WAITING && (int) of->rows[r].lane == lane &&
			door->visitors[r].known_at < now && door->visitors[r].locked_until < now &&
			(first < 0 || weather_is_ahead(&of->rows[r], &of->rows[first])))
			first = r;
	return first;
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
	row = weather_row(server, queue, next);
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
	if (row->order_key > door->passed)
		door->passed = row->order_key;
	if (!door->passes)
		door->next_token = now + door->interval;
	door->held++;
	weather_hear(server, queue, next, RELEASED_EVENT, now + HEARING);
	return true;
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
			weather_end(server, queue, r, V_COMPLETE, COMPLETED, now);
	}
}

/* ---- timeouts ---- */

static void
time_out(Server *server, int queue, int it, Status status, int64_t now)
{
	Row		   *row = weather_row(server, queue, it);
	Visitor    *visitor = &server->doors[queue].visitors[it];

	row->status = status;
	row->left_at = now;
	visitor->freed_at = now;
	visitor->locked_until = now + 2 * MILLISECOND;
	weather_hear(server, queue, it, ENDED_EVENT, now + HEARING);
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
	if (weather_chance(server, 0.15))
		weather_claim(server, queue, now);
	if (weather_chance(server, 0.02))
		weather_extend(server, queue, now);
	if (weather_chance(server, 0.02))
		weather_readmit(server, queue, ended[random_between(server->random, 0, 2)], now);
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
	tell_state(server, queue, open ? IS_OPEN : IS_PAUSED, now);
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
	tell_state(server, queue, open ? IS_OPEN : IS_CLOSED, now);
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
	set_method(server, RANDOM_QUEUE, false, false, now);
	book->queues[RANDOM_QUEUE].methods.list[0].random = true;
}

/* Those who have come change places at random: who is the first to be drawn stands first. */
static void
draw(Server *server, int queue, int64_t now)
{
	BookQueue  *of = &server->weather->book->queues[queue];

	for (int i = 0; i < of->n_rows; i++)
	{
		int			other = random_between(server->random, 0, i);

		of->rows[i].order_key = of->rows[other].order_key;
		of->rows[other].order_key = i - (INT64_C(1) << 62);
	}
	of->drawn_from = now;
	of->drawn_to = now + TRAVEL;
	server->doors[queue].drawn = true;
	server->weather->book->draws_verified = of->n_rows;
}

/* Before its opening a queue is paused; people come, and then it opens with a draw. */
static void
open_with_draw(Server *server, int queue, int64_t now)
{
	server->random = &server->own;
	set_open(server, queue, false, now);
	for (int i = 0; i < ENTRANTS; i++)
		weather_join(server, queue, now + (i + 1) * MILLISECOND);
	draw(server, queue, now + (ENTRANTS + 1) * MILLISECOND);
	set_open(server, queue, true, now + (ENTRANTS + 1) * MILLISECOND);
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
	if (weather_chance(server, 0.12))
		weather_join(server, queue, now);
	if (weather_chance(server, 0.01))
		weather_join_again(server, queue, now);
	if (weather_chance(server, 0.01))
		weather_move(server, queue, now);
	if (weather_chance(server, 0.01))
	{
		int			it = weather_choose(server, queue, WAITING, now);

		if (it >= 0)
			weather_end(server, queue, it, V_LEAVE, LEFT, now);
	}
	if (weather_chance(server, 0.2))
		weather_look(server, queue, now);
	if (since % (SECOND / 10) == 0)
		take_snapshot(server, queue, now);
}

Weather *
weather_make(uint64_t seed, bool stall)
{
	Weather    *weather = get_memory(sizeof(Weather));
	Server		server = {.weather = weather,.common = random_start(seed),.own = random_start(seed + 1000),
	.stall = stall};

	weather->book = book_make(QUEUES);
	for (int q = 0; q < QUEUES; q++)
	{
		weather->book->queues[q].name = get_memory(10);
		sprintf(weather->book->queues[q].name, "queue%d", q + 1);
		set_limits(&server, q, RATE, CAP, WEATHER_BEGINS - SECOND);
		set_open(&server, q, true, WEATHER_BEGINS - SECOND);
	}
	set_ways(&server, WEATHER_BEGINS - SECOND);
	open_with_draw(&server, RANDOM_QUEUE, WEATHER_BEGINS - SECOND / 2);
	server.random = &server.common;
	spans_add(&weather->book->away, 0, WEATHER_BEGINS - 1);
	for (int s = 0; s < STEPS; s++)
	{
		for (int q = 0; q < QUEUES; q++)
		{
			server.random = q == RANDOM_QUEUE ? &server.own : &server.common;
			step(&server, q, WEATHER_BEGINS + (int64_t) s * MILLISECOND);
		}
		server.random = &server.common;
		if (s % 20 == 0)
			weather_order(&server, WEATHER_BEGINS + (int64_t) s * MILLISECOND);
	}
	weather->book->still_compared = 100;
	weather->book->checks_made = 3;
	weather->book->log_read = weather->book->counted = true;
	for (int q = 0; q < QUEUES; q++)
		weather->book->queues[q].figures[JOINED_FIGURE] = weather->book->queues[q].n_rows;
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
