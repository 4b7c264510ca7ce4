/*
 * change.c
 *		What the change of a session's row is for memory.
 */
#include "postgres.h"

#include "change.h"
#include "commands/trigger.h"
#include "note.h"
#include "pending.h"

bool
vq_is_replica(void)
{
	return SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA;
}

bool
vq_note_step(VqQueue *queue, const VqRow *old, const VqRow *row)
{
	int			old_kind = old != NULL ? vq_row_kind(old) : -1;
	int			new_kind = vq_row_kind(row);
	bool		inserted = old == NULL;
	int64		stay = new_kind < 0 && vq_let_in_at(row) != 0 ? row->left_at - vq_let_in_at(row) : -1;
	int			flags = 0;
	bool		paid = false;

	if (old_kind == new_kind)
	{
		/* A place given by hand, or where the row comes from: memory has the old one. */
		if (old_kind >= 0 && old_kind < VQ_LANES && old->place_key != row->place_key)
			vq_note_stale();
		return false;
	}
	if (new_kind == VQ_INSIDE && !inserted)
		flags = vq_is_replica() ? VQ_ANNOUNCE | VQ_LET_IN : VQ_PAID | VQ_ANNOUNCE | VQ_LET_IN;
	if (row->status == VQ_IS_READY)
		flags |= VQ_CALL;
	if (new_kind >= 0)
		paid = vq_note_add(queue, row, new_kind, flags, !inserted && !vq_is_replica()) || (flags & VQ_PAID);
	if (old_kind >= 0)
		vq_note_remove(queue, old, old_kind,
					   new_kind < 0 ? VQ_ANNOUNCE : new_kind == VQ_INSIDE ? VQ_TAKEN : 0, stay);
	return paid;
}

/* Note that a session inside has claimed its slot, must do so again, or has renewed its lease. */
static void
note_claim(VqQueue *queue, const VqRow *old, const VqRow *new)
{
	if (vq_row_kind(old) != VQ_INSIDE || vq_row_kind(new) != VQ_INSIDE ||
		(old->status == new->status && old->extended_at == new->extended_at))
		return;
	if (new->status == VQ_IS_READY)
		(void) vq_note_add(queue, new, VQ_CALLED, 0, false);
	else
		vq_note_remove(queue, new, VQ_CALLED, 0, -1);
}

/* Note what is counted of a session that was let in, or has ended. */
static void
note_figures(VqQueue *queue, const VqRow *old, const VqRow *new)
{
	if (vq_row_kind(old) != VQ_INSIDE && vq_row_kind(new) == VQ_INSIDE)
		vq_note_count(queue, new->status, vq_let_in_at(new) - new->joined_at);
	else if (vq_is_live(old) && !vq_is_live(new))
		vq_note_count(queue, new->status, 0);
}

void
vq_note_change(VqQueue *queue, const VqRow *old, const VqRow *new)
{
	(void) vq_note_step(queue, old, new);
	note_claim(queue, old, new);
	note_figures(queue, old, new);
}
