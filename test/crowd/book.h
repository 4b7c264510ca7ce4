/*
 * book.h
 *		The storm's ledger: what its clients asked, what they were answered, and how
 *		each transaction ended.
 *
 * The book only notes; whether it is right is for laws.c to say.  All times are
 * wall times of the crowd's side: something was asked before it was sent, and
 * answered or ended after all of the answer had arrived.
 */
#ifndef CROWD_BOOK_H
#define CROWD_BOOK_H

#include <stdio.h>

#include "basics.h"
#include "event.h"
#include "idmap.h"
#include "place.h"

typedef enum Outcome
{
	OPEN,						/* its transaction has not ended yet */
	COMMITTED,
	ROLLED_BACK,
	UNKNOWN						/* the connection, or its standby, was lost during the commit */
} Outcome;

typedef enum Verb
{
	V_JOIN,
	V_JOIN_MANY,
	V_POLL,
	V_STATUS,
	V_HEARTBEAT,
	V_POSITION,
	V_TICKET_POSITION,
	V_LEAVE,
	V_COMPLETE,
	V_REMOVE,
	V_MOVE,
	V_PRIORITY,
	V_CLAIM,
	V_EXTEND,
	V_READMIT,
	VERBS
} Verb;

static inline bool
verb_ends(Verb verb)
{
	return verb == V_LEAVE || verb == V_COMPLETE || verb == V_REMOVE;
}

static inline bool
verb_moves(Verb verb)
{
	return verb == V_MOVE || verb == V_PRIORITY;
}

extern const char *const verb_names[VERBS];

/* Something that a statement did, if its transaction committed. */
typedef struct Deed
{
	int64_t		asked_at;
	int64_t		answered_at;	/* 0: refused, or the answer was lost */
	int64_t		ended_at;		/* when its transaction, or savepoint, was known to have ended */
	Outcome		outcome;
	bool		lost;			/* the connection was: its server process may live on for a while */
} Deed;

/* One user's part of a join. */
typedef struct Join
{
	Deed		deed;
	int			queue;
	Uuid		user;
	Lane		lane;
	int			session;		/* as answered, or -1 */
	Status		status;			/* as answered */
	bool		shut_out;		/* refused, as the queue lets nobody join */
} Join;

/* A session was ended, moved, claimed, extended or readmitted, or somebody tried to. */
typedef struct Touch
{
	Deed		deed;
	Verb		verb;
	int			session;
	Lane		lane;			/* of a move: whither */
	bool		changed;		/* of a move: the session still waited */
	Status		status;			/* of all others: as answered */
	int64_t		served_at;		/* as answered; 0: none */
	Row			past;			/* of a readmission: the row as it was before */
} Touch;

/* An answer told when a session came in. */
typedef struct Serving
{
	int			session;
	int64_t		served_at;
} Serving;

/* A position was asked for. */
typedef struct Reading
{
	int			session;
	int64_t		position;		/* -1: null */
	int64_t		asked_at;
	int64_t		answered_at;
	bool		alive;			/* the question was a sign of life */
} Reading;

/* A row of the business's own table. */
typedef struct Order
{
	Uuid		id;
	Deed		deed;
} Order;

/* What an event told of one session, or of the queue's state: by NOTIFY, or in the log of events. */
typedef struct Telling
{
	int			queue;
	int64_t		seq;			/* of the event */
	int			number;			/* in the event, from 0 */
	int64_t		at;				/* when it was heard, or by the log told */
	EventType	type;
	EventSession session;		/* of a release or an end */
	QueueState	state;			/* of a change of state */
} Telling;

typedef struct Tellings
{
	Telling    *list;
	int			n;
	int			room;
} Tellings;

/* What is counted of a queue in its statistics, and by the tables. */
typedef enum Figure
{
	JOINED_FIGURE,
	RELEASED_FIGURE,
	COMPLETED_FIGURE,
	LEFT_FIGURE,
	ABANDONED_FIGURE,
	NO_SHOW_FIGURE,
	EXPIRED_FIGURE,
	REMOVED_FIGURE,
	FIGURES
} Figure;

extern const char *const figure_names[FIGURES];

/* Where an end is counted. */
static inline Figure
figure_of(Status final)
{
	return final == COMPLETED ? COMPLETED_FIGURE : final == LEFT ? LEFT_FIGURE :
		final == ABANDONED ? ABANDONED_FIGURE : final == NO_SHOW ? NO_SHOW_FIGURE :
		final == EXPIRED ? EXPIRED_FIGURE : REMOVED_FIGURE;
}

/* All that was ever answered of one session. */
typedef struct Session
{
	Uuid		id;
	int			queue;
	Uuid		user;
	int64_t		ticket;
	Lane		lane;			/* as first answered */
	bool		answered;		/* by a join; else only told of by an event */
	bool		unsure;			/* the outcome of a join of it is not known */
	bool		differs;		/* later answers gave it another user, ticket or queue */
	int64_t		known_at;		/* since when a committed join of it is known; NEVER: none is */
	int64_t		served_at;		/* as last answered; 0: not yet */
	int64_t		seen_serving_at;	/* first sign that it was let in; 0: none */

	int			released_events;
	int64_t		released_heard_at;
	int			ended_events;
	int			slot_events;	/* of those, of sessions that had been let in and were ended by a timeout */
	int64_t		ended_heard_at;
	Status		ended_event_status;
	bool		event_differs;

	/* what the clients believe, to choose from */
	int			list;			/* of their queue; -1: none */
	int			place_in_list;
} Session;

/* Settings that may have been in force from one time to another. */
typedef struct Setting
{
	int64_t		from;
	int64_t		to;
	int64_t		rate;			/* a minute */
	int64_t		burst;
	int64_t		cap;
	bool		open;			/* of a change of state: whether releases go on */
	bool		shut;			/* of state or method: whether joins are refused */
	bool		passes;			/* of the method: whether all come in at once */
	bool		random;			/* of the method: whether newcomers may come to stand ahead */
	int			weights[LANES]; /* of the turns: all 0 for strict priority */
	int64_t		waiting_timeout;	/* 0: never */
	int64_t		serving_timeout;
	int64_t		claim_timeout;
} Setting;

/* A change of state that was to come by the clock. */
typedef struct Moment
{
	int64_t		at;
	int64_t		done_at;		/* by the server's clock; 0: it was not seen to be done */
	int64_t		seen_at;		/* by when it was seen to be done, or else the last look */
} Moment;

typedef struct Settings
{
	Setting    *list;
	int			n;
	int			room;
} Settings;

/* How many were inside by one snapshot of the table. */
typedef struct Snapshot
{
	int64_t		asked_at;
	int64_t		answered_at;
	int64_t		serving;		/* or called */
	int64_t		doubles;		/* users with two live sessions */
} Snapshot;

/* A time that excuses something. */
typedef struct Span
{
	int64_t		from;
	int64_t		to;
} Span;

typedef struct Spans
{
	Span	   *list;
	int			n;
	int			room;
} Spans;

typedef enum Belief
{
	BELIEVED_WAITING,
	BELIEVED_READY,
	BELIEVED_SERVING,
	BELIEVED_TIMED_OUT,
	BELIEFS
} Belief;

/* What the crowd believes of a queue's live sessions. */
typedef struct LiveList
{
	int		   *sessions;
	int			n;
	int			room;
} LiveList;

typedef struct BookQueue
{
	char	   *name;
	Settings	limits;			/* rate, burst and cap */
	Settings	states;
	Settings	methods;
	Settings	turns;			/* weights of the lanes */
	Settings	graces;			/* timeouts */
	Moment	   *moments;
	int			n_moments;
	int			moments_room;
	Snapshot   *snapshots;
	int			n_snapshots;
	int			snapshots_room;
	Row		   *rows;			/* in the end */
	int			n_rows;
	QueueState	state;			/* likewise */
	int64_t		figures[FIGURES];	/* by its statistics, likewise */
	int64_t		drawn_from;		/* between these it was opened with a draw; 0: it was not */
	int64_t		drawn_to;
	LiveList	live[BELIEFS];
} BookQueue;

typedef struct Book
{
	BookQueue  *queues;
	int			n_queues;

	Session    *sessions;
	int			n_sessions;
	int			sessions_room;
	IdMap	   *by_id;
	Join	   *joins;
	int			n_joins;
	int			joins_room;
	Touch	   *touches;
	int			n_touches;
	int			touches_room;
	Reading    *readings;
	int			n_readings;
	int			readings_room;
	Serving    *servings;		/* of what is known to have committed */
	int			n_servings;
	int			servings_room;
	Order	   *orders;
	int			n_orders;
	int			orders_room;

	Tellings	heard;			/* in the order of arrival */
	Tellings	logged;			/* in the end: of each queue as the log returned them */
	bool		log_read;		/* false: there is none, or it is that of another server */
	bool		counted;		/* statistics were; false: there are none */

	Spans		away;			/* when the listener was */
	Spans		stalled;		/* when the machine, or the server, was */
	int64_t		malformed;		/* events */

	/* what was found when the line stood still */
	int64_t		still_compared;
	int64_t		still_wrong;
	int64_t		checks_made;	/* calls of vqueue.check() */
	int64_t		differences;	/* rows that they returned */
	int64_t		draws_verified; /* entrants of draws that were recomputed */
	int64_t		draws_wrong;	/* of those */
	IdMap	   *orders_found;	/* in the business's table at the end */
	int			n_orders_found;

	int64_t		refused;		/* errors that may not be */
	char		complaint[300]; /* the first of them */
	int64_t		excused;		/* errors that may be */

	FILE	   *ledger;			/* a line for each acknowledged change, or NULL */
} Book;

extern Book *book_make(int queues);
extern void book_free(Book *book);

/* Joins and touches begin as they are asked; each returns its index. */
extern int	book_join_asked(Book *book, int queue, const Uuid *user, Lane lane, int64_t asked_at);
extern int	book_touch_asked(Book *book, Verb verb, int session, Lane lane, int64_t asked_at);
extern int	book_order_asked(Book *book, const Uuid *id, int64_t asked_at);

/* A join was answered with this place, whose session was let in at served_at (0: not yet). */
extern void book_join_answered(Book *book, int join, const Place *place, int64_t served_at,
							   int64_t answered_at);

/* An end was answered with this place. */
extern void book_end_answered(Book *book, int touch, const Place *place, int64_t served_at,
							  int64_t answered_at);

/* A claim, extension, readmission (then with the row before it) or set_priority was. */
extern void book_step_answered(Book *book, int touch, const Place *place, int64_t served_at,
							   const Row *past, int64_t answered_at);
extern void book_move_answered(Book *book, int touch, bool changed, int64_t answered_at);

/* How it ended, by its transaction or with the statement. */
extern void book_join_over(Book *book, int join, Outcome outcome, bool lost, int64_t at);
/* Whether a session may not be there though a join of it was answered and committed. */
extern bool book_may_be_lost(const Book *book, int session);
extern void book_touch_over(Book *book, int touch, Outcome outcome, bool lost, int64_t at);
extern void book_order_over(Book *book, int order, Outcome outcome, bool lost, int64_t at);

/* A place was answered of a session that is known; served_at 0 if what it tells may be rolled back. */
extern void book_place_seen(Book *book, const Place *place, int64_t served_at, int64_t asked_at,
							int64_t answered_at);
extern void book_position_read(Book *book, int session, int64_t position, int64_t asked_at,
							   int64_t answered_at);

/* The last position that was read came with a sign of life. */
extern void book_was_alive(Book *book);

extern void book_heard(Book *book, const Event *event, int64_t heard_at);

/* The log of events has this one, which it says was told then. */
extern void book_logged(Book *book, const Event *event, int64_t at);

/* A change of settings was asked for, and is over; changes of one queue come one by one. */
extern int	settings_asked(Settings *settings, const Setting *setting, int64_t asked_at);
extern void settings_over(Settings *settings, int change, Outcome outcome, int64_t at);

/* Bounds of what may have been in force at some time from one moment to another. */
extern int64_t settings_highest_cap(const Settings *settings, int64_t from, int64_t to);
extern int64_t settings_highest_burst(const Settings *settings, int64_t from, int64_t to);

/* Whether one of which this holds may have been in force at some time from one moment to another. */
extern bool settings_any(const Settings *settings, int64_t from, int64_t to, bool (*holds) (const Setting *setting));

/* Such: all come in at once; newcomers come to random places; joins are refused, or not; lanes have weights. */
extern bool setting_passes(const Setting *setting);
extern bool setting_is_random(const Setting *setting);
extern bool setting_is_shut(const Setting *setting);
extern bool setting_admits(const Setting *setting);
extern bool setting_is_weighted(const Setting *setting);

/* The queue may have let all in at once. */
extern bool queue_may_pass(const BookQueue *queue, int64_t from, int64_t to);

extern void spans_add(Spans *spans, int64_t from, int64_t to);
extern bool spans_touch(const Spans *spans, int64_t from, int64_t to);

/* A session that the crowd believes to be there, or -1. */
extern int	book_choose(const Book *book, int queue, Belief belief, Random *random);
extern void book_believe(Book *book, int session, int belief);	/* -1: it has ended */

/* For how long after the loss of a connection its server process may go on. */
#define LINGERING (10 * SECOND)

extern int64_t deed_end(const Deed *deed);

#endif							/* CROWD_BOOK_H */
