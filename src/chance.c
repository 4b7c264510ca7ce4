/*
 * chance.c
 *		The places of newcomers, random or behind all others.
 *
 * A random place among those who wait is had by a random key that is never
 * changed: the sum of how far the lane has got, which is the greatest key let
 * in, and an exponentially distributed number.  As that distribution has no
 * memory, whoever still stands has such a key too, however long ago it came: a
 * newcomer is as likely to stand before as behind.
 */
#include "postgres.h"

#include <math.h>

#include "chance.h"
#include "entropy.h"
#include "standing.h"

/* An exponentially distributed number of mean 1, in fixed point. */
static bool
random_distance(int64 *distance)
{
	uint64		bits;

	if (!vq_strong_random(&bits, sizeof(bits)))
		return false;

	/* The logarithm is of a number more than 0 and at most 1: below 37. */
	*distance = (int64) (-log(((bits >> 11) + 1) / 9007199254740992.0) * VQ_KEY_UNIT);
	return true;
}

bool
vq_new_key(const VqQueue *queue, int lane, int64 *place_key)
{
	const VqOrder *order = &queue->standing.order[lane];
	VqStand		last;

	*place_key = 0;
	if (queue->settings.method == VQ_RANDOM)
	{
		int64		distance;

		if (!random_distance(&distance))
			return false;
		*place_key = Min(queue->passed[lane] + 1 + distance, VQ_MAX_KEY);
	}
	else if (queue->standing.ordered &&
			 vq_order_select(order, vq_arena(), order->count - 1, &last, 1) > 0)
		*place_key = last.key > 0 ? Min(last.key + VQ_KEY_STEP, VQ_MAX_KEY) : 0;
	return true;
}

void
vq_note_passed(VqQueue *queue, int lane, int64 ticket, int64 place_key)
{
	const VqOrder *order = &queue->standing.order[lane];
	int64		key;
	VqStand		first;

	if (!queue->standing.ordered || order->count == 0)
		return;
	key = vq_key_of(&queue->standing, ticket, place_key);

	/* Who was passed over, for its row was locked, shall not be overtaken by all newcomers. */
	if (vq_order_select(order, vq_arena(), 0, &first, 1) > 0)
		key = Min(key, first.key);
	queue->passed[lane] = Max(queue->passed[lane], key);
}

void
vq_guess_passed(VqQueue *queue)
{
	for (int lane = 0; lane < VQ_LANES; lane++)
	{
		const VqOrder *order = &queue->standing.order[lane];
		int64		first_keyed = vq_order_rank(order, vq_arena(), 1, 0);
		int64		distance;
		VqStand		first;

		if (vq_order_select(order, vq_arena(), first_keyed, &first, 1) == 0 ||
			(queue->passed[lane] > 0 && queue->passed[lane] <= first.key))
			continue;

		/* The first of n is, on the average, an nth of the unit away. */
		if (random_distance(&distance))
			queue->passed[lane] = Max(first.key - 1 - distance / (order->count - first_keyed), 0);
	}
}
