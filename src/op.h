/*
 * op.h
 *		The operations that pending.c notes, one for each change of a row, and
 *		what becomes of them.
 */
#ifndef VQ_OP_H
#define VQ_OP_H

#include "access/xact.h"
#include "shmem.h"
#include "storage/itemptr.h"

/* Operations applied under one hold of a queue's lock, so that readers get in between. */
#define OPS_A_LOCK 1024

typedef enum VqOpType
{
	OP_NONE,					/* undone */
	OP_COUNT,					/* a figure to be counted after the commit */
	OP_ADD,						/* a bit that was set when the change was made */
	OP_REMOVE,					/* a bit to be cleared after the commit */
	OP_QUEUE,					/* settings to be put in place */
	OP_QUEUE_GONE,
	OP_DRAW,					/* a draft to be put in force */
	OP_CEILING,
	OP_NAMES,
	OP_STALE,
	OP_CREATED,					/* the extension */
	OP_DROPPED
} VqOpType;

typedef struct VqOp
{
	VqQueue    *queue;			/* NULL where it concerns the database */
	union
	{
		int64		ticket;		/* ADD, REMOVE */
		int64		ceiling;	/* CEILING */
		int64		wait;		/* COUNT of one let in: microseconds */
		VqSettings *settings;	/* QUEUE; in TopTransactionContext */
	}			u;
	int64		place_key;		/* ADD, REMOVE: of the row */
	VqNow		taken;			/* ADD with VQ_PAID: when the token was taken; REMOVE of INSIDE:
								 * mono is for how long it stayed, negative if that is not known */
	ItemPointerData row;		/* ADD: where its row is, once written */
	SubTransactionId subid;
	int			previous;		/* the operation before it of any type above REMOVE, or -1 */
	uint8		type;
	uint8		kind;			/* COUNT: VqStatus that was reached */
	uint8		lane;			/* ADD with VQ_TAKEN: from which lane */
	uint8		flags;
	bool		set:1;			/* ADD: this operation set the bit; QUEUE: made the queue */
	bool		held:1;			/* ADD: this operation set HELD */
	bool		called:1;		/* ADD of INSIDE: this operation set CALLED */
	bool		raised:1;		/* CEILING: by our own hand */
} VqOp;

/* Have memory built anew, and once more if it is being built. */
extern void vq_make_stale(VqDatabase *db);

/* Take back what an operation did when it was noted.  Caller holds the queue's lock.  Never fails. */
extern void vq_undo_op(VqOp *op);

/* Bring memory up to date with a transaction that has committed.  Never fails. */
extern void vq_apply_ops(VqOp *ops, int n);

#endif							/* VQ_OP_H */
