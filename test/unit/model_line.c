/*
 * model_line.c
 *		Random operations on a line, each compared with a naive model.
 *
 * The model is a sorted array of the tickets that ever were set or marked
 * while their chunk existed, and a sorted array of the chunks.  It counts by
 * looking at all of them.
 */
#include "model_line.h"

#include "arena.h"
#include "mark.h"
#include "rank.h"

#define MAX_TICKETS		3000
#define MAX_CHUNKS		400
#define MAX_REGIONS		6

typedef struct Ticket
{
	int64		ticket;
	uint32		bits;			/* bit k: kind k */
	int64		alive;			/* second of the last sign of life, -1: none */
	uint32		block;			/* where its row was last said to be */
	uint16		offset;			/* 0: nothing was said since the last wipe */
} Ticket;

typedef struct Model
{
	Source	   *source;
	TestArena	arena;
	VqLine		line;
	Ticket		tickets[MAX_TICKETS];
	int			n_tickets;
	int64		chunks[MAX_CHUNKS];
	int			n_chunks;
	int64		region[MAX_REGIONS];	/* chunk numbers about which tickets are picked */
	int			n_regions;
	int			spread;			/* chunks a region */
} Model;

/* Where tickets may lie: the first, about 2^31, 2^40 and 2^62, and the last. */
static const int64 places[] = {
	0, (INT64CONST(1) << 31) / VQ_CHUNK - 2, (INT64CONST(1) << 40) / VQ_CHUNK - 2,
	(INT64CONST(1) << 62) / VQ_CHUNK - 2, PG_INT64_MAX / VQ_CHUNK - 300, 1000
};

/* ---- the model's answers ---- */

static int
ticket_index(const Model *m, int64 ticket)
{
	int			i = 0;

	while (i < m->n_tickets && m->tickets[i].ticket < ticket)
		i++;
	return i;
}

static int
chunk_index(const Model *m, int64 number)
{
	int			i = 0;

	while (i < m->n_chunks && m->chunks[i] < number)
		i++;
	return i;
}

static bool
has_chunk(const Model *m, int64 ticket)
{
	int			i = chunk_index(m, ticket / VQ_CHUNK);

	return ticket > 0 && i < m->n_chunks && m->chunks[i] == ticket / VQ_CHUNK;
}

static void
add_chunk(Model *m, int64 number)
{
	int			at = chunk_index(m, number);

	memmove(m->chunks + at + 1, m->chunks + at, (m->n_chunks - at) * sizeof(int64));
	m->chunks[at] = number;
	m->n_chunks++;
}

/* The ticket's entry, made if need be; NULL if it has no chunk. */
static Ticket *
entry_of(Model *m, int64 ticket)
{
	int			at = ticket_index(m, ticket);

	if (!has_chunk(m, ticket))
		return NULL;
	if (at == m->n_tickets || m->tickets[at].ticket != ticket)
	{
		memmove(m->tickets + at + 1, m->tickets + at, (m->n_tickets - at) * sizeof(Ticket));
		memset(&m->tickets[at], 0, sizeof(Ticket));
		m->tickets[at].ticket = ticket;
		m->tickets[at].alive = -1;
		m->n_tickets++;
	}
	return &m->tickets[at];
}

static uint32
bits_of(const Model *m, int64 ticket)
{
	int			at = ticket_index(m, ticket);

	return at < m->n_tickets && m->tickets[at].ticket == ticket ? m->tickets[at].bits : 0;
}

/* The ticket's entry if it has one. */
static const Ticket *
known(const Model *m, int64 ticket)
{
	int			at = ticket_index(m, ticket);

	return at < m->n_tickets && m->tickets[at].ticket == ticket ? &m->tickets[at] : NULL;
}

/* What silence has to be, at a second not before the sign of life nor a day after. */
static int64
silence_of(const Model *m, int64 ticket, int64 second)
{
	const Ticket *entry = known(m, ticket);

	if (entry == NULL || entry->alive < 0)
		return -1;
	return (second / VQ_MARK_SECONDS - entry->alive / VQ_MARK_SECONDS) * VQ_MARK_SECONDS;
}

static int
lane_of(const Model *m, int64 ticket)
{
	for (int lane = 0; lane < VQ_LANES; lane++)
	{
		if (bits_of(m, ticket) & (1u << lane))
			return lane;
	}
	return -1;
}

static int64
nth_of(const Model *m, int lane, int64 rank)
{
	for (int i = 0; i < m->n_tickets; i++)
		if ((m->tickets[i].bits >> lane & 1) != 0 && rank-- == 0)
			return m->tickets[i].ticket;
	return 0;
}

static int64
rank_of(const Model *m, int lane, int64 ticket)
{
	int64		rank = 0;

	for (int i = 0; i < m->n_tickets && m->tickets[i].ticket < ticket; i++)
		rank += (m->tickets[i].bits >> lane) & 1;
	return rank;
}

static bool
is_empty(const Model *m, int64 number)
{
	for (int i = ticket_index(m, number * VQ_CHUNK); i < m->n_tickets; i++)
	{
		if (m->tickets[i].ticket / VQ_CHUNK != number)
			break;
		if (m->tickets[i].bits & ~(1u << VQ_TOUCHED))
			return false;
	}
	return true;
}

/* ---- comparing ---- */

static void
compare_counts(Model *m)
{
	uint32		empty = 0;
	int64		count[VQ_KINDS] = {0};

	for (int i = 0; i < m->n_tickets; i++)
	{
		for (int kind = 0; kind < VQ_KINDS; kind++)
			count[kind] += (m->tickets[i].bits >> kind) & 1;
	}
	for (int kind = 0; kind < VQ_KINDS; kind++)
		MUST(m->line.count[kind] == count[kind]);
	for (int i = 0; i < m->n_chunks; i++)
		empty += is_empty(m, m->chunks[i]);
	MUST(m->line.empty == empty);
	MUST(m->line.used - m->line.dead == (uint32) m->n_chunks);
	MUST(m->line.used <= m->line.capacity);
	MUST(vq_line_memory(&m->line, &m->arena.arena) == m->arena.bytes);
}

/* A row may be forgotten, but is never told to be where it was not said to be. */
static void
compare_marks(Model *m, int64 ticket)
{
	const Ticket *entry = known(m, ticket);
	int64		second = entry != NULL && entry->alive >= 0 ? entry->alive : 0;
	uint32		block;
	uint16		offset;

	for (int days = 0; days <= 1; days++)
		MUST(vq_mark_silence(&m->line, &m->arena.arena, ticket, second + days * 86400) ==
			 silence_of(m, ticket, second + days * 86400));
	if (vq_marked_row(&m->line, &m->arena.arena, ticket, &block, &offset))
		MUST(entry != NULL && entry->offset == offset && entry->block == block);
}

static void
compare_ticket(Model *m, int64 ticket)
{
	const VqArena *arena = &m->arena.arena;
	int64		ahead = -1;

	for (int kind = 0; kind < VQ_KINDS; kind++)
		MUST(vq_line_test(&m->line, arena, kind, ticket) == ((bits_of(m, ticket) >> kind) & 1));
	for (int lane = 0; lane < VQ_LANES; lane++)
	{
		int64		rank = rank_of(m, lane, ticket);
		int64		nth = vq_line_nth(&m->line, arena, lane, rank);

		MUST(vq_line_rank(&m->line, arena, lane, ticket) == rank);

		/* Who has as many before it is itself, or the next one of the lane. */
		MUST(nth == nth_of(m, lane, rank));
		MUST(nth == ticket || (bits_of(m, ticket) >> lane & 1) == 0);
	}
	MUST(vq_line_lane(&m->line, arena, ticket) == lane_of(m, ticket));
	MUST(vq_line_look(&m->line, arena, ticket, -1, &ahead) == lane_of(m, ticket));
	MUST(ahead == (lane_of(m, ticket) < 0 ? -1 : rank_of(m, lane_of(m, ticket), ticket)));
	compare_marks(m, ticket);
}

static void
compare_gathered(Model *m, int kind, bool select, int64 from, int n)
{
	int64	   *tickets = malloc((n + 1) * sizeof(int64));
	int			found = 0;
	int			got;

	MUST(tickets != NULL);
	tickets[n] = -7;
	if (select)
		got = vq_line_select(&m->line, &m->arena.arena, kind, from, tickets, n);
	else
		got = vq_line_collect(&m->line, &m->arena.arena, kind, from, tickets, n);
	for (int i = 0; i < m->n_tickets && found < n; i++)
	{
		uint32		bits = m->tickets[i].bits;

		if (m->tickets[i].ticket < from || !(bits & (1u << kind)))
			continue;
		if (select && (bits & (1u << VQ_HELD | 1u << VQ_INSIDE)))
			continue;
		MUST(found < got && tickets[found] == m->tickets[i].ticket);
		found++;
	}
	MUST(got == found);
	MUST(tickets[n] == -7);
	free(tickets);
}

static void
compare_all(Model *m)
{
	compare_counts(m);
	for (int i = 0; i < m->n_tickets; i += 1 + m->n_tickets / 100)
		compare_ticket(m, m->tickets[i].ticket);
	for (int i = 0; i < m->n_chunks; i += 1 + m->n_chunks / 50)
	{
		compare_ticket(m, m->chunks[i] * VQ_CHUNK);
		compare_ticket(m, m->chunks[i] * VQ_CHUNK + (VQ_CHUNK - 1));
	}
	for (int kind = 0; kind < VQ_KINDS; kind++)
		compare_gathered(m, kind, false, 1, MAX_TICKETS);
}

/* ---- operations ---- */

static int64
pick_ticket(Model *m)
{
	static const int edges[] = {0, 1, 63, 64, 511, 512, 513, VQ_CHUNK - 64, VQ_CHUNK - 1};
	Source	   *s = m->source;
	int64		number = m->region[source_below(s, m->n_regions)];
	int64		ticket;

	switch (source_below(s, 8))
	{
		case 0:
			return (number + (int64) source_below(s, m->spread)) * VQ_CHUNK +
				edges[source_below(s, lengthof(edges))];
		case 1:
			return (number + (int64) source_below(s, m->spread)) * VQ_CHUNK +
				(int64) source_below(s, VQ_CHUNK);
		case 2:
			if (source_one_in(s, 20))
				return source_one_in(s, 2) ? PG_INT64_MAX : -source_scaled(s, 62);
			/* FALLTHROUGH */
		case 3:
			/* close together */
			return number * VQ_CHUNK + (int64) source_below(s, 100);
		default:
			if (m->n_tickets == 0)
				return number * VQ_CHUNK + 1;
			ticket = m->tickets[source_below(s, m->n_tickets)].ticket;
			return source_one_in(s, 8) && ticket < PG_INT64_MAX ? ticket + 1 : ticket;
	}
}

static void
do_reserve(Model *m, int64 ticket)
{
	VqLine		before = m->line;
	size_t		bytes = m->arena.bytes;
	uint64		failures = m->arena.failures;
	bool		had = has_chunk(m, ticket);

	if (!had && m->n_chunks == MAX_CHUNKS)
		return;
	if (source_one_in(m->source, 4))
		m->arena.fail_after = source_below(m->source, 2);
	if (vq_line_reserve(&m->line, &m->arena.arena, ticket))
	{
		MUST(ticket > 0);
		if (!had)
			add_chunk(m, ticket / VQ_CHUNK);
		else
			MUST(memcmp(&before, &m->line, sizeof(VqLine)) == 0);
	}
	else
	{
		MUST(!had && (ticket < 1 || m->arena.failures > failures));
		MUST(memcmp(&before, &m->line, sizeof(VqLine)) == 0);
		MUST(m->arena.bytes == bytes);
		compare_all(m);
	}
	m->arena.fail_after = -1;
}

/* A run of chunks with a gap now and then, so that the directory has to grow. */
static void
do_stretch(Model *m, int64 ticket)
{
	int64		number = Max(ticket, 1) / VQ_CHUNK;
	int			n = 1 + source_scaled(m->source, 6);

	for (int i = 0; i < n && number < PG_INT64_MAX / VQ_CHUNK; i++)
	{
		do_reserve(m, number * VQ_CHUNK + 1);
		number += 1 + source_one_in(m->source, 8);
	}
}

static void
do_change(Model *m, VqKind kind, int64 ticket, bool value)
{
	uint64		moves = m->arena.allocs + m->arena.frees;
	Ticket	   *entry = m->n_tickets < MAX_TICKETS ? entry_of(m, ticket) : NULL;
	bool		changes = entry != NULL && ((entry->bits >> kind) & 1) != value;

	if (entry == NULL && has_chunk(m, ticket))
		return;					/* the model is full */
	if (value)
		MUST(vq_line_set(&m->line, &m->arena.arena, kind, ticket) == changes);
	else
		MUST(vq_line_clear(&m->line, &m->arena.arena, kind, ticket) == changes);
	if (changes)
		entry->bits ^= 1u << kind;
	MUST(m->arena.allocs + m->arena.frees == moves);
}

static void
do_mark(Model *m, int64 ticket, int64 second, uint32 block, uint16 offset)
{
	int64		ahead;
	Ticket	   *entry = m->n_tickets < MAX_TICKETS ? entry_of(m, ticket) : NULL;

	if (entry == NULL && has_chunk(m, ticket))
		return;
	if (second % 2 == 0)
		vq_mark_alive(&m->line, &m->arena.arena, ticket, second);
	else
		(void) vq_line_look(&m->line, &m->arena.arena, ticket, second, &ahead);
	vq_mark_row(&m->line, &m->arena.arena, ticket, block, offset);
	if (entry != NULL)
	{
		entry->alive = second;
		entry->block = block;
		entry->offset = offset;
	}
	compare_marks(m, ticket);
}

static bool
chunk_has_bits(const Model *m, int64 number)
{
	for (int i = 0; i < m->n_tickets; i++)
	{
		if (m->tickets[i].ticket / VQ_CHUNK == number && m->tickets[i].bits != 0)
			return true;
	}
	return false;
}

static void
do_forget(Model *m)
{
	vq_mark_forget(&m->line, &m->arena.arena);
	for (int i = 0; i < m->n_tickets; i++)
	{
		if (chunk_has_bits(m, m->tickets[i].ticket / VQ_CHUNK))
			m->tickets[i].alive = -1;
	}
}

/* Set a bit and mark the row at once. */
static void
do_enter(Model *m, VqKind kind, int64 ticket, uint32 block, uint16 offset)
{
	Ticket	   *entry = m->n_tickets < MAX_TICKETS ? entry_of(m, ticket) : NULL;

	if (entry == NULL && has_chunk(m, ticket))
		return;
	MUST(vq_line_enter(&m->line, &m->arena.arena, kind, ticket, block, offset) == (entry != NULL));
	if (entry != NULL)
	{
		entry->bits |= 1u << kind;
		entry->block = block;
		entry->offset = offset;
	}
	compare_ticket(m, ticket);
}

static void
forget_tickets(Model *m, int64 number)
{
	int			kept = 0;

	for (int i = 0; i < m->n_tickets; i++)
	{
		if (m->tickets[i].ticket / VQ_CHUNK != number)
			m->tickets[kept++] = m->tickets[i];
	}
	m->n_tickets = kept;
}

static void
do_trim(Model *m, int64 below)
{
	uint64		allocs = m->arena.allocs;
	int			kept = 0;
	int			n = m->n_chunks;

	for (int i = 0; i < n; i++)
	{
		int64		last = m->chunks[i] * VQ_CHUNK + (VQ_CHUNK - 1);

		if (last < below && is_empty(m, m->chunks[i]))
			forget_tickets(m, m->chunks[i]);
		else
			m->chunks[kept++] = m->chunks[i];
	}
	m->n_chunks = kept;
	MUST(vq_line_trim(&m->line, &m->arena.arena, below) == n - kept);
	MUST(m->arena.allocs == allocs);
	MUST(m->line.dead <= m->line.used / 2 || m->line.used == 0);
	compare_counts(m);
}

static void
do_wipe(Model *m)
{
	const uint32 wiped = (1u << (VQ_CALLED + 1)) - 1;

	for (int i = 0; i < m->n_tickets; i++)
	{
		if (!(m->tickets[i].bits & (1u << VQ_HELD)))
			m->tickets[i].bits &= ~wiped;
		m->tickets[i].bits &= ~(1u << VQ_TOUCHED);
		m->tickets[i].offset = 0;
	}
	vq_line_wipe(&m->line, &m->arena.arena);
	compare_all(m);
}

static void
do_destroy(Model *m)
{
	VqLine		nothing;

	memset(&nothing, 0, sizeof(nothing));
	vq_line_destroy(&m->line, &m->arena.arena);
	MUST(memcmp(&nothing, &m->line, sizeof(VqLine)) == 0);
	MUST(m->arena.bytes == 0);
	m->n_tickets = m->n_chunks = 0;
}

/* Clear whole tickets at the front and set more at the back, as a queue does. */
static void
do_advance(Model *m)
{
	int			n = Min(m->n_tickets, (int) source_below(m->source, 60));

	for (int i = 0; i < n; i++)
	{
		for (int kind = 0; kind < VQ_KINDS; kind++)
			do_change(m, kind, m->tickets[i].ticket, false);
	}
	if (n > 0)
		do_trim(m, m->tickets[n - 1].ticket);
}

static void
do_one(Model *m)
{
	Source	   *s = m->source;
	int			choice = source_below(s, 100);
	int			lane = source_below(s, VQ_LANES);
	int			kind = source_below(s, VQ_KINDS);
	int64		ticket = pick_ticket(m);

	if (choice < 20)
		do_reserve(m, ticket);
	else if (choice < 45)
		do_change(m, kind, ticket, true);
	else if (choice < 60)
		do_change(m, kind, ticket, false);
	else if (choice < 70)
		compare_ticket(m, ticket);
	else if (choice < 77)
		compare_gathered(m, lane, true, ticket, source_scaled(s, 7));
	else if (choice < 84)
		compare_gathered(m, kind, false, ticket, source_scaled(s, 7));
	else if (choice < 87)
		do_enter(m, kind, ticket, source_scaled(s, 32), 1 + source_below(s, 70));
	else if (choice < 92)
		do_mark(m, ticket, source_below(s, UINT64CONST(1) << 40), source_scaled(s, 32),
				1 + source_below(s, 70));
	else if (choice < 95)
		do_trim(m, ticket);
	else if (choice < 97)
		do_advance(m);
	else if (choice == 97)
		compare_all(m);
	else if (choice == 98)
	{
		if (source_one_in(s, 10))
			do_wipe(m);
		else if (source_one_in(s, 10))
			do_forget(m);
		else
			do_stretch(m, ticket);
	}
	else if (choice == 99 && source_one_in(s, 40))
		do_destroy(m);
}

uint64
model_line_run(Source *source)
{
	Model	   *m = calloc(1, sizeof(Model));
	uint64		done = 0;

	MUST(m != NULL);
	m->source = source;
	arena_init(&m->arena, source_one_in(source, 2));
	m->n_regions = 1 + source_below(source, MAX_REGIONS);
	m->spread = 1 + source_scaled(source, 6);
	for (int i = 0; i < m->n_regions; i++)
	{
		m->region[i] = places[source_below(source, lengthof(places))];
		m->region[i] += source_scaled(source, 7);
	}
	for (; !source_ended(source); done++)
		do_one(m);
	compare_all(m);
	do_destroy(m);
	MUST(arena_close(&m->arena));
	free(m);
	return done;
}
