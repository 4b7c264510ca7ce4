/*
 * crowd_model.c
 *		A queue and its crowd by a clock of its own, played event by event.
 */
#include "crowd_model.h"

#include <math.h>

#define SECOND		INT64CONST(1000000)
#define NEVER		PG_INT64_MAX
#define MAX_PEOPLE	50000
#define MAX_ASKED	4000
#define SHORTEST	(30 * SECOND)

typedef enum EventType
{
	JOIN,						/* somebody of a lane */
	CROWD,
	LEAVE,						/* the slot */
	WALK,						/* away from the line */
	LOOK,						/* the worker makes a forecast */
	ASK,						/* somebody asks */
	TOKEN						/* the next release may be due */
} EventType;

typedef struct Event
{
	int64		at;
	EventType	type;
	int			who;			/* or which lane */
} Event;

typedef struct Person
{
	int			lane;
	bool		waits;
	int64		let_in;			/* 0: not yet */
	double		key;			/* by what it stands, and then by when it came */
} Person;

typedef struct Question
{
	int			who;
	int64		at;
	VqWait		answer;
} Question;

typedef struct World
{
	const Scenario *scenario;
	Source		source;
	VqNow		now;
	VqPacer		pacer;
	VqLanes		lanes;
	VqFlow		flow;
	VqForecast	forecast;
	int64		count[VQ_LANES];
	int			inside;
	int64		next_ask;
	int64		next_token;
	int			n_events;
	int			n_people;
	int			n_asked;
	int			first[VQ_LANES];	/* before which nobody of the lane waits */
	double		passed[VQ_LANES];	/* the highest key let in */

	/* All above is zeroed before each play. */
	Event	   *events;			/* a binary heap */
	Person	   *people;			/* by time of joining */
	Question   *asked;
} World;

/* ---- events ---- */

static void
swap_events(Event *a, Event *b)
{
	Event		c = *a;

	*a = *b;
	*b = c;
}

static void
plan(World *w, int64 at, EventType type, int who)
{
	int			i = w->n_events++;

	MUST(i < 4 * MAX_PEOPLE);
	w->events[i] = (Event) {at, type, who};
	for (; i > 0 && w->events[(i - 1) / 2].at > w->events[i].at; i = (i - 1) / 2)
		swap_events(&w->events[i], &w->events[(i - 1) / 2]);
}

static Event
next_event(World *w)
{
	Event		first = w->events[0];

	w->events[0] = w->events[--w->n_events];
	for (int i = 0;;)
	{
		int			least = i;

		for (int child = 2 * i + 1; child <= 2 * i + 2; child++)
			if (child < w->n_events && w->events[child].at < w->events[least].at)
				least = child;
		if (least == i)
			return first;
		swap_events(&w->events[i], &w->events[least]);
		i = least;
	}
}

/* ---- chance ---- */

static double
chance(World *w)
{
	return (source_below(&w->source, 1 << 30) + 0.5) / (1 << 30);
}

static int64
exponential(World *w, double mean)
{
	return (int64) (-log(chance(w)) * mean * SECOND) + 1;
}

static int64
stay(World *w)
{
	double		mean = w->scenario->stay;

	switch (w->scenario->stays)
	{
		case EQUAL:
			return mean * SECOND;
		case JITTERY:
			return (0.9 + 0.2 * chance(w)) * mean * SECOND;
		case RANDOM:
			return exponential(w, mean);
		default:
			return (chance(w) < 0.2 ? 4 : 1) * mean / 1.6 * SECOND;
	}
}

/* ---- what happens ---- */

static bool
places_are_random(const World *w)
{
	return w->scenario->random && w->now.mono >= w->scenario->random_from * SECOND;
}

/* Whether somebody stands before another in their lane; who came earlier has a lower number. */
static bool
is_ahead(const World *w, int a, int b)
{
	return w->people[a].key < w->people[b].key || (w->people[a].key == w->people[b].key && a < b);
}

static void
join(World *w, int lane)
{
	Person	   *person = &w->people[w->n_people];

	MUST(w->n_people < MAX_PEOPLE);
	person->lane = lane;
	person->waits = true;
	if (places_are_random(w))
		person->key = w->passed[lane] - log(chance(w));
	w->count[lane]++;
	vq_flow_joined(&w->flow, lane);
	if (w->scenario->patience > 0)
		plan(w, w->now.mono + exponential(w, w->scenario->patience), WALK, w->n_people);
	w->n_people++;
}

/* The next of a lane. */
static int
head_of(World *w, int lane)
{
	int			head;

	while (!w->people[w->first[lane]].waits || w->people[w->first[lane]].lane != lane)
		w->first[lane]++;
	head = w->first[lane];
	for (int i = head + 1; i < w->n_people && w->scenario->random; i++)
		if (w->people[i].waits && w->people[i].lane == lane && is_ahead(w, i, head))
			head = i;
	return head;
}

static void
let_in(World *w)
{
	int			lane;

	while ((lane = vq_lanes_next(&w->lanes, w->count)) >= 0 && w->inside < w->scenario->cap &&
		   vq_pacer_take(&w->pacer, w->now, 1))
	{
		int			who = head_of(w, lane);

		vq_lanes_turn(&w->lanes, w->count, lane);
		w->people[who].waits = false;
		w->people[who].let_in = w->now.mono;
		w->passed[lane] = Max(w->passed[lane], w->people[who].key);
		w->count[lane]--;
		w->inside++;
		w->forecast.gone++;
		vq_flow_entered(&w->flow, w->now.mono);
		plan(w, w->now.mono + stay(w), LEAVE, who);
	}
	if (lane >= 0 && w->inside < w->scenario->cap && w->next_token <= w->now.mono)
	{
		w->next_token = vq_pacer_due(&w->pacer, w->now, 1);
		plan(w, w->next_token, TOKEN, 0);
	}
}

static void
look(World *w)
{
	VqSituation situation = {w->now, &w->pacer, &w->lanes, w->count, 0, w->inside, w->scenario->cap, NULL};
	int64		ahead[VQ_LANES] = {0};
	int64		waiting = 0;

	for (int lane = 0; lane < VQ_LANES; lane++)
		waiting += w->count[lane];
	vq_flow_look(&w->flow, w->now.mono, waiting);

	if (places_are_random(w))
	{
		for (int i = 0; i < w->n_people; i++)
			ahead[w->people[i].lane] += w->people[i].waits && w->people[i].key == 0;
		situation.ahead = ahead;
	}

	/* Made only if somebody will ask, as that is what takes time. */
	if (w->next_ask < w->now.mono + SECOND)
		vq_forecast(&w->flow, &situation, &w->forecast);
	plan(w, w->now.mono + SECOND, LOOK, 0);
}

/* Anybody who waits asks; the position is counted. */
static void
ask(World *w)
{
	int			who = source_below(&w->source, Max(w->n_people, 1));
	int64		rank = 0;
	Question   *question = &w->asked[w->n_asked];

	w->next_ask = w->now.mono + SECOND + source_below(&w->source, 5 * SECOND);
	plan(w, w->next_ask, ASK, 0);
	while (who < w->n_people && !w->people[who].waits)
		who++;
	if (who >= w->n_people || w->forecast.at == 0 || w->now.mono < w->scenario->ask_from * SECOND)
		return;
	MUST(w->n_asked < MAX_ASKED);
	for (int i = 0; i < w->n_people; i++)
		rank += w->people[i].waits && w->people[i].lane == w->people[who].lane && is_ahead(w, i, who);
	question->who = who;
	question->at = w->now.mono;
	question->answer = vq_forecast_wait(&w->forecast, w->now.mono, w->people[who].lane,
										vq_lanes_position(&w->lanes, w->count, w->people[who].lane, rank));
	w->n_asked++;
}

static void
happen(World *w, Event event)
{
	Person	   *person = &w->people[event.who];

	switch (event.type)
	{
		case JOIN:
			join(w, event.who);
			plan(w, w->now.mono + exponential(w, 1 / w->scenario->joins[event.who]), JOIN, event.who);
			break;
		case CROWD:
			for (int i = 0; i < w->scenario->crowd; i++)
				join(w, VQ_LANE_NORMAL);
			break;
		case LEAVE:
			w->inside--;
			vq_flow_left(&w->flow, w->now.mono, w->now.mono - person->let_in);
			break;
		case WALK:
			if (person->waits)
			{
				person->waits = false;
				w->count[person->lane]--;
				vq_flow_walked(&w->flow);
			}
			break;
		case LOOK:
			look(w);
			break;
		case ASK:
			ask(w);
			break;
		case TOKEN:
			break;
	}
}

/* ---- what came of it ---- */

static int
by_value(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return x < y ? -1 : x > y;
}

/* Add what came true of the questions; returns how many errors were added. */
static int
judge(const World *w, double *errors, Outcome *outcome)
{
	int			n = 0;

	for (int i = 0; i < w->n_asked; i++)
	{
		const Question *question = &w->asked[i];
		int64		wait = w->people[question->who].let_in - question->at;

		if (w->people[question->who].let_in == 0 || wait < SHORTEST)
			continue;
		if (question->answer.median < 0)
			outcome->untold++;
		errors[n++] = fabs((double) (question->answer.median - wait)) / wait;
		outcome->within += question->answer.p90 < 0 || wait <= question->answer.p90 + SECOND;
		outcome->longest = Max(outcome->longest, (double) wait / SECOND);
	}
	return n;
}

static void
play(World *w, const Scenario *scenario, uint64 seed)
{
	memset(w, 0, offsetof(World, events));
	memset(w->people, 0, MAX_PEOPLE * sizeof(Person));
	w->scenario = scenario;
	w->source = source_of_seed(seed, PG_UINT64_MAX);
	vq_lanes_configure(&w->lanes, scenario->weight);
	vq_pacer_init(&w->pacer, w->now, scenario->rate, vq_pacer_default_burst(scenario->rate), true);
	for (int lane = 0; lane < VQ_LANES; lane++)
		if (scenario->joins[lane] > 0)
			plan(w, exponential(w, 1 / scenario->joins[lane]), JOIN, lane);
	if (scenario->crowd > 0)
		plan(w, scenario->crowd_at * SECOND, CROWD, 0);
	plan(w, SECOND / 3, LOOK, 0);
	plan(w, SECOND, ASK, 0);
	while (w->now.mono < scenario->until * SECOND)
	{
		Event		event = next_event(w);

		w->now.mono = w->now.wall = Max(w->now.mono, event.at);
		happen(w, event);
		let_in(w);
	}
}

Outcome
crowd_model_run(const Scenario *scenario, uint64 seed, int times)
{
	World	   *w = calloc(1, sizeof(World));
	double	   *errors = malloc(times * MAX_ASKED * sizeof(double));
	Outcome		outcome = {0};

	MUST(w != NULL && errors != NULL);
	w->events = malloc(4 * MAX_PEOPLE * sizeof(Event));
	w->people = malloc(MAX_PEOPLE * sizeof(Person));
	w->asked = malloc(MAX_ASKED * sizeof(Question));
	MUST(w->events != NULL && w->people != NULL && w->asked != NULL);
	for (int i = 0; i < times; i++)
	{
		play(w, scenario, seed + i * 1000);
		outcome.asked += judge(w, errors + outcome.asked, &outcome);
	}
	if (outcome.asked > 0)
	{
		qsort(errors, outcome.asked, sizeof(double), by_value);
		outcome.error = errors[outcome.asked / 2];
		outcome.within /= outcome.asked;
	}
	free(w->events);
	free(w->people);
	free(w->asked);
	free(w);
	free(errors);
	return outcome;
}
