/*
 * pending.c
 *		What the current transaction has changed, for memory to follow.
 *
 * Operations are kept in an array in the order they were made, each with the
 * subtransaction that made it.  Those of an aborted (sub)transaction stand at
 * the end of the array, as a committed subtransaction's pass to its parent.
 */
#include "postgres.h"

#include "access/xact.h"
#include "draws.h"
#include "due.h"
#include "miscadmin.h"
#include "op.h"
#include "pending.h"
#include "quota.h"
#include "rebuild.h"
#include "roster.h"
#include "standing.h"
#include "table.h"
#include "utils/memutils.h"

/* How long to wait for another's commit callback, in milliseconds. */
#define CLEAR_PATIENCE 1000

static VqOp *ops = NULL;		/* in TopTransactionContext; NULL outside of changes */
static int	n_ops = 0;
static int	max_ops = 0;
static int	n_unconfirmed = 0;
static int	confirm_next = 0;	/* where the next confirmation is likely */
static int	last_rare = -1;		/* the last operation of any type above REMOVE */

bool
vq_has_pending(void)
{
	return n_ops > 0;
}

int
vq_pending_mark(void)
{
	return n_ops;
}

void
vq_reserve_ops(int n)
{
	if (n_ops + n <= max_ops)
		return;
	if (ops == NULL)
	{
		max_ops = Max(n, 16);
		ops = MemoryContextAlloc(TopTransactionContext, max_ops * sizeof(VqOp));
	}
	else
	{
		int			wanted = Max(n_ops + n, max_ops * 2);

		ops = repalloc_huge(ops, wanted * sizeof(VqOp));
		max_ops = wanted;
	}
}

static VqOp *
append_op(VqOpType type, VqQueue *queue)
{
	VqOp	   *op = &ops[n_ops++];

	memset(op, 0, sizeof(*op));
	op->type = type;
	op->queue = queue;
	op->subid = GetCurrentSubTransactionId();
	op->previous = -1;
	if (type > OP_REMOVE)
	{
		op->previous = last_rare;
		last_rare = n_ops - 1;
	}
	return op;
}

static VqOp *
append_db_op(VqOpType type)
{
	vq_reserve_ops(1);
	(void) vq_database();
	return append_op(type, NULL);
}

static void
gone_queue(const pg_uuid_t *id)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("queue \"%s\" does not exist", vq_uuid_text(id)),
			 errdetail("It was dropped meanwhile."),
			 errhint("See vqueue.overview for the queues there are.")));
}

/* Caller has just taken the lock. */
static void
must_be_queue(VqQueue *queue, const pg_uuid_t *id)
{
	if (vq_is_queue(queue, id))
		return;
	LWLockRelease(&queue->lock);
	gone_queue(id);
}

void
vq_lock_queue(VqQueue *queue, const pg_uuid_t *id)
{
	LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
	must_be_queue(queue, id);
}

void
vq_lock_whole_queue(VqQueue *queue, const pg_uuid_t *id)
{
	vq_lock_whole(queue, LW_EXCLUSIVE);
	must_be_queue(queue, id);
}

void
vq_add_bit(VqQueue *queue, VqKind kind, int64 ticket, int64 place_key, int flags, VqNow now)
{
	VqOp	   *op = append_op(OP_ADD, queue);
	bool		set;

	op->kind = kind;
	op->flags = flags;
	op->u.ticket = ticket;
	op->place_key = place_key;
	op->taken = now;
	if (kind < VQ_LANES)
		(void) vq_stand(queue, kind, ticket, place_key, &set);
	else
		set = vq_line_set(&queue->line, vq_arena(), kind, ticket);
	op->set = set;
	if (kind < VQ_LANES)
		vq_settle(queue);
	op->held = vq_line_set(&queue->line, vq_arena(), VQ_HELD, ticket);
	if (flags & VQ_CALL)
		op->called = vq_line_set(&queue->line, vq_arena(), VQ_CALLED, ticket);
	if (flags & VQ_TAKEN)
	{
		op->lane = vq_line_lane(&queue->line, vq_arena(), ticket);
		queue->taken[op->lane]++;
	}
	if (flags & VQ_UNCONFIRMED)
		n_unconfirmed++;
}

/* ---- undoing ---- */

/* Caller holds the queue's lock.  Never fails. */
static void
undo_op(VqOp *op)
{
	if (op->type == OP_ADD && (op->flags & VQ_UNCONFIRMED))
		n_unconfirmed--;
	vq_undo_op(op);
}

/* Undo the last operations down to first, the latest first. */
static void
undo_ops(int first)
{
	VqNow		now = vq_now();

	for (int i = n_ops - 1; i >= first;)
	{
		VqQueue    *queue = ops[i].queue;
		int			stop = Max(first, i - OPS_A_LOCK + 1);
		bool		made = false;

		if (queue == NULL)
		{
			/* Memory began empty for a table that is not there. */
			if (ops[i--].type == OP_CREATED)
			{
				vq_make_stale(vq_database());
				vq_wake_worker(vq_database());
			}
			continue;
		}
		LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
		for (; i >= stop && ops[i].queue == queue && !made; i--)
		{
			made = ops[i].type == OP_QUEUE && ops[i].set;
			undo_op(&ops[i]);
		}
		if (!made)
		{
			vq_settle(queue);
			(void) vq_trim(queue);
			vq_call_worker(queue, vq_next_due(queue, now, true));
		}
		LWLockRelease(&queue->lock);

		/* Nobody else knows it, and there may be no worker to take it out. */
		if (made)
			vq_forget_queue(queue);
	}
	while (last_rare >= first)
		last_rare = ops[last_rare].previous;
	n_ops = first;
	confirm_next = Min(confirm_next, first);
}

void
vq_drop_unconfirmed(int mark)
{
	VqNow		now = vq_now();

	for (int i = mark; i < n_ops && n_unconfirmed > 0; i++)
	{
		VqQueue    *queue = ops[i].queue;

		if (ops[i].type != OP_ADD || (ops[i].flags & VQ_UNCONFIRMED) == 0)
			continue;
		LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
		undo_op(&ops[i]);
		vq_settle(queue);
		if (!queue->nascent)
			vq_call_worker(queue, vq_next_due(queue, now, true));
		LWLockRelease(&queue->lock);
	}
}

/* ---- noting ---- */

/* The reservation that a written row confirms, if there is one. */
static VqOp *
find_unconfirmed(VqQueue *queue, VqKind kind, int64 ticket)
{
	for (int tried = 0; n_unconfirmed > 0 && tried < n_ops; tried++)
	{
		VqOp	   *op;

		if (confirm_next >= n_ops)
			confirm_next = 0;
		op = &ops[confirm_next++];
		if (op->type == OP_ADD && (op->flags & VQ_UNCONFIRMED) && op->queue == queue &&
			op->kind == kind && op->u.ticket == ticket)
			return op;
	}
	return NULL;
}

/*
 * The row of a slot that was reserved says whether that is yet to be claimed, which
 * another's trigger may have changed.  Memory has it by the time the row is visible:
 * who claims the slot may be faster than what we do after the commit.
 */
static void
confirm_call(VqOp *op, const VqRow *row)
{
	VqQueue    *queue = op->queue;
	bool		wanted = row->status == VQ_IS_READY;

	if (op->kind != VQ_INSIDE || wanted == ((op->flags & VQ_CALL) != 0))
		return;
	LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
	if (wanted)
		op->called = vq_line_set(&queue->line, vq_arena(), VQ_CALLED, row->ticket);
	else if (op->called)
	{
		vq_line_clear(&queue->line, vq_arena(), VQ_CALLED, row->ticket);
		op->called = false;
	}
	LWLockRelease(&queue->lock);
	op->flags ^= VQ_CALL;
}

static bool
removes(VqQueue *queue, VqKind kind, int64 ticket)
{
	for (int i = n_ops - 1; i >= 0; i--)
		if (ops[i].type == OP_REMOVE && ops[i].queue == queue && ops[i].kind == kind &&
			ops[i].u.ticket == ticket)
			return true;
	return false;
}

/*
 * A bit that is to be added, but is still there: unless we cleared it
 * ourselves, whoever did has committed and is about to.  Let that come first,
 * or it would clear ours.  Caller holds the lock, which is let go meanwhile.
 */
static void
wait_until_clear(VqQueue *queue, const pg_uuid_t *id, VqKind kind, int64 ticket)
{
	for (int waited = 0; waited < CLEAR_PATIENCE; waited++)
	{
		if (!vq_line_test(&queue->line, vq_arena(), kind, ticket) || removes(queue, kind, ticket))
			return;
		LWLockRelease(&queue->lock);
		CHECK_FOR_INTERRUPTS();
		pg_usleep(1000L);
		vq_lock_queue(queue, id);
	}
}

/*
 * Somebody who was drawn comes back into the line after all others have gone, and
 * their places with them: have them at hand again.  Caller holds the lock, which
 * is let go meanwhile.
 */
static void
recall_draw(VqQueue *queue, const pg_uuid_t *id)
{
	VqEntrants	entrants;
	bool		fits;

	LWLockRelease(&queue->lock);
	if (!vq_fetch_entrants(id, NULL, &entrants))
	{
		vq_lock_queue(queue, id);
		queue->drawn_last = 0;
		return;
	}
	vq_lock_queue(queue, id);
	fits = vq_load_entrants(queue, &entrants);
	if (!fits)
		LWLockRelease(&queue->lock);
	vq_free_entrants(&entrants);
	if (!fits)
		vq_out_of_memory();
}

/* Make room for a bit, and for a stand in a lane; false when out of memory. */
static bool
make_room(VqQueue *queue, VqKind kind, int64 ticket, int64 place_key)
{
	return vq_line_reserve(&queue->line, vq_arena(), ticket) &&
		(kind >= VQ_LANES || vq_reserve_stand(queue, kind, ticket, place_key));
}

bool
vq_note_add(VqQueue *queue, const VqRow *row, VqKind kind, int flags, bool within_cap)
{
	const pg_uuid_t *id = &row->queue_id;
	int64		ticket = row->ticket;
	VqOp	   *op = find_unconfirmed(queue, kind, ticket);
	VqNow		now;

	if (op != NULL)
	{
		op->flags &= ~VQ_UNCONFIRMED;
		op->row = row->tid;
		n_unconfirmed--;
		confirm_call(op, row);
		if (kind < VQ_LANES && op->place_key != row->place_key)
			vq_note_stale();	/* another's trigger had its own idea */
		return true;
	}
	vq_reserve_ops(1);
	vq_lock_queue(queue, id);
	wait_until_clear(queue, id, kind, ticket);
	if (kind < VQ_LANES && ticket <= queue->drawn_last && queue->standing.map == 0)
		recall_draw(queue, id);
	if (within_cap && kind == VQ_INSIDE && !vq_is_whole())
	{
		LWLockRelease(&queue->lock);
		vq_lock_whole_queue(queue, id);
	}
	if (vq_lets_all_in(queue))
		flags &= ~VQ_PAID;
	else if (within_cap && kind == VQ_INSIDE &&
			 queue->line.count[VQ_INSIDE] >= queue->settings.max_concurrent_users)
	{
		LWLockRelease(&queue->lock);
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("queue \"%s\" has no free slot", vq_uuid_text(id)),
				 errdetail("As many sessions are inside as max_concurrent_users allows."),
				 errhint("Raise max_concurrent_users with vqueue.alter_queue(), or end sessions first.")));
	}
	if (!make_room(queue, kind, ticket, row->place_key))
	{
		LWLockRelease(&queue->lock);
		vq_out_of_memory();
	}
	now = vq_now();
	vq_add_bit(queue, kind, ticket, row->place_key, flags, now);
	ops[n_ops - 1].row = row->tid;
	if (flags & VQ_PAID)
		vq_pacer_charge(&queue->pacer, now, 1);
	queue->next_ticket = Max(queue->next_ticket, ticket + 1);
	LWLockRelease(&queue->lock);
	return false;
}

void
vq_note_let_in(VqQueue *queue, const pg_uuid_t *id, int64 served_at)
{
	vq_lock_queue(queue, id);
	vq_pacer_cede(&queue->pacer, vq_now(), served_at);
	LWLockRelease(&queue->lock);
}

void
vq_note_ticket(VqQueue *queue, int64 ticket)
{
	LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
	queue->next_ticket = Max(queue->next_ticket, ticket + 1);
	if (!queue->nascent)
		vq_call_worker(queue, vq_next_due(queue, vq_now(), true));
	LWLockRelease(&queue->lock);
}

void
vq_note_remove(VqQueue *queue, const VqRow *row, VqKind kind, int flags, int64 stay)
{
	VqOp	   *op;

	/* That its tenant's word is at hand after the commit. */
	if (kind < VQ_LANES)
		(void) vq_tenant_waiting(queue);
	vq_reserve_ops(1);
	op = append_op(OP_REMOVE, queue);
	op->kind = kind;
	op->flags = flags;
	op->u.ticket = row->ticket;
	op->place_key = row->place_key;
	op->taken.mono = stay;
}

void
vq_note_count(VqQueue *queue, int status, int64 wait)
{
	VqOp	   *op;

	vq_reserve_ops(1);
	op = append_op(OP_COUNT, queue);
	op->kind = status;
	op->u.wait = wait;
}

void
vq_note_queue(VqQueue *queue, const VqSettings *settings, bool made)
{
	VqSettings *copy = MemoryContextAlloc(TopTransactionContext, sizeof(VqSettings));
	VqOp	   *op;

	*copy = *settings;
	vq_reserve_ops(1);
	op = append_op(OP_QUEUE, queue);
	op->u.settings = copy;
	op->set = made;
	if (made)
	{
		LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
		queue->settings = *settings;
		vq_lanes_configure(&queue->lanes, settings->weights);
		vq_pacer_init(&queue->pacer, vq_now(), settings->rate_per_minute,
					  vq_burst(settings), true);
		LWLockRelease(&queue->lock);
		vq_join_tenant(queue, &settings->tenant_id);
	}
}

void
vq_note_queue_gone(VqQueue *queue)
{
	vq_reserve_ops(1);
	append_op(OP_QUEUE_GONE, queue);
}

void
vq_note_draw(VqQueue *queue, const pg_uuid_t *id, const VqEntrants *entrants)
{
	bool		fits;

	vq_reserve_ops(1);
	vq_lock_queue(queue, id);
	fits = vq_draft_draw(queue, entrants);
	LWLockRelease(&queue->lock);
	if (!fits)
		vq_out_of_memory();
	append_op(OP_DRAW, queue);
}

void
vq_note_ceiling(VqQueue *queue, int64 ceiling, bool raised)
{
	VqOp	   *op;

	vq_reserve_ops(1);
	op = append_op(OP_CEILING, queue);
	op->u.ceiling = ceiling;
	op->raised = raised;

	LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
	if (queue->nascent)
		queue->ceiling = Max(queue->ceiling, ceiling);
	LWLockRelease(&queue->lock);
}

void
vq_note_names(void)
{
	append_db_op(OP_NAMES);
}

void
vq_note_stale(void)
{
	append_db_op(OP_STALE);
}

/*
 * The queues of the changes made before go out of memory now, and their places
 * to whoever makes a queue next, maybe in another database.
 */
void
vq_void_pending(void)
{
	for (int i = 0; i < n_ops; i++)
		if (ops[i].queue != NULL)
		{
			ops[i].queue = NULL;
			ops[i].type = OP_NONE;
		}
	n_unconfirmed = 0;
}

void
vq_note_extension(bool created)
{
	append_db_op(created ? OP_CREATED : OP_DROPPED);
}

bool
vq_names_pending(void)
{
	for (int i = last_rare; i >= 0; i = ops[i].previous)
		if (ops[i].type != OP_CEILING)
			return true;
	return false;
}

/* The settings that this transaction has given the queue, or NULL. */
static const VqSettings *
pending_settings(VqQueue *queue)
{
	for (int i = last_rare; i >= 0; i = ops[i].previous)
		if (ops[i].type == OP_QUEUE && ops[i].queue == queue)
			return ops[i].u.settings;
	return NULL;
}

void
vq_settings_of(VqQueue *queue, VqSettings *settings)
{
	const VqSettings *pending = pending_settings(queue);

	LWLockAcquire(&queue->lock, LW_SHARED);
	*settings = pending != NULL ? *pending : queue->settings;
	LWLockRelease(&queue->lock);
}

void
vq_label_of(VqQueue *queue, char *name, pg_uuid_t *tenant)
{
	const VqSettings *settings = pending_settings(queue);

	LWLockAcquire(&queue->lock, LW_SHARED);
	if (settings == NULL)
		settings = &queue->settings;
	strlcpy(name, settings->name, VQ_NAME_SIZE);
	*tenant = settings->tenant_id;
	LWLockRelease(&queue->lock);
}

/* ---- callbacks ---- */

static void
forget_ops(void)
{
	ops = NULL;
	n_ops = max_ops = n_unconfirmed = confirm_next = 0;
	last_rare = -1;
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	if (n_ops == 0)
	{
		if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT)
			forget_ops();
		return;
	}
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			vq_apply_ops(ops, n_ops);
			forget_ops();
			break;
		case XACT_EVENT_ABORT:
			undo_ops(0);
			forget_ops();
			break;
		case XACT_EVENT_PRE_PREPARE:
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot PREPARE a transaction that has operated on vqueue's tables"),
					 errdetail("Its changes could not reach the waiting lines when another session commits it."),
					 errhint("Use COMMIT, or keep waiting rooms out of two-phase transactions.")));
			break;
		default:
			break;
	}
}

static void
at_subtransaction_end(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	int			first = n_ops;

	while (first > 0 && ops[first - 1].subid >= mine)
		first--;
	if (event == SUBXACT_EVENT_ABORT_SUB && first < n_ops)
		undo_ops(first);
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		for (int i = first; i < n_ops; i++)
			ops[i].subid = parent;
}

void
vq_pending_init(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
	RegisterSubXactCallback(at_subtransaction_end, NULL);
}
