/*
 * statement.h
 *		The statements by which C writes the tables, or counts in them.
 *
 * They go through SPI, as the owner of the tables.  The SQL functions that
 * call this are the gate.
 */
#ifndef VQ_STATEMENT_H
#define VQ_STATEMENT_H

#include "utils/uuid.h"

typedef enum VqStatement
{
	VQ_INSERT_SESSION,			/* one row, nothing on a conflict with the user's live one */
	VQ_INSERT_SESSIONS,			/* the same from arrays */
	VQ_END_SESSION,				/* to a final status */
	VQ_CLAIM_SESSION,			/* ready to serving */
	VQ_EXTEND_SESSION,			/* a serving one's lease */
	VQ_READMIT_SESSION,			/* back into the line */
	VQ_MOVE_SESSION,			/* a waiting one, to another lane */
	VQ_END_SILENT,				/* many whose time is up, past locked rows */
	VQ_DELETE_QUEUE,
	VQ_DELETE_ENDED,			/* a batch of ended ones, as the next, but by age alone */
	VQ_PURGE_SESSIONS,			/* a batch of ended ones, past locked rows; returns how many and
								 * the latest end among them */
	VQ_INSERT_EVENTS,			/* into the log, from arrays */
	VQ_INSERT_MARK,				/* of a new queue's log */
	VQ_MARK_STATE,				/* the state last told */
	VQ_TRIM_EVENTS,				/* a batch of old ones; returns how many and the last seq */
	VQ_FOLD_EVENTS,				/* a few, with their sessions' times */
	VQ_FOLD_JOINS,				/* a queue's, by minute */
	VQ_READ_COUNTED,			/* up to which seq events are counted */
	VQ_READ_COUNTED_TICKET,		/* up to which ticket a queue's joins are */
	VQ_MARK_COUNTED,			/* both, of a queue, unless it is being dropped */
	VQ_MARK_LOG,				/* that of all queues */
	VQ_WRITE_STATS,				/* add to a minute */
	VQ_TRIM_STATS,				/* a batch of old ones */
	VQ_RECALL_EVENTS,			/* what the log says of sessions: kind, ticket, at */
	VQ_RECALL_STATE,			/* the state last told */
	VQ_MOVE_STATE,				/* a queue's, by the clock, unless its row is locked */
	VQ_RELEASE_SESSIONS,		/* waiting to serving, past locked rows; returns id, user_id,
								 * ticket */
	VQ_RAISE_CEILING,
	VQ_INSERT_CEILING,
	VQ_COUNT_AHEAD,				/* a position from the table alone */
	VQ_COUNT_QUEUES,			/* the counters of all queues from the table alone */
	VQ_COUNT_AHEAD_DRAWN,		/* the same where a draw was held */
	VQ_HOLD_DRAW,				/* what came of a draw */
	VQ_COUNT_QUEUE,				/* who wait in each lane, and who are inside */
	VQ_BOARD_TICKETS,			/* lane, rank, ticket and key of each so many'th who waits */
	VQ_INSERT_PASS_KEY,
	VQ_DELETE_PASS_KEYS,		/* those of a tenant that verify nothing any more */
	VQ_AUDIT_ACTION,
	VQ_AUDIT_CHANGE,			/* of a row of settings */
	VQ_TRIM_AUDIT,				/* a batch of old entries, past locked rows */
	VQ_INSERT_CLIENT,			/* a join of one */
	VQ_FORGET_CLIENTS,			/* of a queue */
	VQ_FORGET_ALL_CLIENTS,
	VQ_FORGET_USERS_CLIENTS,	/* by which a user of a tenant joined */
	VQ_FORGET_USER,				/* name and mail of one */
	VQ_TRIM_CLIENTS,			/* a batch of those older than their window, past locked rows */
	VQ_READ_PAGE,				/* queue and ticket of live sessions from one place of the table to another */
	VQ_GRANT_ACCESS,			/* and the rights that come with it */
	VQ_REVOKE_ACCESS,
	VQ_FIND_ARMED,				/* the trigger that checks the sessions' foreign key, if it is on */
	VQ_WATCH_CANARIES,			/* returns in how many microseconds to go on */
	VQ_TOUCH_QUEUE,				/* so that its settings are read anew */
	VQ_HOLD_QUEUE,				/* so that nobody else changes them */
	VQ_STATEMENTS
} VqStatement;

/* Who to be again after a statement was executed as the owner. */
typedef struct VqCaller
{
	Oid			userid;
	int			context;
} VqCaller;

/*
 * Execute a statement as the owner of the tables and return the number of
 * rows; SPI_tuptable is valid until vq_executed, which must follow.
 */
extern uint64 vq_execute(VqStatement statement, Datum *values, const char *nulls, VqCaller *caller);
extern void vq_executed(const VqCaller *caller);

/*
 * Have statements over tickets planned by keys until AtEOXact_GUC(true, level);
 * returns that level.
 */
extern int	vq_force_index_plans(void);

/* Set the ceiling of a queue's tickets; false if its row is locked. */
extern bool vq_write_ceiling(const pg_uuid_t *queue_id, int64 ceiling);

/*
 * The first ceiling of a queue.  One that is there before the queue came from elsewhere,
 * where tickets up to it may have been issued: that is no write of our own.
 */
extern void vq_begin_ceiling(const pg_uuid_t *queue_id, int64 ceiling);

/* Whether the present write of a ceiling is our own. */
extern bool vq_writing_ceiling(void);

#endif							/* VQ_STATEMENT_H */
