/*
 * reserve.c
 *		Taking a place in memory before its row is written: tickets and slots.
 *
 * This is where rate and cap are kept: a slot and a token are taken under the
 * queue's lock, at once, whoever asks, and given back if the transaction does
 * not commit.
 */
#include "postgres.h"

#include "due.h"
#include "miscadmin.h"
#include "pending.h"
#include "reserve.h"
#include "statement.h"
#include "table.h"
#include "utils/wait_event.h"

/* How long a join waits for a worker to raise its queue's ceiling, in milliseconds. */
#define CEILING_PATIENCE 10000

/* Wait until the worker has raised the ceiling, or raise it if the queue is our own. */
static void
wait_for_ceiling(VqQueue *queue, const pg_uuid_t *id, bool nascent, int64 next_ticket)
{
	VqDatabase *db = vq_database();

	if (nascent)
	{
		/* Nobody else sees the queue; its ceiling commits with it. */
		vq_write_ceiling(id, Min(next_ticket + 16 * VQ_CEILING_STEP, VQ_MAX_TICKET));
		return;
	}
	ConditionVariablePrepareToSleep(&db->changed);
	for (int waited = 0;; waited += 100)
	{
		bool		enough;

		LWLockAcquire(&queue->lock, LW_SHARED);
		enough = queue->next_ticket <= queue->ceiling || !vq_is_queue(queue, id);
		LWLockRelease(&queue->lock);
		if (enough)
			break;
		if (waited >= CEILING_PATIENCE)
		{
			ConditionVariableCancelSleep();
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("no ticket can be issued"),
					 errdetail("The vqueue worker of this database has not raised the ticket ceiling of queue \"%s\".",
							   vq_uuid_text(id)),
					 errhint("See vqueue.health(); the worker may lack a slot of max_worker_processes.")));
		}
		(void) ConditionVariableTimedSleep(&db->changed, 100, PG_WAIT_EXTENSION);
	}
	ConditionVariableCancelSleep();
}

/* Only rows or ceilings written by hand bring a queue so far. */
static void
no_more_tickets(const pg_uuid_t *id)
{
	ereport(ERROR,
			(errcode(ERRCODE_SEQUENCE_GENERATOR_LIMIT_EXCEEDED),
			 errmsg("queue \"%s\" has no more tickets", vq_uuid_text(id)),
			 errdetail("Tickets are never issued twice, and none is above 2 to the power of 60."),
			 errhint("Create a new queue.")));
}

/* Lock the queue with a ticket to issue below its ceiling. */
static void
lock_with_ticket(VqQueue *queue, const pg_uuid_t *id)
{
	for (;;)
	{
		bool		nascent;
		int64		next;

		vq_lock_queue(queue, id);
		if (queue->next_ticket <= queue->ceiling)
			return;
		if (queue->next_ticket > VQ_MAX_TICKET)
		{
			LWLockRelease(&queue->lock);
			no_more_tickets(id);
		}
		nascent = queue->nascent;
		next = queue->next_ticket;
		if (!nascent)
			vq_call_worker(queue, 0);
		LWLockRelease(&queue->lock);
		wait_for_ceiling(queue, id, nascent, next);
	}
}

/* Whether a newcomer may go straight in; takes the token if so. */
static bool
serve_at_once(VqQueue *queue, VqNow now)
{
	return (queue->settings.state & VQ_RELEASES) != 0 &&
		vq_standing(queue) == 0 &&
		queue->line.count[VQ_INSIDE] < queue->settings.max_concurrent_users &&
		vq_pacer_take(&queue->pacer, now, 1);
}

/* What the row of a new ticket says of how far its session has come. */
static void
begin_row(VqRow *row, int64 ticket, bool served, bool called, VqNow now)
{
	row->ticket = ticket;
	row->status = !served ? VQ_WAITING : called ? VQ_IS_READY : VQ_SERVING;
	row->joined_at = now.wall;
	row->served_at = row->status == VQ_SERVING ? now.wall : 0;
	row->ready_at = row->status == VQ_IS_READY ? now.wall : 0;
	row->left_at = 0;
	row->extended_at = 0;
	row->place_key = 0;
}

bool
vq_issue_ticket(VqQueue *queue, bool may_serve, VqRow *row)
{
	int64		ticket;
	bool		served;
	bool		called;
	VqNow		now;

	vq_reserve_ops(1);
	lock_with_ticket(queue, &row->queue_id);
	ticket = queue->next_ticket;
	if (!vq_line_reserve(&queue->line, vq_arena(), ticket) &&
		!(vq_trim(queue) > 0 && vq_line_reserve(&queue->line, vq_arena(), ticket)))
	{
		LWLockRelease(&queue->lock);
		return false;
	}
	queue->next_ticket++;
	now = vq_now();
	served = may_serve && serve_at_once(queue, now);
	called = queue->settings.claim_timeout > 0;
	if (served)
		vq_add_bit(queue, VQ_INSIDE, ticket,
				   VQ_PAID | VQ_ANNOUNCE | VQ_UNCONFIRMED | (called ? VQ_CALL : 0), now);
	else
		vq_add_bit(queue, row->lane, ticket, VQ_UNCONFIRMED, now);
	if (!queue->nascent && vq_wants_ceiling(queue))
		vq_call_worker(queue, 0);
	LWLockRelease(&queue->lock);
	begin_row(row, ticket, served, called, now);
	return true;
}

int
vq_compare_tickets(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return x < y ? -1 : x > y;
}

/* Select up to n of a lane, leaving out those passed over. */
static int
select_from_lane(VqQueue *queue, int lane, const int64 *passed, int n_passed, int n, int64 *tickets)
{
	int			selected = vq_line_select(&queue->line, vq_arena(), lane, 1, tickets, n + n_passed);
	int			kept = 0;

	for (int i = 0; i < selected && kept < n; i++)
		if (n_passed == 0 ||
			bsearch(&tickets[i], passed, n_passed, sizeof(int64), vq_compare_tickets) == NULL)
			tickets[kept++] = tickets[i];
	return kept;
}

int
vq_reserve_slots(VqQueue *queue, const pg_uuid_t *id, const int64 *passed, int n_passed,
				 int n, bool by_hand, int flags, int64 *tickets, int64 *at, bool *called)
{
	int64		room;
	int			found = 0;
	VqNow		now;

	vq_reserve_ops(n);
	vq_lock_queue(queue, id);
	now = vq_now();
	room = queue->settings.max_concurrent_users - queue->line.count[VQ_INSIDE];
	if (!by_hand)
	{
		/* Looked at here again, as it may have been paused since the caller looked. */
		if ((queue->settings.state & VQ_RELEASES) == 0)
			room = 0;
		room = Min(room, vq_pacer_available(&queue->pacer, now));
	}
	n = Max(Min(n, room), 0);
	for (int lane = 0; lane < VQ_LANES && found < n; lane++)
		found += select_from_lane(queue, lane, passed, n_passed, n - found, tickets + found);
	vq_pacer_charge(&queue->pacer, now, found);
	*called = queue->settings.claim_timeout > 0;
	if (*called)
		flags |= VQ_CALL;
	for (int i = 0; i < found; i++)
		vq_add_bit(queue, VQ_INSIDE, tickets[i], flags | VQ_PAID | VQ_UNCONFIRMED, now);
	LWLockRelease(&queue->lock);
	*at = now.wall;
	return found;
}
