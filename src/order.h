/*
 * order.h
 *		Who stands before whom in a lane that is not in the order of tickets.
 *
 * An ordered set of (key, ticket) with rank and select: sorted blocks, a
 * directory of them, and a Fenwick tree of their counts.  Keys need not differ;
 * among equal ones the lower ticket comes first.
 *
 * As line.h it lives in a VqArena, takes no locks and raises no errors.  Only
 * vq_order_reserve needs memory: what it has made room for is inserted without
 * fail as long as nothing else was inserted in between.
 */
#ifndef VQ_ORDER_H
#define VQ_ORDER_H

#include "line.h"

typedef struct VqStand
{
	int64		key;
	int64		ticket;
} VqStand;

/* Lives in shared memory; zeroed is an empty order. */
typedef struct VqOrder
{
	VqRef		directory;		/* block descriptors and the Fenwick tree */
	uint32		capacity;		/* descriptors the directory has room for */
	uint32		used;			/* blocks */
	uint32		empty;			/* blocks with nobody in them */
	int64		count;			/* who stand in all of them */
} VqOrder;

/* Make room for one insertion of this place; false when out of memory. */
extern bool vq_order_reserve(VqOrder *order, const VqArena *arena, int64 key, int64 ticket);

/* Insert; false if it is there, or there is no room for it. */
extern bool vq_order_insert(VqOrder *order, const VqArena *arena, int64 key, int64 ticket);

/* Remove; false if it is not there.  Neither allocates nor frees. */
extern bool vq_order_remove(VqOrder *order, const VqArena *arena, int64 key, int64 ticket);

/* The same by the ticket alone, for who does not know the key: looks at everybody. */
extern bool vq_order_remove_ticket(VqOrder *order, const VqArena *arena, int64 ticket);

/*
 * Append n in order that come after all others, with memory for them; false when
 * out of memory, with some of them appended.
 */
extern bool vq_order_append(VqOrder *order, const VqArena *arena, const VqStand *stands, int n);

/* How many come before this place, which may or may not be taken. */
extern int64 vq_order_rank(const VqOrder *order, const VqArena *arena, int64 key, int64 ticket);

/* Up to n of those in order from rank (from 0) on; returns how many. */
extern int	vq_order_select(const VqOrder *order, const VqArena *arena, int64 rank, VqStand *stands, int n);

/* Keep only those for whom this says true. */
typedef bool (*VqOrderFilter) (void *ctx, const VqStand *stand);
extern void vq_order_filter(VqOrder *order, const VqArena *arena, VqOrderFilter keep, void *ctx);

/* Give back blocks that are not needed, joining sparse neighbours. */
extern void vq_order_trim(VqOrder *order, const VqArena *arena);

extern void vq_order_destroy(VqOrder *order, const VqArena *arena);

#endif							/* VQ_ORDER_H */
