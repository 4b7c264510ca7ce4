/*
 * estimate.c
 *		How long somebody will wait: a forecast of the line's flow.
 *
 * The flow is one of fractions of people.  At first it is followed tick by tick,
 * for some mean stays: time enough for a queue to fill up, and for those who came
 * in together to leave together a few times.  From then on it is steady.
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include <math.h>

#include "estimate.h"
#include "mingle.h"

#define SECOND			1000000.0
#define ONE_SECOND		INT64CONST(1000000)

/* From so many microseconds on waits are told to the second. */
#define PRECISE			(60 * ONE_SECOND)

/*
 * The moments: now, then so many that are 1, 2 and 8 ticks apart, then such that
 * are each so much later than the one before.
 */
#define TICKS			232
#define LATER			1.7f

static const struct
{
	int			moments;
	int			ticks;
}			spacing[] = {{16, 1}, {8, 2}, {25, 8}};

/* Of a normal distribution nine in ten are below the mean and so many deviations. */
#define NINE_IN_TEN		1.2816

/* Measures are never taken for more uncertain than this. */
#define MOST_DOUBT		0.5

/* Joins are taken to go on for so many times as long as they were watched. */
#define JOINS_GO_ON		4.0f

/* e to the power of more than this is as good as never. */
#define LONGEST_GROWTH	60.0

/* The flow through the door, whoever comes through it. */
typedef struct Door
{
	double		tokens;			/* let in until now, were there slots */
	double		slots;			/* the same, were there tokens */
	double		let_in;			/* negative: so many have yet to leave or to be paid for */
	double		counted;		/* the same for whoever asks at which position */
	double		left;			/* who have left */
	double		by_slots;		/* let in, who waited for a slot rather than a token */
	float		inside[VQ_AGES];
	float		hazard[VQ_AGES];
	float		chance[VQ_AGES];	/* to leave in this tick */
} Door;

StaticAssertDecl(VQ_AGES % 8 == 0, "ages are added up by eight");

/* The line ahead of somebody in one lane. */
typedef struct Ahead
{
	double		passed;			/* present positions let in or gone */
	double		between;		/* newcomers of other lanes let in ahead of it */
	bool		mingles;		/* newcomers of its own lane come to random places */
	VqMingle	mingle;
	double		stand[VQ_LANES];	/* in the other lanes */
	double		served[VQ_LANES];
} Ahead;

typedef struct Model
{
	const VqFlow *flow;
	const VqSituation *situation;
	double		tick;			/* seconds */
	double		impatience;
	double		joins[VQ_LANES];	/* a second */
	double		joins_until[VQ_LANES];	/* seconds */
	double		variation;		/* of stays, squared */
	double		stay_doubt;		/* relative, of the mean stay */
	Door		door;
	Ahead		ahead[VQ_LANES];
	double		time;			/* seconds from now */
	int			cycle;			/* ticks of a mean stay */
	double		counted;		/* sum over the last cycle that is followed by ticks */
} Model;

/* ---- the door ---- */

/* Those inside by age, as many as there really are. */
static void
settle_inside(const VqFlow *flow, int64 count, Door *door)
{
	double		known = 0;
	double		alive = 1;
	double		usual = 0;

	for (int age = 0; age < VQ_AGES; age++)
		known += flow->inside[age];
	for (int age = 0; age < VQ_AGES; age++)
		door->inside[age] = known > count ? flow->inside[age] * count / known : flow->inside[age];
	if (known >= count)
		return;

	/* Of the others nothing is known: they are as old as in the long run. */
	for (int age = 0; age < VQ_AGES; age++)
	{
		usual += alive;
		alive *= 1 - door->hazard[age];
	}
	alive = (count - known) / usual;
	for (int age = 0; age < VQ_AGES; age++)
	{
		door->inside[age] += alive;
		alive *= 1 - door->hazard[age];
	}
}

static void
open_door(Model *model)
{
	const VqSituation *now = model->situation;
	Door	   *door = &model->door;

	vq_flow_hazards(model->flow, door->hazard);
	settle_inside(model->flow, now->inside, door);
	door->tokens = vq_pacer_level(now->pacer, now->now) / (double) VQ_TOKEN;
	door->slots = now->cap - now->inside;
	door->let_in = door->counted = Min(door->tokens, door->slots);
	door->inside[0] += Max(door->let_in, 0);
}

/* Of those who are still in when only a part of a tick is left, more leave in it than of all. */
static void
shorten_tick(Door *door, float part)
{
	for (int age = 0; age < VQ_AGES; age++)
		door->chance[age] = door->hazard[age] * part / (1 - door->hazard[age] * (1 - part));
}

/* Who leave in a tick.  The sums are apart so that a compiler can form several at once. */
static double
leave(Door *door)
{
	float		left[8] = {0};

	for (int age = 0; age < VQ_AGES; age += lengthof(left))
		for (int i = 0; i < (int) lengthof(left); i++)
		{
			float		leaving = door->inside[age + i] * door->chance[age + i];

			door->inside[age + i] -= leaving;
			left[i] += leaving;
		}
	return (left[0] + left[1]) + (left[2] + left[3]) + (left[4] + left[5]) + (left[6] + left[7]);
}

static void
grow_older(Door *door)
{
	door->inside[VQ_AGES - 1] += door->inside[VQ_AGES - 2];
	memmove(door->inside + 1, door->inside, (VQ_AGES - 2) * sizeof(float));
	door->inside[0] = 0;
}

/* Whether those who leave are, or by chance may be, too few for the tokens there are. */
static bool
waits_for_slots(const Model *model)
{
	const Door *door = &model->door;

	return door->slots - sqrt(model->variation * door->left) < door->tokens;
}

/* The next step, of what is left of a tick or of all of it.  Returns who were let in. */
static double
pass_door(Model *model, float part)
{
	const VqPacer *pacer = model->situation->pacer;
	Door	   *door = &model->door;
	double		left = leave(door);
	double		let_in = door->let_in;
	double		counted = door->counted;

	door->left += left;
	door->slots += left;
	door->tokens += part * model->tick * pacer->rate_per_minute / 60.0;
	door->let_in = Max(let_in, Min(door->tokens, door->slots));
	door->inside[0] += Max(door->let_in, 0) - Max(let_in, 0);
	grow_older(door);

	/* The chances of the next one are even when half of somebody has left. */
	door->counted = Max(counted, Min(door->tokens, door->slots + Min(door->left, 0.5)));
	if (waits_for_slots(model))
		door->by_slots += door->counted - counted;

	/* The bucket spills what is not used. */
	door->tokens = Min(door->tokens, door->let_in + pacer->burst);
	return door->counted - counted;
}

/* ---- other lanes ---- */

/* Have so many of the other lanes and of this one in, in turns; this one is never empty. */
static void
serve_in_turns(const Model *model, Ahead *ahead, int lane, double n)
{
	const int32 *weight = model->situation->lanes->weight;
	bool		done[VQ_LANES] = {false};

	for (int round = 0; round < VQ_LANES && n > 0; round++)
	{
		double		weights = weight[lane];
		bool		all = true;

		for (int l = 0; l < VQ_LANES; l++)
			if (l != lane && !done[l])
				weights += weight[l];

		/*
		 * Whoever stands in fewer than its share would let in goes first, and leaves the rest to
		 * others.
		 */
		for (int l = 0; l < VQ_LANES && all; l++)
			if (l != lane && !done[l] && ahead->stand[l] < n * weight[l] / weights)
			{
				n -= ahead->stand[l];
				ahead->served[l] += ahead->stand[l];
				ahead->stand[l] = 0;
				done[l] = true;
				all = false;
			}
		if (!all)
			continue;
		for (int l = 0; l < VQ_LANES; l++)
			if (l != lane && !done[l])
			{
				ahead->stand[l] -= n * weight[l] / weights;
				ahead->served[l] += n * weight[l] / weights;
			}
		return;
	}
}

/* Newcomers let in before somebody of this lane until now. */
static double
get_between(const Model *model, int lane)
{
	const Ahead *ahead = &model->ahead[lane];
	double		joined = 0;

	for (int l = 0; l < VQ_LANES; l++)
	{
		if (model->situation->lanes->weight[0] == 0)
			joined += l < lane ? model->joins[l] * Min(model->time, model->joins_until[l]) : 0;
		else if (l != lane)
			joined += Max(ahead->served[l] - model->situation->count[l], 0);
	}
	return joined;
}

/* For how long of so many seconds until now joins of a lane went on. */
static double
joining(const Model *model, int lane, double seconds)
{
	return Min(seconds, Max(model->joins_until[lane] - (model->time - seconds), 0));
}

/* So many were let in during so many seconds until now. */
static void
move_ahead(Model *model, int lane, double seconds, double n)
{
	Ahead	   *ahead = &model->ahead[lane];
	double		growth = Min(model->impatience * (model->time - seconds / 2), LONGEST_GROWTH);
	double		between;

	if (model->situation->lanes->weight[0] > 0)
	{
		for (int l = 0; l < VQ_LANES; l++)
			ahead->stand[l] += model->joins[l] * joining(model, l, seconds);
		serve_in_turns(model, ahead, lane, n);
	}
	between = get_between(model, lane);
	n -= between - ahead->between;
	ahead->between = between;

	/* Who walk away meanwhile thin out the line: one let in later was further back at first. */
	if (!ahead->mingles)
		ahead->passed += n * exp(growth);
	else
	{
		vq_mingle_move(&ahead->mingle, n, model->joins[lane] * joining(model, lane, seconds),
					   model->impatience * seconds, exp(growth));
		ahead->passed = vq_mingle_passed(&ahead->mingle);
	}
}

/* ---- moments ---- */

/* Deviation of the number of positions let in by now. */
static double
deviation(const Model *model, int lane)
{
	const Ahead *ahead = &model->ahead[lane];
	const VqFlow *flow = model->flow;
	double		growth = exp(Min(model->impatience * model->time, LONGEST_GROWTH));
	double		walked = Max(ahead->passed - model->situation->going - (model->door.counted - ahead->between), 0) / growth;
	double		chance = 0;
	double		doubt = model->door.by_slots * model->stay_doubt;
	double		joins = 0;

	for (int l = 0; l < VQ_LANES; l++)
		joins += l != lane ? flow->slow[l] : 0;
	if (ahead->mingles)
	{
		/* Those who walk away from random places do so ahead and behind alike. */
		growth = vq_mingle_slope(&ahead->mingle, growth);
		chance = vq_mingle_variance(&ahead->mingle, flow->slow[lane]);
		walked = 0;
	}
	return sqrt(chance + growth * growth *
				(model->door.by_slots * model->variation + ahead->between + walked + doubt * doubt +
				 ahead->between * ahead->between / (joins + 1) + walked * walked / (flow->impatient + 1)));
}

static void
note_moment(const Model *model, VqForecast *forecast, int m)
{
	forecast->moment[m] = model->time;
	for (int lane = 0; lane < VQ_LANES; lane++)
	{
		double		expected = model->ahead[lane].passed;
		double		certain = expected - NINE_IN_TEN * deviation(model, lane);

		/* Who was let in stays in.  Between two moments a slot may come free at any time. */
		if (m > 0)
		{
			expected = Max(expected, forecast->expected[lane][m - 1]);
			if (waits_for_slots(model))
				certain = Min(certain, forecast->expected[lane][m - 1]);
			certain = Max(certain, forecast->certain[lane][m - 1]);
		}
		forecast->expected[lane][m] = expected;
		forecast->certain[lane][m] = certain;
	}
}

static void
move_all(Model *model, double seconds, double n)
{
	model->time += seconds;
	for (int lane = 0; lane < VQ_LANES; lane++)
		move_ahead(model, lane, seconds, n);
}

/*
 * Ahead of a lane's newcomers stand those of higher ones, and those of its own who have a
 * place by their arrival or by a draw.  Taking turns, newcomers of its own lane are left out.
 */
static void
begin_mingling(Model *model, int lane)
{
	const VqSituation *situation = model->situation;
	Ahead	   *ahead = &model->ahead[lane];
	double		higher = 0;

	for (int l = 0; l < lane; l++)
		higher += situation->count[l];
	ahead->mingles = true;
	vq_mingle_begin(&ahead->mingle, higher + situation->ahead[lane], situation->count[lane] - situation->ahead[lane]);
	vq_mingle_move(&ahead->mingle, ahead->passed, 0, 0, 1);
	ahead->passed = vq_mingle_passed(&ahead->mingle);
}

static void
begin(Model *model, const VqFlow *flow, const VqSituation *situation)
{
	memset(model, 0, sizeof(*model));
	model->flow = flow;
	model->situation = situation;
	model->tick = (INT64CONST(1) << Max(flow->shift, VQ_LEAST_SHIFT)) / SECOND;
	model->cycle = Min(Max((int) rint(flow->mean / model->tick), 1), TICKS / 2);
	model->impatience = vq_flow_impatience(flow);
	model->variation = flow->shift > 0 ? flow->variation : 1;
	model->stay_doubt = Min(sqrt(model->variation / Max(flow->stays, 1)), MOST_DOUBT);
	open_door(model);
	for (int lane = 0; lane < VQ_LANES; lane++)
	{
		model->joins[lane] = vq_flow_join_rate(flow, lane);
		model->joins_until[lane] = flow->since[lane] * JOINS_GO_ON;
		model->ahead[lane].passed = situation->going + model->door.counted;
		for (int l = 0; l < VQ_LANES; l++)
			model->ahead[lane].stand[l] = situation->count[l];
		if (situation->ahead != NULL && situation->lanes->weight[0] == 0)
			begin_mingling(model, lane);
	}
}

/* Follow the flow tick by tick; returns how many moments that took. */
static int
follow(Model *model, VqForecast *forecast)
{
	/* The present tick has begun already. */
	float		part = 1 - fmod(model->situation->now.mono / SECOND, model->tick) / model->tick;
	int			ticks = 0;
	int			m = 0;

	note_moment(model, forecast, m++);
	shorten_tick(&model->door, part);
	for (int s = 0; s < (int) lengthof(spacing); s++)
		for (int i = 0; i < spacing[s].moments; i++)
		{
			for (int t = 0; t < spacing[s].ticks; t++)
			{
				double		n = pass_door(model, part);

				move_all(model, part * model->tick, n);
				if (part < 1)
					shorten_tick(&model->door, part = 1);
				if (ticks++ >= TICKS - model->cycle)
					model->counted += model->door.counted;
			}
			note_moment(model, forecast, m++);
		}
	return m;
}

/*
 * Then it is steady.  Where all who are inside leave at about the same time, it
 * goes on from where it is on average, not from the step it is on.
 */
static void
go_on(Model *model, VqForecast *forecast, int m)
{
	const VqSituation *situation = model->situation;
	double		stay = model->flow->mean > 0 ? model->flow->mean : model->tick / model->door.hazard[VQ_AGES - 1];
	double		rate = Min(situation->pacer->rate_per_minute / 60.0, situation->cap / stay);
	double		ahead = 0;

	if (waits_for_slots(model))
		ahead = model->counted / model->cycle + rate * model->tick * (model->cycle - 1) / 2 - model->door.counted;
	for (; m < VQ_MOMENTS; m++)
	{
		double		seconds = model->time * (LATER - 1);
		double		n = rate * seconds + ahead;

		if (waits_for_slots(model))
			model->door.by_slots += n;
		model->door.counted += n;
		ahead = 0;
		move_all(model, seconds, n);
		note_moment(model, forecast, m);
	}
}

void
vq_forecast(const VqFlow *flow, const VqSituation *situation, VqForecast *forecast)
{
	Model		model;

	begin(&model, flow, situation);
	go_on(&model, forecast, follow(&model, forecast));
	forecast->at = situation->now.mono;
	forecast->gone = 0;
}

/* ---- asking ---- */

/*
 * The first moment, from this one on, by which the position has been let in; the
 * last one if it has not by then.
 */
static int
moment_after(const float *positions, float position, int low)
{
	int			high = VQ_MOMENTS - 1;

	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (positions[middle] < position)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* When exactly, in seconds; beyond the last moment all goes on as it did.  Negative: never. */
static double
time_of(const float *moment, const float *positions, float position, int m)
{
	if (m == 0)
		return moment[0];
	if (positions[m] <= positions[m - 1])
		return -1;
	return moment[m - 1] + (double) (position - positions[m - 1]) *
		(moment[m] - moment[m - 1]) / (positions[m] - positions[m - 1]);
}

/* Nobody knows long waits to the microsecond, and to write them so takes time. */
static int64
remaining(double moment, int64 since)
{
	int64		wait;

	if (moment < 0 || moment > (double) (PG_INT64_MAX / 2) / SECOND)
		return -1;
	wait = Max((int64) (moment * SECOND) - since, 0);
	if (wait >= PRECISE)
		wait = (wait + ONE_SECOND / 2) / ONE_SECOND * ONE_SECOND;
	return wait;
}

VqWait
vq_forecast_wait(const VqForecast *forecast, int64 mono, int lane, int64 position)
{
	const float *expected = forecast->expected[lane];
	const float *certain = forecast->certain[lane];
	int64		since = Max(mono - forecast->at, 0);
	float		then = position + forecast->gone;
	int			m = moment_after(expected, then, 0);
	VqWait		wait;

	wait.median = remaining(time_of(forecast->moment, expected, then, m), since);

	/* What is certain comes at that moment or later, and rarely much later. */
	while (m < VQ_MOMENTS - 1 && certain[m] < then)
		m++;
	wait.p90 = remaining(time_of(forecast->moment, certain, then, m), since);
	if (wait.p90 >= 0 && wait.median >= 0)
		wait.p90 = Max(wait.p90, wait.median);
	return wait;
}
