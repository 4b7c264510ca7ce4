/*
 * apply.c
 *		What becomes of the operations that a transaction has noted.
 *
 * After the commit nothing may fail: all that can was done when they were noted.
 */
#include "postgres.h"

#include "chance.h"
#include "due.h"
#include "mark.h"
#include "op.h"
#include "pending.h"
#include "quota.h"
#include "roster.h"
#include "standing.h"
#include "table.h"
#include "trial.h"

void
vq_make_stale(VqDatabase *db)
{
	uint32		ready = VQ_READY;

	pg_atomic_fetch_add_u32(&db->demands, 1);
	pg_atomic_compare_exchange_u32(&db->line_state, &ready, VQ_STALE);
}

void
vq_undo_op(VqOp *op)
{
	VqQueue    *queue = op->queue;

	if (op->type == OP_ADD)
	{
		if (op->set && op->kind < VQ_LANES)
			vq_unstand(queue, op->kind, op->u.ticket, op->place_key);
		else if (op->set)
			vq_line_clear(&queue->line, vq_arena(), op->kind, op->u.ticket);
		if (op->called)
			vq_line_clear(&queue->line, vq_arena(), VQ_CALLED, op->u.ticket);
		if (op->held)
			vq_line_clear(&queue->line, vq_arena(), VQ_HELD, op->u.ticket);
		if (op->flags & VQ_TAKEN)
			queue->taken[op->lane]--;
		if (op->flags & VQ_PAID)
			vq_pacer_give_back(&queue->pacer, op->taken, 1);
	}
	else if (op->type == OP_DRAW)
		vq_drop_draft(queue);
	else if (op->type == OP_CEILING && queue->nascent)
		queue->ceiling = 0;		/* too low is safe: it is raised again */
	op->type = OP_NONE;
}

/*
 * As long as a queue has no timeouts nobody needs to give signs of life, and those
 * of a long time ago mean nothing: whoever is there when it gets some has a fresh grace.
 * So have those of a share on trial that had none.
 */
static bool
begins_to_time_out(const VqSettings *old, const VqSettings *new)
{
	static const VqStatus statuses[] = {VQ_WAITING, VQ_SERVING};

	for (int i = 0; i < (int) lengthof(statuses); i++)
	{
		if (vq_timeout(old, statuses[i], false) == 0 && vq_timeout(new, statuses[i], false) > 0)
			return true;
		if (vq_has_trial(old) && vq_timeout(old, statuses[i], true) == 0 &&
			vq_timeout(new, statuses[i], vq_has_trial(new)) > 0)
			return true;
	}
	return false;
}

static void
apply_settings(VqQueue *queue, const VqSettings *settings, VqNow now)
{
	queue->build = pg_atomic_read_u64(&vq_database()->build);
	if (!queue->nascent && settings->version < queue->settings.version)
		return;
	queue->gone = false;		/* deleted and inserted again by one transaction */
	if (!queue->nascent && settings->state != queue->settings.state)
		queue->state_news = true;
	if (begins_to_time_out(&queue->settings, settings))
		vq_mark_forget(&queue->line, vq_arena());
	queue->nascent = false;
	queue->settings = *settings;
	queue->reap_at = 0;
	queue->purge_at = 0;
	queue->forecast.at = 0;
	vq_score_void(&queue->score);
	vq_lanes_configure(&queue->lanes, settings->weights);
	vq_pacer_configure(&queue->pacer, now, settings->rate_per_minute, vq_burst(settings));
}

/*
 * An order that has no more room for whom it had: what would need memory now must
 * not fail, so memory is built anew instead.
 */
static void
set_again(VqOp *op)
{
	VqQueue    *queue = op->queue;
	bool		changed;

	if (op->kind >= VQ_LANES)
		vq_line_set(&queue->line, vq_arena(), op->kind, op->u.ticket);
	else if (!vq_stand(queue, op->kind, op->u.ticket, op->place_key, &changed))
	{
		vq_make_stale(vq_database());
		vq_wake_worker(vq_database());
	}
}

/* Somebody does not stand in a lane any more. */
static void
measure_exit(const VqOp *op, VqNow now)
{
	VqQueue    *queue = op->queue;

	if (op->flags & VQ_TAKEN)
		queue->forecast.gone++;
	else if (op->flags & VQ_ANNOUNCE)
		vq_flow_walked(&queue->flow);
	vq_score_settle(&queue->score, op->u.ticket, now.mono, (op->flags & VQ_TAKEN) != 0);
}

/*
 * Memory is newer than the snapshot that it is being built from.  Whoever has only
 * claimed a slot has still to be loaded as one who is inside.
 */
static void
note_newer(const VqOp *op)
{
	if (op->kind == VQ_CALLED)
		op->queue->claimed = true;
	else
		vq_line_set(&op->queue->line, vq_arena(), VQ_TOUCHED, op->u.ticket);
}

static void
apply_session(VqOp *op, bool building, VqNow now)
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
			set_again(op);
		if (op->held)
			vq_line_clear(line, vq_arena(), VQ_HELD, ticket);
		vq_mark_row(line, vq_arena(), ticket, ItemPointerGetBlockNumberNoCheck(&op->row),
					ItemPointerGetOffsetNumberNoCheck(&op->row));
		vq_mark_alive(line, vq_arena(), ticket, now.mono / USECS_PER_SEC);
		if (op->flags & VQ_TAKEN)
			queue->taken[op->lane]--;

		/* So with this, which goes with whom our own earlier step let go. */
		if ((op->flags & VQ_CALL) && (!op->called || !op->set))
			vq_line_set(line, vq_arena(), VQ_CALLED, ticket);
		if (op->kind < VQ_LANES)
			vq_flow_joined(&queue->flow, op->kind);
		if (op->kind == VQ_INSIDE)
			vq_flow_entered(&queue->flow, now.mono);
		if (op->kind == VQ_INSIDE && (op->flags & VQ_LET_IN))
		{
			vq_ring_add(&queue->released, now, 1);
			queue->released_total++;
		}
		if (op->flags & VQ_ANNOUNCE)
			vq_line_set(line, vq_arena(), VQ_RELEASED, ticket);
		return;
	}
	if ((op->flags & VQ_TAKEN) && vq_line_test(line, vq_arena(), op->kind, ticket))
		vq_lanes_turn(&queue->lanes, line->count, op->kind);
	if (op->kind < VQ_LANES)
		measure_exit(op, now);
	if (op->kind < VQ_LANES)
		vq_unstand(queue, op->kind, ticket, op->place_key);
	else
		vq_line_clear(line, vq_arena(), op->kind, ticket);
	if (op->flags & VQ_TAKEN)
		vq_note_passed(queue, op->kind, ticket, op->place_key);
	if (op->kind == VQ_CALLED)
		vq_mark_alive(line, vq_arena(), ticket, now.mono / USECS_PER_SEC);	/* its lease begins */
	if (op->kind == VQ_INSIDE)
	{
		if (line->count[VQ_CALLED] > 0)
			vq_line_clear(line, vq_arena(), VQ_CALLED, ticket);
		vq_flow_left(&queue->flow, now.mono, op->taken.mono);
	}
	if (op->flags & VQ_ANNOUNCE)
		vq_line_set(line, vq_arena(), VQ_ENDED, ticket);
	if (building)
		note_newer(op);
}

static void
apply_count(const VqOp *op)
{
	VqFigures  *figures = &op->queue->figures;

	if (op->kind >= VQ_COMPLETED)
		figures->ended[op->kind - VQ_COMPLETED]++;
	else
		vq_count_wait(figures, op->u.wait);
}

static void
apply_queue_op(VqOp *op, bool building, VqNow now)
{
	VqQueue    *queue = op->queue;

	switch ((VqOpType) op->type)
	{
		case OP_ADD:
			if (op->flags & VQ_UNCONFIRMED)
				vq_undo_op(op);
			else
				apply_session(op, building, now);
			break;
		case OP_COUNT:
			apply_count(op);
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
		case OP_DRAW:
			vq_adopt_draft(queue);
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
apply_database_op(VqOp *op, VqDatabase *db)
{
	switch ((VqOpType) op->type)
	{
		case OP_CREATED:
			SpinLockAcquire(&db->mutex);
			db->wanted = true;
			SpinLockRelease(&db->mutex);
			vq_wake_launcher();
			break;
		case OP_STALE:
		case OP_DROPPED:
			vq_make_stale(db);
			vq_wake_worker(db);
			break;
		default:
			break;
	}
}

static void
note_peaks(VqQueue *queue)
{
	queue->peak_waiting = Max(queue->peak_waiting, vq_standing(queue));
	queue->peak_inside = Max(queue->peak_inside, queue->line.count[VQ_INSIDE]);
}

/*
 * Whether memory is being built from a snapshot that may not have what we have
 * committed; *build tells which rebuild that is.  The snapshot of any that begins
 * later has it.
 */
static bool
is_building(VqDatabase *db, uint64 *build)
{
	*build = pg_atomic_read_u64(&db->build);
	pg_read_barrier();
	return pg_atomic_read_u32(&db->line_state) == VQ_BUILDING;
}

void
vq_apply_ops(VqOp *ops, int n)
{
	VqDatabase *db = vq_database();
	VqNow		now = vq_now();
	uint64		build;
	bool		building = is_building(db, &build);
	bool		names = false;
	bool		ceilings = false;

	for (int i = 0; i < n;)
	{
		VqQueue    *queue = ops[i].queue;
		int			stop = Min(n, i + OPS_A_LOCK);

		if (queue == NULL)
		{
			names |= ops[i].type != OP_NONE;
			apply_database_op(&ops[i++], db);
			continue;
		}
		LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
		building = building && pg_atomic_read_u64(&db->build) == build;
		for (; i < stop && ops[i].queue == queue; i++)
		{
			names |= ops[i].type == OP_QUEUE || ops[i].type == OP_QUEUE_GONE;
			ceilings |= ops[i].type == OP_CEILING;
			apply_queue_op(&ops[i], building, now);
		}
		note_peaks(queue);
		vq_settle(queue);
		vq_note_able(queue, now);
		vq_call_worker(queue, vq_next_due(queue, now, true));
		LWLockRelease(&queue->lock);
	}
	if (names)
		pg_atomic_fetch_add_u64(&db->names_version, 1);
	if (ceilings)
		ConditionVariableBroadcast(&db->changed);
}
