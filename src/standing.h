/*
 * standing.h
 *		The order in which the sessions of a queue stand in their lanes.
 *
 * The line's bitmaps say who stands in which lane.  As long as tickets are the
 * order, that is all there is, and rank and select of the line are used.  Once
 * somebody stands who has a key, there also is an order a lane, which has
 * everybody who has a bit there, by key and then by ticket:
 *
 * - those who were drawn come first, by the places they drew (keys below 0);
 * - then those without a key (0), in the order of arrival;
 * - then those with a place_key, which the method random gives them.
 *
 * A draw that has not committed keeps a draft beside what is in force, which
 * follows every change, and takes its place at the commit.
 *
 * Callers hold the queue's lock, exclusively where something changes.
 */
#ifndef VQ_STANDING_H
#define VQ_STANDING_H

#include "shmem.h"

/* place_key counts in units of a 2^32th of a mean distance to the head of a random line. */
#define VQ_KEY_UNIT		(INT64CONST(1) << 32)
#define VQ_MAX_KEY		(INT64CONST(1) << 62)

/* Keys that differ by so much have different numbers on a board. */
#define VQ_KEY_STEP		(VQ_KEY_UNIT >> 20)

/* The key of who has drawn this place (from 0). */
#define VQ_DRAWN_KEY(place) ((int64) (place) - VQ_MAX_KEY)

/* Those who were drawn: tickets rising, and the place of each. */
typedef struct VqEntrants
{
	uint32		n;
	int64	   *tickets;
	uint32	   *places;
} VqEntrants;

/* Whether keys, rather than tickets, are the order. */
static inline bool
vq_is_ordered(const VqQueue *queue)
{
	return queue->standing.ordered;
}

/* By what somebody stands, who has this in the row. */
extern int64 vq_key_of(const VqStanding *standing, int64 ticket, int64 place_key);

/* Whether there is an order to be kept for who has this in the row. */
static inline bool
vq_order_is_wanted(const VqQueue *queue, int64 ticket, int64 place_key)
{
	return queue->standing.ordered || place_key != 0 || queue->draft_state == VQ_DRAFT_LIVE ||
		ticket <= queue->standing.last_drawn;
}

/* Whether the key of a ticket is known without its row. */
extern bool vq_knows_key(const VqQueue *queue, int64 ticket);

/*
 * Make room for somebody in a lane, ticket and key; then vq_stand cannot fail.
 * False when out of memory.
 */
extern bool vq_reserve_stand(VqQueue *queue, int lane, int64 ticket, int64 place_key);

/*
 * Let somebody stand in a lane, or no longer; *changed says whether that is new.
 * False if the order had no room: memory must then be built anew.
 */
extern bool vq_stand(VqQueue *queue, int lane, int64 ticket, int64 place_key, bool *changed);
extern void vq_unstand(VqQueue *queue, int lane, int64 ticket, int64 place_key);

/* For who is about to set the bit: the order's part alone, which makes its own room. */
extern bool vq_stand_in_order(VqQueue *queue, int lane, int64 ticket, int64 place_key);

/* How many stand ahead in a lane. */
extern int64 vq_stand_rank(const VqQueue *queue, int lane, int64 ticket, int64 place_key);

/* How many of a lane stand ahead of all random places. */
extern int64 vq_stand_before_keys(const VqQueue *queue, int lane);

/* Whether somebody of a lane stands by this key. */
extern bool vq_stands_by(const VqQueue *queue, int lane, int64 ticket, int64 key);

/* The first n of a lane who are neither HELD nor INSIDE; returns how many. */
extern int	vq_stand_select(const VqQueue *queue, int lane, int64 *tickets, int n);

/* Prepare what will be in force when a draw has committed; false when out of memory. */
extern bool vq_draft_draw(VqQueue *queue, const VqEntrants *entrants);
extern void vq_adopt_draft(VqQueue *queue); /* never fails */
extern void vq_drop_draft(VqQueue *queue);

/* Have the places of a draw that was held before at hand; false when out of memory. */
extern bool vq_load_entrants(VqQueue *queue, const VqEntrants *entrants);

/* Begin a rebuild, after the line was wiped. */
extern void vq_wipe_standing(VqQueue *queue);

/* Give back what is not needed: all of it where nobody has a key. */
extern bool vq_standing_wants_trim(const VqQueue *queue);
extern void vq_trim_standing(VqQueue *queue);
extern void vq_destroy_standing(VqQueue *queue);

#endif							/* VQ_STANDING_H */
