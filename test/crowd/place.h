/*
 * place.h
 *		What vqueue says of a session: its answers, and its rows.
 */
#ifndef CROWD_PLACE_H
#define CROWD_PLACE_H

#include <libpq-fe.h>

#include "basics.h"

typedef enum Status
{
	WAITING,
	READY,
	SERVING,
	COMPLETED,
	LEFT,
	ABANDONED,
	NO_SHOW,
	EXPIRED,
	REMOVED,
	STATUSES
} Status;

typedef enum Lane
{
	VIP,
	HIGH,
	NORMAL,
	LOW,
	LANES
} Lane;

/* An answer of join, poll, status, leave or complete; -1 stands for a null number. */
typedef struct Place
{
	Uuid		id;
	Uuid		user_id;
	Status		status;
	Lane		lane;
	int64_t		ticket;
	int64_t		position;
	int64_t		estimated_wait;
	int64_t		next_poll_after;
} Place;

/* To be selected from a function that returns a place, in the order place_read wants. */
#define PLACE_COLUMNS \
	"id, user_id, status, priority, ticket, position," \
	" (extract(epoch FROM estimated_wait) * 1000000)::bigint," \
	" (extract(epoch FROM next_poll_after) * 1000000)::bigint"

/* A row of vqueue.user_sessions; times since 1970, 0 for null. */
typedef struct Row
{
	Uuid		id;
	Uuid		user_id;
	Status		status;
	Lane		lane;
	int64_t		ticket;
	int64_t		joined_at;
	int64_t		served_at;
	int64_t		left_at;
	int64_t		ready_at;
	int64_t		extended_at;
	int64_t		order_key;		/* by what it stands in its lane, and then by its ticket */
} Row;

/* When it took its slot, by being called or by coming straight in; 0 if it did not. */
static inline int64_t
row_let_in_at(const Row *row)
{
	return row->ready_at != 0 ? row->ready_at : row->served_at;
}

extern const char *const status_names[STATUSES];
extern const char *const lane_names[LANES];

/* Microseconds since 1970 of a timestamp, as a bigint. */
#define MICROSECONDS(column) "(extract(epoch FROM " column ") * 1000000)::bigint"

extern bool status_parse(const char *text, size_t length, Status *status);
extern bool status_is_live(Status status);

/* Read one row of an answer, or die: these are shapes that do not change. */
extern Place place_read(const PGresult *result, int row);

/* One field of an answer, or die if it is no number. */
extern int64_t number_field(const PGresult *result, int row, int column, int64_t if_null);

/* All sessions of a queue. */
extern Row *rows_fetch(PGconn *conn, const char *queue, int *n);

#endif							/* CROWD_PLACE_H */
