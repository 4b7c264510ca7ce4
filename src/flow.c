/*
 * flow.c
 *		What is measured of a queue's flow: how long people stay inside, how fast
 *		they come into each lane, and how many lose patience.
 *
 * An age is a difference of ticks, not a stay divided by the length of one: of
 * equal stays some then have one tick more than others, in just the shares that
 * make their mean right, whatever the length of a tick.
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include <math.h>

#include "flow.h"

#define LAST			(VQ_AGES - 1)
#define SECOND			1000000.0f

/* A tick: at first an eighth of a second, then as stays need, from 16 ms. */
#define FIRST_SHIFT		17
#define MOST_SHIFT		36

/* A mean stay has so many ticks. */
#define LEAST_TICKS		22.0f
#define MOST_TICKS		48.0f

/* So few stays say nothing of their length. */
#define FEW				8.0f

/* Stays weigh half after so many mean stays if so many are known, or if very many are. */
#define MEAN_STAYS		8
#define ENOUGH			512.0f
#define PLENTY			8192.0f

/* What is known of all ages counts for one of them as if so many had been seen. */
#define GUESS			0.1f

/* For the last one, on which all depends that comes after it, as if so many had left. */
#define LAST_GUESS		8.0f

/* Joins weigh half after so many seconds, and patience after about so many. */
#define FAST_SECONDS	32.0f
#define SLOW_SECONDS	1024.0f
#define PATIENCE_SECONDS 600.0f

/* So many deviations from what was expected are a change. */
#define A_CHANGE		4.0f

/* ---- ages ---- */

static void
pass_tick(VqFlow *flow)
{
	float		oldest = flow->inside[LAST] + flow->inside[LAST - 1];

	for (int age = 0; age < VQ_AGES; age++)
		flow->stayed[age] += flow->inside[age];
	memmove(flow->inside + 1, flow->inside, (LAST - 1) * sizeof(float));
	flow->inside[0] = 0;
	flow->inside[LAST] = oldest;
}

/* Two ticks become one. */
static void
coarsen(VqFlow *flow)
{
	bool		odd = (flow->tick & 1) != 0;
	float		inside[VQ_AGES] = {0};

	/* Entries fall into the same tick as the one before, or as the one after. */
	for (int age = 0; age < VQ_AGES; age++)
		inside[odd ? age / 2 : (age + 1) / 2] += flow->inside[age];
	memcpy(flow->inside, inside, sizeof(inside));
	for (int age = 0; age < VQ_AGES; age++)
	{
		int			first = age * 2;

		flow->left[age] = first < LAST ? flow->left[first] + flow->left[first + 1] : 0;
		flow->stayed[age] = first < LAST ? (flow->stayed[first] + flow->stayed[first + 1]) / 2 : 0;
	}
	flow->shift++;
	flow->tick >>= 1;
}

static bool
is_empty(const VqFlow *flow)
{
	for (int age = 0; age < VQ_AGES; age++)
		if (flow->inside[age] > 0)
			return false;
	return true;
}

/*
 * Have all grow older until now.  While hardly any stay is known, ticks become
 * longer rather than that ages are lost.
 */
static void
advance(VqFlow *flow, int64 mono)
{
	if (flow->shift == 0)
	{
		flow->shift = FIRST_SHIFT;
		flow->tick = mono >> flow->shift;
	}
	for (int done = 0; (mono >> flow->shift) > flow->tick; done++)
	{
		bool		unknown = flow->stays < FEW && flow->shift < MOST_SHIFT;

		if (unknown && flow->inside[LAST - 1] > 0)
			coarsen(flow);
		else if (done < VQ_AGES || (unknown && !is_empty(flow)))
		{
			pass_tick(flow);
			flow->tick++;
		}
		else
		{
			/* By now all are of the last age. */
			flow->stayed[LAST] += flow->inside[LAST] * ((mono >> flow->shift) - flow->tick);
			flow->tick = mono >> flow->shift;
		}
	}
}

static int
age_of(const VqFlow *flow, int64 mono, int64 stay)
{
	int64		age = flow->tick - ((mono - stay) >> flow->shift);

	return Min(Max(age, 0), LAST);
}

void
vq_flow_entered(VqFlow *flow, int64 mono)
{
	advance(flow, mono);
	flow->inside[0] += 1;
}

void
vq_flow_found(VqFlow *flow, int64 mono, int64 stay)
{
	advance(flow, mono);
	flow->inside[age_of(flow, mono, Max(stay, 0))] += 1;
}

void
vq_flow_forget_inside(VqFlow *flow)
{
	memset(flow->inside, 0, sizeof(flow->inside));
}

static float
take_from(VqFlow *flow, int age, float wanted)
{
	float		taken = age >= 0 && age <= LAST ? Min(flow->inside[age], wanted) : 0;

	if (taken > 0)
		flow->inside[age] -= taken;
	return taken;
}

/*
 * One less, at that age or, as clocks are read at different moments, next to it.
 * If nobody is there, ages got lost when ticks became longer; to leave the oldest
 * out then keeps those that are in nobody's record from staying for ever.
 */
static void
take_out(VqFlow *flow, int age)
{
	static const int near[] = {0, 1, -1};
	float		rest = 1;

	for (int i = 0; i < (int) lengthof(near) && rest > 0; i++)
		rest -= take_from(flow, age + near[i], rest);
	for (int oldest = LAST; oldest >= 0 && rest > 0; oldest--)
		rest -= take_from(flow, oldest, rest);
}

static void
halve_stays(VqFlow *flow, int64 mono)
{
	for (int age = 0; age < VQ_AGES; age++)
	{
		flow->stayed[age] /= 2;
		flow->left[age] /= 2;
	}
	flow->stays /= 2;
	flow->halved = mono;
}

void
vq_flow_left(VqFlow *flow, int64 mono, int64 stay)
{
	int			age;

	advance(flow, mono);
	age = stay < 0 ? LAST : age_of(flow, mono, stay);
	take_out(flow, age);
	if (stay < 0)
		return;
	flow->left[age] += 1;
	flow->stays += 1;
	if (flow->stays >= PLENTY || (flow->stays >= ENOUGH && mono - flow->halved > MEAN_STAYS * flow->mean * SECOND))
		halve_stays(flow, mono);
}

/* ---- the length of a tick ---- */

/* A tick becomes two, between which nobody knows how they were spread. */
static void
refine(VqFlow *flow)
{
	VqFlow		old = *flow;

	for (int age = 0; age < VQ_AGES; age++)
	{
		int			from = age / 2;

		flow->inside[age] = old.inside[from] / 2;
		flow->left[age] = old.left[from] / 2;
		flow->stayed[age] = old.stayed[from] + (age % 2 == 0 ? old.left[from] / 2 : 0);
	}
	for (int age = VQ_AGES / 2; age < VQ_AGES; age++)
	{
		flow->inside[LAST] += old.inside[age];
		flow->left[LAST] += old.left[age];
		flow->stayed[LAST] += old.stayed[age] * 2 + old.left[age] / 2;
	}
	flow->shift--;
	flow->tick <<= 1;
}

/* Mean and variation of stays, in ticks, by the chances at each age. */
static float
weigh_stays(VqFlow *flow)
{
	float		hazard[VQ_AGES];
	float		alive = 1;
	float		mean = 0;
	float		squares = 0;

	vq_flow_hazards(flow, hazard);
	for (int age = 0; age < LAST; age++)
	{
		mean += alive * hazard[age] * age;
		squares += alive * hazard[age] * age * age;
		alive *= 1 - hazard[age];
	}

	/* Of the last age, some stay for many ticks more. */
	mean += alive * (LAST + 1 / hazard[LAST]);
	squares += alive * (LAST * LAST + (2 * LAST + 2 / hazard[LAST]) / hazard[LAST]);
	flow->mean = mean * (INT64CONST(1) << flow->shift) / SECOND;
	flow->variation = mean > 0 ? Max(squares / (mean * mean) - 1, 0) : 1;
	return mean;
}

static bool
is_old(const VqFlow *flow)
{
	for (int age = VQ_AGES / 2; age < VQ_AGES; age++)
		if (flow->inside[age] > 0)
			return true;
	return false;
}

static void
fit_tick(VqFlow *flow)
{
	if (flow->stays < FEW)
	{
		flow->mean = 0;
		flow->variation = 1;
		return;
	}

	/* As long as nobody is so old, longer ticks would only blur what is known. */
	while (weigh_stays(flow) > MOST_TICKS && is_old(flow) && flow->shift < MOST_SHIFT)
		coarsen(flow);
	while (weigh_stays(flow) < LEAST_TICKS && flow->shift > VQ_LEAST_SHIFT)
		refine(flow);
}

/* ---- the line ---- */

void
vq_flow_joined(VqFlow *flow, int lane)
{
	flow->joined[lane]++;
}

void
vq_flow_walked(VqFlow *flow)
{
	flow->walked++;
}

/*
 * What came lately is compared with what came before: where it differs by more
 * than chance would have it, what came before says nothing any more.
 */
static void
count_lane(VqFlow *flow, int lane, float seconds)
{
	float		expected;
	bool		came = flow->joined[lane] > 0;
	bool		first = came && flow->slow[lane] < 0.5f;

	flow->fast[lane] += flow->joined[lane];
	flow->slow[lane] += flow->joined[lane];
	flow->joined[lane] = 0;
	flow->slow_time[lane] += seconds;
	flow->age[lane] = first ? 0 : flow->age[lane] + seconds;
	for (; flow->slow_time[lane] > SLOW_SECONDS; flow->slow_time[lane] /= 2)
		flow->slow[lane] /= 2;
	expected = flow->slow[lane] / flow->slow_time[lane] * flow->fast_time;
	if (fabsf(flow->fast[lane] - expected) > A_CHANGE * sqrtf(expected + 1))
	{
		flow->slow[lane] = flow->fast[lane];
		flow->slow_time[lane] = flow->fast_time;
		flow->age[lane] = flow->since[lane] = 0;
	}
	if (came)
		flow->since[lane] = flow->age[lane];
}

static void
count_joins(VqFlow *flow, float seconds)
{
	flow->fast_time += seconds;
	for (int lane = 0; lane < VQ_LANES; lane++)
		count_lane(flow, lane, seconds);
	for (; flow->fast_time > FAST_SECONDS; flow->fast_time /= 2)
		for (int lane = 0; lane < VQ_LANES; lane++)
			flow->fast[lane] /= 2;
}

static void
count_walks(VqFlow *flow, float seconds, int64 waiting)
{
	/* What has not walked away for long says less and less of those who wait now. */
	float		keep = Max(1 - seconds / PATIENCE_SECONDS, 0.5f);

	flow->patience = flow->patience * keep + waiting * seconds;
	flow->impatient = flow->impatient * keep + flow->walked;
	flow->walked = 0;
}

void
vq_flow_look(VqFlow *flow, int64 mono, int64 waiting)
{
	float		seconds = (mono - flow->looked) / SECOND;

	advance(flow, mono);
	fit_tick(flow);
	if (flow->looked == 0 || seconds < 0)
	{
		/* Since when those were counted is not known. */
		memset(flow->joined, 0, sizeof(flow->joined));
		flow->walked = 0;
	}
	else if (seconds > 0)
	{
		count_joins(flow, seconds);
		count_walks(flow, seconds, waiting);
	}
	flow->looked = mono;
}

/* ---- answers ---- */

void
vq_flow_hazards(const VqFlow *flow, float *hazard)
{
	float		left = 0;
	float		passed = 0;
	float		usual;

	for (int age = 0; age < VQ_AGES; age++)
	{
		left += flow->left[age];
		passed += flow->left[age] + flow->stayed[age];
	}

	/* As if one had left: that nobody has in so long a time is all that is known at first. */
	usual = Max(left, 1) / Max(passed, 1);

	/* Where little is known of an age, it is as the others. */
	for (int age = 0; age < VQ_AGES; age++)
	{
		float		guess = age < LAST ? GUESS : LAST_GUESS / usual;

		hazard[age] = (flow->left[age] + usual * guess) / (flow->left[age] + flow->stayed[age] + guess);
	}
}

float
vq_flow_join_rate(const VqFlow *flow, int lane)
{
	return flow->slow_time[lane] > 0 ? flow->slow[lane] / flow->slow_time[lane] : 0;
}

float
vq_flow_impatience(const VqFlow *flow)
{
	return flow->patience > 0 ? flow->impatient / flow->patience : 0;
}
