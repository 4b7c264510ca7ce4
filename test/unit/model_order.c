/*
 * model_order.c
 *		Random operations on an order, each compared with a naive model.
 *
 * The model is a sorted array in which everything is moved and counted.
 */
#include "model_order.h"

#include "arena.h"
#include "order.h"

#define MAX_STANDS 3000

typedef struct Model
{
	Source	   *source;
	TestArena	arena;
	VqOrder		order;
	VqStand		stands[MAX_STANDS];
	int			n;
	int			key_bits;		/* few bits: many keys are equal */
} Model;

#define ARENA	(&m->arena.arena)

static int
compare(const VqStand *a, const VqStand *b)
{
	if (a->key != b->key)
		return a->key < b->key ? -1 : 1;
	return a->ticket < b->ticket ? -1 : a->ticket > b->ticket;
}

static int
index_of(const Model *m, const VqStand *stand)
{
	int			i = 0;

	while (i < m->n && compare(&m->stands[i], stand) < 0)
		i++;
	return i;
}

static VqStand
pick(Model *m)
{
	VqStand		stand;

	if (m->n > 0 && source_one_in(m->source, 3))
		return m->stands[source_below(m->source, m->n)];
	stand.key = source_scaled(m->source, m->key_bits);
	if (source_one_in(m->source, 4))
		stand.key = -stand.key;
	if (source_one_in(m->source, 200))
		stand.key = source_one_in(m->source, 2) ? PG_INT64_MIN : PG_INT64_MAX;
	stand.ticket = 1 + source_scaled(m->source, 40);
	return stand;
}

static void
do_insert(Model *m)
{
	VqStand		stand = pick(m);
	int			at = index_of(m, &stand);
	bool		there = at < m->n && compare(&m->stands[at], &stand) == 0;
	uint64		failures = m->arena.failures;

	if (m->n == MAX_STANDS)
		return;
	if (!vq_order_reserve(&m->order, ARENA, stand.key, stand.ticket))
	{
		MUST(m->arena.failures > failures);
		return;
	}
	MUST(vq_order_insert(&m->order, ARENA, stand.key, stand.ticket) == !there);
	if (there)
		return;
	memmove(m->stands + at + 1, m->stands + at, (m->n - at) * sizeof(VqStand));
	m->stands[at] = stand;
	m->n++;
}

static void
do_remove(Model *m, bool by_ticket)
{
	VqStand		stand = pick(m);
	int			at = index_of(m, &stand);
	bool		there = at < m->n && compare(&m->stands[at], &stand) == 0;
	uint64		allocs = m->arena.allocs;
	uint64		frees = m->arena.frees;

	if (by_ticket)
	{
		at = 0;
		while (at < m->n && m->stands[at].ticket != stand.ticket)
			at++;
		there = at < m->n;
		MUST(vq_order_remove_ticket(&m->order, ARENA, stand.ticket) == there);
	}
	else
		MUST(vq_order_remove(&m->order, ARENA, stand.key, stand.ticket) == there);
	MUST(m->arena.allocs == allocs && m->arena.frees == frees);
	if (!there)
		return;
	memmove(m->stands + at, m->stands + at + 1, (m->n - at - 1) * sizeof(VqStand));
	m->n--;
}

/* Those in front go, as they do when they are let in. */
static void
do_release(Model *m)
{
	int			k = source_scaled(m->source, 9);

	k = Min(k, m->n);
	for (int i = 0; i < k; i++)
		MUST(vq_order_remove(&m->order, ARENA, m->stands[i].key, m->stands[i].ticket));
	memmove(m->stands, m->stands + k, (m->n - k) * sizeof(VqStand));
	m->n -= k;
}

static void
do_append(Model *m)
{
	VqStand		stand = {0, 1};
	int64		before = m->order.count;
	uint64		failures = m->arena.failures;
	int			k = source_scaled(m->source, 10);

	if (m->n > 0)
		stand = m->stands[m->n - 1];
	if (stand.key > PG_INT64_MAX - MAX_STANDS)
		return;
	k = Min(k, MAX_STANDS - m->n);
	for (int i = 0; i < k; i++)
	{
		stand.key++;
		m->stands[m->n + i] = stand;
	}
	if (vq_order_append(&m->order, ARENA, m->stands + m->n, k))
		MUST(m->order.count == before + k);
	else
		MUST(m->arena.failures > failures && m->order.count < before + k);
	m->n = m->order.count;
}

static bool
has_even_ticket(void *ctx, const VqStand *stand)
{
	return stand->ticket % 2 == 0;
}

static void
do_filter(Model *m)
{
	int			kept = 0;

	vq_order_filter(&m->order, ARENA, has_even_ticket, NULL);
	for (int i = 0; i < m->n; i++)
		if (m->stands[i].ticket % 2 == 0)
			m->stands[kept++] = m->stands[i];
	m->n = kept;
}

static void
do_trim(Model *m)
{
	vq_order_trim(&m->order, ARENA);
	MUST(m->order.empty == 0);
	MUST(m->n == 0 || m->order.used <= (uint32) m->n);
	MUST(m->n > 0 || m->arena.bytes == 0);

	/* No two neighbours could be one. */
	MUST(m->arena.bytes <= (size_t) (2 * m->n * 4 / 3 / 255 + 2) * 4080 + 40 * m->order.capacity);
}

static void
do_rank(Model *m)
{
	VqStand		stand = pick(m);

	MUST(vq_order_rank(&m->order, ARENA, stand.key, stand.ticket) == index_of(m, &stand));
}

static void
do_select(Model *m)
{
	VqStand		stands[300];
	int			from = source_between(m->source, -2, m->n + 2);
	int			n = source_scaled(m->source, 8);
	int			wanted = from < 0 || from > m->n ? 0 : Min(n, m->n - from);

	MUST(vq_order_select(&m->order, ARENA, from, stands, n) == wanted);
	for (int i = 0; i < wanted; i++)
		MUST(compare(&stands[i], &m->stands[from + i]) == 0);
}

static void
do_one(Model *m)
{
	switch (source_below(m->source, 24))
	{
		case 0:
			do_append(m);
			break;
		case 1:
			if (source_one_in(m->source, 20))
				do_filter(m);
			break;
		case 2:
			if (source_one_in(m->source, 10))
				do_trim(m);
			break;
		case 3:
			do_release(m);
			break;
		case 4:
		case 5:
		case 6:
			do_remove(m, false);
			break;
		case 7:
			do_remove(m, true);
			break;
		case 8:
		case 9:
			do_rank(m);
			break;
		case 10:
			do_select(m);
			break;
		case 11:
			m->arena.fail_after = source_one_in(m->source, 3) ? (int64) source_below(m->source, 3) : -1;
			break;
		default:
			do_insert(m);
	}
	MUST(m->order.count == m->n);
}

uint64
model_order_run(Source *source)
{
	Model	   *m = calloc(1, sizeof(Model));
	uint64		done = 0;

	m->source = source;
	m->key_bits = source_below(source, 63);
	arena_init(&m->arena, true);
	while (!source_ended(source))
	{
		do_one(m);
		done++;
	}
	vq_order_destroy(&m->order, ARENA);
	MUST(arena_close(&m->arena));
	free(m);
	return done;
}
