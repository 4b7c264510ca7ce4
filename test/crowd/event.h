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

typedef enum QueueState
{
	IS_OPEN,
	IS_PAUSED,
	IS_DRAINING,
	IS_CLOSED,
	STATES
} QueueState;

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
	QueueState	state;			/* state */
	int64_t		seq;			/* of the log; all but moved */
	int64_t		waiting;		/* moved */
	int64_t		serving;
	int64_t		head;			/* -1: nobody waits */
	int64_t		released_last_minute;
} Event;

/*
 * Parse a payload, as NOTIFY brings it or as the log shows it, with a blank after each
 * comma and colon; false, with what was expected at the offending place, if it is malformed.
 */
extern bool event_parse(const char *payload, Event *event, const char **expected);
extern bool event_parse_logged(const char *payload, Event *event, const char **expected);

extern const char *const event_type_names[EVENT_TYPES];
extern const char *const state_names[STATES];

/* Whether a state is known; sets it if so. */
extern bool state_parse(const char *text, QueueState *state);

#endif							/* CROWD_EVENT_H */
