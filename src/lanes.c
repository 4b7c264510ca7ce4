/*
 * lanes.c
 *		Which lane is next: strictly by priority, or in turns by weights.
 *
 * As long as the same lanes are occupied the turns repeat: after as many as the
 * weights add up to every credit is what it was, and each lane has had as many
 * turns as its weight.  So a position far down is found by whole cycles, and
 * single turns are played only around the moments when a lane runs empty.
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "lanes.h"

static inline bool
is_strict(const VqLanes *lanes)
{
	return lanes->weight[0] == 0;
}

void
vq_lanes_configure(VqLanes *lanes, const int32 *weight)
{
	if (memcmp(lanes->weight, weight, sizeof(lanes->weight)) == 0)
		return;
	memset(lanes, 0, sizeof(*lanes));
	memcpy(lanes->weight, weight, sizeof(lanes->weight));
}

int
vq_lanes_next(const VqLanes *lanes, const int64 *count)
{
	int			next = -1;

	for (int lane = 0; lane < VQ_LANES; lane++)
	{
		if (count[lane] <= 0)
			continue;
		if (is_strict(lanes))
			return lane;
		if (next < 0 || lanes->credit[lane] + lanes->weight[lane] > lanes->credit[next] + lanes->weight[next])
			next = lane;
	}
	return next;
}

void
vq_lanes_turn(VqLanes *lanes, const int64 *count, int lane)
{
	int32		gained = 0;

	if (is_strict(lanes))
		return;
	for (int l = 0; l < VQ_LANES; l++)
		gained += count[l] > 0 ? lanes->weight[l] : 0;
	for (int l = 0; l < VQ_LANES; l++)
	{
		/* Who is not there gains nothing, and has nothing when it comes back. */
		if (count[l] <= 0)
			lanes->credit[l] = 0;
		else
			lanes->credit[l] = Max(Min(lanes->credit[l] + lanes->weight[l], gained), -gained);
	}
	lanes->credit[lane] = Max(lanes->credit[lane] - gained, -gained);

	/* The last one of a lane takes its credit along. */
	if (count[lane] <= 1)
		lanes->credit[lane] = 0;
}

/* How many whole cycles there are before a lane runs empty, or the wanted one has had its turn. */
static int64
whole_cycles(const VqLanes *lanes, const int64 *count, int lane, int64 rank)
{
	int64		cycles = rank / lanes->weight[lane];

	for (int l = 0; l < VQ_LANES; l++)
	{
		if (count[l] > 0)
			cycles = Min(cycles, (count[l] - 1) / lanes->weight[l]);
	}
	return cycles;
}

static int
cycle_length(const VqLanes *lanes, const int64 *count)
{
	int			length = 0;

	for (int l = 0; l < VQ_LANES; l++)
		length += count[l] > 0 ? lanes->weight[l] : 0;
	return length;
}

/* A simulation under way. */
typedef struct Play
{
	VqLanes		lanes;
	int64		count[VQ_LANES];
	int64		rank;			/* who stand before the wanted one in its lane */
	int64		turns;
} Play;

/* Play one turn; true if it was the wanted one's. */
static bool
play_turn(Play *play, int lane)
{
	int			next = vq_lanes_next(&play->lanes, play->count);

	vq_lanes_turn(&play->lanes, play->count, next);
	play->count[next]--;
	play->turns++;
	if (next != lane)
		return false;
	return play->rank-- == 0;
}

static void
skip_cycles(Play *play, int64 cycles, int lane)
{
	for (int l = 0; l < VQ_LANES; l++)
	{
		if (play->count[l] > 0)
		{
			play->count[l] -= cycles * play->lanes.weight[l];
			play->turns += cycles * play->lanes.weight[l];
		}
	}
	play->rank -= cycles * play->lanes.weight[lane];
}

/*
 * Play until the wanted one's turn.  One cycle is played to see whether the
 * credits come back to what they are; they may not right after a lane has run
 * empty, and then do in one of the next cycles.
 */
static int64
weighted_position(Play *play, int lane)
{
	for (;;)
	{
		int64		cycles = whole_cycles(&play->lanes, play->count, lane, play->rank);
		int			length = cycle_length(&play->lanes, play->count);
		VqLanes		before = play->lanes;

		for (int i = 0; i < length; i++)
			if (play_turn(play, lane))
				return play->turns;
		if (cycles > 1 && memcmp(before.credit, play->lanes.credit, sizeof(before.credit)) == 0)
			skip_cycles(play, cycles - 1, lane);
	}
}

int64
vq_lanes_position(const VqLanes *lanes, const int64 *count, int lane, int64 rank)
{
	Play		play;
	int64		position = rank + 1;

	if (is_strict(lanes))
	{
		for (int higher = 0; higher < lane; higher++)
			position += count[higher];
		return position;
	}
	play.lanes = *lanes;
	memcpy(play.count, count, sizeof(play.count));

	/* It may not be counted itself, or be behind those who are. */
	play.count[lane] = Max(play.count[lane], rank + 1);
	play.rank = rank;
	play.turns = 0;
	return weighted_position(&play, lane);
}
