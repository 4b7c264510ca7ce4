/*
 * crowd.c
 *		The lives of simulated users.
 *
 * What a user is like is drawn before the start, so that it depends on the
 * seed alone.  A user has one request out at a time, except for a double
 * click: what comes due meanwhile is put off a little.
 */
#include "crowd.h"

#include <stdlib.h>
#include <string.h>

/* While an answer is out, look again after this time. */
#define PUT_OFF		(5 * SECOND / 1000)

/* Polls are asked for by the server's advice; without one, after this time. */
#define USUAL_POLL	SECOND

const Habits usual_habits = {
	.impatient = 0.15,
	.patience_min = 1 * SECOND,
	.patience_max = 6 * SECOND,
	.stay_min = 3 * SECOND / 10,
	.stay_max = 22 * SECOND / 10,
	.deaf = 0.2,
	.double_click = 0.02,
	.come_again = 0.03,
	.burst = 9,
};

typedef enum State
{
	ABSENT,						/* has not joined yet */
	JOINING,
	IN_LINE,
	INSIDE,
	GOING,						/* has asked to leave or to complete */
	GONE
} State;

typedef enum Action
{
	ARRIVE,
	POLL,
	LOSE_PATIENCE,
	FINISH,
	COME_AGAIN
} Action;

typedef struct User
{
	/* drawn before the start */
	Uuid		id;
	int64_t		arrives_at;		/* since the start */
	int			burst;			/* 1, or how many users from here on join in one statement */
	int64_t		patience;		/* NEVER, or how long */
	int64_t		stay;
	int64_t		comes_again;	/* NEVER, or how long after having joined */
	bool		deaf;
	bool		double_clicks;

	/* of its life */
	State		state;
	int			unanswered;
	bool		has_session;
	Uuid		session;
} User;

struct Crowd
{
	User	   *users;
	int			n_users;
	int			arrived;
	int			gone;
	int			bursts;
	const char *queue;
	Pool	   *pool;
	Ledger	   *ledger;
	Agenda	   *agenda;
	Random		random;
	int64_t		started_at;
	Samples		join_times;
	Samples		poll_times;
};

enum
{
	JOIN, JOIN_MANY, POLL_STATEMENT, LEAVE, COMPLETE, STATEMENTS
};

static const Statement statements[STATEMENTS] = {
	{"join", "SELECT " PLACE_COLUMNS " FROM vqueue.join($1, $2)", 2},
	{"join_many", "SELECT " PLACE_COLUMNS " FROM vqueue.join_many($1, $2)", 2},
	{"poll", "SELECT " PLACE_COLUMNS " FROM vqueue.poll($1)", 1},
	{"leave", "SELECT " PLACE_COLUMNS " FROM vqueue.leave($1)", 1},
	{"complete", "SELECT " PLACE_COLUMNS " FROM vqueue.complete($1)", 1}
};

/* ---- making users ---- */

static User
draw_user(const Habits *habits, Random *random)
{
	User		user = {.burst = 1};

	user.id = uuid_random(random);
	user.patience = random_between(random, habits->patience_min, habits->patience_max);
	if (!random_chance(random, habits->impatient))
		user.patience = NEVER;
	user.stay = random_between(random, habits->stay_min, habits->stay_max);
	user.comes_again = random_between(random, 0, habits->stay_max);
	if (!random_chance(random, habits->come_again))
		user.comes_again = NEVER;
	user.deaf = random_chance(random, habits->deaf);
	user.double_clicks = random_chance(random, habits->double_click);
	return user;
}

/* The users of one second of the trace, at random times in it or all at once. */
static void
draw_second(Crowd *crowd, int first, int n, int second, int speed, const Habits *habits,
			Random *random)
{
	bool		burst = n >= habits->burst;

	for (int i = first; i < first + n; i++)
	{
		int64_t		in_second = burst ? 0 : random_between(random, 0, SECOND - 1);

		crowd->users[i] = draw_user(habits, random);
		crowd->users[i].arrives_at = (second * SECOND + in_second) / speed;
	}
	if (burst)
		crowd->users[first].burst = n;
}

Crowd *
crowd_make(const Trace *trace, int speed, const Habits *habits, uint64_t seed,
		   const char *queue, Pool *pool, Ledger *ledger)
{
	Crowd	   *crowd = get_memory(sizeof(Crowd));
	Random		random = random_start(seed);

	crowd->users = get_memory(trace->total * sizeof(User));
	for (int second = 0; second < trace->seconds; second++)
	{
		draw_second(crowd, crowd->n_users, trace->arrivals[second], second, speed, habits, &random);
		crowd->n_users += trace->arrivals[second];
	}
	crowd->random = random;
	crowd->queue = queue;
	crowd->pool = pool;
	crowd->ledger = ledger;
	crowd->agenda = agenda_make();
	pool_prepare(pool, statements, STATEMENTS);
	return crowd;
}

void
crowd_free(Crowd *crowd)
{
	samples_free(&crowd->join_times);
	samples_free(&crowd->poll_times);
	agenda_free(crowd->agenda);
	free(crowd->users);
	free(crowd);
}

void
crowd_start(Crowd *crowd, int64_t now)
{
	crowd->started_at = now;
	for (int i = 0; i < crowd->n_users; i += crowd->users[i].burst)
		agenda_add(crowd->agenda, now + crowd->users[i].arrives_at, i, ARRIVE);
}

/* ---- what a user does with an answer ---- */

static void
plan(Crowd *crowd, const User *user, int64_t after, Action action)
{
	if (after != NEVER)
		agenda_add(crowd->agenda, steady_time() + after, user - crowd->users, action);
}

static void
go(Crowd *crowd, User *user)
{
	if (user->state != GONE)
		crowd->gone++;
	user->state = GONE;
}

static void
come_in(Crowd *crowd, User *user)
{
	user->state = INSIDE;
	plan(crowd, user, user->stay, FINISH);
}

static void
plan_poll(Crowd *crowd, const User *user, const Place *place)
{
	int64_t		advice = place->next_poll_after > 0 ? place->next_poll_after : USUAL_POLL;

	plan(crowd, user, random_between(&crowd->random, advice, 2 * advice), POLL);
}

static void
stand_in_line(Crowd *crowd, User *user, const Place *place)
{
	const Record *record = ledger_find(crowd->ledger, &place->id);

	user->state = IN_LINE;
	if (record->released_events > 0 && !user->deaf)
		come_in(crowd, user);	/* the event has overtaken the answer */
	else
	{
		plan(crowd, user, user->patience, LOSE_PATIENCE);
		plan_poll(crowd, user, place);
	}
}

/* The first answer of a join. */
static void
get_session(Crowd *crowd, User *user, const Place *place)
{
	user->has_session = true;
	user->session = place->id;
	plan(crowd, user, user->comes_again, COME_AGAIN);
	if (place->status == WAITING)
		stand_in_line(crowd, user, place);
	else if (place->status == SERVING)
		come_in(crowd, user);
	else
		go(crowd, user);
}

/* An answer to a user in the line. */
static void
look_around(Crowd *crowd, User *user, const Place *place)
{
	if (user->state != IN_LINE)
		return;
	if (place->status == SERVING)
		come_in(crowd, user);
	else if (!status_is_live(place->status))
		go(crowd, user);
}

/* ---- answers ---- */

/* The user that asked; false if it was refused, whereupon it goes. */
static bool
take_answer(Crowd *crowd, const Request *request, const PGresult *result, User **user)
{
	*user = &crowd->users[request->subject];
	(*user)->unanswered--;
	if (result != NULL && PQntuples(result) == 1)
		return true;
	go(crowd, *user);
	return false;
}

static void
joined(void *owner, const Request *request, const PGresult *result)
{
	Crowd	   *crowd = owner;
	User	   *user;
	Place		place;

	if (!take_answer(crowd, request, result, &user))
		return;
	place = place_read(result, 0);
	samples_add(&crowd->join_times, request->answered_at - request->asked_at);
	if (user->has_session)
	{
		/* The other click was answered first. */
		ledger_rejoined(crowd->ledger, &user->session, &place);
		return;
	}
	ledger_joined(crowd->ledger, request->subject, &place, request->asked_at, request->answered_at,
				  ledger_new_batch(crowd->ledger), 0);
	get_session(crowd, user, &place);
}

static void
joined_many(void *owner, const Request *request, const PGresult *result)
{
	Crowd	   *crowd = owner;
	User	   *first = &crowd->users[request->subject];
	int64_t		batch = ledger_new_batch(crowd->ledger);
	bool		good = result != NULL && PQntuples(result) == first->burst;

	if (good)
		samples_add(&crowd->join_times, request->answered_at - request->asked_at);
	for (int i = 0; i < first->burst; i++)
	{
		User	   *user = first + i;
		Place		place;

		user->unanswered--;
		if (!good)
		{
			go(crowd, user);
			continue;
		}
		place = place_read(result, i);
		ledger_joined(crowd->ledger, request->subject + i, &place, request->asked_at,
					  request->answered_at, batch, i);
		get_session(crowd, user, &place);
	}
}

static void
joined_again(void *owner, const Request *request, const PGresult *result)
{
	Crowd	   *crowd = owner;
	User	   *user;
	Place		place;

	if (!take_answer(crowd, request, result, &user))
		return;
	place = place_read(result, 0);
	ledger_rejoined(crowd->ledger, &user->session, &place);
	if (!uuid_equal(&user->session, &place.id))
		return;
	ledger_seen(crowd->ledger, &place, request->answered_at);
	look_around(crowd, user, &place);
}

static void
polled(void *owner, const Request *request, const PGresult *result)
{
	Crowd	   *crowd = owner;
	User	   *user;
	Place		place;

	if (!take_answer(crowd, request, result, &user))
		return;
	place = place_read(result, 0);
	samples_add(&crowd->poll_times, request->answered_at - request->asked_at);
	ledger_seen(crowd->ledger, &place, request->answered_at);
	look_around(crowd, user, &place);
	if (user->state == IN_LINE)
		plan_poll(crowd, user, &place);
}

static void
left(void *owner, const Request *request, const PGresult *result)
{
	Crowd	   *crowd = owner;
	User	   *user;
	Place		place;

	if (!take_answer(crowd, request, result, &user))
		return;
	place = place_read(result, 0);
	ledger_asked_to_leave(crowd->ledger, &place.id, request->asked_at);
	ledger_ended(crowd->ledger, &place);
	go(crowd, user);
}

static void
completed(void *owner, const Request *request, const PGresult *result)
{
	Crowd	   *crowd = owner;
	User	   *user;
	Place		place;

	if (!take_answer(crowd, request, result, &user))
		return;
	place = place_read(result, 0);
	ledger_ended(crowd->ledger, &place);
	go(crowd, user);
}

void
crowd_called(Crowd *crowd, const Uuid *session)
{
	const Record *record = ledger_find(crowd->ledger, session);
	User	   *user;

	if (record == NULL || record->user < 0)
		return;					/* its join has not been answered yet */
	user = &crowd->users[record->user];
	if (user->state == IN_LINE && !user->deaf)
		come_in(crowd, user);
}

/* ---- acting ---- */

static void
ask_to_join(Crowd *crowd, User *user, Answer answer)
{
	char		id[UUID_TEXT];
	const char *params[] = {crowd->queue, uuid_print(&user->id, id)};

	user->unanswered++;
	pool_ask(crowd->pool, &statements[JOIN], params, user - crowd->users, answer, crowd);
}

static void
ask_to_join_many(Crowd *crowd, User *first)
{
	char	   *ids = get_memory(first->burst * UUID_TEXT + 2);
	const char *params[] = {crowd->queue, ids};
	char	   *at = ids;

	for (int i = 0; i < first->burst; i++)
	{
		first[i].state = JOINING;
		first[i].unanswered++;
		*at++ = i == 0 ? '{' : ',';
		uuid_print(&first[i].id, at);
		at += strlen(at);
	}
	strcpy(at, "}");
	crowd->bursts++;
	pool_ask(crowd->pool, &statements[JOIN_MANY], params, first - crowd->users, joined_many, crowd);
	free(ids);
}

static void
arrive(Crowd *crowd, User *user)
{
	crowd->arrived += user->burst;
	if (user->burst > 1)
	{
		ask_to_join_many(crowd, user);
		return;
	}
	user->state = JOINING;
	ask_to_join(crowd, user, joined);
	if (user->double_clicks)
		ask_to_join(crowd, user, joined);
}

static void
ask_for_session(Crowd *crowd, User *user, int statement, Answer answer)
{
	char		id[UUID_TEXT];
	const char *params[] = {uuid_print(&user->session, id)};

	user->unanswered++;
	pool_ask(crowd->pool, &statements[statement], params, user - crowd->users, answer, crowd);
}

/* Whether a user, as it is now, would still do what it planned. */
static bool
still_wants(const User *user, Action action)
{
	switch (action)
	{
		case ARRIVE:
			return user->state == ABSENT;
		case POLL:
		case LOSE_PATIENCE:
			return user->state == IN_LINE;
		case FINISH:
			return user->state == INSIDE;
		case COME_AGAIN:
			return user->state == IN_LINE || user->state == INSIDE;
	}
	return false;
}

static void
act(Crowd *crowd, User *user, Action action)
{
	if (!still_wants(user, action))
		return;
	if (user->unanswered > 0)
	{
		plan(crowd, user, PUT_OFF, action);
		return;
	}
	switch (action)
	{
		case ARRIVE:
			arrive(crowd, user);
			break;
		case POLL:
			ask_for_session(crowd, user, POLL_STATEMENT, polled);
			break;
		case LOSE_PATIENCE:
			user->state = GOING;
			ask_for_session(crowd, user, LEAVE, left);
			break;
		case FINISH:
			user->state = GOING;
			ask_for_session(crowd, user, COMPLETE, completed);
			break;
		case COME_AGAIN:
			ask_to_join(crowd, user, joined_again);
			break;
	}
}

int64_t
crowd_next(const Crowd *crowd)
{
	return agenda_next(crowd->agenda);
}

void
crowd_go_on(Crowd *crowd, int64_t now)
{
	Entry		entry;

	while (agenda_take(crowd->agenda, now, &entry))
		act(crowd, &crowd->users[entry.who], entry.what);
}

/* ---- how it goes ---- */

bool
crowd_is_over(const Crowd *crowd)
{
	return crowd->gone == crowd->n_users;
}

bool
crowd_find_waiting(const Crowd *crowd, Uuid *session)
{
	for (int i = crowd->arrived - 1; i >= 0; i--)
		if (crowd->users[i].state == IN_LINE && !crowd->users[i].deaf)
		{
			*session = crowd->users[i].session;
			return true;
		}
	return false;
}

CrowdFigures
crowd_figures(Crowd *crowd)
{
	CrowdFigures figures;

	figures.total = crowd->n_users;
	figures.arrived = crowd->arrived;
	figures.gone = crowd->gone;
	figures.bursts = crowd->bursts;
	figures.join_times = &crowd->join_times;
	figures.poll_times = &crowd->poll_times;
	return figures;
}
