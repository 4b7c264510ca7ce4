/*
 * client.c
 *		One client of a storm: it does whatever its random numbers tell it, in
 *		single statements and in transactions, and notes it all in the book.
 */
#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Users that every client joins now and then, so that they meet. */
#define KNOWN_USERS 6

/* A line is kept about this long. */
#define SHORT_LINE	40
#define LONG_LINE	250

#define MOST_AT_ONCE 40
#define DEEPEST		3

#define STORM_PLACE PLACE_COLUMNS ", " MICROSECONDS("served_at")

typedef enum Doing
{
	NOTHING,
	BEGINNING,
	WORKING,					/* on a verb */
	ORDERING,					/* writing the business's own table */
	SAVING,
	ROLLING_BACK_TO,
	RELEASING,
	COMMITTING,
	ROLLING_BACK
} Doing;

typedef enum NoteKind
{
	JOIN_NOTE,
	TOUCH_NOTE,
	ORDER_NOTE
} NoteKind;

/* A deed of the open transaction, or of the statement under way. */
typedef struct Note
{
	NoteKind	kind;
	int			index;			/* in the book */
	int			depth;			/* of savepoints */
} Note;

struct Client
{
	Storm	   *storm;
	Link	   *link;
	Random		random;

	Doing		doing;
	Verb		verb;
	int			session;		/* that the statement is about */
	int64_t		asked_at;
	int64_t		cancel_at;		/* NEVER: it is not to be cancelled */
	int64_t		wake_at;		/* to go on not before then */

	bool		in_transaction;
	bool		failed;
	bool		will_commit;
	int			steps;			/* still to be done in it */
	int			depth;

	Note	   *notes;
	int			n_notes;
	int			notes_room;
	int			first_note;		/* of the statement under way */
};

static void ready(void *owner);
static void answered(void *owner, const PGresult *result, int64_t at);
static void lost(void *owner, int64_t at);

Client *
client_open(Storm *storm, int number)
{
	Client	   *client = get_memory(sizeof(Client));
	LinkOwner	owner = {client, ready, answered, lost, NULL};
	Random		seeds = random_start(storm->options->seed * 1000 + number);

	client->storm = storm;
	client->random = random_start(random_bits(&seeds));
	client->cancel_at = NEVER;
	client->link = link_open(storm->name, &owner);
	return client;
}

void
client_close(Client *client)
{
	/* Whatever was under way has been lost with the connection. */
	if (!client_is_idle(client))
		lost(client, wall_time());
	link_close(client->link);
	free(client->notes);
	free(client);
}

Link *
client_link(const Client *client)
{
	return client->link;
}

bool
client_is_idle(const Client *client)
{
	return client->doing == NOTHING && !client->in_transaction;
}

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

/* ---- notes ---- */

static void
add_note(Client *client, NoteKind kind, int index)
{
	Note		note = {kind, index, client->depth};

	client->notes = grow(client->notes, client->n_notes, &client->notes_room, sizeof(Note));
	client->notes[client->n_notes++] = note;
}

static void
close_note(Client *client, const Note *note, Outcome outcome, bool was_lost, int64_t at)
{
	Book	   *book = client->storm->book;

	if (note->kind == JOIN_NOTE)
		book_join_over(book, note->index, outcome, was_lost, at);
	else if (note->kind == TOUCH_NOTE)
		book_touch_over(book, note->index, outcome, was_lost, at);
	else
		book_order_over(book, note->index, outcome, was_lost, at);
}

/* All notes made at this depth or deeper have come to an end. */
static void
close_notes(Client *client, int depth, Outcome outcome, bool was_lost, int64_t at)
{
	int			kept = 0;

	for (int i = 0; i < client->n_notes; i++)
	{
		if (client->notes[i].depth >= depth)
			close_note(client, &client->notes[i], outcome, was_lost, at);
		else
			client->notes[kept++] = client->notes[i];
	}
	client->n_notes = kept;
}

/* ---- asking ---- */

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
	if (verb == V_LEAVE || verb == V_COMPLETE || verb == V_REMOVE)
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
	switch (between(client, 0, 5))
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

	if (r < 40)
		look_somehow(client, session);
	else if (r < 60)
		ask_to_move(client, session);
	else
		end_somehow(client, session, r < 80);
}

/* A statement of one of the verbs, whatever suits the queue as it is. */
static void
work(Client *client)
{
	int			own = choose_own(client);
	Book	   *book = client->storm->book;
	int			queue = between(client, 0, book->n_queues - 1);
	int			waiting = book_choose(book, queue, BELIEVED_WAITING, &client->random);
	int			serving = book_choose(book, queue, BELIEVED_SERVING, &client->random);
	int			in_line = book->queues[queue].live[BELIEVED_WAITING].n;
	int			joining = in_line < SHORT_LINE ? 45 : in_line < LONG_LINE ? 25 : 3;
	int			r = between(client, 0, 99);

	if (own >= 0)
		work_on_own(client, own);
	else if (r < joining || client->storm->twins > 0 || (waiting < 0 && serving < 0))
		join_somehow(client, queue);
	else if (r < 55 && serving >= 0)
		end_somehow(client, serving, false);
	else if (r < 61 && waiting >= 0)
		end_somehow(client, waiting, true);
	else if (r < 67 && waiting >= 0)
		ask_to_move(client, waiting);
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

static void
begin(Client *client)
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
static void
step(Client *client)
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
		work(client);
}

int64_t
client_go_on(Client *client, int64_t now)
{
	if (client->doing != NOTHING)
	{
		if (client->cancel_at <= now)
		{
			client->cancel_at = NEVER;
			client->storm->cancels++;
			link_cancel(client->link);
		}
		return client->cancel_at;
	}
	if (!link_is_ready(client->link))
		return NEVER;
	if (now < client->wake_at)
		return client->wake_at;
	if (client->in_transaction)
		step(client);
	else if (client->storm->holding)
		return NEVER;
	else if (chance(client, 0.25))
		begin(client);
	else
		work(client);
	return client->cancel_at;
}

/* ---- answers ---- */

static void
take_joins(Client *client, const PGresult *result, int64_t at)
{
	for (int i = 0; i < PQntuples(result); i++)
	{
		Place		place = place_read(result, i);
		int			note = client->first_note + i;

		if (note < client->n_notes)
			book_join_answered(client->storm->book, client->notes[note].index, &place,
							   number_field(result, i, 8, 0), at);
	}
}

static void
take_position(Client *client, const PGresult *result, int64_t at)
{
	book_position_read(client->storm->book, client->session, number_field(result, 0, 0, -1),
					   client->asked_at, at);
}

static void
take_place(Client *client, const PGresult *result, int64_t at)
{
	Book	   *book = client->storm->book;
	Place		place = place_read(result, 0);
	int64_t		served_at = number_field(result, 0, 8, 0);

	if (client->first_note < client->n_notes)
		book_end_answered(book, client->notes[client->first_note].index, &place, served_at, at);
	else
		book_place_seen(book, &place, served_at, client->asked_at, at);

	/* Ended by somebody whose answer was lost. */
	if (!client->in_transaction && !status_is_live(place.status))
		book_believe(book, client->session, -1);
}

static void
take_answer(Client *client, const PGresult *result, int64_t at)
{
	client->storm->done[client->verb]++;
	switch (client->verb)
	{
		case V_JOIN:
		case V_JOIN_MANY:
			take_joins(client, result, at);
			break;
		case V_HEARTBEAT:
		case V_POSITION:
		case V_TICKET_POSITION:
			take_position(client, result, at);
			break;
		case V_MOVE:
			book_move_answered(client->storm->book, client->notes[client->first_note].index,
							   strcmp(PQcmdTuples((PGresult *) result), "0") != 0, at);
			break;
		default:
			take_place(client, result, at);
			break;
	}
}

/* Savepoint s<depth> is gone, and what was done in it is the outer one's. */
static void
release_savepoint(Client *client)
{
	client->depth--;
	for (int i = 0; i < client->n_notes; i++)
		if (client->notes[i].depth > client->depth)
			client->notes[i].depth = client->depth;
}

/* What has committed is sure, unless it was not waited for. */
static Outcome
committed(const Client *client)
{
	return link_is_unsure(client->link) ? UNKNOWN : COMMITTED;
}

static void
end_transaction(Client *client, const PGresult *result, int64_t at)
{
	bool		done = strcmp(PQcmdStatus((PGresult *) result), "COMMIT") == 0;

	if (done)
		client->storm->committed++;
	else
		client->storm->rolled_back++;
	close_notes(client, 0, done ? committed(client) : ROLLED_BACK, false, at);
	client->in_transaction = false;
	client->depth = 0;
}

static void
take_success(Client *client, Doing doing, const PGresult *result, int64_t at)
{
	switch (doing)
	{
		case BEGINNING:
			client->in_transaction = true;
			break;
		case WORKING:
			take_answer(client, result, at);
			break;
		case SAVING:
			client->depth++;
			break;
		case ROLLING_BACK_TO:
			close_notes(client, client->depth, ROLLED_BACK, false, at);
			client->failed = false;
			break;
		case RELEASING:
			release_savepoint(client);
			break;
		case COMMITTING:
		case ROLLING_BACK:
			end_transaction(client, result, at);
			break;
		default:
			break;
	}
	if (!client->in_transaction)
		close_notes(client, 0, committed(client), false, at);
}

static void
take_error(Client *client, Doing doing, const PGresult *result, int64_t at)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	storm_refused(client->storm, state != NULL ? state : "", PQresultErrorMessage(result),
				  doing == WORKING ? client->verb : VERBS);
	client->failed = true;
	if (doing == COMMITTING || doing == ROLLING_BACK)
		client->in_transaction = false;
	if (!client->in_transaction)
	{
		close_notes(client, 0, ROLLED_BACK, false, at);
		client->depth = 0;
	}
}

static void
answered(void *owner, const PGresult *result, int64_t at)
{
	Client	   *client = owner;
	Doing		doing = client->doing;
	ExecStatusType status = PQresultStatus(result);

	client->doing = NOTHING;
	client->cancel_at = NEVER;
	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
		take_success(client, doing, result, at);
	else
		take_error(client, doing, result, at);

	/* Most go on at once, some think about it, with their transaction open. */
	client->wake_at = steady_time();
	if (chance(client, 0.5))
		client->wake_at += between(client, 0, client->in_transaction ? 15000 : 25000);
}

static void
ready(void *owner)
{
	Client	   *client = owner;

	client->doing = NOTHING;
	client->wake_at = steady_time();
}

/* What was not being committed was rolled back. */
static void
lost(void *owner, int64_t at)
{
	Client	   *client = owner;
	bool		unsure = client->in_transaction ? client->doing == COMMITTING : client->doing == WORKING;

	client->storm->losses++;
	if (!client->storm->options->faults)
		storm_refused(client->storm, "08006", link_complaint(client->link), VERBS);
	close_notes(client, 0, unsure ? UNKNOWN : ROLLED_BACK, true, at);
	client->in_transaction = false;
	client->depth = 0;
	client->doing = NOTHING;
	client->cancel_at = NEVER;
}
