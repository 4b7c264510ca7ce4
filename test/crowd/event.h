/*
 * event.h
 *		vqueue's events, read strictly: whatever is not exactly as documented is an error.
 */
#ifndef CROWD_EVENT_H
#define CROWD_EVENT_H

#include "basics.h"
#include "place.h"

#define MAX_EVENT			7999	/* bytes of a payload */
#define MAX_EVENT_SESSIONS	128 /* more do not fit into a payload */
#define MAX_EVENT_TEXT		256

typedef enum EventType
{
	RELEASED_EVENT,
	ENDED_EVENT,
	STATE_EVENT,
	MOVED_EVENT,
	EVENT_TYPES
} EventType;

typedef struct EventSession
{
	Uuid		id;
	Uuid		user_id;
	int64_t		ticket;
	Status		status;			/* of an ended one */
} EventSession;

typedef struct Event
{
	EventType	type;
	char		at[MAX_EVENT_TEXT];
	char		tenant[MAX_EVENT_TEXT];
	char		queue[MAX_EVENT_TEXT];
	Uuid		queue_id;
	int			n_sessions;		/* released, ended */
	EventSession sessions[MAX_EVENT_SESSIONS];
	char		state[MAX_EVENT_TEXT];	/* state */
	int64_t		seq;			/* of the log; all but moved */
	int64_t		waiting;		/* moved */
	int64_t		serving;
	int64_t		head;			/* -1: nobody waits */
	int64_t		released_last_minute;
} Event;

/* Parse a payload; false, with what was expected at the offending place, if it is malformed. */
extern bool event_parse(const char *payload, Event *event, const char **expected);

#endif							/* CROWD_EVENT_H */
