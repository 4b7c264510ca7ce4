/*
 * test_estimate.c
 *		Estimates: examples, wild measures, and what comes true in crowds that are
 *		played out.
 */
#include "crowd_model.h"

#include <math.h>

#include "mingle.h"
#include "polite.h"
#include "score.h"
#include "tap.h"

#define SECOND		INT64CONST(1000000)

/* Behaviour is constant in each from ask_from on. */
static const Scenario scenarios[] = {
	{.name = "the rate alone", .rate = 120, .cap = 1000000, .stay = 60, .crowd = 2000, .until = 1100},
	{.name = "a slow rate", .rate = 6, .cap = 1000, .stay = 60, .crowd = 200, .until = 2100},
	{.name = "the cap, equal stays, all came in at once", .rate = 600000, .cap = 50, .stay = 20, .crowd = 2000,
	.ask_from = 21, .until = 820},
	{.name = "the cap, equal long stays", .rate = 60, .cap = 60, .stay = 300, .crowd = 500,
	.ask_from = 310, .until = 2800},
	{.name = "the cap, nearly equal stays", .rate = 600, .cap = 100, .stays = JITTERY, .stay = 45, .crowd = 2000,
	.ask_from = 60, .until = 1000},
	{.name = "the cap, random stays", .rate = 6000, .cap = 100, .stays = RANDOM, .stay = 60, .crowd = 1500,
	.ask_from = 180, .until = 1000},
	{.name = "the cap, short and long stays", .rate = 6000, .cap = 100, .stays = MIXED, .stay = 60, .crowd = 2500,
	.ask_from = 300, .until = 1500},
	{.name = "one at a time", .rate = 600, .cap = 1, .stay = 45, .crowd = 20, .ask_from = 200, .until = 900},
	{.name = "a large hall", .rate = 6000, .cap = 5000, .stays = RANDOM, .stay = 300, .crowd = 40000,
	.ask_from = 300, .until = 2500},
	{.name = "rate and cap about the same", .rate = 60, .cap = 60, .stays = RANDOM, .stay = 60, .crowd = 1000,
	.ask_from = 120, .until = 1100},
	/* A trickle has told how long people stay, then a crowd fills the hall. */
	{.name = "filling up, equal stays", .rate = 120, .cap = 150, .stay = 120, .joins[VQ_LANE_NORMAL] = 0.2,
	.crowd = 800, .crowd_at = 400, .ask_from = 400, .until = 1100},
	{.name = "filling up, random stays", .rate = 300, .cap = 300, .stays = RANDOM, .stay = 120,
	.joins[VQ_LANE_NORMAL] = 0.5, .crowd = 1500, .crowd_at = 600, .ask_from = 600, .until = 1200},
	{.name = "strict lanes with traffic", .rate = 300, .cap = 100000, .stay = 60,
	.joins = {1, 1.5, 0.5, 0}, .crowd = 1250, .ask_from = 60, .until = 1000},
	{.name = "strict lanes with traffic, the cap", .rate = 6000, .cap = 300, .stays = RANDOM, .stay = 60,
	.joins = {0.5, 0.7, 0.5, 0}, .crowd = 2500, .ask_from = 120, .until = 1000},
	{.name = "weighted lanes with traffic", .rate = 300, .cap = 100000, .stay = 60, .weight = {8, 4, 2, 1},
	.joins = {1, 1.5, 1, 0.5}, .crowd = 1250, .ask_from = 60, .until = 1000},
	{.name = "weighted lanes, all full", .rate = 120, .cap = 100000, .stay = 60, .weight = {8, 4, 2, 1},
	.joins = {1.5, 1, 0.6, 0.2}, .ask_from = 120, .until = 1200},
	{.name = "people walk away, the rate", .rate = 60, .cap = 100000, .stay = 60, .patience = 400, .crowd = 1000,
	.ask_from = 30, .until = 800},
	{.name = "people walk away, the cap", .rate = 6000, .cap = 100, .stays = RANDOM, .stay = 60, .patience = 300,
	.joins[VQ_LANE_NORMAL] = 2, .crowd = 1200, .ask_from = 60, .until = 900},
	{.name = "random places, nobody comes", .rate = 120, .cap = 100000, .stay = 60, .crowd = 1500, .random = true,
	.until = 800},
	{.name = "random places, a crowd that comes at once", .rate = 120, .cap = 100000, .stay = 60, .crowd = 1000,
	.crowd_at = 100, .random = true, .ask_from = 100, .until = 650},
	{.name = "random places, as many come as go", .rate = 300, .cap = 100000, .stay = 60,
	.joins[VQ_LANE_NORMAL] = 5, .crowd = 1500, .random = true, .ask_from = 120, .until = 1500},
	{.name = "random places, more come than go", .rate = 240, .cap = 100000, .stay = 60,
	.joins[VQ_LANE_NORMAL] = 6, .crowd = 1000, .random = true, .ask_from = 120, .until = 1200},
	{.name = "random places, the cap", .rate = 6000, .cap = 200, .stays = RANDOM, .stay = 60,
	.joins[VQ_LANE_NORMAL] = 2, .crowd = 2000, .random = true, .ask_from = 180, .until = 1200},
	{.name = "random places behind those who came before", .rate = 300, .cap = 100000, .stay = 60,
	.joins[VQ_LANE_NORMAL] = 4, .crowd = 1500, .random = true, .random_from = 60, .ask_from = 200, .until = 1200},
	{.name = "random places, and people walk away", .rate = 180, .cap = 100000, .stay = 60, .patience = 600,
	.joins[VQ_LANE_NORMAL] = 4, .crowd = 1500, .random = true, .ask_from = 120, .until = 1000},
	{.name = "random places in strict lanes", .rate = 300, .cap = 100000, .stay = 60,
	.joins = {1, 0.5, 2, 0}, .crowd = 1500, .random = true, .ask_from = 120, .until = 1200},
	{.name = "everything at once", .rate = 240, .cap = 150, .stays = MIXED, .stay = 60, .patience = 600,
	.joins = {0.2, 0.3, 1, 0.3}, .crowd = 1000, .weight = {10, 5, 3, 1}, .ask_from = 120, .until = 1200},
};

static void
test_crowds(uint64 seed, int n, int times)
{
	for (int i = 0; i < n; i++)
	{
		Outcome		outcome = crowd_model_run(&scenarios[i], seed + i, times);

		printf("# %s: %d waits of 30 to %.0f s, median error %.1f %%, %.0f %% within the 90 %% figure\n",
			   scenarios[i].name, outcome.asked, outcome.longest, 100 * outcome.error, 100 * outcome.within);
		ok(outcome.asked >= 25 * times && outcome.untold == 0, "%s: waits were told", scenarios[i].name);
		ok(outcome.error < 0.1, "%s: the median error is below 10 %%", scenarios[i].name);
		ok(outcome.within > 0.7, "%s: the 90 %% figure mostly holds", scenarios[i].name);
	}
}

/* ---- examples ---- */

static VqFlow flow;
static VqPacer pacer;
static VqLanes lanes;
static int64 count[VQ_LANES];
static const int64 *ahead;		/* of random places; NULL: there are none */
static VqNow now;
static VqForecast forecast;

static void
begin(int rate)
{
	memset(&flow, 0, sizeof(flow));
	memset(&lanes, 0, sizeof(lanes));
	memset(count, 0, sizeof(count));
	ahead = NULL;
	now.wall = now.mono = 1000 * SECOND;
	vq_pacer_init(&pacer, now, rate, vq_pacer_default_burst(rate), false);
}

static void
foresee(int64 inside, int64 cap, int64 going)
{
	VqSituation situation = {now, &pacer, &lanes, count, going, inside, cap, ahead};

	vq_forecast(&flow, &situation, &forecast);
}

static VqWait
wait_at(int64 position)
{
	return vq_forecast_wait(&forecast, now.mono, VQ_LANE_NORMAL, position);
}

/* Equal but for what single precision loses. */
static bool
about(int64 got, int64 wanted)
{
	return llabs(got - wanted) <= 2 + wanted / 1000000;
}

static void
test_rate(void)
{
	begin(60);
	count[VQ_LANE_NORMAL] = 100;
	foresee(0, 1000000, 0);
	ok(about(wait_at(1).median, SECOND), "at one a second the first one waits a second");
	ok(about(wait_at(100).median, 100 * SECOND), "and the hundredth a hundred");
	ok(about(wait_at(1000000).median, 1000000 * SECOND), "and so on, far beyond the forecast");
	ok(wait_at(50).p90 == wait_at(50).median, "of which all are certain");
	now.wall = now.mono += SECOND / 2;
	ok(about(wait_at(2).median, SECOND * 3 / 2), "it is told from the moment of asking on");
	forecast.gone = 3;
	ok(about(wait_at(2).median, SECOND * 9 / 2), "and from the place one had when it was made");
	vq_pacer_charge(&pacer, now, 10);
	foresee(0, 1000000, 0);
	ok(about(wait_at(1).median, SECOND * 21 / 2), "a debt is waited for");
	foresee(10, 1000000, 10);
	ok(about(wait_at(11).median, SECOND * 21 / 2), "those on their way in need no more tokens");
}

/* Somebody who stays for 100 s, n times, one after the other. */
static void
have_stays(int n)
{
	while (n-- > 0)
	{
		vq_flow_entered(&flow, now.mono);
		for (int i = 0; i < 100; i++)
		{
			now.wall = now.mono += SECOND;
			vq_flow_look(&flow, now.mono, 0);
		}
		vq_flow_left(&flow, now.mono, 100 * SECOND);
	}
}

static void
test_slots(void)
{
	int64		wait;

	begin(600000);
	foresee(1, 1, 0);
	ok(wait_at(1).median >= 0 && wait_at(1).p90 >= 0, "a wait is told though nobody has left yet");
	have_stays(20);
	vq_flow_entered(&flow, now.mono);
	now.wall = now.mono += 40 * SECOND;
	vq_flow_look(&flow, now.mono, 10);
	foresee(1, 1, 0);
	wait = wait_at(1).median;
	ok(wait > 55 * SECOND && wait < 65 * SECOND, "who is in for 40 of 100 s leaves in a minute");
	wait = wait_at(10).median;
	ok(wait > 930 * SECOND && wait < 990 * SECOND, "and nine others after that");
	foresee(1, 3, 0);
	is(wait_at(2).median, 0, "free slots are not waited for");
	wait = wait_at(3).median;
	ok(wait > 55 * SECOND && wait < 65 * SECOND, "the first slot that comes free is that of who came first");
	foresee(5, 3, 0);
	ok(wait_at(1).median > 55 * SECOND, "with more inside than may be, some have to leave first");
}

/* Let in and joining at an even pace, in a few steps or in many. */
static double
mingle(VqMingle *mingle, int steps, double let_in, double joined, double impatience)
{
	for (int i = 1; i <= steps; i++)
		vq_mingle_move(mingle, let_in / steps, joined / steps, impatience / steps, exp(impatience * i / steps));
	return vq_mingle_passed(mingle);
}

static bool
near(double got, double wanted)
{
	return fabs(got - wanted) <= 0.6 + wanted / 100;
}

static void
test_random_places(void)
{
	VqMingle	m;
	int64		none[VQ_LANES] = {0};

	vq_mingle_begin(&m, 0, 100);
	ok(near(mingle(&m, 100, 40, 0, 0), 40), "where nobody joins, so many have come in as were let in");
	ok(vq_mingle_variance(&m, 0) == 0, "of which all are certain");
	for (int steps = 3; steps <= 300; steps *= 10)
	{
		vq_mingle_begin(&m, 0, 1000);
		ok(near(mingle(&m, steps, 1000 * M_LN2, 1000 * M_LN2, 0), 500),
		   "where as many join, half of a thousand by the time of 693, in %d steps", steps);
		vq_mingle_begin(&m, 0, 1000);
		ok(near(mingle(&m, steps, 1000, 2000, 0), 500), "where twice as many join, by the time of a thousand");
		vq_mingle_begin(&m, 0, 1000);
		ok(near(mingle(&m, steps, 0, 300, 1), 0), "whoever walks away does so ahead and behind");
	}
	vq_mingle_begin(&m, 200, 1000);
	ok(near(mingle(&m, 100, 150, 1000, 0), 150), "nobody comes ahead of those without a random place");
	ok(near(mingle(&m, 100, 50, 0, 0), 200) && near(mingle(&m, 1000, 2000 * M_LN2, 2000 * M_LN2, 0), 700),
	   "but of all who joined meanwhile of the others");
	ok(vq_mingle_variance(&m, 10) > vq_mingle_variance(&m, 1000) && vq_mingle_variance(&m, 1e9) > 0,
	   "the less is known of joins the less is certain, and nothing is all");
	vq_mingle_begin(&m, 0, 10);
	ok(near(mingle(&m, 10, 15, 0, 0), 15), "it goes on beyond those who stand");
	vq_mingle_begin(&m, 10, 10);
	ok(near(mingle(&m, 1, -5, 0, 0), -5) && near(mingle(&m, 10, 9, 0, 0), 4), "debts come first");

	begin(60);
	count[VQ_LANE_NORMAL] = 1000;
	for (int i = 0; i < 300; i++)
	{
		vq_flow_joined(&flow, VQ_LANE_NORMAL);
		now.wall = now.mono += SECOND;
		vq_flow_look(&flow, now.mono, 1000);
	}
	foresee(0, 1000000, 0);
	ok(wait_at(500).median < 510 * SECOND, "in the order of arrival the five hundredth waits for 500 s");
	ahead = none;
	foresee(0, 1000000, 0);
	ok(wait_at(500).median > 650 * SECOND && wait_at(500).median < 740 * SECOND,
	   "where as many come to random places, for 693 s");
	ok(wait_at(500).p90 > wait_at(500).median, "but nobody knows");

	begin(60);
	count[VQ_LANE_NORMAL] = 1000;
	vq_flow_look(&flow, now.mono, 0);
	for (int i = 0; i < 1000; i++)
		vq_flow_joined(&flow, VQ_LANE_NORMAL);
	now.wall = now.mono += 10 * SECOND;
	vq_flow_look(&flow, now.mono, 1000);
	ahead = none;
	foresee(0, 1000000, 0);
	ok(wait_at(500).median < 510 * SECOND, "a crowd that came at once does not go on coming");
}

/* Whatever is measured, and however wild, figures are sane. */
static void
test_hostile(uint64 seed, int lives)
{
	int			wrong = 0;
	int64		first[VQ_LANES];

	for (int life = 0; life < lives; life++)
	{
		Source		source = source_of_seed(seed + life, 500);
		int64		last = 0;

		begin(1 + source_scaled(&source, 23));
		while (!source_ended(&source))
		{
			int64		stay = source_one_in(&source, 4) ? -1 : source_scaled(&source, 45);

			now.wall = now.mono += source_scaled(&source, source_one_in(&source, 20) ? 45 : 22);
			switch (source_below(&source, 6))
			{
				case 0:
					vq_flow_entered(&flow, now.mono);
					break;
				case 1:
					vq_flow_left(&flow, now.mono, stay);
					break;
				case 2:
					vq_flow_found(&flow, now.mono, stay);
					break;
				case 3:
					vq_flow_joined(&flow, source_below(&source, VQ_LANES));
					break;
				case 4:
					vq_flow_walked(&flow);
					break;
				default:
					vq_flow_look(&flow, now.mono - source_scaled(&source, 20), source_scaled(&source, 20));
			}
		}
		if (source_one_in(&source, 2))
			lanes.weight[0] = lanes.weight[1] = lanes.weight[2] = lanes.weight[3] = 1 + life % 100;
		for (int lane = 0; lane < VQ_LANES; lane++)
		{
			count[lane] = source_scaled(&source, 30);
			first[lane] = source_below(&source, count[lane] + 1);
		}
		ahead = source_one_in(&source, 2) ? first : NULL;
		foresee(source_scaled(&source, 26), 1 + source_scaled(&source, 26), source_scaled(&source, 10));
		for (int bits = 0; bits < 40; bits++)
		{
			VqWait		wait = wait_at(INT64CONST(1) << bits);

			/* nobody is told to come in before those ahead, nor that nine in ten do before half of them */
			wrong += wait.median >= 0 && wait.median < last;
			wrong += wait.median >= 0 && wait.p90 >= 0 && wait.p90 < wait.median;
			last = Max(last, wait.median);
		}
	}
	is(wrong, 0, "%d wild lives have waits in order", lives);
}

/* ---- the score ---- */

static void
test_score(void)
{
	VqScore		score = {0};

	ok(vq_score_error(&score) < 0, "at first no error is known");
	vq_score_note(&score, 7, 0, 4 * SECOND);
	is(score.pending, 0, "a short wait is not noted");
	vq_score_note(&score, 7, 0, 10 * SECOND);
	vq_score_note(&score, 7, SECOND, 10 * SECOND);
	is(score.pending, 1, "a longer one is, once");
	vq_score_note(&score, 8, 0, 11 * SECOND);
	vq_score_note(&score, 9, 0, 12 * SECOND);
	is(score.pending, 2, "of each order some");
	vq_score_note(&score, 10, 0, 3600 * SECOND);
	is(score.pending, 3, "of another one too");
	vq_score_settle(&score, 7, 8 * SECOND, true);
	ok(fabsf(vq_score_error(&score) - 0.25f) < 0.001f, "10 s instead of 8 are a quarter off");
	vq_score_settle(&score, 8, 9 * SECOND, false);
	is(score.judged, 1, "who walks away is no measure");
	is(score.pending, 1, "and not waited for");
	vq_score_note(&score, 11, 40000 * SECOND, 5000 * SECOND);
	vq_score_note(&score, 12, 40000 * SECOND, 5000 * SECOND);
	is(score.pending, 2, "who does not come in for ten times the wait makes room");
	vq_score_void(&score);
	is(score.pending, 0, "all can be forgotten");
	ok(vq_score_error(&score) > 0, "but for what came true");
	for (int i = 0; i < 200; i++)
	{
		vq_score_note(&score, 100 + i, 0, 20 * SECOND);
		vq_score_settle(&score, 100 + i, 20 * SECOND, true);
	}
	ok(vq_score_error(&score) == 0, "the last ones count");
}

/* ---- polite polling ---- */

/* Polls a second of all who wait, each as told. */
static double
polls(int64 waiting, int64 timeout, uint32 stretch)
{
	double		sum = 0;

	for (int64 position = 1; position <= waiting; position++)
		sum += (double) SECOND / vq_poll_delay(wait_at(position).median, timeout, stretch);
	return sum;
}

static void
test_polite(void)
{
	static const int rates[] = {1, 60, 6000, 600000};
	static const int64 crowds[] = {0, 1, 100, 20000, 300000};

	is(vq_poll_delay(0, 0, VQ_STRETCH), SECOND, "who is first asks every second");
	is(vq_poll_delay(300 * SECOND, 0, VQ_STRETCH), 30 * SECOND, "who waits five minutes twice a minute");
	is(vq_poll_delay(VQ_NEVER, 0, VQ_STRETCH), 60 * SECOND, "nobody less than every minute");
	is(vq_poll_delay(VQ_NEVER, 0, VQ_STRETCH * 5 / 2), 150 * SECOND, "but if there are too many");
	is(vq_poll_delay(VQ_NEVER, 0, PG_UINT32_MAX), 3600 * SECOND, "every hour at any rate");
	is(vq_poll_delay(VQ_NEVER, 90 * SECOND, VQ_STRETCH * 5 / 2), 30 * SECOND, "and well before it is taken to be gone");
	is(vq_poll_delay(-1, 0, VQ_STRETCH), 30 * SECOND, "where no wait is known, twice a minute");
	is(vq_poll_stretch(4000, 5000), VQ_STRETCH, "within the budget nothing is stretched");
	is(vq_poll_stretch(1e9, 0), VQ_STRETCH, "nor without one");
	for (int r = 0; r < (int) lengthof(rates); r++)
		for (int c = 0; c < (int) lengthof(crowds); c++)
		{
			double		load;
			double		true_load;

			begin(rates[r]);
			count[VQ_LANE_NORMAL] = crowds[c];
			foresee(0, 100000000, 0);
			load = vq_poll_load(&forecast, crowds[c], 0);
			true_load = polls(crowds[c], 0, VQ_STRETCH);
			ok(fabs(load - true_load) <= 0.1 * true_load + 0.5,
			   INT64_FORMAT " who wait at %d a minute poll %.1f times a second, taken for %.1f",
			   crowds[c], rates[r], true_load, load);
			true_load = polls(crowds[c], 0, vq_poll_stretch(load, 500));
			ok(true_load < 550, "with a budget of 500, %.1f times", true_load);
		}
	is(vq_poll_load(NULL, 300, 0), 10, "while nobody is let in, each polls twice a minute");
}

int
main(int argc, char **argv)
{
	uint64		seed = tap_seed(argc, argv, 20260103);
	bool		small = getenv("VQ_EFFORT") != NULL;

	test_rate();
	test_slots();
	test_random_places();
	test_hostile(seed, small ? 5 : 50);
	test_score();
	test_polite();
	if (small)
		test_crowds(seed, 2, 1);
	else
		test_crowds(seed, lengthof(scenarios), 2);
	return tap_done();
}
