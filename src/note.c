/*
 * note.c
 *		What a transaction has changed of queues, rather than of sessions.
 *
 * It becomes operations among those of pending.c.
 */
#include "postgres.h"

#include "note.h"
#include "op.h"
#include "pending.h"
#include "quota.h"
#include "utils/memutils.h"

static VqOp *
append_db_op(VqOpType type)
{
	vq_reserve_ops(1);
	(void) vq_database();
	return vq_append_op(type, NULL);
}

void
vq_note_queue(VqQueue *queue, const VqSettings *settings, bool made)
{
	VqSettings *copy = MemoryContextAlloc(TopTransactionContext, sizeof(VqSettings));
	VqOp	   *op;

	*copy = *settings;
	vq_reserve_ops(1);
	op = vq_append_op(OP_QUEUE, queue);
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
	vq_append_op(OP_QUEUE_GONE, queue);
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
	vq_append_op(OP_DRAW, queue);
}

void
vq_note_ceiling(VqQueue *queue, int64 ceiling, bool raised)
{
	VqOp	   *op;

	vq_reserve_ops(1);
	op = vq_append_op(OP_CEILING, queue);
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

void
vq_note_extension(bool created)
{
	append_db_op(created ? OP_CREATED : OP_DROPPED);
}
