/*
 * test_line.c
 *		The line: examples of its contract, then random operations by the model.
 */
#include "arena.h"
#include "mark.h"
#include "model_line.h"
#include "rank.h"
#include "tap.h"

static TestArena arena;
static VqLine line;

#define ARENA	(&arena.arena)

static void
begin(void)
{
	arena_init(&arena, true);
	memset(&line, 0, sizeof(line));
}

static void
end(const char *what)
{
	vq_line_destroy(&line, ARENA);
	ok(arena_close(&arena), "%s: no memory is left", what);
}

/* Let a ticket stand in a lane. */
static void
join(VqKind lane, int64 ticket)
{
	if (!vq_line_reserve(&line, ARENA, ticket) || !vq_line_set(&line, ARENA, lane, ticket))
	{
		fprintf(stderr, "ticket " INT64_FORMAT " could not join\n", ticket);
		abort();
	}
}

/* Whether the first tickets found are those wanted, which end with 0. */
static bool
selects(VqKind lane, int64 from, int n, const int64 *wanted)
{
	int64		tickets[16];
	int			found = vq_line_select(&line, ARENA, lane, from, tickets, n);

	for (int i = 0; i < found; i++)
	{
		if (tickets[i] != wanted[i])
			return false;
	}
	return wanted[found] == 0;
}

static void
test_nothing(void)
{
	int64		ticket;

	begin();
	ok(!vq_line_set(&line, ARENA, VQ_LANE_VIP, 1), "setting without a chunk says false");
	ok(!vq_line_clear(&line, ARENA, VQ_LANE_VIP, 1), "clearing without a chunk says false");
	ok(!vq_line_test(&line, ARENA, VQ_LANE_VIP, 1), "nothing is set in a zeroed line");
	is(vq_line_lane(&line, ARENA, 1), -1, "nobody stands in a zeroed line");
	is(vq_line_rank(&line, ARENA, VQ_LANE_LOW, PG_INT64_MAX), 0, "nobody is ahead in a zeroed line");
	is(vq_line_select(&line, ARENA, VQ_LANE_LOW, 1, &ticket, 1), 0, "nobody to select");
	is(vq_line_collect(&line, ARENA, VQ_ENDED, 1, &ticket, 1), 0, "nobody to collect");
	vq_mark_alive(&line, ARENA, 1, 77);
	is(vq_mark_silence(&line, ARENA, 1, 77), -1, "a sign of life without a chunk is not kept");
	is(vq_line_trim(&line, ARENA, PG_INT64_MAX), 0, "nothing to trim");
	vq_line_wipe(&line, ARENA);
	is(vq_line_memory(&line, ARENA), 0, "a zeroed line takes no memory");
	ok(!vq_line_reserve(&line, ARENA, 0) && !vq_line_reserve(&line, ARENA, -5) &&
	   !vq_line_reserve(&line, ARENA, PG_INT64_MIN), "tickets begin at 1");
	is(arena.allocs, 0, "none of it allocated");
	end("a zeroed line");
}

static void
test_bits(void)
{
	begin();
	ok(vq_line_reserve(&line, ARENA, 5), "a ticket is reserved");
	is(line.empty, 1, "its chunk is empty");
	ok(vq_line_set(&line, ARENA, VQ_LANE_NORMAL, 5), "setting a bit changes it");
	ok(!vq_line_set(&line, ARENA, VQ_LANE_NORMAL, 5), "setting it again does not");
	is(line.count[VQ_LANE_NORMAL], 1, "it counts once");
	is(line.empty, 0, "its chunk is not empty");
	is(vq_line_lane(&line, ARENA, 5), VQ_LANE_NORMAL, "the lane is found");
	is(vq_line_lane(&line, ARENA, 6), -1, "the neighbour stands in none");
	ok(vq_line_set(&line, ARENA, VQ_TOUCHED, 5) && vq_line_clear(&line, ARENA, VQ_LANE_NORMAL, 5),
	   "a bit is cleared");
	ok(!vq_line_clear(&line, ARENA, VQ_LANE_NORMAL, 5), "clearing it again changes nothing");
	is(line.empty, 1, "a chunk with nothing but TOUCHED is empty");
	ok(arena.largest <= 45056, "a chunk takes %zu bytes, 45056 at most", arena.largest);
	end("bits");
}

/* Whether the row of a ticket is remembered there. */
static bool
row_is(int64 ticket, uint32 block, uint16 offset)
{
	uint32		b;
	uint16		o;

	return vq_marked_row(&line, ARENA, ticket, &b, &o) && b == block && o == offset;
}

static bool
row_is_unknown(int64 ticket)
{
	uint32		block;
	uint16		offset;

	return !vq_marked_row(&line, ARENA, ticket, &block, &offset);
}

static void
test_marks(void)
{
	bool		right = true;

	begin();
	vq_line_reserve(&line, ARENA, 5);
	is(vq_mark_silence(&line, ARENA, 5, 1000), -1, "no sign of life at first");
	vq_mark_alive(&line, ARENA, 5, 1000);
	is(vq_mark_silence(&line, ARENA, 5, 1001), 0, "one just now");
	is(vq_mark_silence(&line, ARENA, 5, 1000 + 86400), 86400, "one a day ago");
	is(vq_mark_silence(&line, ARENA, 6, 1000), -1, "the neighbour's is its own");
	for (int64 second = 0; right && second < 600000; second += VQ_MARK_SECONDS)
	{
		vq_mark_alive(&line, ARENA, 5, second);
		right = vq_mark_silence(&line, ARENA, 5, second + 86400) == 86400;
	}
	ok(right, "a silence of a day is told at any time");

	ok(row_is_unknown(5), "no row at first");
	vq_mark_row(&line, ARENA, 5, 100000, 7);
	ok(row_is(5, 100000, 7), "a row is remembered");
	ok(row_is_unknown(6), "the neighbour's is not");
	vq_mark_row(&line, ARENA, 6, 100767, 63);
	ok(row_is(6, 100767, 63), "the farthest one after it is");
	vq_mark_row(&line, ARENA, 7, 99744, 1);
	ok(row_is(7, 99744, 1), "the farthest one before it is");
	vq_mark_row(&line, ARENA, 7, 100768, 1);
	ok(row_is_unknown(7), "one too far after it is not");
	vq_mark_row(&line, ARENA, 6, 99743, 1);
	ok(row_is_unknown(6), "one too far before it is not");
	vq_mark_row(&line, ARENA, 5, 100000, 64);
	ok(row_is_unknown(5), "one too far down its block is not");
	vq_mark_row(&line, ARENA, 8, 100001, 1);
	vq_line_wipe(&line, ARENA);
	ok(row_is_unknown(8), "wiping forgets where rows were");
	vq_mark_row(&line, ARENA, 8, 3, 1);
	ok(row_is(8, 3, 1), "and begins anew");
	vq_mark_row(&line, ARENA, 9, 0, 1);
	ok(row_is(9, 0, 1), "at the first block too");
	vq_line_reserve(&line, ARENA, 2 * VQ_CHUNK);
	vq_mark_row(&line, ARENA, 2 * VQ_CHUNK, PG_UINT32_MAX - 1, 1);
	ok(row_is(2 * VQ_CHUNK, PG_UINT32_MAX - 1, 1), "and the last");
	end("marks");
}

/* Who has been silent for too long, by asking for each ticket. */
static void
test_silent(void)
{
	VqSilence	silence = {VQ_LANE_NORMAL, VQ_INSIDE, 1000000, 300, 1, 0, NULL, false};
	int64		tickets[VQ_CHUNK];
	int			found = 0;
	int			wrong = 0;
	int64		longest = 0;

	begin();
	for (int64 t = 1; t <= 5000; t++)
	{
		vq_line_reserve(&line, ARENA, t);
		if (t % 7 != 0)
			vq_line_set(&line, ARENA, VQ_LANE_NORMAL, t);
		if (t % 11 == 0)
			vq_line_set(&line, ARENA, VQ_HELD, t);
		if (t % 13 == 0)
			vq_line_set(&line, ARENA, VQ_INSIDE, t);
		if (t % 17 != 0)
			vq_mark_alive(&line, ARENA, t, 1000000 - t % 600);
	}
	vq_mark_alive(&line, ARENA, 1, 1000003);	/* by one who read the clock later */
	while (silence.next > 0)
	{
		int			n = vq_mark_silent(&line, ARENA, &silence, tickets);

		for (int i = 0; i < n; i++)
			wrong += vq_mark_silence(&line, ARENA, tickets[i], 1000000) < 302 ||
				!vq_line_test(&line, ARENA, VQ_LANE_NORMAL, tickets[i]);
		found += n;
	}
	for (int64 t = 1; t <= 5000; t++)
	{
		int64		silent = t == 1 || t % 17 == 0 ? 0 : vq_mark_silence(&line, ARENA, t, 1000000);

		if (t % 7 == 0 || t % 11 == 0 || t % 13 == 0)
			continue;
		found -= silent >= 302;
		if (silent < 302)
			longest = Max(longest, silent);
	}
	is(wrong, 0, "who is found silent was so for longer than the limit, and stands");
	is(found, 0, "and all of those are found, but who is held or inside");
	is(silence.longest, longest, "the longest silence below the limit is told");
	is(vq_mark_silence(&line, ARENA, 34, 1000000), 0, "who never gave a sign is taken to have given one now");
	end("silent");
}

/* Those in a share, and the others, each looked for with a limit of their own. */
static void
test_silent_share(void)
{
	static const unsigned char id[VQ_SHARE_ID_SIZE] = {7};
	VqShare		share;
	int64		tickets[VQ_CHUNK];
	int			wrong = 0;

	begin();
	vq_share_begin(&share, 0.3, 2000, id);
	for (int64 t = 1; t <= 10000; t++)
	{
		vq_line_reserve(&line, ARENA, t);
		vq_line_set(&line, ARENA, VQ_LANE_NORMAL, t);
		vq_mark_alive(&line, ARENA, t, 1000000 - t % 600);
	}
	for (int others = 0; others <= 1; others++)
	{
		VqSilence	silence = {VQ_LANE_NORMAL, VQ_KINDS, 1000000, others ? 400 : 100, 1, 0, &share, others};
		int			found = 0;

		while (silence.next > 0)
		{
			int			n = vq_mark_silent(&line, ARENA, &silence, tickets);

			for (int i = 0; i < n; i++)
				wrong += vq_share_has(&share, tickets[i]) == others ||
					vq_mark_silence(&line, ARENA, tickets[i], 1000000) < silence.limit + 2;
			found += n;
		}
		for (int64 t = 1; t <= 10000; t++)
			found -= vq_share_has(&share, t) != others &&
				vq_mark_silence(&line, ARENA, t, 1000000) >= silence.limit + 2;
		wrong += found != 0;
		wrong += silence.longest > silence.limit + 2;
	}
	is(wrong, 0, "those in a share, and those who are not, are found by limits of their own");
	end("silent share");
}

static void
test_rank_and_select(void)
{
	const int64 far = INT64CONST(1) << 62;

	begin();
	join(VQ_LANE_NORMAL, 10);
	join(VQ_LANE_NORMAL, VQ_CHUNK * 3 + 511);
	join(VQ_LANE_NORMAL, VQ_CHUNK * 3 + 512);
	join(VQ_LANE_NORMAL, far);
	join(VQ_LANE_NORMAL, VQ_CHUNK - 1);
	join(VQ_LANE_NORMAL, VQ_CHUNK);
	join(VQ_LANE_VIP, 11);
	is(vq_line_rank(&line, ARENA, VQ_LANE_NORMAL, 10), 0, "the first has nobody ahead");
	is(vq_line_rank(&line, ARENA, VQ_LANE_NORMAL, 11), 1, "who comes next has one");
	is(vq_line_rank(&line, ARENA, VQ_LANE_VIP, 11), 0, "each lane counts for itself");
	is(vq_line_rank(&line, ARENA, VQ_LANE_NORMAL, VQ_CHUNK), 2, "rank at the edge of a chunk");
	is(vq_line_rank(&line, ARENA, VQ_LANE_NORMAL, VQ_CHUNK * 2), 3, "rank where no chunk is");
	is(vq_line_rank(&line, ARENA, VQ_LANE_NORMAL, VQ_CHUNK * 3 + 512), 4, "rank at the edge of a block");
	is(vq_line_rank(&line, ARENA, VQ_LANE_NORMAL, far), 5, "rank of a far ticket");
	is(vq_line_rank(&line, ARENA, VQ_LANE_NORMAL, PG_INT64_MAX), 6, "rank behind all");

	vq_line_set(&line, ARENA, VQ_HELD, VQ_CHUNK - 1);
	vq_line_set(&line, ARENA, VQ_INSIDE, VQ_CHUNK * 3 + 511);
	ok(selects(VQ_LANE_NORMAL, 1, 16, (int64[]) {10, VQ_CHUNK, VQ_CHUNK * 3 + 512, far, 0}),
	   "select passes over HELD and INSIDE");
	ok(selects(VQ_LANE_NORMAL, 1, 2, (int64[]) {10, VQ_CHUNK, 0}), "select stops at n");
	ok(selects(VQ_LANE_NORMAL, VQ_CHUNK + 1, 16, (int64[]) {VQ_CHUNK * 3 + 512, far, 0}),
	   "select begins at from");
	ok(selects(VQ_LANE_NORMAL, far + 1, 16, (int64[]) {0}), "select finds nobody behind the last");
	ok(selects(VQ_LANE_NORMAL, -3, 1, (int64[]) {10, 0}), "select from below 1 begins at 1");
	is(vq_line_rank(&line, ARENA, VQ_LANE_NORMAL, far), 5, "those held still are ahead");
	end("rank and select");
}

static void
test_trim(void)
{
	begin();
	for (int64 chunk = 0; chunk < 40; chunk++)
		join(VQ_LANE_HIGH, chunk * VQ_CHUNK + 3);
	for (int64 chunk = 0; chunk < 30; chunk++)
	{
		vq_line_clear(&line, ARENA, VQ_LANE_HIGH, chunk * VQ_CHUNK + 3);
		vq_line_set(&line, ARENA, VQ_TOUCHED, chunk * VQ_CHUNK + 3);
	}
	is(line.empty, 30, "thirty chunks are empty");
	is(vq_line_trim(&line, ARENA, VQ_CHUNK - 1), 0, "a chunk that reaches past the limit stays");
	is(vq_line_trim(&line, ARENA, VQ_CHUNK), 1, "one that ends below it goes");
	is(line.count[VQ_TOUCHED], 29, "its TOUCHED bits are not counted any more");
	is(vq_line_trim(&line, ARENA, PG_INT64_MAX), 29, "the empty ones go, the others stay");
	is(line.count[VQ_LANE_HIGH], 10, "nobody is lost");
	is(vq_line_rank(&line, ARENA, VQ_LANE_HIGH, PG_INT64_MAX), 10, "rank counts them all");
	is(line.dead, 0, "mostly dead descriptors were squeezed out");
	join(VQ_LANE_HIGH, 7);
	ok(selects(VQ_LANE_HIGH, 1, 2, (int64[]) {7, 30 * VQ_CHUNK + 3, 0}), "a freed chunk can come back");
	is(vq_mark_silence(&line, ARENA, 3, 0), -1, "and is blank");
	end("trim");
}

static void
test_wipe(void)
{
	int64		ticket;

	begin();
	for (int kind = 0; kind < VQ_KINDS; kind++)
	{
		vq_line_reserve(&line, ARENA, kind + 1);
		vq_line_set(&line, ARENA, kind, kind + 1);
		vq_line_reserve(&line, ARENA, VQ_CHUNK + kind);
		vq_line_set(&line, ARENA, kind, VQ_CHUNK + kind);
		vq_line_set(&line, ARENA, VQ_HELD, VQ_CHUNK + kind);
	}
	vq_mark_alive(&line, ARENA, 2, 5);
	vq_line_wipe(&line, ARENA);
	for (int kind = 0; kind <= VQ_INSIDE; kind++)
	{
		is(line.count[kind], 1, "wipe: of kind %d the one that is held is left", kind);
		is(vq_line_collect(&line, ARENA, kind, 1, &ticket, 1) == 1 ? ticket : 0, VQ_CHUNK + kind,
		   "wipe: kind %d is that ticket's", kind);
	}
	is(line.count[VQ_TOUCHED], 0, "wipe: TOUCHED is gone");
	is(line.count[VQ_RELEASED], 2, "wipe: RELEASED stays");
	is(line.count[VQ_ENDED], 2, "wipe: ENDED stays");
	is(line.count[VQ_HELD], VQ_KINDS + 1, "wipe: HELD stays");
	is(vq_mark_silence(&line, ARENA, 2, 9), 4, "wipe: signs of life stay");
	is(vq_line_rank(&line, ARENA, VQ_LANE_LOW, PG_INT64_MAX), 1, "wipe: rank follows");
	end("wipe");
}

/* Let each allocation fail in turn until the reservation succeeds. */
static void
test_failures(void)
{
	int			refused = 0;
	int			changed = 0;
	uint64		allocs;

	begin();
	for (int64 chunk = 0; chunk < 200; chunk++)
	{
		for (int fail = 0;; fail++)
		{
			VqLine		before = line;
			size_t		bytes = arena.bytes;

			arena.fail_after = fail;
			if (vq_line_reserve(&line, ARENA, chunk * VQ_CHUNK + 1))
				break;
			refused++;
			changed += memcmp(&before, &line, sizeof(line)) != 0 || bytes != arena.bytes;
			changed += vq_line_rank(&line, ARENA, VQ_LANE_LOW, PG_INT64_MAX) != chunk;
		}
		arena.fail_after = -1;
		vq_line_set(&line, ARENA, VQ_LANE_LOW, chunk * VQ_CHUNK + 1);
	}
	ok(refused >= 200, "reserving was refused %d times for want of memory", refused);
	is(changed, 0, "and left the line as it was each time");
	is(vq_line_rank(&line, ARENA, VQ_LANE_LOW, PG_INT64_MAX), 200, "then it succeeded");

	/* With a dead descriptor in a full directory, no larger one is needed. */
	while (line.used < line.capacity)
		join(VQ_LANE_LOW, line.used * (int64) VQ_CHUNK + 1);
	vq_line_clear(&line, ARENA, VQ_LANE_LOW, 5 * VQ_CHUNK + 1);
	is(vq_line_trim(&line, ARENA, 6 * VQ_CHUNK), 1, "a chunk within is freed");
	allocs = arena.allocs;
	join(VQ_LANE_LOW, 5 * VQ_CHUNK + 1);
	is(arena.allocs - allocs, 1, "coming back takes its chunk and no more room");
	is(line.dead, 0, "its descriptor lives again");
	is(vq_line_rank(&line, ARENA, VQ_LANE_LOW, 6 * VQ_CHUNK), 6, "in its place");
	vq_line_clear(&line, ARENA, VQ_LANE_LOW, 5 * VQ_CHUNK + 1);
	vq_line_trim(&line, ARENA, 6 * VQ_CHUNK);
	arena.fail_after = 1;
	ok(vq_line_reserve(&line, ARENA, line.used * (int64) VQ_CHUNK + 1),
	   "where the directory cannot grow, a dead descriptor makes room");
	end("failures");
}

static void
test_million(void)
{
	const int64 n = 1000000;
	int			wrong = 0;

	begin();
	arena.moving = false;
	for (int64 ticket = 1; ticket <= n; ticket++)
		join(VQ_LANE_NORMAL, ticket);
	for (int64 ticket = 1; ticket <= n; ticket += 7)
		wrong += vq_line_rank(&line, ARENA, VQ_LANE_NORMAL, ticket) != ticket - 1;
	is(wrong, 0, "a million wait: every rank is right");
	ok(arena.rounded <= 6 * (size_t) n, "they take %.2f bytes each, 6 at most", (double) arena.rounded / n);
	is(vq_line_memory(&line, ARENA), arena.bytes, "the line knows its memory");
	for (int64 ticket = 1; ticket <= n; ticket++)
	{
		int64		head = 0;

		/* The head is looked for now and then: each look passes over the cleared front. */
		if (ticket % 100 == 1)
		{
			vq_line_select(&line, ARENA, VQ_LANE_NORMAL, 1, &head, 1);
			wrong += head != ticket;
		}
		vq_line_clear(&line, ARENA, VQ_LANE_NORMAL, ticket);
		if (line.empty > 0)
			vq_line_trim(&line, ARENA, ticket + 1);
	}
	is(wrong, 0, "let in one by one, in order");
	ok(arena.bytes <= 2 * 45056, "when all are in, the last chunk and the directory are left: %zu bytes", arena.bytes);
	end("a million");
}

/* A queue that runs for ever: the front leaves, the back grows. */
static void
test_endless(void)
{
	size_t		most = 0;
	int			wrong = 0;

	begin();
	for (int64 chunk = 0; chunk < 20000; chunk++)
	{
		join(VQ_LANE_NORMAL, chunk * VQ_CHUNK + 9);
		join(VQ_LANE_NORMAL, chunk * VQ_CHUNK + VQ_CHUNK - 100);
		if (chunk >= 20)
		{
			vq_line_clear(&line, ARENA, VQ_LANE_NORMAL, (chunk - 20) * VQ_CHUNK + 9);
			vq_line_clear(&line, ARENA, VQ_LANE_NORMAL, (chunk - 20) * VQ_CHUNK + VQ_CHUNK - 100);
			vq_line_trim(&line, ARENA, (chunk - 19) * VQ_CHUNK);
			wrong += vq_line_rank(&line, ARENA, VQ_LANE_NORMAL, chunk * VQ_CHUNK + 10) != 39;
		}
		most = Max(most, arena.bytes);
	}
	is(wrong, 0, "an endless queue: ranks stay right");
	ok(most < 24 * 5456, "its memory is that of its live part: %zu bytes at most", most);
	ok(line.capacity <= 64, "its directory stays small: %u descriptors", line.capacity);
	end("an endless queue");
}

/* What a call may look at, counted in look-ups of the arena, not in time. */
static void
test_effort(void)
{
	const int64 n = 1500;
	int64		tickets[3];
	uint64		before;

	begin();
	arena.moving = false;
	for (int64 chunk = 0; chunk < n; chunk++)
	{
		vq_line_reserve(&line, ARENA, chunk * VQ_CHUNK + 1);
		vq_line_set(&line, ARENA, VQ_INSIDE, chunk * VQ_CHUNK + 1);
	}
	for (int i = 1; i < 4; i++)
		join(VQ_LANE_LOW, n * VQ_CHUNK - i);
	before = arena.lookups;
	is(vq_line_select(&line, ARENA, VQ_LANE_LOW, 1, tickets, 3), 3, "three wait behind %d chunks", (int) n);
	ok(arena.lookups - before <= 3, "select touched no chunk without them: " UINT64_FORMAT " look-ups",
	   arena.lookups - before);
	before = arena.lookups;
	is(vq_line_rank(&line, ARENA, VQ_LANE_LOW, n * VQ_CHUNK - 1), 2, "two are ahead of the last");
	ok(arena.lookups - before <= 3, "rank touched one chunk: " UINT64_FORMAT " look-ups",
	   arena.lookups - before);
	end("effort");
}

static void
test_random(uint64 seed, int lives, uint64 choices)
{
	uint64		done = 0;

	for (int i = 0; i < lives; i++)
	{
		Source		source = source_of_seed(seed + i, choices);

		done += model_line_run(&source);
	}
	ok(done > 0, UINT64_FORMAT " random operations agree with the model", done);
}

int
main(int argc, char **argv)
{
	uint64		seed = tap_seed(argc, argv, 20260101);
	bool		small = getenv("VQ_EFFORT") != NULL;

	test_nothing();
	test_bits();
	test_marks();
	test_silent();
	test_silent_share();
	test_rank_and_select();
	test_trim();
	test_wipe();
	test_failures();
	test_million();
	test_endless();
	test_effort();
	test_random(seed, small ? 4 : 160, small ? 20000 : 100000);
	return tap_done();
}
