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
#include "due.h"
#include "mark.h"
#include "miscadmin.h"
#include "pending.h"
#include "roster.h"
#include "table.h"
#include "utils/memutils.h"

/* Operations applied under one hold of a queue's lock, so that readers get in between. */
#define OPS_A_LOCK 1024

/* How long to wait for another's commit callback, in milliseconds. */
#define CLEAR_PATIENCE 1000

typedef enum OpType
{
	OP_NONE,					/* undone */
	OP_ADD,						/* a bit that was set when the change was made */
	OP_REMOVE,					/* a bit to be cleared after the commit */
	OP_QUEUE,					/* settings to be put in place */
	OP_QUEUE_GONE,
	OP_CEILING,
	OP_NAMES,
	OP_STALE,
	OP_CREATED,					/* the extension */
	OP_DROPPED
} OpType;

typedef struct Op
{
	VqQueue    *queue;			/* NULL where it concerns the database */
	union
	{
		int64		ticket;		/* ADD, REMOVE */
		int64		ceiling;	/* CEILING */
		VqSettings *settings;	/* QUEUE; in TopTransactionContext */
	}			u;
	VqNow		taken;			/* ADD with VQ_PAID: when the token was taken */
	ItemPointerData row;		/* ADD: where its row is, once written */
	SubTransactionId subid;
	int			previous;		/* the operation before it of any type above REMOVE, or -1 */
	uint8		type;
	uint8		kind;
	uint8		flags;
	bool		set:1;			/* ADD: this operation set the bit; QUEUE: made the queue */
	bool		held:1;			/* ADD: this operation set HELD */
	bool		raised:1;		/* CEILING: by our own hand */
} Op;

static Op  *ops = NULL;			/* in TopTransactionContext; NULL outside of changes */
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
		ops = MemoryContextAlloc(TopTransactionContext, max_ops * sizeof(Op));
	}
	else
	{
		int			wanted = Max(n_ops + n, max_ops * 2);

		ops = repalloc_huge(ops, wanted * sizeof(Op));
		max_ops = wanted;
	}
}

static Op *
append_op(OpType type, VqQueue *queue)
{
	Op		   *op = &ops[n_ops++];

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

static Op *
append_db_op(OpType type)
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

void
vq_lock_queue(VqQueue *queue, const pg_uuid_t *id)
{
	LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
	if (!vq_is_queue(queue, id))
	{
		LWLockRelease(&queue->lock);
		gone_queue(id);
	}
}

void
vq_add_bit(VqQueue *queue, VqKind kind, int64 ticket, int flags, VqNow now)
{
	Op		   *op = append_op(OP_ADD, queue);

	op->kind = kind;
	op->flags = flags;
	op->u.ticket = ticket;
	op->taken = now;
	op->set = vq_line_set(&queue->line, vq_arena(), kind, ticket);
	op->held = vq_line_set(&queue->line, vq_arena(), VQ_HELD, ticket);
	if (flags & VQ_UNCONFIRMED)
		n_unconfirmed++;
}

/* ---- undoing ---- */

static void
make_stale(VqDatabase *db)
{
	uint32		ready = VQ_READY;

	pg_atomic_compare_exchange_u32(&db->line_state, &ready, VQ_STALE);
}

/* Caller holds the queue's lock.  Never fails. */
static void
undo_op(Op *op)
{
	VqQueue    *queue = op->queue;

	if (op->type == OP_ADD)
	{
		if (op->set)
			vq_line_clear(&queue->line, vq_arena(), op->kind, op->u.ticket);
		if (op->held)
			vq_line_clear(&queue->line, vq_arena(), VQ_HELD, op->u.ticket);
		if (op->flags & VQ_PAID)
			vq_pacer_give_back(&queue->pacer, op->taken, 1);
		if (op->flags & VQ_UNCONFIRMED)
			n_unconfirmed--;
	}
	else if (op->type == OP_CEILING && queue->nascent)
		queue->ceiling = 0;		/* too low is safe: it is raised again */
	op->type = OP_NONE;
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
				make_stale(vq_database());
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
		if (!queue->nascent)
			vq_call_worker(queue, vq_next_due(queue, now, true));
		LWLockRelease(&queue->lock);
	}
}

/* ---- noting ---- */

/* The reservation that a written row confirms, if there is one. */
static Op *
find_unconfirmed(VqQueue *queue, VqKind kind, int64 ticket)
{
	for (int tried = 0; n_unconfirmed > 0 && tried < n_ops; tried++)
	{
		Op		   *op;

		if (confirm_next >= n_ops)
			confirm_next = 0;
		op = &ops[confirm_next++];
		if (op->type == OP_ADD && (op->flags & VQ_UNCONFIRMED) && op->queue == queue &&
			op->kind == kind && op->u.ticket == ticket)
			return op;
	}
	return NULL;
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

bool
vq_note_add(VqQueue *queue, const pg_uuid_t *id, VqKind kind, int64 ticket,
			const ItemPointerData *row, int flags, bool within_cap)
{
	Op		   *op = find_unconfirmed(queue, kind, ticket);
	VqNow		now;

	if (op != NULL)
	{
		op->flags &= ~VQ_UNCONFIRMED;
		op->row = *row;
		n_unconfirmed--;
		return true;
	}
	vq_reserve_ops(1);
	vq_lock_queue(queue, id);
	wait_until_clear(queue, id, kind, ticket);
	if (within_cap && kind == VQ_INSIDE &&
		queue->line.count[VQ_INSIDE] >= queue->settings.max_concurrent_users)
	{
		LWLockRelease(&queue->lock);
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("queue \"%s\" has no free slot", vq_uuid_text(id)),
				 errdetail("As many sessions are inside as max_concurrent_users allows."),
				 errhint("Raise max_concurrent_users with vqueue.alter_queue(), or end sessions first.")));
	}
	if (!vq_line_reserve(&queue->line, vq_arena(), ticket))
	{
		LWLockRelease(&queue->lock);
		vq_out_of_memory();
	}
	now = vq_now();
	vq_add_bit(queue, kind, ticket, flags, now);
	ops[n_ops - 1].row = *row;
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
vq_note_remove(VqQueue *queue, VqKind kind, int64 ticket, int flags)
{
	Op		   *op;

	vq_reserve_ops(1);
	op = append_op(OP_REMOVE, queue);
	op->kind = kind;
	op->flags = flags;
	op->u.ticket = ticket;
}

void
vq_note_queue(VqQueue *queue, const VqSettings *settings, bool made)
{
	VqSettings *copy = MemoryContextAlloc(TopTransactionContext, sizeof(VqSettings));
	Op		   *op;

	*copy = *settings;
	vq_reserve_ops(1);
	op = append_op(OP_QUEUE, queue);
	op->u.settings = copy;
	op->set = made;
	if (made)
	{
		LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
		queue->settings = *settings;
		vq_pacer_init(&queue->pacer, vq_now(), settings->rate_per_minute,
					  vq_burst(settings), true);
		LWLockRelease(&queue->lock);
	}
}

void
vq_note_queue_gone(VqQueue *queue)
{
	vq_reserve_ops(1);
	append_op(OP_QUEUE_GONE, queue);
}

void
vq_note_ceiling(VqQueue *queue, int64 ceiling, bool raised)
{
	Op		   *op;

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

/* ---- applying, after the commit: nothing here may fail ---- */

static void
apply_settings(VqQueue *queue, const VqSettings *settings, VqNow now)
{
	queue->build = pg_atomic_read_u64(&vq_database()->build);
	if (!queue->nascent && settings->version < queue->settings.version)
		return;
	queue->gone = false;		/* deleted and inserted again by one transaction */
	if (!queue->nascent && settings->state != queue->settings.state)
		queue->state_news = true;
	queue->nascent = false;
	queue->settings = *settings;
	vq_pacer_configure(&queue->pacer, now, settings->rate_per_minute, vq_burst(settings));
}

static void
apply_session(Op *op, bool building, VqNow now)
{
	VqQueue    *queue = op->queue;
	VqLine	   *line = &queue->line;
	int64		ticket = op->u.ticket;

	queue->moved = true;
	if (op->type == OP_ADD)
	{
		/*
		 * Set already, unless our own earlier step has just cleared it.  If it
		 * is gone for another reason, somebody saw our commit and went on from
		 * there before we got here.
		 */
		if (!op->set)
			vq_line_set(line, vq_arena(), op->kind, ticket);
		if (op->held)
			vq_line_clear(line, vq_arena(), VQ_HELD, ticket);
		vq_mark_row(line, vq_arena(), ticket, ItemPointerGetBlockNumberNoCheck(&op->row),
					ItemPointerGetOffsetNumberNoCheck(&op->row));
		if (op->kind == VQ_INSIDE && (op->flags & (VQ_PAID | VQ_ANNOUNCE)))
		{
			vq_ring_add(&queue->released, now, 1);
			queue->released_total++;
		}
		if (op->flags & VQ_ANNOUNCE)
			vq_line_set(line, vq_arena(), VQ_RELEASED, ticket);
		return;
	}
	vq_line_clear(line, vq_arena(), op->kind, ticket);
	if (op->kind == VQ_INSIDE)
		vq_ring_add(&queue->departed, now, 1);
	if (op->flags & VQ_ANNOUNCE)
		vq_line_set(line, vq_arena(), VQ_ENDED, ticket);
	if (building)
		vq_line_set(line, vq_arena(), VQ_TOUCHED, ticket);
}

static void
apply_queue_op(Op *op, bool building, VqNow now)
{
	VqQueue    *queue = op->queue;

	switch ((OpType) op->type)
	{
		case OP_ADD:
			if (op->flags & VQ_UNCONFIRMED)
				undo_op(op);
			else
				apply_session(op, building, now);
			break;
		case OP_REMOVE:
			apply_session(op, building, now);
			break;
		case OP_QUEUE:
			apply_settings(queue, op->u.settings, now);
			break;
		case OP_QUEUE_GONE:
			queue->gone = true;
			queue->settings.version = 0;
			queue->ceiling = 0;
			queue->build = pg_atomic_read_u64(&vq_database()->build);
			break;
		case OP_CEILING:
			queue->ceiling = Max(queue->ceiling, op->u.ceiling);
			if (!op->raised)
				queue->next_ticket = Max(queue->next_ticket, op->u.ceiling + 1);
			break;
		default:
			break;
	}
}

static void
apply_database_op(Op *op, VqDatabase *db)
{
	switch ((OpType) op->type)
	{
		case OP_CREATED:
			SpinLockAcquire(&db->mutex);
			db->wanted = true;
			SpinLockRelease(&db->mutex);
			vq_wake_launcher();
			break;
		case OP_STALE:
		case OP_DROPPED:
			make_stale(db);
			vq_wake_worker(db);
			break;
		default:
			break;
	}
}

static void
apply_ops(void)
{
	VqDatabase *db = vq_database();
	VqNow		now = vq_now();
	bool		building = pg_atomic_read_u32(&db->line_state) == VQ_BUILDING;
	bool		names = false;
	bool		ceilings = false;

	for (int i = 0; i < n_ops;)
	{
		VqQueue    *queue = ops[i].queue;
		int			stop = Min(n_ops, i + OPS_A_LOCK);

		if (queue == NULL)
		{
			names |= ops[i].type != OP_NONE;
			apply_database_op(&ops[i++], db);
			continue;
		}
		LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
		for (; i < stop && ops[i].queue == queue; i++)
		{
			names |= ops[i].type == OP_QUEUE || ops[i].type == OP_QUEUE_GONE;
			ceilings |= ops[i].type == OP_CEILING;
			apply_queue_op(&ops[i], building, now);
		}
		vq_call_worker(queue, vq_next_due(queue, now, true));
		LWLockRelease(&queue->lock);
	}
	if (names)
		pg_atomic_fetch_add_u64(&db->names_version, 1);
	if (ceilings)
		ConditionVariableBroadcast(&db->changed);
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
			apply_ops();
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
