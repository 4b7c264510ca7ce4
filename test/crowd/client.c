/*
 * client.c
 *		One client of a storm: it does whatever its random numbers tell it, in
 *		single statements and in transactions, and notes it all in the book.
 */
#include "client_inside.h"

#include <stdlib.h>
#include <string.h>

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
	client->link = link_open(NULL, storm->name, &owner);
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

/* ---- notes ---- */

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

/* ---- going on ---- */

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
		client_step(client);
	else if (client->storm->holding)
		return NEVER;
	else if (random_chance(&client->random, 0.25))
		client_begin(client);
	else
		client_work(client);
	return client->cancel_at;
}

/* ---- answers ---- */

/* Whether what is seen of a session now may be undone by rolling back the open transaction. */
static bool
has_touched(const Client *client, int session)
{
	for (int i = 0; i < client->n_notes; i++)
		if (client->notes[i].kind == TOUCH_NOTE)
		{
			const Touch *touch = &client->storm->book->touches[client->notes[i].index];

			if (touch->session == session && (touch->verb == V_CLAIM || touch->verb == V_READMIT))
				return true;
		}
	return false;
}

/* When a place says that its session came in; 0 if not, or if that is not sure. */
static int64_t
sure_serving(const Client *client, const PGresult *result, int row, const Place *place)
{
	int			session = idmap_find(client->storm->book->by_id, &place->id);

	return session >= 0 && has_touched(client, session) ? 0 : number_field(result, row, 8, 0);
}

static void
take_joins(Client *client, const PGresult *result, int64_t at)
{
	for (int i = 0; i < PQntuples(result); i++)
	{
		Place		place = place_read(result, i);
		int			note = client->first_note + i;

		if (note >= client->n_notes)
			continue;
		book_join_answered(client->storm->book, client->notes[note].index, &place,
						   sure_serving(client, result, i, &place), at);
		book_was_alive(client->storm->book);
	}
}

static void
take_position(Client *client, const PGresult *result, int64_t at)
{
	book_position_read(client->storm->book, client->session, number_field(result, 0, 0, -1),
					   client->asked_at, at);
	if (client->verb == V_HEARTBEAT)
		book_was_alive(client->storm->book);
}

static void
take_place(Client *client, const PGresult *result, int64_t at)
{
	Book	   *book = client->storm->book;
	Place		place = place_read(result, 0);
	int64_t		served_at = sure_serving(client, result, 0, &place);

	if (client->first_note < client->n_notes)
		book_end_answered(book, client->notes[client->first_note].index, &place, served_at, at);
	else
		book_place_seen(book, &place, served_at, client->asked_at, at);
	if (client->verb == V_POLL)
		book_was_alive(book);

	/* Ended by somebody whose answer was lost. */
	if (!client->in_transaction && !status_is_live(place.status))
		book_believe(book, client->session, -1);
}

/* What a readmission tells of the row as it was before. */
static Row
past_row(const PGresult *result, const Place *place)
{
	Row			row = {.id = place->id,.user_id = place->user_id};

	if (!status_parse(PQgetvalue(result, 0, 9), PQgetlength(result, 0, 9), &row.status))
		die("\"%s\" is no status", PQgetvalue(result, 0, 9));
	row.lane = place->lane;
	row.ticket = place->ticket;
	row.joined_at = number_field(result, 0, 10, 0);
	row.ready_at = number_field(result, 0, 11, 0);
	row.served_at = number_field(result, 0, 12, 0);
	row.extended_at = number_field(result, 0, 13, 0);
	row.left_at = number_field(result, 0, 14, 0);
	return row;
}

static void
take_step(Client *client, const PGresult *result, int64_t at)
{
	Book	   *book = client->storm->book;
	int			touch = client->notes[client->first_note].index;
	Place		place;
	Row			past;

	if (PQntuples(result) == 0)
	{
		/* An old snapshot does not have it. */
		book_move_answered(book, touch, false, at);
		return;
	}
	place = place_read(result, 0);
	if (client->verb == V_READMIT)
		past = past_row(result, &place);
	book_step_answered(book, touch, &place, number_field(result, 0, 8, 0),
					   client->verb == V_READMIT ? &past : NULL, at);
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
		case V_PRIORITY:
		case V_CLAIM:
		case V_EXTEND:
		case V_READMIT:
			take_step(client, result, at);
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

/* Whether a join was refused as the queue lets nobody join; it is noted then. */
static bool
is_shut_out(Client *client, const char *state, const char *message)
{
	if ((client->verb != V_JOIN && client->verb != V_JOIN_MANY) || strcmp(state, "55000") != 0 ||
		(strstr(message, "admits nobody") == NULL && strstr(message, "rejects newcomers") == NULL))
		return false;
	for (int i = client->first_note; i < client->n_notes; i++)
		client->storm->book->joins[client->notes[i].index].shut_out = true;
	client->storm->book->excused++;
	return true;
}

/* Whether a session is not there that may have been lost with a server; it is not asked for again. */
static bool
is_lost(Client *client, const char *state)
{
	Book	   *book = client->storm->book;

	if (client->verb == V_JOIN || client->verb == V_JOIN_MANY || strcmp(state, "42704") != 0 ||
		!client->storm->options->faults || !book_may_be_lost(book, client->session))
		return false;
	book_believe(book, client->session, -1);
	book->excused++;
	return true;
}

static void
take_error(Client *client, Doing doing, const PGresult *result, int64_t at)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	if (doing != WORKING || (!is_shut_out(client, state != NULL ? state : "", PQresultErrorMessage(result)) &&
							 !is_lost(client, state != NULL ? state : "")))
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
	if (random_chance(&client->random, 0.5))
		client->wake_at += random_between(&client->random, 0, client->in_transaction ? 15000 : 25000);
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
