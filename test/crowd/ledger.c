/*
 * ledger.c
 *		What the crowd was answered and told, one record a session.
 */
#include "ledger.h"

#include <stdlib.h>
#include <string.h>

Ledger *
ledger_make(void)
{
	Ledger	   *ledger = get_memory(sizeof(Ledger));

	ledger->by_id = idmap_make();
	return ledger;
}

void
ledger_free(Ledger *ledger)
{
	idmap_free(ledger->by_id);
	free(ledger->rejoins);
	free(ledger->records);
	free(ledger);
}

Record *
ledger_find(const Ledger *ledger, const Uuid *id)
{
	int			index = idmap_find(ledger->by_id, id);

	return index >= 0 ? &ledger->records[index] : NULL;
}

/* An event may be heard before the join is answered, so either opens the record. */
static Record *
find_or_open(Ledger *ledger, const Uuid *id)
{
	Record	   *record = ledger_find(ledger, id);

	if (record != NULL)
		return record;
	ledger->records = grow(ledger->records, ledger->n_records, &ledger->records_room, sizeof(Record));
	record = &ledger->records[ledger->n_records];
	memset(record, 0, sizeof(Record));
	record->id = *id;
	record->user = -1;
	record->last_position = -1;
	idmap_add(ledger->by_id, id, ledger->n_records++);
	return record;
}

int64_t
ledger_new_batch(Ledger *ledger)
{
	return ++ledger->batches;
}

/* ---- answers ---- */

static void
see_serving(Record *record, int64_t at)
{
	if (record->seen_serving_at == 0)
		record->seen_serving_at = at;
}

void
ledger_joined(Ledger *ledger, int user, const Place *place, int64_t asked_at,
			  int64_t answered_at, int64_t batch, int place_in_batch)
{
	Record	   *record = find_or_open(ledger, &place->id);

	record->user = user;
	record->user_id = place->user_id;
	record->lane = place->lane;
	record->ticket = place->ticket;
	record->asked_at = asked_at;
	record->answered_at = answered_at;
	record->batch = batch;
	record->place_in_batch = place_in_batch;
	record->first_estimate = place->estimated_wait;
	ledger_seen(ledger, place, answered_at);
}

void
ledger_rejoined(Ledger *ledger, const Uuid *had, const Place *place)
{
	Rejoin		rejoin = {*had, place->id};

	ledger->rejoins = grow(ledger->rejoins, ledger->n_rejoins, &ledger->rejoins_room, sizeof(Rejoin));
	ledger->rejoins[ledger->n_rejoins++] = rejoin;
}

void
ledger_seen(Ledger *ledger, const Place *place, int64_t answered_at)
{
	Record	   *record = find_or_open(ledger, &place->id);

	if (place->status == SERVING)
		see_serving(record, answered_at);
	if (place->position < 0)
		return;
	if (record->last_position >= 0 && place->position - record->last_position > record->worst_growth)
		record->worst_growth = place->position - record->last_position;
	record->last_position = place->position;
}

void
ledger_asked_to_leave(Ledger *ledger, const Uuid *id, int64_t asked_at)
{
	find_or_open(ledger, id)->leave_asked_at = asked_at;
}

void
ledger_ended(Ledger *ledger, const Place *place)
{
	Record	   *record = find_or_open(ledger, &place->id);

	record->has_ended = true;
	record->ended_as = place->status;
}

/* ---- events ---- */

static void
note_event_session(Record *record, const EventSession *session)
{
	if (record->released_events + record->ended_events > 0 &&
		(!uuid_equal(&record->event_user_id, &session->user_id) ||
		 record->event_ticket != session->ticket))
		record->event_differs = true;
	record->event_user_id = session->user_id;
	record->event_ticket = session->ticket;
}

void
ledger_heard(Ledger *ledger, const Event *event, int64_t heard_at)
{
	for (int i = 0; i < event->n_sessions; i++)
	{
		const EventSession *session = &event->sessions[i];
		Record	   *record = find_or_open(ledger, &session->id);

		note_event_session(record, session);
		if (event->type == RELEASED_EVENT)
		{
			record->released_events++;
			see_serving(record, heard_at);
		}
		else if (event->type == ENDED_EVENT)
		{
			record->ended_events++;
			record->ended_event_status = session->status;
		}
	}
}
