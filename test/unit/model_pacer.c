/*
 * model_pacer.c
 *		Random calls of a pacer under good and bad clocks, checked by its contract.
 *
 * The model is the list of takes: whatever happened, no window of wall time
 * may hold more than the bound; where the wall clock was set back, no window
 * of monotonic time.  Under clocks that move together it also keeps the level
 * in wide integers, from which the pacer's may differ by nothing.
 */
#include "model_pacer.h"

typedef struct Model
{
	Source	   *source;
	VqPacer		pacer;
	VqNow		now;
	bool		sane;			/* both clocks move together, and only on */
	bool		set_back;		/* the wall clock was, by more than the pacer waits for */
	bool		unreal;			/* the monotonic clock went back */
	__int128	level;			/* if sane */
	Take		takes[MAX_TAKES];
	int			n_takes;
	int32		most_rate;		/* since the takes began */
	int32		most_burst;
} Model;

static int
by_wall(const void *a, const void *b)
{
	int64		x = ((const Take *) a)->at.wall;
	int64		y = ((const Take *) b)->at.wall;

	return x < y ? -1 : x > y;
}

static int
by_mono(const void *a, const void *b)
{
	int64		x = ((const Take *) a)->at.mono;
	int64		y = ((const Take *) b)->at.mono;

	return x < y ? -1 : x > y;
}

bool
bound_holds(Take *takes, int n, int32 rate_per_minute, int32 burst, Clock clock)
{
	qsort(takes, n, sizeof(Take), clock == BY_WALL ? by_wall : by_mono);
	for (int i = 0; i < n; i++)
	{
		__int128	tokens = 0;

		for (int j = i; j < n; j++)
		{
			__int128	window = clock == BY_WALL ?
				(__int128) takes[j].at.wall - takes[i].at.wall :
				(__int128) takes[j].at.mono - takes[i].at.mono + 1000;

			tokens += takes[j].n;
			if (tokens * VQ_TOKEN > (__int128) burst * VQ_TOKEN + window * rate_per_minute)
				return false;
		}
	}
	return true;
}

/* ---- what holds at every moment ---- */

/* By more than the pacer waits for. */
static bool
was_set_back(const Model *m)
{
	return (__int128) m->now.wall < (__int128) m->pacer.last.wall - VQ_CLOCK_STEP;
}

static bool
moved(VqNow now, int64 by, VqNow *then)
{
	return !__builtin_add_overflow(now.wall, by, &then->wall) &&
		!__builtin_add_overflow(now.mono, by, &then->mono);
}

/* At the due time the tokens are there, and a microsecond before they are not. */
static void
check_due(Model *m, int32 n)
{
	int64		due = vq_pacer_due(&m->pacer, m->now, n);
	VqNow		then;
	int64		delay;

	MUST(due >= m->now.mono);

	/* A wall clock that was set back a little too far may come within reach meanwhile. */
	if (was_set_back(m))
		return;
	if (due == VQ_NEVER || __builtin_sub_overflow(due, m->now.mono, &delay) ||
		!moved(m->now, delay, &then))
		return;
	MUST(vq_pacer_available(&m->pacer, then) >= n);
	if (delay == 0)
		return;
	MUST(moved(m->now, delay - 1, &then));
	MUST(vq_pacer_available(&m->pacer, then) < n);
}

/* Greedy releases on a copy of the pacer come at the times that wait tells. */
static void
check_wait(Model *m, int n)
{
	VqPacer		copy = m->pacer;
	VqNow		now = m->now;

	for (int i = 1; i <= n; i++)
	{
		int64		wait = vq_pacer_wait(&m->pacer, m->now, i);
		int64		due = vq_pacer_due(&copy, now, 1);

		MUST(wait >= 0);
		if (!moved(now, due - now.mono, &now))
			return;
		MUST(now.mono - m->now.mono == wait);
		MUST(vq_pacer_take(&copy, now, 1));
	}
}

static void
check_level(Model *m)
{
	int32		available = vq_pacer_available(&m->pacer, m->now);

	m->set_back |= was_set_back(m);
	MUST(available >= 0 && available <= m->pacer.burst);
	MUST(vq_pacer_wait(&m->pacer, m->now, 1) >= 0);
	if (m->sane)
		MUST(available == Max(m->level, 0) / VQ_TOKEN);
}

/* ---- operations ---- */

static void
pass_time(Model *m, int64 time)
{
	VqNow		then;

	if (!moved(m->now, time, &then))
		return;					/* clocks at the end of all numbers stand still */
	m->now = then;
	if (m->sane)
		m->level = Min(m->level + (__int128) time * m->pacer.rate_per_minute,
					   (__int128) m->pacer.burst * VQ_TOKEN);
}

static int64
pick_time(Model *m)
{
	int64		a_token = VQ_TOKEN / m->pacer.rate_per_minute;

	switch (source_below(m->source, 4))
	{
		case 0:
			return source_below(m->source, 3);
		case 1:
			return source_below(m->source, a_token + 2);
		case 2:
			return source_below(m->source, a_token * m->pacer.burst + 2);
		default:
			return source_scaled(m->source, 36);
	}
}

static int64
stepped(int64 reading, int64 by)
{
	int64		result;

	return __builtin_add_overflow(reading, by, &result) ? reading : result;
}

/* The monotonic clock has no negative readings. */
static int64
stepped_mono(int64 reading, int64 by)
{
	int64		result = stepped(reading, by);

	return Max(result, 0);
}

/* Close to the first or the last reading that a clock can have. */
static int64
extreme(Source *s, int64 first)
{
	int64		inside = source_scaled(s, 40);

	return source_one_in(s, 2) ? PG_INT64_MAX - inside : first + inside;
}

/* What clocks do that nobody wants: jitter, steps, and readings from anywhere. */
static void
disturb_clocks(Model *m)
{
	Source	   *s = m->source;

	switch (source_below(s, 8))
	{
		case 0:
			m->now.wall = stepped(m->now.wall, source_between(s, -3, 3));
			break;
		case 1:
			m->now.mono = stepped_mono(m->now.mono, source_between(s, -3, 3));
			m->unreal = true;
			break;
		case 2:
			m->now.wall = stepped(m->now.wall, -(source_one_in(s, 2) ? source_scaled(s, 19) : source_scaled(s, 36)));
			break;
		case 3:
			m->now.wall = stepped(m->now.wall, source_scaled(s, 36));
			break;
		case 4:
			m->now.mono = stepped_mono(m->now.mono, -source_scaled(s, 30));
			m->unreal = true;
			break;
		case 5:
			if (source_one_in(s, 8))
				m->now.wall = extreme(s, PG_INT64_MIN);
			break;
		case 6:
			if (source_one_in(s, 8))
			{
				m->now.mono = extreme(s, 0);
				m->unreal = true;
			}
			break;
		default:
			m->now.mono = stepped_mono(m->now.mono, source_scaled(s, 36));
	}
}

static void
do_take(Model *m)
{
	int32		available = vq_pacer_available(&m->pacer, m->now);
	int32		n = source_one_in(m->source, 2) ? 1 : 1 + source_scaled(m->source, 20);
	Take	   *take = &m->takes[m->n_takes];
	VqPacer		before = m->pacer;

	if (source_one_in(m->source, 3) && available > 0)
		n = available;
	if (m->n_takes == MAX_TAKES)
		return;
	if (!vq_pacer_take(&m->pacer, m->now, n))
	{
		MUST(n > available);
		MUST(memcmp(&before, &m->pacer, sizeof(VqPacer)) == 0);
		return;
	}
	MUST(n <= available);
	m->level -= n * VQ_TOKEN;
	take->at = m->now;
	take->n = n;
	take->unused = source_one_in(m->source, 3) ? 1 + source_below(m->source, n) : 0;
	m->n_takes++;
}

static void
do_charge(Model *m)
{
	int32		n = 1 + source_scaled(m->source, 19);

	vq_pacer_charge(&m->pacer, m->now, n);
	m->level -= n * VQ_TOKEN;
	MUST(vq_pacer_due(&m->pacer, m->now, 1) >= m->now.mono);
}

static void
do_cede(Model *m)
{
	int64		own = source_scaled(m->source, 36);
	VqPacer		before = m->pacer;

	if (m->now.wall < PG_INT64_MIN + own)
		own = 0;
	vq_pacer_cede(&m->pacer, m->now, m->now.wall - own);
	m->level = Min(m->level, (__int128) own * m->pacer.rate_per_minute);
	MUST(vq_pacer_available(&m->pacer, m->now) <= vq_pacer_available(&before, m->now));
}

static void
do_give_back(Model *m)
{
	Take	   *take;
	VqPacer		before = m->pacer;

	if (m->n_takes == 0)
		return;
	take = &m->takes[source_below(m->source, m->n_takes)];
	if (take->unused == 0)
		return;
	vq_pacer_give_back(&m->pacer, take->at, take->unused);
	MUST(m->pacer.level >= before.level);
	MUST(m->pacer.level - before.level <= take->unused * VQ_TOKEN);
	MUST(m->pacer.level <= m->pacer.burst * VQ_TOKEN);
	m->level = Min(m->level + m->pacer.level - before.level, (__int128) m->pacer.burst * VQ_TOKEN);
	take->n -= take->unused;
	take->unused = 0;
}

/* What is out of range is taken for the nearest that is not. */
static int32
pick_limit(Source *s, int bits)
{
	if (source_one_in(s, 16))
		return source_one_in(s, 2) ? -(int32) source_scaled(s, 31) : PG_INT32_MAX - (int32) source_scaled(s, 20);
	return 1 + source_scaled(s, bits);
}

static void
do_configure(Model *m)
{
	VqPacer		before = m->pacer;
	int32		rate = pick_limit(m->source, 23);
	int32		burst = pick_limit(m->source, 19);

	/* what is so already changes nothing, not even the clocks' readings */
	vq_pacer_configure(&m->pacer, m->now, before.rate_per_minute, before.burst);
	MUST(memcmp(&before, &m->pacer, sizeof(VqPacer)) == 0);

	vq_pacer_configure(&m->pacer, m->now, rate, burst);
	rate = Max(Min(rate, 10000000), 1);
	burst = Max(Min(burst, 1000000), 1);
	MUST(m->pacer.rate_per_minute == rate && m->pacer.burst == burst);
	m->level = Min(m->level, (__int128) burst * VQ_TOKEN);
	m->most_rate = Max(m->most_rate, rate);
	m->most_burst = Max(m->most_burst, burst);
}

/* Questions without a sensible answer have one all the same, and change nothing. */
static void
ask_strangely(Model *m)
{
	VqPacer		before = m->pacer;
	int32		none = -(int32) source_scaled(m->source, 31);

	MUST(vq_pacer_due(&m->pacer, m->now, m->pacer.burst + 1) == VQ_NEVER);
	MUST(vq_pacer_due(&m->pacer, m->now, PG_INT32_MAX) == VQ_NEVER);
	MUST(vq_pacer_due(&m->pacer, m->now, none) == m->now.mono);
	MUST(vq_pacer_wait(&m->pacer, m->now, none) == 0);
	MUST(vq_pacer_wait(&m->pacer, m->now, PG_INT64_MAX - source_scaled(m->source, 20)) == VQ_NEVER);
	MUST(vq_pacer_wait(&m->pacer, m->now, source_scaled(m->source, 62)) >= 0);
	vq_pacer_give_back(&m->pacer, m->now, none);
	MUST(memcmp(&before, &m->pacer, sizeof(VqPacer)) == 0);
	vq_pacer_charge(&m->pacer, m->now, none);
	MUST(vq_pacer_available(&m->pacer, m->now) == vq_pacer_available(&before, m->now));
}

static void
begin(Model *m)
{
	Source	   *s = m->source;
	int32		rate = Min(1 + source_scaled(s, 23), 10000000);
	int32		burst = source_one_in(s, 2) ? vq_pacer_default_burst(rate) : 1 + source_scaled(s, 19);
	bool		full = source_one_in(s, 2);

	m->sane = source_one_in(s, 3);
	m->now.wall = source_between(s, -1000, INT64CONST(1000000000000000));
	m->now.mono = source_scaled(s, 50);
	if (!m->sane && source_one_in(s, 4))
	{
		/* far out, but what is moved below stays in range */
		m->now.wall = (int64) source_bits(s, PG_UINT64_MAX) / 2;
		m->now.mono = (int64) (source_bits(s, PG_UINT64_MAX) / 2);
	}
	vq_pacer_init(&m->pacer, m->now, rate, burst, full);
	MUST(vq_pacer_available(&m->pacer, m->now) == (full ? burst : 0));
	m->level = full ? burst * VQ_TOKEN : 0;
	m->most_rate = rate;
	m->most_burst = burst;
}

uint64
model_pacer_run(Source *source)
{
	Model	   *m = calloc(1, sizeof(Model));
	bool		constant;
	uint64		done = 0;

	MUST(m != NULL);
	m->source = source;
	begin(m);
	constant = !source_one_in(source, 3);
	for (; !source_ended(source); done++)
	{
		int			choice = source_below(source, 100);

		if (choice < 35)
			pass_time(m, pick_time(m));
		else if (choice < 45 && !m->sane)
			disturb_clocks(m);
		else if (choice < 75)
			do_take(m);
		else if (choice < 77)
			do_charge(m);
		else if (choice < 79)
			do_cede(m);
		else if (choice < 86)
			do_give_back(m);
		else if (choice < 88 && !constant)
			do_configure(m);
		else if (choice < 90)
			ask_strangely(m);
		else if (choice < 97)
			check_due(m, 1 + source_below(source, m->pacer.burst));
		else if (m->sane)
			check_wait(m, 1 + source_below(source, 20));
		check_level(m);
	}
	if (!m->set_back)
		MUST(bound_holds(m->takes, m->n_takes, m->most_rate, m->most_burst, BY_WALL));
	else if (!m->unreal)
		MUST(bound_holds(m->takes, m->n_takes, m->most_rate, m->most_burst, BY_MONO));
	free(m);
	return done;
}
