/*
 * event.c
 *		vqueue's events, read strictly: whatever is not exactly as documented is an error.
 *
 * The order of keys is not part of what is documented, so any order is taken,
 * but each key has to be there once, and no others.
 */
#include "event.h"

#include <string.h>

/* All keys of all objects; a set of them is a mask. */
typedef enum Key
{
	KEY_V, KEY_EVENT, KEY_AT, KEY_TENANT, KEY_QUEUE, KEY_QUEUE_ID, KEY_SESSIONS, KEY_STATE,
	KEY_WAITING, KEY_SERVING, KEY_HEAD, KEY_RELEASED_LAST_MINUTE, KEY_ID, KEY_USER_ID,
	KEY_TICKET, KEY_STATUS, KEY_SEQ,
	KEYS
} Key;

static const char *const key_names[KEYS] = {
	"v", "event", "at", "tenant", "queue", "queue_id", "sessions", "state",
	"waiting", "serving", "head", "released_last_minute", "id", "user_id",
	"ticket", "status", "seq"
};

const char *const event_type_names[EVENT_TYPES] = {"released", "ended", "state", "moved"};

const char *const state_names[STATES] = {"open", "paused", "draining", "closed"};

#define BIT(key)	(1u << (key))
#define HEAD_KEYS	(BIT(KEY_V) | BIT(KEY_EVENT) | BIT(KEY_AT) | BIT(KEY_TENANT) | \
					 BIT(KEY_QUEUE) | BIT(KEY_QUEUE_ID))

static const unsigned event_keys[EVENT_TYPES] = {
	HEAD_KEYS | BIT(KEY_SESSIONS) | BIT(KEY_SEQ),
	HEAD_KEYS | BIT(KEY_SESSIONS) | BIT(KEY_SEQ),
	HEAD_KEYS | BIT(KEY_STATE) | BIT(KEY_SEQ),
	HEAD_KEYS | BIT(KEY_WAITING) | BIT(KEY_SERVING) | BIT(KEY_HEAD) | BIT(KEY_RELEASED_LAST_MINUTE)
};

#define SESSION_KEYS		(BIT(KEY_ID) | BIT(KEY_USER_ID) | BIT(KEY_TICKET))
#define ENDED_SESSION_KEYS	(SESSION_KEYS | BIT(KEY_STATUS))

typedef struct Reader
{
	const char *at;
	const char *expected;		/* the first thing that was missed, or NULL */
	Event	   *event;
	unsigned	session_keys;	/* that all sessions have had; 0 before the first */
	bool		spaced;			/* a blank follows each comma and colon */
} Reader;

/* ---- pieces of JSON ---- */

static bool
miss(Reader *reader, const char *expected)
{
	if (reader->expected == NULL)
		reader->expected = expected;
	return false;
}

static bool
read_char(Reader *reader, char c, const char *name)
{
	if (*reader->at != c)
		return miss(reader, name);
	reader->at++;
	return true;
}

/* A comma or a colon, with the blank that may belong to it. */
static bool
read_mark(Reader *reader, char c, const char *name)
{
	return read_char(reader, c, name) && (!reader->spaced || read_char(reader, ' ', "a blank"));
}

/* Whether a list goes on. */
static bool
read_comma(Reader *reader)
{
	return *reader->at == ',' && read_mark(reader, ',', "a comma");
}

/* The character that an escape stands for; those beyond ASCII are not needed here. */
static bool
read_escape(Reader *reader, char *c)
{
	static const char from[] = "\"\\/bfnrt";
	static const char to[] = "\"\\/\b\f\n\r\t";
	const char *found = *reader->at ? strchr(from, *reader->at) : NULL;

	if (found == NULL)
		return miss(reader, "a known escape");
	*c = to[found - from];
	reader->at++;
	return true;
}

static bool
read_string(Reader *reader, char text[MAX_EVENT_TEXT])
{
	int			length = 0;

	if (!read_char(reader, '"', "a string"))
		return false;
	while (*reader->at != '"')
	{
		char		c = *reader->at;

		if ((unsigned char) c < 0x20)
			return miss(reader, "the end of a string");
		reader->at++;
		if (c == '\\' && !read_escape(reader, &c))
			return false;
		if (length == MAX_EVENT_TEXT - 1)
			return miss(reader, "a shorter string");
		text[length++] = c;
	}
	text[length] = '\0';
	reader->at++;
	return true;
}

static bool
read_number(Reader *reader, int64_t *number)
{
	size_t		length = strspn(reader->at, "-0123456789");

	if (!parse_number(reader->at, length, number) || *number < 0)
		return miss(reader, "a number");
	reader->at += length;
	return true;
}

static bool
read_uuid(Reader *reader, Uuid *uuid)
{
	char		text[MAX_EVENT_TEXT];

	if (!read_string(reader, text))
		return false;
	return uuid_parse(text, strlen(text), uuid) || miss(reader, "a uuid");
}

/* ---- objects ---- */

typedef bool (*ReadValue) (Reader *reader, Key key, void *object);

static bool
read_key(Reader *reader, unsigned *seen, Key *key)
{
	char		text[MAX_EVENT_TEXT];

	if (!read_string(reader, text) || !read_mark(reader, ':', "a colon"))
		return false;
	for (int k = 0; k < KEYS; k++)
	{
		if (strcmp(text, key_names[k]) != 0)
			continue;
		if (*seen & BIT(k))
			return miss(reader, "each key once");
		*seen |= BIT(k);
		*key = k;
		return true;
	}
	return miss(reader, "a known key");
}

/* Read an object by its values; tells which keys it had. */
static bool
read_object(Reader *reader, ReadValue read_value, void *object, unsigned *seen)
{
	*seen = 0;
	if (!read_char(reader, '{', "an object"))
		return false;
	do
	{
		Key			key;

		if (!read_key(reader, seen, &key) || !read_value(reader, key, object))
			return false;
	} while (read_comma(reader));
	return read_char(reader, '}', "the end of an object");
}

static bool
read_session_value(Reader *reader, Key key, void *object)
{
	EventSession *session = object;
	char		text[MAX_EVENT_TEXT];

	switch (key)
	{
		case KEY_ID:
			return read_uuid(reader, &session->id);
		case KEY_USER_ID:
			return read_uuid(reader, &session->user_id);
		case KEY_TICKET:
			return read_number(reader, &session->ticket);
		case KEY_STATUS:
			return read_string(reader, text) &&
				((status_parse(text, strlen(text), &session->status) &&
				  !status_is_live(session->status)) ||
				 miss(reader, "a final status"));
		default:
			return miss(reader, "a key of a session");
	}
}

static bool
read_sessions(Reader *reader)
{
	Event	   *event = reader->event;

	if (!read_char(reader, '[', "a list"))
		return false;
	do
	{
		unsigned	seen;

		if (event->n_sessions == MAX_EVENT_SESSIONS)
			return miss(reader, "fewer sessions");
		if (!read_object(reader, read_session_value, &event->sessions[event->n_sessions], &seen))
			return false;
		if (event->n_sessions > 0 && seen != reader->session_keys)
			return miss(reader, "the same keys in each session");
		reader->session_keys = seen;
		event->n_sessions++;
	} while (read_comma(reader));
	return read_char(reader, ']', "the end of a list");
}

static bool
read_type(Reader *reader)
{
	char		text[MAX_EVENT_TEXT];

	if (!read_string(reader, text))
		return false;
	for (int t = 0; t < EVENT_TYPES; t++)
		if (strcmp(text, event_type_names[t]) == 0)
		{
			reader->event->type = t;
			return true;
		}
	return miss(reader, "a known event");
}

bool
state_parse(const char *text, QueueState *state)
{
	for (int s = 0; s < STATES; s++)
		if (strcmp(text, state_names[s]) == 0)
		{
			*state = s;
			return true;
		}
	return false;
}

static bool
read_state(Reader *reader)
{
	char		text[MAX_EVENT_TEXT];

	return read_string(reader, text) && (state_parse(text, &reader->event->state) || miss(reader, "a known state"));
}

static bool
read_version(Reader *reader)
{
	int64_t		version;

	return read_number(reader, &version) && (version == 1 || miss(reader, "version 1"));
}

static bool
read_head(Reader *reader)
{
	if (strncmp(reader->at, "null", 4) != 0)
		return read_number(reader, &reader->event->head);
	reader->event->head = -1;
	reader->at += 4;
	return true;
}

static bool
read_event_value(Reader *reader, Key key, void *object)
{
	Event	   *event = object;

	switch (key)
	{
		case KEY_V:
			return read_version(reader);
		case KEY_EVENT:
			return read_type(reader);
		case KEY_AT:
			return read_string(reader, event->at);
		case KEY_TENANT:
			return read_string(reader, event->tenant);
		case KEY_QUEUE:
			return read_string(reader, event->queue);
		case KEY_QUEUE_ID:
			return read_uuid(reader, &event->queue_id);
		case KEY_SESSIONS:
			return read_sessions(reader);
		case KEY_STATE:
			return read_state(reader);
		case KEY_SEQ:
			return read_number(reader, &event->seq);
		case KEY_WAITING:
			return read_number(reader, &event->waiting);
		case KEY_SERVING:
			return read_number(reader, &event->serving);
		case KEY_HEAD:
			return read_head(reader);
		case KEY_RELEASED_LAST_MINUTE:
			return read_number(reader, &event->released_last_minute);
		default:
			return miss(reader, "a key of an event");
	}
}

/* ---- whole events ---- */

/* As in 2026-01-01T00:00:00.123456Z; the server writes no digits of the second that are zero. */
static bool
is_utc_time(const char *text)
{
	static const char shape[] = "dddd-dd-ddTdd:dd:dd";
	size_t		i;

	for (i = 0; shape[i] != '\0'; i++)
		if (shape[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != shape[i])
			return false;
	text += i;
	if (*text == '.')
	{
		size_t		digits = strspn(text + 1, "0123456789");

		if (digits < 1 || digits > 6)
			return false;
		text += 1 + digits;
	}
	return strcmp(text, "Z") == 0 || strcmp(text, "+00:00") == 0;
}

static bool
parse(const char *payload, bool spaced, Event *event, const char **expected)
{
	Reader		reader = {.at = payload,.event = event,.spaced = spaced};
	unsigned	seen;

	event->n_sessions = 0;
	if (!spaced && strlen(payload) > MAX_EVENT)
		miss(&reader, "less than 8000 bytes");
	else if (!read_object(&reader, read_event_value, event, &seen))
		miss(&reader, "an event");
	else if (*reader.at != '\0')
		miss(&reader, "nothing more");
	else if ((seen & BIT(KEY_EVENT)) == 0 || seen != event_keys[event->type])
		miss(&reader, "all keys of the event and no others");
	else if (!is_utc_time(event->at))
		miss(&reader, "a time in UTC");
	else if (event->n_sessions > 0 &&
			 reader.session_keys != (event->type == ENDED_EVENT ? ENDED_SESSION_KEYS : SESSION_KEYS))
		miss(&reader, "all keys of a session and no others");
	*expected = reader.expected;
	return reader.expected == NULL;
}

bool
event_parse(const char *payload, Event *event, const char **expected)
{
	return parse(payload, false, event, expected);
}

bool
event_parse_logged(const char *payload, Event *event, const char **expected)
{
	return parse(payload, true, event, expected);
}
