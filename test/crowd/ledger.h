/*
 * ledger.h
 *		What the crowd was answered and told, one record a session.
 *
 * The ledger only notes; whether it is right is for checks.c to say.  All
 * times are wall times of the crowd's side: a request was asked before it was
 * sent, and answered or heard after all of it had arrived.
 */
#ifndef CROWD_LEDGER_H
#define CROWD_LEDGER_H

#include "basics.h"
#include "event.h"
#include "idmap.h"
#include "place.h"

typedef struct Record
{
	Uuid		id;
	int			user;			/* the owner's number for its user; -1 until a join was answered */

	/* of the first join that was answered with this session */
	Uuid		user_id;
	Lane		lane;
	int64_t		ticket;
	int64_t		asked_at;
	int64_t		answered_at;	/* 0: no join was answered with this session */
	int64_t		batch;			/* equal for those who joined in one statement */
	int			place_in_batch;
	int64_t		first_estimate; /* of its wait, -1: none */

	/* of its life */
	int64_t		seen_serving_at;	/* first sign that it was let in; 0: none */
	int64_t		leave_asked_at; /* 0: it did not ask to leave */
	int64_t		last_position;	/* -1: none seen yet */
	int64_t		worst_growth;	/* by how much a position exceeded the one before */
	bool		has_ended;
	Status		ended_as;		/* as leave or complete was answered */

	/* of its events */
	int			released_events;
	int			ended_events;
	Status		ended_event_status;
	bool		event_differs;	/* an event gave it another user or ticket */
	Uuid		event_user_id;
	int64_t		event_ticket;
} Record;

/* A user with a live session joined again. */
typedef struct Rejoin
{
	Uuid		had;
	Uuid		got;
} Rejoin;

typedef struct Ledger
{
	Record	   *records;
	int			n_records;
	int			records_room;
	Rejoin	   *rejoins;
	int			n_rejoins;
	int			rejoins_room;
	int64_t		batches;
	IdMap	   *by_id;
} Ledger;

extern Ledger *ledger_make(void);
extern void ledger_free(Ledger *ledger);

/* The record of a session, or NULL; valid until the next session is noted. */
extern Record *ledger_find(const Ledger *ledger, const Uuid *id);

/* A number for the joins of one statement. */
extern int64_t ledger_new_batch(Ledger *ledger);

/* A user without a session joined. */
extern void ledger_joined(Ledger *ledger, int user, const Place *place, int64_t asked_at,
						  int64_t answered_at, int64_t batch, int place_in_batch);

/* A user that had a session joined again. */
extern void ledger_rejoined(Ledger *ledger, const Uuid *had, const Place *place);

/* Any answer that shows where a session stands; each asked after the one before was answered. */
extern void ledger_seen(Ledger *ledger, const Place *place, int64_t answered_at);

extern void ledger_asked_to_leave(Ledger *ledger, const Uuid *id, int64_t asked_at);

/* Leave or complete was answered. */
extern void ledger_ended(Ledger *ledger, const Place *place);

/* An event arrived. */
extern void ledger_heard(Ledger *ledger, const Event *event, int64_t heard_at);

#endif							/* CROWD_LEDGER_H */
