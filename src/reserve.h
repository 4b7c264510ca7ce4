/*
 * reserve.h
 *		Taking a place in memory before its row is written: tickets and slots.
 *
 * What is reserved is confirmed when the row's trigger notes it, and dropped
 * by vq_drop_unconfirmed or at the end of the transaction otherwise.
 */
#ifndef VQ_RESERVE_H
#define VQ_RESERVE_H

#include "shmem.h"
#include "table.h"

typedef enum VqIssue
{
	VQ_ISSUED,
	VQ_NO_MEMORY,
	VQ_OVER_QUOTA				/* as many of its tenant wait as the quota (quota.h) allows */
} VqIssue;

/*
 * Tickets for sessions about to be inserted, whose queue_id and lane are given:
 * reserved in their lanes or, where may_serve and nobody waits and rate and cap
 * allow, inside.  Waits for the worker while the queue's ceiling is reached.
 * Sets ticket, status, times and place_key in the rows if all were issued; if not,
 * some may have been reserved.
 * Errors: 42704 queue gone; 55000 no worker raises the ceiling; XX000 no randomness.
 */
extern VqIssue vq_issue_tickets(VqQueue *queue, bool may_serve, int64 quota, VqRow *rows, int n);

/* The place_key of a session that comes into a lane.  Errors: 42704 queue gone; XX000 no randomness. */
extern int64 vq_place_newcomer(VqQueue *queue, const pg_uuid_t *id, int lane);

/*
 * Reserve slots for up to n of those next in line, but for the n_passed that
 * were passed over (sorted), and return their tickets in order; tickets has
 * room for n + n_passed.  Unless by_hand, state and tokens limit them too.
 * called says of each whether it has to claim its slot.
 */
extern int	vq_reserve_slots(VqQueue *queue, const pg_uuid_t *id, const int64 *passed, int n_passed,
							 int n, bool by_hand, int flags, int64 *tickets, int64 *at, bool *called);

/* For qsort and bsearch over tickets. */
extern int	vq_compare_tickets(const void *a, const void *b);

#endif							/* VQ_RESERVE_H */
