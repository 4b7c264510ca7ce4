/*
 * client_does.c
 *		What a client of a storm does: whatever its random numbers tell it.
 */
#include "client_inside.h"

#include <stdio.h>
#include <string.h>

/* Users that every client joins now and then, so that they meet. */
#define KNOWN_USERS 6

/* A line is kept about this long. */
#define SHORT_LINE	40
#define LONG_LINE	250

#define MOST_AT_ONCE 40
#define DEEPEST		3

#define STORM_PLACE PLACE_COLUMNS ", " MICROSECONDS("served_at")

static int64_t
between(Client *client, int64_t low, int64_t high)
{
	return random_between(&client->random, low, high);
}

static bool
chance(Client *client, double probability)
{
	return random_chance(&client->random, probability);
}

/* ---- asking ---- */

static void
add_note(Client *client, NoteKind kind, int index)
{
	Note		note = {kind, index, client->depth};

	client->notes = grow(client->notes, client->n_notes, &client->notes_room, sizeof(Note));
	client->notes[client->n_notes++] = note;
}

static void
ask(Client *client, Doing doing, const char *sql, int n, const char *const *params)
{
	client->doing = doing;
	client->asked_at = link_ask(client->link, sql, n, params);
	client->cancel_at = NEVER;
	if (doing == WORKING && chance(client, 0.02))
		client->cancel_at = steady_time() + between(client, 0, 3000);
}

static void
ask_plainly(Client *client, Doing doing, const char *sql)
{
	client->first_note = client->n_notes;
	ask(client, doing, sql, 0, NULL);
}

/* About a session that is known. */
static void
ask_about(Client *client, Verb verb, int session, const char *sql)
{
	char		id[UUID_TEXT];
	const char *params[] = {uuid_print(&client->storm->book->sessions[session].id, id)};

	client->verb = verb;
	client->session = session;
	client->first_note = client->n_notes;
	if (verb_ends(verb) || verb == V_CLAIM || verb == V_EXTEND || verb == V_READMIT)
		add_note(client, TOUCH_NOTE,
				 book_touch_asked(client->storm->book, verb, session, VIP, wall_time()));
	ask(client, WORKING, sql, 1, params);
}

static Lane
some_lane(Client *client)
{
	int			r = between(client, 0, 9);

	return r == 0 ? VIP : r <= 2 ? HIGH : r <= 7 ? NORMAL : LOW;
}

static void
ask_to_join(Client *client, int queue, const Uuid *user)
{
	Book	   *book = client->storm->book;
	Lane		lane = some_lane(client);
	char		id[UUID_TEXT];
	const char *params[] = {book->queues[queue].name, uuid_print(user, id), lane_names[lane]};

	client->verb = V_JOIN;
	client->first_note = client->n_notes;
	add_note(client, JOIN_NOTE, book_join_asked(book, queue, user, lane, wall_time()));
	ask(client, WORKING, "SELECT " STORM_PLACE
		" FROM vqueue.join($1, $2::uuid, priority => $3)", 3, params);
}

static void
ask_to_join_many(Client *client, int queue, int n)
{
	Book	   *book = client->storm->book;
	Lane		lane = some_lane(client);
	char		ids[MOST_AT_ONCE * UUID_TEXT + 2];
	const char *params[] = {book->queues[queue].name, ids, lane_names[lane]};
	int64_t		now = wall_time();
	char	   *at = ids;

	client->verb = V_JOIN_MANY;
	client->first_note = client->n_notes;
	for (int i = 0; i < n; i++)
	{
		Uuid		user = uuid_random(&client->random);

		*at++ = i == 0 ? '{' : ',';
		uuid_print(&user, at);
		at += strlen(at);
		add_note(client, JOIN_NOTE, book_join_asked(book, queue, &user, lane, now));
	}
	strcpy(at, "}");
	ask(client, WORKING, "SELECT " STORM_PLACE
		" FROM vqueue.join_many($1, $2::uuid[], $3)", 3, params);
}

static void
ask_to_move(Client *client, int session)
{
	Book	   *book = client->storm->book;
	Lane		lane = some_lane(client);
	char		id[UUID_TEXT];
	const char *params[] = {uuid_print(&book->sessions[session].id, id), lane_names[lane]};

	client->verb = V_MOVE;
	client->session = session;
	client->first_note = client->n_notes;
	add_note(client, TOUCH_NOTE, book_touch_asked(book, V_MOVE, session, lane, wall_time()));
	ask(client, WORKING, "UPDATE vqueue.user_sessions SET priority = $2"
		" WHERE id = $1 AND status = 'waiting'", 2, params);
}

static void
ask_for_priority(Client *client, int session)
{
	Book	   *book = client->storm->book;
	Lane		lane = some_lane(client);
	char		id[UUID_TEXT];
	const char *params[] = {uuid_print(&book->sessions[session].id, id), lane_names[lane]};

	client->verb = V_PRIORITY;
	client->session = session;
	client->first_note = client->n_notes;
	add_note(client, TOUCH_NOTE, book_touch_asked(book, V_PRIORITY, session, lane, wall_time()));
	ask(client, WORKING, "SELECT " STORM_PLACE " FROM vqueue.set_priority($1, $2)", 2, params);
}

/* What was there before is overwritten, so it is asked for in the same breath. */
static void
ask_to_readmit(Client *client, int session)
{
	ask_about(client, V_READMIT, session,
			  "WITH o AS MATERIALIZED (SELECT id AS o_id, status AS o_status, " MICROSECONDS("joined_at") " AS o_joined,"
			  " " MICROSECONDS("ready_at") " AS o_ready, " MICROSECONDS("served_at") " AS o_served,"
			  " " MICROSECONDS("extended_at") " AS o_extended, " MICROSECONDS("left_at") " AS o_left"
			  " FROM vqueue.user_sessions WHERE id = $1 FOR UPDATE)"
			  " SELECT " STORM_PLACE ", o_status, o_joined, o_ready, o_served, o_extended, o_left"
			  " FROM o, LATERAL vqueue.readmit(o_id, 'for the storm')");
}

static void
ask_for_ticket(Client *client, int session)
{
	Book	   *book = client->storm->book;
	const Session *it = &book->sessions[session];
	char		ticket[30];
	const char *params[] = {book->queues[it->queue].name, ticket};

	snprintf(ticket, sizeof(ticket), "%lld", (long long) it->ticket);
	client->verb = V_TICKET_POSITION;
	client->session = session;
	client->first_note = client->n_notes;
	ask(client, WORKING, "SELECT vqueue.position($1, $2::bigint)", 2, params);
}

/* ---- choosing what to do ---- */

/*
 * Some fall silent, some do not come when they are called, some stay too long: by
 * the ids of their users, so that it is the same ones whenever they are chosen.
 */
static bool
is_one_of(const Client *client, int session, int which)
{
	return client->storm->book->sessions[session].user.bytes[which] % 4 == 0;
}

enum
{
	SILENT = 3, UNCLAIMING = 4, OVERSTAYING = 5
};

/* One of those that all clients know; now and then a second client is to join it as well. */
static void
join_known_user(Client *client, int queue)
{
	Storm	   *storm = client->storm;
	Random		users = random_start(storm->options->seed * 7 + queue * 100 +
									 between(client, 0, KNOWN_USERS - 1));
	Uuid		user = uuid_random(&users);

	if (storm->twins > 0)
	{
		storm->twins--;
		ask_to_join(client, storm->twin_queue, &storm->twin_user);
		return;
	}
	if (chance(client, 0.5))
	{
		/* Nobody has it yet, and several come at once. */
		user = uuid_random(&client->random);
		storm->twins = between(client, 1, 2);
		storm->twin_queue = queue;
		storm->twin_user = user;
	}
	ask_to_join(client, queue, &user);
}

static void
join_somehow(Client *client, int queue)
{
	int			r = between(client, 0, 99);
	Uuid		user;

	if (r < 20 || client->storm->twins > 0)
		join_known_user(client, queue);
	else if (r < 35)
		ask_to_join_many(client, queue, between(client, 1, r < 22 ? MOST_AT_ONCE : 8));
	else
	{
		user = uuid_random(&client->random);
		ask_to_join(client, queue, &user);
	}
}

static void
look_somehow(Client *client, int session)
{
	int			r = between(client, 0, 5);

	if (is_one_of(client, session, SILENT) && (r <= 1 || r == 3))
		r = 2;
	switch (r)
	{
		case 0:
		case 1:
			ask_about(client, V_POLL, session, "SELECT " STORM_PLACE " FROM vqueue.poll($1)");
			break;
		case 2:
			ask_about(client, V_STATUS, session, "SELECT " STORM_PLACE " FROM vqueue.status($1)");
			break;
		case 3:
			ask_about(client, V_HEARTBEAT, session, "SELECT vqueue.heartbeat($1)");
			break;
		case 4:
			ask_about(client, V_POSITION, session, "SELECT vqueue.position($1)");
			break;
		default:
			ask_for_ticket(client, session);
			break;
	}
}

static void
end_somehow(Client *client, int session, bool waiting)
{
	int			r = between(client, 0, 99);

	if (r < (waiting ? 5 : 85))
		ask_about(client, V_COMPLETE, session, "SELECT " STORM_PLACE " FROM vqueue.complete($1)");
	else if (r < 94)
		ask_about(client, V_LEAVE, session, "SELECT " STORM_PLACE " FROM vqueue.leave($1)");
	else
		ask_about(client, V_REMOVE, session,
				  "SELECT " STORM_PLACE " FROM vqueue.remove($1, 'for the storm')");
}

/* Somebody who was called. */
static void
answer_call(Client *client, int session)
{
	if (is_one_of(client, session, UNCLAIMING) && !chance(client, 0.05))
		look_somehow(client, session);
	else if (chance(client, 0.05))
		end_somehow(client, session, true);
	else
		ask_about(client, V_CLAIM, session, "SELECT " STORM_PLACE " FROM vqueue.claim($1)");
}

/* Somebody who is inside. */
static void
stay_or_go(Client *client, int session)
{
	Kind		kind = storm_kind(client->storm->options, client->storm->book->sessions[session].queue);
	bool		stays = kind != PLAIN && kind != WEIGHTED;

	if (stays && is_one_of(client, session, OVERSTAYING) && !chance(client, 0.03))
		look_somehow(client, session);
	else if (stays && chance(client, 0.2))
		ask_about(client, V_EXTEND, session, "SELECT " STORM_PLACE " FROM vqueue.extend($1)");
	else
		end_somehow(client, session, false);
}

/* A session that the open transaction has joined, or -1. */
static int
choose_own(Client *client)
{
	const Note *note;

	if (!client->in_transaction || client->n_notes == 0 || !chance(client, 0.3))
		return -1;
	note = &client->notes[between(client, 0, client->n_notes - 1)];
	return note->kind == JOIN_NOTE ? client->storm->book->joins[note->index].session : -1;
}

static void
work_on_own(Client *client, int session)
{
	int			r = between(client, 0, 99);

	if (r < 35)
		look_somehow(client, session);
	else if (r < 45)
		ask_about(client, V_CLAIM, session, "SELECT " STORM_PLACE " FROM vqueue.claim($1)");
	else if (r < 60)
		ask_to_move(client, session);
	else
		end_somehow(client, session, r < 80);
}

/* A statement of one of the verbs, whatever suits the queue as it is. */
void
client_work(Client *client)
{
	int			own = choose_own(client);
	Book	   *book = client->storm->book;
	int			queue = between(client, 0, book->n_queues - 1);
	int			waiting = book_choose(book, queue, BELIEVED_WAITING, &client->random);
	int			ready = book_choose(book, queue, BELIEVED_READY, &client->random);
	int			serving = book_choose(book, queue, BELIEVED_SERVING, &client->random);
	int			timed_out = book_choose(book, queue, BELIEVED_TIMED_OUT, &client->random);
	int			in_line = book->queues[queue].live[BELIEVED_WAITING].n;
	int			joining = in_line < SHORT_LINE ? 45 : in_line < LONG_LINE ? 25 : 3;
	int			r = between(client, 0, 99);

	if (own >= 0)
		work_on_own(client, own);
	else if (r < joining || client->storm->twins > 0 || (waiting < 0 && serving < 0))
		join_somehow(client, queue);
	else if (r % 3 == 0 && ready >= 0)
		answer_call(client, ready);
	else if (r % 10 == 1 && timed_out >= 0)
		ask_to_readmit(client, timed_out);
	else if (r < 55 && serving >= 0)
		stay_or_go(client, serving);
	else if (r < 61 && waiting >= 0)
		end_somehow(client, waiting, true);
	else if (r < 64 && waiting >= 0)
		ask_to_move(client, waiting);
	else if (r < 67 && waiting >= 0)
		ask_for_priority(client, waiting);
	else
		look_somehow(client, waiting >= 0 ? waiting : serving);
}

static void
order(Client *client)
{
	Uuid		id = uuid_random(&client->random);
	char		text[UUID_TEXT];
	char		sql[200];
	const char *params[] = {uuid_print(&id, text)};

	client->first_note = client->n_notes;
	add_note(client, ORDER_NOTE, book_order_asked(client->storm->book, &id, wall_time()));
	snprintf(sql, sizeof(sql), "INSERT INTO %s VALUES ($1::uuid)", client->storm->orders);
	ask(client, ORDERING, sql, 1, params);
}

void
client_begin(Client *client)
{
	static const char *const begins[] = {
		"BEGIN", "BEGIN", "BEGIN", "BEGIN", "BEGIN", "BEGIN", "BEGIN", "BEGIN",
		"BEGIN ISOLATION LEVEL REPEATABLE READ", "BEGIN ISOLATION LEVEL SERIALIZABLE"
	};

	client->will_commit = chance(client, 0.65);
	client->steps = between(client, 1, 6);
	client->depth = 0;
	client->failed = false;
	ask_plainly(client, BEGINNING, begins[between(client, 0, 9)]);
}

static void
ask_at_savepoint(Client *client, Doing doing, const char *verb, int depth)
{
	char		sql[60];

	snprintf(sql, sizeof(sql), "%s SAVEPOINT s%d", verb, depth);
	ask_plainly(client, doing, verb[0] == '\0' ? sql + 1 : sql);
}

/* The next statement of a transaction. */
void
client_step(Client *client)
{
	int			r = between(client, 0, 99);

	if (client->failed)
	{
		if (client->depth > 0 && chance(client, 0.7))
			ask_at_savepoint(client, ROLLING_BACK_TO, "ROLLBACK TO",
							 client->depth = between(client, 1, client->depth));
		else
			ask_plainly(client, ROLLING_BACK, chance(client, 0.5) ? "ROLLBACK" : "COMMIT");
	}
	else if (client->steps-- <= 0)
		ask_plainly(client, client->will_commit ? COMMITTING : ROLLING_BACK,
					client->will_commit ? "COMMIT" : "ROLLBACK");
	else if (r < 15 && client->depth < DEEPEST)
	{
		client->storm->savepoints++;
		ask_at_savepoint(client, SAVING, "", client->depth + 1);
	}
	else if (r < 30 && client->depth > 0)
		ask_at_savepoint(client, ROLLING_BACK_TO, "ROLLBACK TO",
						 client->depth = between(client, 1, client->depth));
	else if (r < 36 && client->depth > 0)
		ask_at_savepoint(client, RELEASING, "RELEASE", client->depth);
	else if (r < 55)
		order(client);
	else
		client_work(client);
}
