/*
 * reserve.c
 *		Taking a place in memory before its row is written: tickets and slots.
 *
 * This is where rate and cap are kept: a slot and a token are taken under the
 * queue's lock, at once, whoever asks, and given back if the transaction does
 * not commit.
 */
#include "postgres.h"

#include "chance.h"
#include "due.h"
#include "miscadmin.h"
#include "pending.h"
#include "quota.h"
#include "reserve.h"
#include "standing.h"
#include "statement.h"
#include "table.h"
#include "trial.h"
#include "utils/wait_event.h"

/*
 * How long a join waits for a worker to raise its queue's ceiling, in milliseconds:
 * longer than a busy machine takes to start one.
 */
#define CEILING_PATIENCE 60000

/* Tickets issued under one hold of a queue's lock, so that readers get in between. */
#define TICKETS_A_LOCK 64

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

/* Lock the queue with a ticket to issue below its ceiling, and room for n operations. */
static void
lock_with_ticket(VqQueue *queue, const pg_uuid_t *id, int n)
{
	for (;;)
	{
		bool		nascent;
		int64		next;

		/* Anew each time, as to raise the ceiling is an operation too. */
		vq_reserve_ops(n);
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

/*
 * Whether a newcomer may go straight in, past rate and cap or with a token, which is
 * then taken.  While memory is being built it is not known who stands and is inside.
 */
static bool
serve_at_once(VqQueue *queue, VqNow now, int *flags)
{
	*flags = VQ_ANNOUNCE | VQ_LET_IN;
	if (vq_lets_all_in(queue))
		return true;
	*flags |= VQ_PAID;
	return (queue->settings.state & VQ_RELEASES) != 0 && vq_is_whole() &&
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
}

static bool
make_room(VqQueue *queue, int lane, int64 ticket, int64 place_key)
{
	return vq_line_reserve(&queue->line, vq_arena(), ticket) &&
		vq_reserve_stand(queue, lane, ticket, place_key);
}

/* Caller holds the lock. */
static int64
new_key(VqQueue *queue, int lane)
{
	int64		place_key;

	if (vq_new_key(queue, lane, &place_key))
		return place_key;
	LWLockRelease(&queue->lock);
	ereport(ERROR,
			(errcode(ERRCODE_INTERNAL_ERROR),
			 errmsg("could not generate a random place"),
			 errdetail("The server's source of random numbers gave none.")));
}

int64
vq_place_newcomer(VqQueue *queue, const pg_uuid_t *id, int lane)
{
	int64		place_key;

	vq_lock_queue(queue, id);
	place_key = new_key(queue, lane);
	LWLockRelease(&queue->lock);
	return place_key;
}

/*
 * Caller holds the lock, and there is a ticket to issue.  Nothing has changed if
 * none was.
 */
static VqIssue
issue_ticket(VqQueue *queue, bool may_serve, int64 quota, VqRow *row, VqNow now)
{
	int64		ticket = queue->next_ticket;
	bool		served;
	bool		called;
	int			flags;

	row->place_key = new_key(queue, row->lane);
	if (!make_room(queue, row->lane, ticket, row->place_key) &&
		!(vq_trim(queue) > 0 && make_room(queue, row->lane, ticket, row->place_key)))
		return VQ_NO_MEMORY;
	served = may_serve && serve_at_once(queue, now, &flags);
	if (!served && !vq_count_in(queue, quota))
		return VQ_OVER_QUOTA;
	queue->next_ticket++;
	called = vq_timeout_of(&queue->settings, VQ_IS_READY, ticket) > 0;
	if (served)
		row->place_key = 0;		/* it never stood */
	if (served)
		vq_add_bit(queue, VQ_INSIDE, ticket, 0, flags | VQ_UNCONFIRMED | (called ? VQ_CALL : 0), now);
	else
		vq_add_bit(queue, row->lane, ticket, row->place_key, VQ_UNCONFIRMED, now);
	begin_row(row, ticket, served, called, now);
	return VQ_ISSUED;
}

VqIssue
vq_issue_tickets(VqQueue *queue, bool may_serve, int64 quota, VqRow *rows, int n)
{
	VqIssue		issue = VQ_ISSUED;

	for (int i = 0; i < n;)
	{
		int			stop = Min(n, i + TICKETS_A_LOCK);
		VqNow		now;

		CHECK_FOR_INTERRUPTS();
		lock_with_ticket(queue, &rows[i].queue_id, stop - i);
		now = vq_now();
		while (issue == VQ_ISSUED && i < stop && queue->next_ticket <= queue->ceiling)
			issue = issue_ticket(queue, may_serve, quota, &rows[i++], now);
		if (!queue->nascent && vq_wants_ceiling(queue))
			vq_call_worker(queue, 0);
		LWLockRelease(&queue->lock);
		if (issue != VQ_ISSUED)
			return issue;
	}
	return VQ_ISSUED;
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
	int			selected = vq_stand_select(queue, lane, tickets, n + n_passed);
	int			kept = 0;

	for (int i = 0; i < selected && kept < n; i++)
		if (n_passed == 0 ||
			bsearch(&tickets[i], passed, n_passed, sizeof(int64), vq_compare_tickets) == NULL)
			tickets[kept++] = tickets[i];
	return kept;
}

/* Select up to n of all lanes, one lane after the other. */
static int
select_strictly(VqQueue *queue, const int64 *passed, int n_passed, int n, int64 *tickets)
{
	int			found = 0;

	for (int lane = 0; lane < VQ_LANES && found < n; lane++)
		found += select_from_lane(queue, lane, passed, n_passed, n - found, tickets + found);
	return found;
}

/*
 * Select up to n of all lanes in turns, going on from what is being released;
 * lists has room for n + n_passed of each lane.
 */
static int
select_in_turns(VqQueue *queue, const int64 *passed, int n_passed, int n, int64 *tickets, int64 *lists)
{
	VqLanes    *lanes = &queue->lanes_ahead;
	int64		count[VQ_LANES];
	int			listed[VQ_LANES];
	int			used[VQ_LANES] = {0};
	int			found = 0;
	int			lane;
	int			taken = 0;

	for (lane = 0; lane < VQ_LANES; lane++)
	{
		listed[lane] = select_from_lane(queue, lane, passed, n_passed, n, lists + lane * (n + n_passed));
		count[lane] = listed[lane] > 0 ? queue->line.count[lane] - queue->taken[lane] : 0;
		taken += queue->taken[lane];
	}
	if (taken == 0)
		*lanes = queue->lanes;
	while (found < n && (lane = vq_lanes_next(lanes, count)) >= 0)
	{
		tickets[found++] = lists[lane * (n + n_passed) + used[lane]++];
		vq_lanes_turn(lanes, count, lane);
		count[lane] = used[lane] < listed[lane] ? count[lane] - 1 : 0;
	}
	return found;
}

/* How many may be let in now, of n. */
static int
room_for(const VqQueue *queue, VqNow now, bool by_hand, int n)
{
	int64		room = queue->settings.max_concurrent_users - queue->line.count[VQ_INSIDE];

	if (vq_lets_all_in(queue))
		return n;
	if (!vq_is_whole())
		return 0;				/* who is inside is not known */
	if (!by_hand)
	{
		/* Looked at here again, as it may have been paused since the caller looked. */
		if ((queue->settings.state & VQ_RELEASES) == 0)
			room = 0;
		room = Min(room, vq_pacer_available(&queue->pacer, now));
	}
	return Max(Min(n, room), 0);
}

int
vq_reserve_slots(VqQueue *queue, const pg_uuid_t *id, const int64 *passed, int n_passed,
				 int n, bool by_hand, int flags, int64 *tickets, int64 *at, bool *called)
{
	int64	   *lists = NULL;
	int			found;
	VqNow		now;

	vq_reserve_ops(n);
	if (queue->lanes.weight[0] > 0)
		lists = palloc(VQ_LANES * (Size) (n + n_passed) * sizeof(int64));
	if (by_hand)
		vq_lock_whole_queue(queue, id);
	else
		vq_lock_queue(queue, id);
	now = vq_now();
	n = room_for(queue, now, by_hand, n);
	if (lists != NULL)
		found = select_in_turns(queue, passed, n_passed, n, tickets, lists);
	else
		found = select_strictly(queue, passed, n_passed, n, tickets);
	if (!vq_lets_all_in(queue))
	{
		vq_pacer_charge(&queue->pacer, now, found);
		flags |= VQ_PAID;
	}
	flags |= VQ_LET_IN | VQ_TAKEN | VQ_UNCONFIRMED;
	for (int i = 0; i < found; i++)
	{
		called[i] = vq_timeout_of(&queue->settings, VQ_IS_READY, tickets[i]) > 0;
		vq_add_bit(queue, VQ_INSIDE, tickets[i], 0, flags | (called[i] ? VQ_CALL : 0), now);
	}
	LWLockRelease(&queue->lock);
	if (lists != NULL)
		pfree(lists);
	*at = now.wall;
	return found;
}
