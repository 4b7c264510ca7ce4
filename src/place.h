/*
 * place.h
 *		Where a session stands: positions, estimates, and the SQL type place.
 */
#ifndef VQ_PLACE_H
#define VQ_PLACE_H

#include "fmgr.h"
#include "shmem.h"
#include "table.h"
#include "utils/timestamp.h"

/* Positions of those who do not wait. */
#define VQ_POSITION_INSIDE	0
#define VQ_POSITION_NONE	(-1)

/* A text as a Datum points to it, with room for a queue's name. */
typedef struct VqPlaceText
{
	int32		header;
	char		data[VQ_NAME_SIZE];
} VqPlaceText;

typedef struct VqPlace
{
	VqRow		row;
	bool		by_table;		/* count in the tables: on a standby there is no memory */
	char		queue[VQ_NAME_SIZE];
	int64		position;
	VqWait		wait;			/* estimated */
	int64		next_poll_after;	/* microseconds, -1 none */
	VqPlaceText texts[3];		/* what its values point to */
	Interval	spans[3];
} VqPlace;

/* Position of a ticket, of which the row has this key, as memory has it.  Caller holds the queue's lock. */
extern int64 vq_position_in(const VqQueue *queue, int64 ticket, int64 place_key);

/* The ticket next in line, 0 if nobody waits.  Caller holds the lock. */
extern int64 vq_head(const VqQueue *queue);

/*
 * Work out where the session of place->row stands; the row is read again if it
 * turns out to be older than memory.  alive also stamps its sign of life.
 */
extern void vq_locate(VqPlace *place, bool alive);

/* The same, but for estimates; returns the position, VQ_POSITION_NONE once finished. */
extern int64 vq_locate_position(VqPlace *place, bool alive);

/* The same, counted in the table. */
extern int64 vq_count_position(const VqRow *row);

/* As a value of type place, which is the result type of the function called. */
extern Datum vq_place_datum(FunctionCallInfo fcinfo, VqPlace *place);

/* The columns of a place, valid as long as it is; for functions that return a set. */
#define VQ_PLACE_COLUMNS 13
extern void vq_place_values(VqPlace *place, Datum *values, bool *nulls);

extern Interval *vq_interval(int64 microseconds);

/* The lane of a priority argument.  Errors: 22004 null; 22023 not known. */
extern VqKind vq_lane_argument(FunctionCallInfo fcinfo, int n);

/* Raise 22004 for an argument that must not be null. */
pg_noreturn extern void vq_null_argument(const char *name);

#endif							/* VQ_PLACE_H */
