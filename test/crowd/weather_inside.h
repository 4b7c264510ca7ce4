/*
 * weather_inside.h
 *		What the parts of the made-up storm share: weather.c has the server, its doors
 *		and its settings, weather_visitors.c who comes and what they do.
 */
#ifndef CROWD_WEATHER_INSIDE_H
#define CROWD_WEATHER_INSIDE_H

#include "weather.h"

#define QUEUES		(RANDOM_QUEUE + 1)
#define STEPS		6000
#define MILLISECOND 1000
#define TRAVEL		400			/* of an answer */
#define HEARING		600			/* of an event */
#define STAY		150000
#define RATE		6000
#define LATER_RATE	12000
#define CAP			12
#define LATER_CAP	14
#define WAITING_TIMEOUT	(900 * MILLISECOND)
#define CLAIM_TIMEOUT	(60 * MILLISECOND)
#define SERVING_TIMEOUT (300 * MILLISECOND)

/* Where a session of the made-up server stands; its index is that of its row. */
typedef struct Visitor
{
	int			session;		/* in the book; -1: its join was never answered */
	int64_t		known_at;
	int64_t		locked_until;
	int64_t		freed_at;		/* of its slot; 0: it has not ended */
	int64_t		sign_at;		/* of life */
} Visitor;

typedef struct Door
{
	int64_t		ticket;			/* the last one issued */
	int64_t		next_token;
	int64_t		interval;
	int			cap;
	int			held;			/* slots */
	bool		open;
	bool		rejects;
	bool		passes;
	bool		closed;
	bool		drawn;			/* those who come now come to random places, if any do */
	QueueState	told;			/* the state */
	int			credit[LANES];
	int64_t		passed;			/* the highest random key that was let in */
	Visitor    *visitors;
	int			room;
	int			rows_room;
} Door;

typedef struct Server
{
	Weather    *weather;
	Random	   *random;			/* the one in use */
	Random		common;
	Random		own;			/* of RANDOM_QUEUE, so that the others go as without it */
	int64_t		seq;			/* of the last event */
	Door		doors[QUEUES];
	bool		stall;
} Server;

/* A row and a random number of the made-up server. */
extern Row *weather_row(Server *server, int queue, int visitor);
extern bool weather_chance(Server *server, double probability);

/* An event of a session is told, logged and heard. */
extern void weather_hear(Server *server, int queue, int visitor, EventType type, int64_t at);

/* Somebody who waits, or is inside, and is known to the crowd; or -1. */
extern int	weather_choose(Server *server, int queue, Status status, int64_t now);

/* Whether a row stands before another: by lane, key and ticket. */
extern bool weather_is_ahead(const Row *a, const Row *b);

/* What visitors do. */
extern void weather_join(Server *server, int queue, int64_t now);
extern void weather_join_again(Server *server, int queue, int64_t now);
extern void weather_end(Server *server, int queue, int it, Verb verb, Status status, int64_t now);
extern void weather_move(Server *server, int queue, int64_t now);
extern void weather_look(Server *server, int queue, int64_t now);
extern void weather_claim(Server *server, int queue, int64_t now);
extern void weather_extend(Server *server, int queue, int64_t now);
extern void weather_readmit(Server *server, int queue, Status from, int64_t now);
extern void weather_order(Server *server, int64_t now);

#endif							/* CROWD_WEATHER_INSIDE_H */
