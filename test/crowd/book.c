/*
 * book.c
 *		The storm's ledger: what its clients asked, what they were answered, and how
 *		each transaction ended.
 */
#include "book.h"

#include <stdlib.h>
#include <string.h>

const char *const verb_names[VERBS] = {
	"join", "join_many", "poll", "status", "heartbeat", "position", "ticket_position", "leave",
	"complete", "remove", "move", "set_priority", "claim", "extend", "readmit"
};

const char *const figure_names[FIGURES] = {
	"joined", "released", "completed", "left", "abandoned", "no_shows", "expired", "removed"
};

Book *
book_make(int queues)
{
	Book	   *book = get_memory(sizeof(Book));

	book->queues = get_memory(queues * sizeof(BookQueue));
	book->n_queues = queues;
	book->by_id = idmap_make();
	book->orders_found = idmap_make();
	return book;
}

void
book_free(Book *book)
{
	for (int q = 0; q < book->n_queues; q++)
	{
		BookQueue  *queue = &book->queues[q];

		free(queue->name);
		free(queue->limits.list);
		free(queue->states.list);
		free(queue->methods.list);
		free(queue->turns.list);
		free(queue->graces.list);
		free(queue->moments);
		free(queue->snapshots);
		free(queue->rows);
		for (int b = 0; b < BELIEFS; b++)
			free(queue->live[b].sessions);
	}
	free(book->queues);
	free(book->sessions);
	idmap_free(book->by_id);
	idmap_free(book->orders_found);
	free(book->joins);
	free(book->touches);
	free(book->readings);
	free(book->servings);
	free(book->orders);
	free(book->heard.list);
	free(book->logged.list);
	free(book->away.list);
	free(book->stalled.list);
	if (book->ledger != NULL)
		fclose(book->ledger);
	free(book);
}

int64_t
deed_end(const Deed *deed)
{
	return deed->lost ? deed->ended_at + LINGERING : deed->ended_at;
}

/* ---- what was asked ---- */

int
book_join_asked(Book *book, int queue, const Uuid *user, Lane lane, int64_t asked_at)
{
	Join	   *join;

	book->joins = grow(book->joins, book->n_joins, &book->joins_room, sizeof(Join));
	join = &book->joins[book->n_joins];
	memset(join, 0, sizeof(Join));
	join->deed.asked_at = asked_at;
	join->queue = queue;
	join->user = *user;
	join->lane = lane;
	join->session = -1;
	return book->n_joins++;
}

int
book_touch_asked(Book *book, Verb verb, int session, Lane lane, int64_t asked_at)
{
	Touch	   *touch;

	book->touches = grow(book->touches, book->n_touches, &book->touches_room, sizeof(Touch));
	touch = &book->touches[book->n_touches];
	memset(touch, 0, sizeof(Touch));
	touch->deed.asked_at = asked_at;
	touch->verb = verb;
	touch->session = session;
	touch->lane = lane;
	return book->n_touches++;
}

int
book_order_asked(Book *book, const Uuid *id, int64_t asked_at)
{
	Order	   *order;

	book->orders = grow(book->orders, book->n_orders, &book->orders_room, sizeof(Order));
	order = &book->orders[book->n_orders];
	memset(order, 0, sizeof(Order));
	order->id = *id;
	order->deed.asked_at = asked_at;
	return book->n_orders++;
}

/* ---- what was answered ---- */

/* An event may be heard before the join is answered, so either opens the session. */
static int
find_or_open(Book *book, const Uuid *id)
{
	int			index = idmap_find(book->by_id, id);
	Session    *session;

	if (index >= 0)
		return index;
	book->sessions = grow(book->sessions, book->n_sessions, &book->sessions_room, sizeof(Session));
	session = &book->sessions[book->n_sessions];
	memset(session, 0, sizeof(Session));
	session->id = *id;
	session->queue = -1;
	session->known_at = NEVER;
	session->list = -1;
	idmap_add(book->by_id, id, book->n_sessions);
	return book->n_sessions++;
}

void
book_join_answered(Book *book, int join, const Place *place, int64_t served_at, int64_t answered_at)
{
	Join	   *asked = &book->joins[join];
	int			index = find_or_open(book, &place->id);
	Session    *session = &book->sessions[index];

	asked->deed.answered_at = answered_at;
	asked->session = index;
	asked->status = place->status;
	if (!session->answered)
	{
		session->answered = true;
		if (session->queue >= 0 && (!uuid_equal(&session->user, &place->user_id) ||
									session->ticket != place->ticket))
			session->event_differs = true;
		session->queue = asked->queue;
		session->user = asked->user;
		session->ticket = place->ticket;
		session->lane = place->lane;
	}
	if (session->queue != asked->queue || session->ticket != place->ticket ||
		!uuid_equal(&session->user, &asked->user) || !uuid_equal(&session->user, &place->user_id))
		session->differs = true;
	book_place_seen(book, place, served_at, asked->deed.asked_at, answered_at);
}

void
book_end_answered(Book *book, int touch, const Place *place, int64_t served_at, int64_t answered_at)
{
	Touch	   *asked = &book->touches[touch];

	asked->deed.answered_at = answered_at;
	asked->status = place->status;
	book_place_seen(book, place, served_at, asked->deed.asked_at, answered_at);
}

void
book_step_answered(Book *book, int touch, const Place *place, int64_t served_at, const Row *past,
				   int64_t answered_at)
{
	Touch	   *asked = &book->touches[touch];

	asked->deed.answered_at = answered_at;
	asked->status = place->status;
	asked->changed = true;
	asked->served_at = served_at;
	if (past != NULL)
		asked->past = *past;
	book_place_seen(book, place, 0, asked->deed.asked_at, answered_at);
}

void
book_move_answered(Book *book, int touch, bool changed, int64_t answered_at)
{
	book->touches[touch].deed.answered_at = answered_at;
	book->touches[touch].changed = changed;
}

/* When a session came in was told: noted if it is news. */
static void
note_serving(Book *book, int session, int64_t served_at)
{
	if (served_at == 0 || book->sessions[session].served_at == served_at)
		return;
	book->sessions[session].served_at = served_at;
	book->servings = grow(book->servings, book->n_servings, &book->servings_room, sizeof(Serving));
	book->servings[book->n_servings++] = (Serving) {session, served_at};
}

void
book_place_seen(Book *book, const Place *place, int64_t served_at, int64_t asked_at,
				int64_t answered_at)
{
	int			index = find_or_open(book, &place->id);
	Session    *session = &book->sessions[index];

	note_serving(book, index, served_at);
	if ((served_at != 0 || place->status == READY || place->status == SERVING) && session->seen_serving_at == 0)
		session->seen_serving_at = answered_at;
	book_position_read(book, index, place->position, asked_at, answered_at);
	if (session->known_at != NEVER && session->list == BELIEVED_WAITING &&
		(place->status == SERVING || place->status == READY))
		book_believe(book, index, place->status == READY ? BELIEVED_READY : BELIEVED_SERVING);
}

void
book_position_read(Book *book, int session, int64_t position, int64_t asked_at, int64_t answered_at)
{
	Reading    *reading;

	book->readings = grow(book->readings, book->n_readings, &book->readings_room, sizeof(Reading));
	reading = &book->readings[book->n_readings++];
	reading->session = session;
	reading->position = position;
	reading->asked_at = asked_at;
	reading->answered_at = answered_at;
	reading->alive = false;
}

void
book_was_alive(Book *book)
{
	book->readings[book->n_readings - 1].alive = true;
}

/* ---- how it ended ---- */

static void
deed_over(Deed *deed, Outcome outcome, bool lost, int64_t at)
{
	deed->outcome = outcome;
	deed->lost = lost;
	deed->ended_at = at;
}

/* A line for those who want to know what was acknowledged when. */
static void
write_ledger(Book *book, int64_t at, const char *verb, const Session *session, Status status)
{
	char		id[UUID_TEXT];
	char		user[UUID_TEXT];

	if (book->ledger == NULL)
		return;
	fprintf(book->ledger, "%lld %s %s %s %s %lld %s\n", (long long) at,
			book->queues[session->queue].name, verb, uuid_print(&session->id, id),
			uuid_print(&session->user, user), (long long) session->ticket, status_names[status]);
	fflush(book->ledger);
}

void
book_join_over(Book *book, int join, Outcome outcome, bool lost, int64_t at)
{
	Join	   *asked = &book->joins[join];
	Session    *session;

	deed_over(&asked->deed, outcome, lost, at);
	if (asked->session < 0)
		return;
	session = &book->sessions[asked->session];
	session->unsure |= outcome == UNKNOWN;
	if (outcome != COMMITTED)
		return;
	if (session->known_at == NEVER)
	{
		session->known_at = at;
		book_believe(book, asked->session, session->seen_serving_at == 0 ? BELIEVED_WAITING :
					 asked->status == READY ? BELIEVED_READY : BELIEVED_SERVING);
	}
	write_ledger(book, at, "join", session, asked->status);
}

/*
 * Who joins again is answered with the session that is there, whether or not it was
 * sure: of a join whose answer was lost with its server it may not have been.
 */
bool
book_may_be_lost(const Book *book, int session)
{
	const Session *of = &book->sessions[session];

	for (int j = 0; j < book->n_joins && !of->unsure; j++)
	{
		const Join *join = &book->joins[j];

		if (join->deed.outcome == UNKNOWN && join->queue == of->queue && uuid_equal(&join->user, &of->user))
			return true;
	}
	return of->unsure;
}

/* A claim, an extension or a readmission is sure. */
static void
step_committed(Book *book, const Touch *touch)
{
	note_serving(book, touch->session, touch->served_at);
	if (touch->verb == V_CLAIM)
		book_believe(book, touch->session, BELIEVED_SERVING);
	else if (touch->verb == V_READMIT)
		book_believe(book, touch->session, BELIEVED_WAITING);
}

void
book_touch_over(Book *book, int touch, Outcome outcome, bool lost, int64_t at)
{
	Touch	   *asked = &book->touches[touch];
	Session    *session = &book->sessions[asked->session];

	deed_over(&asked->deed, outcome, lost, at);
	if (verb_moves(asked->verb))
	{
		if (outcome == COMMITTED && asked->changed)
			write_ledger(book, at, verb_names[V_MOVE], session, WAITING);
		return;
	}
	if (outcome == ROLLED_BACK)
		return;
	if (!verb_ends(asked->verb))
	{
		if (outcome == COMMITTED && asked->deed.answered_at != 0)
			step_committed(book, asked);
		return;
	}
	book_believe(book, asked->session, -1);
	if (outcome == COMMITTED && asked->deed.answered_at != 0)
		write_ledger(book, at, verb_names[asked->verb], session, asked->status);
}

void
book_order_over(Book *book, int order, Outcome outcome, bool lost, int64_t at)
{
	deed_over(&book->orders[order].deed, outcome, lost, at);
}

/* ---- events ---- */

static bool
calls(const Setting *setting)
{
	return setting->claim_timeout > 0;
}

/* Whether who was released a moment ago may have to claim the slot. */
static bool
may_be_called(const BookQueue *queue, int64_t heard_at)
{
	return settings_any(&queue->graces, heard_at - SECOND, heard_at, calls);
}

static void
hear_session(Book *book, int queue, const Event *event, const EventSession *heard, int64_t heard_at)
{
	int			index = find_or_open(book, &heard->id);
	Session    *session = &book->sessions[index];

	if (session->queue < 0)
	{
		session->queue = queue;
		session->user = heard->user_id;
		session->ticket = heard->ticket;
	}
	else if (session->queue != queue || session->ticket != heard->ticket ||
			 !uuid_equal(&session->user, &heard->user_id))
		session->event_differs = true;
	if (event->type == RELEASED_EVENT)
	{
		session->released_events++;
		session->released_heard_at = heard_at;
		if (session->seen_serving_at == 0)
			session->seen_serving_at = heard_at;
		if (session->list == BELIEVED_WAITING)
			book_believe(book, index, may_be_called(&book->queues[queue], heard_at) ?
						 BELIEVED_READY : BELIEVED_SERVING);
	}
	else if (event->type == ENDED_EVENT)
	{
		session->ended_events++;
		session->ended_heard_at = heard_at;
		session->ended_event_status = heard->status;
		session->slot_events += heard->status == NO_SHOW || heard->status == EXPIRED;
		if (session->list >= 0 &&
			(heard->status == NO_SHOW || heard->status == EXPIRED || heard->status == ABANDONED))
			book_believe(book, index, BELIEVED_TIMED_OUT);
	}
}

static void
add_telling(Tellings *tellings, int queue, const Event *event, int number, int64_t at)
{
	Telling		telling = {.queue = queue,.seq = event->seq,.number = number,.at = at,.type = event->type};

	if (event->type == STATE_EVENT)
		telling.state = event->state;
	else
		telling.session = event->sessions[number];
	tellings->list = grow(tellings->list, tellings->n, &tellings->room, sizeof(Telling));
	tellings->list[tellings->n++] = telling;
}

/* All that an event told, but for what is not logged. */
static void
add_tellings(Tellings *tellings, int queue, const Event *event, int64_t at)
{
	int			n = event->type == STATE_EVENT ? 1 : event->type == MOVED_EVENT ? 0 : event->n_sessions;

	for (int i = 0; i < n; i++)
		add_telling(tellings, queue, event, i, at);
}

/* The queue of an event; -1: it is somebody else's. */
static int
queue_of(const Book *book, const Event *event)
{
	for (int q = 0; q < book->n_queues; q++)
		if (strcmp(book->queues[q].name, event->queue) == 0)
			return q;
	return -1;
}

void
book_logged(Book *book, const Event *event, int64_t at)
{
	int			queue = queue_of(book, event);

	if (queue >= 0)
		add_tellings(&book->logged, queue, event, at);
}

void
book_heard(Book *book, const Event *event, int64_t heard_at)
{
	int			queue = queue_of(book, event);

	if (queue < 0)
		return;
	add_tellings(&book->heard, queue, event, heard_at);
	for (int i = 0; i < event->n_sessions; i++)
		hear_session(book, queue, event, &event->sessions[i], heard_at);
}

/* ---- settings and spans ---- */

int
settings_asked(Settings *settings, const Setting *setting, int64_t asked_at)
{
	settings->list = grow(settings->list, settings->n, &settings->room, sizeof(Setting));
	settings->list[settings->n] = *setting;
	settings->list[settings->n].from = asked_at;
	settings->list[settings->n].to = NEVER;
	return settings->n++;
}

void
settings_over(Settings *settings, int change, Outcome outcome, int64_t at)
{
	if (outcome == ROLLED_BACK)
		settings->list[change].to = 0;
	if (outcome != COMMITTED)
		return;
	for (int i = 0; i < change; i++)
		if (settings->list[i].to == NEVER)
			settings->list[i].to = at;
}

static bool
may_apply(const Setting *setting, int64_t from, int64_t to)
{
	return setting->from <= to && setting->to >= from;
}

int64_t
settings_highest_cap(const Settings *settings, int64_t from, int64_t to)
{
	int64_t		highest = 0;

	for (int i = 0; i < settings->n; i++)
		if (may_apply(&settings->list[i], from, to) && settings->list[i].cap > highest)
			highest = settings->list[i].cap;
	return highest;
}

int64_t
settings_highest_burst(const Settings *settings, int64_t from, int64_t to)
{
	int64_t		highest = 0;

	for (int i = 0; i < settings->n; i++)
		if (may_apply(&settings->list[i], from, to) && settings->list[i].burst > highest)
			highest = settings->list[i].burst;
	return highest;
}

bool
settings_any(const Settings *settings, int64_t from, int64_t to, bool (*holds) (const Setting *setting))
{
	for (int i = 0; i < settings->n; i++)
		if (may_apply(&settings->list[i], from, to) && holds(&settings->list[i]))
			return true;
	return false;
}

bool
setting_passes(const Setting *setting)
{
	return setting->passes;
}

bool
setting_is_random(const Setting *setting)
{
	return setting->random;
}

bool
setting_is_shut(const Setting *setting)
{
	return setting->shut;
}

bool
setting_admits(const Setting *setting)
{
	return !setting->shut;
}

bool
setting_is_weighted(const Setting *setting)
{
	return setting->weights[0] > 0;
}

bool
queue_may_pass(const BookQueue *queue, int64_t from, int64_t to)
{
	return settings_any(&queue->methods, from, to, setting_passes);
}

void
spans_add(Spans *spans, int64_t from, int64_t to)
{
	spans->list = grow(spans->list, spans->n, &spans->room, sizeof(Span));
	spans->list[spans->n].from = from;
	spans->list[spans->n++].to = to;
}

bool
spans_touch(const Spans *spans, int64_t from, int64_t to)
{
	for (int i = 0; i < spans->n; i++)
		if (spans->list[i].from <= to && spans->list[i].to >= from)
			return true;
	return false;
}

/* ---- beliefs ---- */

int
book_choose(const Book *book, int queue, Belief belief, Random *random)
{
	const LiveList *list = &book->queues[queue].live[belief];

	return list->n > 0 ? list->sessions[random_between(random, 0, list->n - 1)] : -1;
}

void
book_believe(Book *book, int session, int belief)
{
	Session    *it = &book->sessions[session];
	LiveList   *list;

	if (it->list >= 0)
	{
		int			last;

		list = &book->queues[it->queue].live[it->list];
		last = list->sessions[--list->n];
		list->sessions[it->place_in_list] = last;
		book->sessions[last].place_in_list = it->place_in_list;
	}
	it->list = belief;
	if (belief < 0)
		return;
	list = &book->queues[it->queue].live[belief];
	list->sessions = grow(list->sessions, list->n, &list->room, sizeof(int));
	it->place_in_list = list->n;
	list->sessions[list->n++] = session;
}
