/*
 * standing.c
 *		The order in which the sessions of a queue stand in their lanes.
 */
#include "postgres.h"

#include "rank.h"
#include "standing.h"

/* ---- those who were drawn ---- */

static inline size_t
map_size(uint32 n)
{
	return n * (sizeof(int64) + sizeof(uint32));
}

/* Where in the map a ticket is, or -1.  Tickets rise by one at least, which bounds the search. */
static int64
find_drawn(const VqStanding *standing, const int64 *tickets, int64 ticket)
{
	int64		low;
	int64		high;

	if (ticket < standing->first_drawn || ticket > standing->last_drawn)
		return -1;
	low = Max(0, (int64) standing->drawn - 1 - (standing->last_drawn - ticket));
	high = Min((int64) standing->drawn - 1, ticket - standing->first_drawn);
	while (low < high)
	{
		int64		middle = (low + high) / 2;

		if (tickets[middle] < ticket)
			low = middle + 1;
		else
			high = middle;
	}
	return tickets[low] == ticket ? low : -1;
}

static const int64 *
drawn_tickets(const VqStanding *standing)
{
	const VqArena *arena = vq_arena();

	return (const int64 *) arena->addr(arena->ctx, standing->map);
}

int64
vq_key_of(const VqStanding *standing, int64 ticket, int64 place_key)
{
	const int64 *tickets;
	int64		at;

	if (standing->drawn == 0 || ticket > standing->last_drawn)
		return place_key;
	tickets = drawn_tickets(standing);
	at = find_drawn(standing, tickets, ticket);
	if (at < 0)
		return place_key;
	return VQ_DRAWN_KEY(((const uint32 *) (tickets + standing->drawn))[at]);
}

bool
vq_knows_key(const VqQueue *queue, int64 ticket)
{
	const VqStanding *standing = &queue->standing;

	return !standing->ordered ||
		(standing->drawn > 0 && find_drawn(standing, drawn_tickets(standing), ticket) >= 0);
}

static bool
make_map(VqStanding *standing, const VqEntrants *entrants)
{
	const VqArena *arena = vq_arena();
	VqRef		map;
	int64	   *tickets;

	if (entrants->n == 0)
		return true;
	map = arena->alloc(arena->ctx, map_size(entrants->n));
	if (map == 0)
		return false;
	tickets = (int64 *) arena->addr(arena->ctx, map);
	memcpy(tickets, entrants->tickets, entrants->n * sizeof(int64));
	memcpy(tickets + entrants->n, entrants->places, entrants->n * sizeof(uint32));
	standing->map = map;
	standing->drawn = entrants->n;
	standing->first_drawn = entrants->tickets[0];
	standing->last_drawn = entrants->tickets[entrants->n - 1];
	return true;
}

static void
free_map(VqStanding *standing)
{
	const VqArena *arena = vq_arena();

	if (standing->map != 0)
		arena->free(arena->ctx, standing->map, map_size(standing->drawn));
	standing->map = 0;
	standing->drawn = 0;
	standing->first_drawn = standing->last_drawn = 0;
}

bool
vq_load_entrants(VqQueue *queue, const VqEntrants *entrants)
{
	if (queue->standing.map != 0)
		return true;
	return make_map(&queue->standing, entrants);
}

/* ---- orders ---- */

static void
destroy(VqStanding *standing)
{
	for (int lane = 0; lane < VQ_LANES; lane++)
		vq_order_destroy(&standing->order[lane], vq_arena());
	free_map(standing);
	memset(standing, 0, sizeof(VqStanding));
}

/* What is appended to an order, some at a time. */
typedef struct Batch
{
	VqStanding *standing;
	int			lane;
	int			n;
	VqStand		stands[256];
} Batch;

static bool
flush(Batch *batch)
{
	bool		fits = vq_order_append(&batch->standing->order[batch->lane], vq_arena(), batch->stands, batch->n);

	for (int i = 0; i < batch->n && fits; i++)
		batch->standing->keyed += (batch->stands[i].key != 0);
	batch->n = 0;
	return fits;
}

static bool
append(Batch *batch, int64 key, int64 ticket)
{
	batch->stands[batch->n].key = key;
	batch->stands[batch->n++].ticket = ticket;
	return batch->n < (int) lengthof(batch->stands) || flush(batch);
}

/* Enter somebody where it belongs; false when out of memory. */
static bool
place(VqStanding *standing, int lane, int64 key, int64 ticket)
{
	if (!vq_order_reserve(&standing->order[lane], vq_arena(), key, ticket) ||
		!vq_order_insert(&standing->order[lane], vq_arena(), key, ticket))
		return false;
	standing->keyed += (key != 0);
	return true;
}

/* Enter who stands in a lane of the line; those drawn if wanted. */
static bool
enter_line(const VqQueue *queue, VqStanding *standing, int lane, bool drawn_too)
{
	Batch		batch = {standing, lane, 0};
	int64		tickets[256];
	int64		from = 1;
	int			n;

	do
	{
		n = vq_line_collect(&queue->line, vq_arena(), lane, from, tickets, lengthof(tickets));
		for (int i = 0; i < n; i++)
		{
			int64		key = vq_key_of(standing, tickets[i], 0);

			if (key == 0 ? !append(&batch, 0, tickets[i]) : drawn_too && !place(standing, lane, key, tickets[i]))
				return false;
		}
		from = n > 0 ? tickets[n - 1] + 1 : from;
	} while (n == lengthof(tickets));
	return flush(&batch);
}

/* Begin to keep orders: so far nobody has a key. */
static bool
begin_order(VqQueue *queue)
{
	for (int lane = 0; lane < VQ_LANES; lane++)
		if (!enter_line(queue, &queue->standing, lane, true))
		{
			for (lane = 0; lane < VQ_LANES; lane++)
				vq_order_destroy(&queue->standing.order[lane], vq_arena());
			queue->standing.keyed = 0;
			return false;
		}
	queue->standing.ordered = true;
	return true;
}

/* ---- standing ---- */

static bool
reserve(VqStanding *standing, int lane, int64 ticket, int64 place_key)
{
	return vq_order_reserve(&standing->order[lane], vq_arena(),
							vq_key_of(standing, ticket, place_key), ticket);
}

bool
vq_reserve_stand(VqQueue *queue, int lane, int64 ticket, int64 place_key)
{
	if (!queue->standing.ordered)
	{
		if (vq_key_of(&queue->standing, ticket, place_key) != 0 && !begin_order(queue))
			return false;
	}
	if (queue->standing.ordered && !reserve(&queue->standing, lane, ticket, place_key))
		return false;
	return queue->draft_state != VQ_DRAFT_LIVE || reserve(&queue->draft, lane, ticket, place_key);
}

/* Whether somebody of this ticket is where the key says. */
static bool
is_at(const VqStanding *standing, int lane, int64 ticket, int64 key)
{
	const VqOrder *order = &standing->order[lane];
	int64		rank = vq_order_rank(order, vq_arena(), key, ticket);
	VqStand		there;

	return vq_order_select(order, vq_arena(), rank, &there, 1) > 0 && there.key == key && there.ticket == ticket;
}

/* False if there is no room. */
static bool
enter(VqStanding *standing, int lane, int64 ticket, int64 place_key)
{
	VqOrder    *order = &standing->order[lane];
	int64		key = vq_key_of(standing, ticket, place_key);

	if (!vq_order_insert(order, vq_arena(), key, ticket))
		return is_at(standing, lane, ticket, key);
	standing->keyed += (key != 0);
	return true;
}

bool
vq_stand(VqQueue *queue, int lane, int64 ticket, int64 place_key, bool *changed)
{
	bool		fits = true;

	*changed = vq_line_set(&queue->line, vq_arena(), lane, ticket);
	if (!*changed)
		return true;
	if (queue->standing.ordered)
		fits = enter(&queue->standing, lane, ticket, place_key);
	else
		fits = vq_key_of(&queue->standing, ticket, place_key) == 0;
	if (queue->draft_state == VQ_DRAFT_LIVE && !enter(&queue->draft, lane, ticket, place_key))
		fits = false;
	return fits;
}

bool
vq_stand_in_order(VqQueue *queue, int lane, int64 ticket, int64 place_key)
{
	if (!vq_reserve_stand(queue, lane, ticket, place_key))
		return false;
	return (!queue->standing.ordered || enter(&queue->standing, lane, ticket, place_key)) &&
		(queue->draft_state != VQ_DRAFT_LIVE || enter(&queue->draft, lane, ticket, place_key));
}

static void
leave(VqStanding *standing, int lane, int64 ticket, int64 place_key)
{
	VqOrder    *order = &standing->order[lane];
	int64		key = vq_key_of(standing, ticket, place_key);

	if (vq_order_remove(order, vq_arena(), key, ticket))
		standing->keyed -= (key != 0);
	else if (vq_order_remove_ticket(order, vq_arena(), ticket))
	{
		/* It stood by another key, as its row was changed past us: count anew. */
		standing->keyed = 0;
		for (int i = 0; i < VQ_LANES; i++)
			standing->keyed += vq_order_rank(&standing->order[i], vq_arena(), 0, 0) +
				standing->order[i].count - vq_order_rank(&standing->order[i], vq_arena(), 1, 0);
	}
}

void
vq_unstand(VqQueue *queue, int lane, int64 ticket, int64 place_key)
{
	if (!vq_line_clear(&queue->line, vq_arena(), lane, ticket))
		return;
	if (queue->standing.ordered)
		leave(&queue->standing, lane, ticket, place_key);
	if (queue->line.count[lane] == 0)
		queue->passed[lane] = 0;	/* whoever comes next begins anew */
	if (queue->draft_state == VQ_DRAFT_LIVE)
		leave(&queue->draft, lane, ticket, place_key);
}

/* ---- rank and select ---- */

int64
vq_stand_rank(const VqQueue *queue, int lane, int64 ticket, int64 place_key)
{
	if (!queue->standing.ordered)
		return vq_line_rank(&queue->line, vq_arena(), lane, ticket);
	return vq_order_rank(&queue->standing.order[lane], vq_arena(),
						 vq_key_of(&queue->standing, ticket, place_key), ticket);
}

int64
vq_stand_before_keys(const VqQueue *queue, int lane)
{
	if (!queue->standing.ordered)
		return queue->line.count[lane];
	return vq_order_rank(&queue->standing.order[lane], vq_arena(), 1, 0);
}

bool
vq_stands_by(const VqQueue *queue, int lane, int64 ticket, int64 key)
{
	return queue->standing.ordered ? is_at(&queue->standing, lane, ticket, key) : key == 0;
}

int
vq_stand_select(const VqQueue *queue, int lane, int64 *tickets, int n)
{
	const VqOrder *order = &queue->standing.order[lane];
	VqStand		stands[256];
	int64		rank = 0;
	int			found = 0;

	if (!queue->standing.ordered)
		return vq_line_select(&queue->line, vq_arena(), lane, 1, tickets, n);
	while (found < n)
	{
		int			more = vq_order_select(order, vq_arena(), rank, stands, Min((int) lengthof(stands), n - found));

		for (int i = 0; i < more; i++)
			if (!vq_line_test(&queue->line, vq_arena(), VQ_HELD, stands[i].ticket) &&
				!vq_line_test(&queue->line, vq_arena(), VQ_INSIDE, stands[i].ticket))
				tickets[found++] = stands[i].ticket;
		if (more == 0)
			break;
		rank += more;
	}
	return found;
}

/* ---- drafts ---- */

/* For each entrant the lanes in which it stands, as bits. */
static uint8 *
lanes_of_entrants(const VqQueue *queue, const VqStanding *draft, uint8 *lanes)
{
	const int64 *drawn = drawn_tickets(draft);

	for (int lane = 0; lane < VQ_LANES; lane++)
	{
		int64		tickets[256];
		int64		from = draft->first_drawn;
		int			n;

		do
		{
			n = vq_line_collect(&queue->line, vq_arena(), lane, from, tickets, lengthof(tickets));
			for (int i = 0; i < n && tickets[i] <= draft->last_drawn; i++)
			{
				int64		at = find_drawn(draft, drawn, tickets[i]);

				if (at >= 0)
					lanes[at] |= 1 << lane;
			}
			from = n > 0 ? tickets[n - 1] + 1 : from;
		} while (n == lengthof(tickets) && from <= draft->last_drawn);
	}
	return lanes;
}

/* Append those drawn, by their places. */
static bool
append_drawn(const VqQueue *queue, VqStanding *draft, const VqEntrants *entrants)
{
	Batch		batches[VQ_LANES];
	uint8	   *lanes;
	uint32	   *by_place;
	bool		fits = true;

	if (entrants->n == 0)
		return true;
	lanes = MemoryContextAllocExtended(CurrentMemoryContext, entrants->n, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	by_place = MemoryContextAllocHuge(CurrentMemoryContext, entrants->n * sizeof(uint32));
	lanes_of_entrants(queue, draft, lanes);
	for (uint32 i = 0; i < entrants->n; i++)
		by_place[entrants->places[i]] = i;
	for (int lane = 0; lane < VQ_LANES; lane++)
	{
		batches[lane].standing = draft;
		batches[lane].lane = lane;
		batches[lane].n = 0;
	}
	for (uint32 place = 0; place < entrants->n && fits; place++)
	{
		uint32		at = by_place[place];

		for (int lane = 0; lanes[at] >> lane != 0 && fits; lane++)
			if (lanes[at] & 1 << lane)
				fits = append(&batches[lane], VQ_DRAWN_KEY(place), entrants->tickets[at]);
	}
	for (int lane = 0; lane < VQ_LANES && fits; lane++)
		fits = flush(&batches[lane]);
	pfree(lanes);
	pfree(by_place);
	return fits;
}

/* Append all others of a lane, in the order in which they stand. */
static bool
append_others(const VqQueue *queue, VqStanding *draft, int lane)
{
	const VqOrder *order = &queue->standing.order[lane];
	Batch		batch = {draft, lane, 0};
	VqStand		stands[256];
	int64		rank = 0;
	int			n;

	if (!queue->standing.ordered)
		return enter_line(queue, draft, lane, false);
	while ((n = vq_order_select(order, vq_arena(), rank, stands, lengthof(stands))) > 0)
	{
		for (int i = 0; i < n; i++)
			if (vq_key_of(draft, stands[i].ticket, 0) == 0 &&
				!append(&batch, stands[i].key, stands[i].ticket))
				return false;
		rank += n;
	}
	return flush(&batch);
}

bool
vq_draft_draw(VqQueue *queue, const VqEntrants *entrants)
{
	VqStanding *draft = &queue->draft;
	bool		fits;

	vq_drop_draft(queue);
	fits = make_map(draft, entrants) && append_drawn(queue, draft, entrants);
	for (int lane = 0; lane < VQ_LANES && fits; lane++)
		fits = append_others(queue, draft, lane);
	if (!fits)
	{
		destroy(draft);
		return false;
	}
	draft->ordered = true;
	queue->draft_state = VQ_DRAFT_LIVE;
	return true;
}

void
vq_adopt_draft(VqQueue *queue)
{
	VqStanding	old = queue->standing;

	if (queue->draft_state != VQ_DRAFT_LIVE)
		return;
	queue->standing = queue->draft;
	queue->draft = old;
	queue->draft_state = VQ_DRAFT_SPENT;	/* freeing may wait, what may fail must */
	queue->drawn_last = queue->standing.last_drawn;
}

void
vq_drop_draft(VqQueue *queue)
{
	destroy(&queue->draft);
	queue->draft_state = VQ_DRAFT_NONE;
}

/* ---- the whole ---- */

typedef struct Stayer
{
	const VqQueue *queue;
	VqStanding *standing;
	int			lane;
} Stayer;

static bool
stays(void *ctx, const VqStand *stand)
{
	Stayer	   *stayer = ctx;

	if (!vq_line_test(&stayer->queue->line, vq_arena(), stayer->lane, stand->ticket))
		return false;
	stayer->standing->keyed += (stand->key != 0);
	return true;
}

static void
wipe(VqQueue *queue, VqStanding *standing)
{
	standing->keyed = 0;
	for (int lane = 0; lane < VQ_LANES; lane++)
	{
		Stayer		stayer = {queue, standing, lane};

		vq_order_filter(&standing->order[lane], vq_arena(), stays, &stayer);
	}
}

void
vq_wipe_standing(VqQueue *queue)
{
	wipe(queue, &queue->standing);
	free_map(&queue->standing);
	if (queue->standing.keyed == 0)
		destroy(&queue->standing);
	if (queue->draft_state == VQ_DRAFT_LIVE)
		wipe(queue, &queue->draft);
}

bool
vq_standing_wants_trim(const VqQueue *queue)
{
	if (queue->draft_state == VQ_DRAFT_SPENT)
		return true;
	if (queue->standing.keyed == 0)
		return queue->standing.ordered || queue->standing.map != 0;
	for (int lane = 0; lane < VQ_LANES; lane++)
		if (queue->standing.order[lane].empty > 8)
			return true;
	return false;
}

void
vq_trim_standing(VqQueue *queue)
{
	if (queue->draft_state == VQ_DRAFT_SPENT)
		vq_drop_draft(queue);
	if (queue->standing.keyed == 0)
		destroy(&queue->standing);
	else
		for (int lane = 0; lane < VQ_LANES; lane++)
			if (queue->standing.order[lane].empty > 8)
				vq_order_trim(&queue->standing.order[lane], vq_arena());
}

void
vq_destroy_standing(VqQueue *queue)
{
	vq_drop_draft(queue);
	destroy(&queue->standing);
}
