/*
 * test_lanes.c
 *		The turns of the lanes, against playing them one by one.
 */
#include "postgres_fe.h"

#include "lanes.h"
#include "source.h"
#include "tap.h"

/* Play all turns, the naive way, until the wanted one's. */
static int64
played_position(VqLanes lanes, const int64 *count, int lane, int64 rank)
{
	int64		left[VQ_LANES];

	memcpy(left, count, sizeof(left));
	for (int64 turn = 1;; turn++)
	{
		int			next = vq_lanes_next(&lanes, left);

		vq_lanes_turn(&lanes, left, next);
		left[next]--;
		if (next == lane && rank-- == 0)
			return turn;
	}
}

static void
test_strict(void)
{
	VqLanes		lanes = {0};
	int64		count[VQ_LANES] = {3, 0, 5, 2};

	is(vq_lanes_next(&lanes, count), VQ_LANE_VIP, "strict: the highest lane is next");
	is(vq_lanes_position(&lanes, count, VQ_LANE_VIP, 2), 3, "the third vip is third");
	is(vq_lanes_position(&lanes, count, VQ_LANE_NORMAL, 0), 4, "the first normal one comes after three vips");
	is(vq_lanes_position(&lanes, count, VQ_LANE_LOW, 1), 10, "the last low one comes last");
	vq_lanes_turn(&lanes, count, VQ_LANE_VIP);
	is(lanes.credit[VQ_LANE_VIP], 0, "nobody has credit");
	count[VQ_LANE_VIP] = count[VQ_LANE_NORMAL] = count[VQ_LANE_LOW] = 0;
	is(vq_lanes_next(&lanes, count), -1, "nobody stands, nobody is next");
}

/* The turns that a lane gets of so many, all lanes being full. */
static void
count_turns(const int32 *weight, int turns, int *got)
{
	VqLanes		lanes = {0};
	int64		count[VQ_LANES] = {1000000, 1000000, 1000000, 1000000};

	memset(got, 0, VQ_LANES * sizeof(int));
	vq_lanes_configure(&lanes, weight);
	for (int i = 0; i < turns; i++)
	{
		int			next = vq_lanes_next(&lanes, count);

		vq_lanes_turn(&lanes, count, next);
		count[next]--;
		got[next]++;
	}
}

static void
test_shares(void)
{
	static const int32 weight[VQ_LANES] = {8, 4, 2, 1};
	int			got[VQ_LANES];
	bool		smooth = true;

	count_turns(weight, 1500, got);
	for (int lane = 0; lane < VQ_LANES; lane++)
		is(got[lane], 100 * weight[lane], "lane %d of 8:4:2:1 has its share of 1500 turns", lane);

	/* At no moment is a lane a whole turn of its own weight's share behind, or ahead. */
	for (int turns = 1; turns <= 150; turns++)
	{
		count_turns(weight, turns, got);
		for (int lane = 0; lane < VQ_LANES; lane++)
		{
			double		share = turns * weight[lane] / 15.0;

			smooth &= got[lane] > share - 1.5 && got[lane] < share + 1.5;
		}
	}
	ok(smooth, "and has it smoothly");
}

/* A lane that nobody can be taken from for long saves no more than a round's worth of turns. */
static void
test_held(void)
{
	static const int32 weight[VQ_LANES] = {8, 4, 2, 1};
	VqLanes		lanes = {0};
	int64		count[VQ_LANES] = {1000, 1000, 1000, 1000};
	int			got[VQ_LANES] = {0};
	bool		bounded = true;

	vq_lanes_configure(&lanes, weight);
	for (int i = 0; i < 1000; i++)
	{
		int64		free[VQ_LANES] = {0, 0, count[VQ_LANE_NORMAL], count[VQ_LANE_LOW]};
		int			next = vq_lanes_next(&lanes, free);

		vq_lanes_turn(&lanes, count, next);
		count[next]--;
		for (int lane = 0; lane < VQ_LANES; lane++)
			bounded &= lanes.credit[lane] >= -15 && lanes.credit[lane] <= 15;
	}
	ok(bounded, "no credit exceeds a round's worth while two of the lanes are in somebody's hands");
	for (int i = 0; i < 60; i++)
	{
		int			next = vq_lanes_next(&lanes, count);

		vq_lanes_turn(&lanes, count, next);
		count[next]--;
		got[next]++;
	}
	ok(got[VQ_LANE_LOW] >= 2, "the lowest lane has %d of the next 60 turns", got[VQ_LANE_LOW]);
	ok(got[VQ_LANE_NORMAL] >= 5, "and the one above it %d", got[VQ_LANE_NORMAL]);
}

/* What a lane owes from when a heavy one was there does not keep it from its share for long. */
static void
test_debts(uint64 seed)
{
	double		worst = 0;

	for (int life = 0; life < 2000; life++)
	{
		Source		source = source_of_seed(seed + life, 100000);
		VqLanes		lanes = {0};
		VqLanes		anew = {0};
		int32		weight[VQ_LANES];
		int64		count[VQ_LANES];
		int			round = 0;

		for (int lane = 0; lane < VQ_LANES; lane++)
		{
			weight[lane] = source_between(&source, 1, source_one_in(&source, 2) ? 5 : 100);
			count[lane] = source_between(&source, 0, 200);
		}
		vq_lanes_configure(&lanes, weight);
		vq_lanes_configure(&anew, weight);
		for (int i = source_between(&source, 0, 300); i > 0; i--)
		{
			int			next = vq_lanes_next(&lanes, count);

			if (next < 0)
				break;
			vq_lanes_turn(&lanes, count, next);
			count[next] = source_one_in(&source, 50) ? 0 : count[next] - 1;
		}
		for (int lane = 0; lane < VQ_LANES; lane++)
			round += count[lane] > 0 ? weight[lane] : 0;
		for (int lane = 0; lane < VQ_LANES; lane++)
		{
			int64		rank = count[lane] > 0 ? source_between(&source, 0, count[lane] - 1) : 0;
			double		off;

			if (count[lane] == 0)
				continue;
			off = vq_lanes_position(&lanes, count, lane, rank) - vq_lanes_position(&anew, count, lane, rank);
			worst = Max(worst, (off < 0 ? -off : off) / round);
		}
	}
	ok(worst <= 2, "without credits and debts a position is off by %.2f rounds at the most", worst);
}

static void
test_configure(void)
{
	VqLanes		lanes = {{8, 4, 2, 1}, {3, -1, -1, -1}};
	static const int32 same[VQ_LANES] = {8, 4, 2, 1};
	static const int32 other[VQ_LANES] = {1, 1, 1, 1};

	vq_lanes_configure(&lanes, same);
	is(lanes.credit[0], 3, "the same weights leave the credit");
	vq_lanes_configure(&lanes, other);
	is(lanes.credit[0], 0, "others take it away");
	is(lanes.weight[0], 1, "and are there");
}

/* Random weights, counts and histories: the position is the one that is played. */
static void
test_positions(uint64 seed, int lives, int64 most)
{
	int			wrong = 0;
	int			asked = 0;

	for (int life = 0; life < lives; life++)
	{
		Source		source = source_of_seed(seed + life, 100000);
		VqLanes		lanes = {0};
		int32		weight[VQ_LANES];
		int64		count[VQ_LANES];

		for (int lane = 0; lane < VQ_LANES; lane++)
		{
			weight[lane] = source_between(&source, 1, source_one_in(&source, 2) ? 10 : 100);
			count[lane] = source_one_in(&source, 4) ? 0 : source_between(&source, 0, most);
		}
		vq_lanes_configure(&lanes, weight);

		/* Some turns before, with people coming and going. */
		for (int i = source_between(&source, 0, 300); i > 0; i--)
		{
			int			lane = source_between(&source, 0, VQ_LANES - 1);
			int			next = vq_lanes_next(&lanes, count);

			if (source_one_in(&source, 3))
				count[lane] += source_between(&source, 0, 3);
			else if (next >= 0)
			{
				vq_lanes_turn(&lanes, count, next);
				count[next]--;
			}
		}
		for (int lane = 0; lane < VQ_LANES; lane++)
		{
			int64		rank = count[lane] > 0 ? source_between(&source, 0, count[lane] - 1) : 0;

			if (count[lane] == 0)
				continue;
			asked++;
			wrong += vq_lanes_position(&lanes, count, lane, rank) != played_position(lanes, count, lane, rank);
		}
	}
	ok(asked > lives, "%d positions were asked for in up to " INT64_FORMAT " a lane", asked, most);
	is(wrong, 0, "and are those that are played");
}

/* Positions of all who stand are the numbers from 1 on, each once. */
static void
test_bijection(void)
{
	VqLanes		lanes = {{8, 4, 2, 1}, {0}};
	int64		count[VQ_LANES] = {5, 30, 100, 40};
	bool		seen[176] = {false};
	bool		right = true;

	for (int lane = 0; lane < VQ_LANES; lane++)
		for (int64 rank = 0; rank < count[lane]; rank++)
		{
			int64		position = vq_lanes_position(&lanes, count, lane, rank);

			right &= position >= 1 && position <= 175 && !seen[position];
			if (position >= 1 && position <= 175)
				seen[position] = true;
		}
	ok(right, "175 who stand have the positions from 1 to 175");
	ok(vq_lanes_position(&lanes, count, VQ_LANE_LOW, 0) <= 15, "the first low one waits for a cycle at the most");
	is(vq_lanes_position(&lanes, count, VQ_LANE_LOW, 1000000), 1000136, "one far behind comes after all others");
}

int
main(int argc, char **argv)
{
	uint64		seed = tap_seed(argc, argv, 20260102);
	bool		small = getenv("VQ_EFFORT") != NULL;

	test_strict();
	test_shares();
	test_held();
	test_debts(seed + 2000000);
	test_configure();
	test_bijection();
	test_positions(seed, small ? 500 : 20000, 20);
	test_positions(seed + 1000000, small ? 100 : 2000, 3000);
	return tap_done();
}
