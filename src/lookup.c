/*
 * lookup.c
 *		Finding a session by its id, without an index if memory knows the way.
 *
 * The id carries its ticket, and memory knows where the rows of tickets were
 * last seen.  Nothing of that is relied upon: the row found is the session's
 * only if it has the whole id, and all else is left to the index, from which
 * memory then learns.
 */
#include "postgres.h"

#include "lookup.h"
#include "mark.h"
#include "pending.h"
#include "roster.h"
#include "seal.h"
#include "spot.h"

#define MEMO_SIZE 256

/* Queues whose sessions were asked for, by the mark in their ids. */
static struct
{
	VqQueue    *queue;
	pg_uuid_t	id;
}			memo[MEMO_SIZE];

/* The ticket nearest below the next one that ends in these 32 bits. */
static int64
whole_ticket(const VqQueue *queue, uint32 low)
{
	int64		ticket = (queue->next_ticket & ~INT64CONST(0xffffffff)) | low;

	return ticket < queue->next_ticket ? ticket : ticket - (INT64CONST(1) << 32);
}

/* Where memory has last seen the row of this id, if it is one of ours. */
static bool
remembered_place(const pg_uuid_t *id, ItemPointerData *tid)
{
	VqUnsealed	unsealed;
	VqQueue    *queue;
	uint32		block;
	uint16		offset;
	bool		known = false;

	if (!vq_unseal_id(id, &unsealed))
		return false;
	queue = memo[unsealed.queue % MEMO_SIZE].queue;
	if (queue == NULL)
		return false;
	LWLockAcquire(&queue->lock, LW_SHARED);
	if (vq_is_queue(queue, &memo[unsealed.queue % MEMO_SIZE].id))
	{
		int64		ticket = whole_ticket(queue, unsealed.ticket);

		known = vq_marked_row(&queue->line, vq_arena(), ticket, &block, &offset);
	}
	LWLockRelease(&queue->lock);
	if (known)
		ItemPointerSet(tid, block, offset);
	return known;
}

static void
remember_place(const VqRow *row)
{
	VqQueue    *queue = vq_find_queue(&row->queue_id);
	int			at = vq_seal_mark(&row->queue_id) % MEMO_SIZE;

	if (queue == NULL)
		return;
	memo[at].queue = queue;
	memo[at].id = row->queue_id;
	LWLockAcquire(&queue->lock, LW_SHARED);
	if (vq_is_queue(queue, &row->queue_id))
		vq_mark_row(&queue->line, vq_arena(), row->ticket, ItemPointerGetBlockNumber(&row->tid),
					ItemPointerGetOffsetNumber(&row->tid));
	LWLockRelease(&queue->lock);
}

bool
vq_look_up_session(const pg_uuid_t *id, VqRow *row)
{
	ItemPointerData tid;

	/* What this transaction has changed, the statement's snapshot may not see. */
	if (!vq_has_pending() && remembered_place(id, &tid) && vq_fetch_session_at(&tid, id, row))
		return true;
	if (!vq_fetch_session(id, NULL, row))
		return false;
	if (vq_is_live(row))
		remember_place(row);
	return true;
}
