/*
 * test_pacer.c
 *		The pacer: examples of its contract, then random calls by the model.
 */
#include "model_pacer.h"
#include "tap.h"

#define SECOND		INT64CONST(1000000)

static VqPacer pacer;
static VqNow now;

/* Begin at a moment where neither clock is round. */
static void
begin(int32 rate_per_minute, int32 burst, bool full)
{
	now.wall = INT64CONST(800000000123457);
	now.mono = INT64CONST(5000000777);
	vq_pacer_init(&pacer, now, rate_per_minute, burst, full);
}

static void
pass(int64 time)
{
	now.wall += time;
	now.mono += time;
}

static void
test_bucket(void)
{
	is(vq_pacer_default_burst(1), 1, "default burst of the slowest rate");
	is(vq_pacer_default_burst(1199), 1, "default burst is rounded down");
	is(vq_pacer_default_burst(6000), 10, "default burst is a tenth of a second's worth");

	begin(600, 5, true);
	is(vq_pacer_available(&pacer, now), 5, "a new queue starts full");
	ok(!vq_pacer_take(&pacer, now, 6), "more than there are cannot be taken");
	ok(vq_pacer_take(&pacer, now, 5), "all can be taken at once");
	ok(!vq_pacer_take(&pacer, now, 1), "then none");
	is(vq_pacer_due(&pacer, now, 1), now.mono + 100000, "600 a minute: the next is due in 100 ms");
	is(vq_pacer_due(&pacer, now, 5), now.mono + 500000, "and five in 500 ms");
	is(vq_pacer_due(&pacer, now, 6), VQ_NEVER, "more than burst never");
	pass(99999);
	is(vq_pacer_available(&pacer, now), 0, "a microsecond early there is none");
	pass(1);
	is(vq_pacer_available(&pacer, now), 1, "then there is one");
	is(vq_pacer_due(&pacer, now, 1), now.mono, "due now");
	pass(3600 * SECOND);
	is(vq_pacer_available(&pacer, now), 5, "never more than burst");

	begin(600, 5, false);
	is(vq_pacer_available(&pacer, now), 0, "a known queue starts empty");
	pass(150000);
	ok(vq_pacer_take(&pacer, now, 1), "half a token over");
	pass(50000);
	ok(vq_pacer_take(&pacer, now, 1), "is not lost");
}

static void
test_charge(void)
{
	begin(60, 10, true);
	vq_pacer_charge(&pacer, now, 13);
	is(vq_pacer_available(&pacer, now), 0, "nothing is there in debt");
	is(vq_pacer_due(&pacer, now, 1), now.mono + 4 * SECOND, "debt is paid back first");
	for (int i = 0; i < 200000; i++)
		vq_pacer_charge(&pacer, now, 1000000);
	ok(vq_pacer_due(&pacer, now, 1) > now.mono + 3600 * SECOND, "200,000 charges of a million: a long debt");
	ok(vq_pacer_wait(&pacer, now, PG_INT64_MAX) == VQ_NEVER, "a wait beyond all numbers is never");
	pass(INT64CONST(200000) * 366 * 86400 * SECOND / 60);
	ok(vq_pacer_available(&pacer, now) >= 0, "still sane after thousands of years");
	vq_pacer_charge(&pacer, now, PG_INT32_MAX);
	is(vq_pacer_available(&pacer, now), 0, "and after the largest charge");

	begin(10000000, 1000000, true);
	is(vq_pacer_available(&pacer, now), 1000000, "the largest bucket");
	now.wall = now.mono = PG_INT64_MAX;
	is(vq_pacer_available(&pacer, now), 1000000, "is full at the end of time");
	now.wall = now.mono = PG_INT64_MIN;
	is(vq_pacer_available(&pacer, now), 1000000, "and neither more nor less at its beginning");
}

static void
test_cede(void)
{
	begin(60, 10, true);
	vq_pacer_cede(&pacer, now, now.wall - 3600 * SECOND);
	is(vq_pacer_available(&pacer, now), 10, "what somebody else let in an hour ago is made up for");
	vq_pacer_cede(&pacer, now, now.wall - 4 * SECOND);
	is(vq_pacer_available(&pacer, now), 4, "four seconds ago: what was gained since is there");
	vq_pacer_cede(&pacer, now, now.wall - 7 * SECOND);
	is(vq_pacer_available(&pacer, now), 4, "and an earlier one gives nothing");
	for (int i = 0; i < 1000; i++)
		vq_pacer_cede(&pacer, now, now.wall + i);
	is(vq_pacer_due(&pacer, now, 1), now.mono + SECOND, "a thousand just now leave it empty, but not in debt");
	vq_pacer_charge(&pacer, now, 3);
	vq_pacer_cede(&pacer, now, now.wall);
	is(vq_pacer_due(&pacer, now, 1), now.mono + 4 * SECOND, "own debt stays");
	vq_pacer_cede(&pacer, now, PG_INT64_MIN);
	vq_pacer_cede(&pacer, now, PG_INT64_MAX);
	is(vq_pacer_due(&pacer, now, 1), now.mono + 4 * SECOND, "also at the ends of time");
}

static void
test_configure(void)
{
	begin(60, 10, false);
	pass(5 * SECOND);
	vq_pacer_configure(&pacer, now, 600, 20);
	is(vq_pacer_available(&pacer, now), 5, "what was gained stays");
	pass(SECOND);
	is(vq_pacer_available(&pacer, now), 15, "the new rate counts from now on");
	vq_pacer_configure(&pacer, now, 600, 3);
	is(vq_pacer_available(&pacer, now), 3, "never more than the new burst");
	vq_pacer_configure(&pacer, now, 1, 20);
	is(vq_pacer_available(&pacer, now), 3, "a larger burst gives nothing by itself");
}

static void
test_clocks(void)
{
	begin(600, 10, false);
	now.wall += 3600 * SECOND;
	is(vq_pacer_available(&pacer, now), 0, "the wall clock stepping on gives nothing");
	now.mono += SECOND;
	is(vq_pacer_available(&pacer, now), 10, "both have moved a second");
	ok(vq_pacer_take(&pacer, now, 4), "four go in");
	now.wall -= SECOND / 2;
	is(vq_pacer_available(&pacer, now), 0, "a little back, nothing is there: that time is paid out");
	is(vq_pacer_due(&pacer, now, 1), now.mono + SECOND / 2, "until the wall clock has caught up");
	is(vq_pacer_wait(&pacer, now, 6), SECOND / 2, "which is how long they wait");
	now.wall += SECOND / 2;
	is(vq_pacer_available(&pacer, now), 6, "stepped on again: what was left is there");
	pass(SECOND);
	is(vq_pacer_available(&pacer, now), 10, "and time counts again");

	begin(600, 10, false);
	now.wall -= 3600 * SECOND;
	is(vq_pacer_available(&pacer, now), 0, "the wall clock set back an hour gives nothing");
	is(vq_pacer_due(&pacer, now, 1), now.mono + SECOND / 10, "and is not waited for");
	pass(SECOND / 2);
	is(vq_pacer_available(&pacer, now), 5, "the monotonic clock counts on");
	ok(vq_pacer_take(&pacer, now, 5), "five go in");
	pass(SECOND / 2);
	is(vq_pacer_available(&pacer, now), 5, "and both clocks from there");
	now.wall += 3600 * SECOND;
	is(vq_pacer_available(&pacer, now), 5, "set right again, no burst");

	begin(600, 10, false);
	now.mono -= 50 * SECOND;
	is(vq_pacer_available(&pacer, now), 0, "the other clock going back gives nothing");
	vq_pacer_charge(&pacer, now, 1);
	pass(SECOND);
	is(vq_pacer_available(&pacer, now), 9, "and does not stop the pacer");
}

static void
test_give_back(void)
{
	VqNow		taken;
	int			used = 0;

	begin(600, 5, true);
	taken = now;
	vq_pacer_take(&pacer, taken, 3);
	vq_pacer_give_back(&pacer, taken, 3);
	is(vq_pacer_available(&pacer, now), 5, "put back at once, all are there again");
	vq_pacer_take(&pacer, taken, 3);
	pass(SECOND);
	is(vq_pacer_available(&pacer, now), 5, "the bucket has filled up meanwhile");
	ok(vq_pacer_take(&pacer, now, 5), "five go in");
	vq_pacer_give_back(&pacer, taken, 3);
	is(vq_pacer_available(&pacer, now), 0, "what a full bucket would have spilled does not come back");

	begin(600, 5, true);
	vq_pacer_take(&pacer, now, 1);
	vq_pacer_give_back(&pacer, now, 3);
	is(vq_pacer_available(&pacer, now), 5, "never more than burst, whatever is put back");

	begin(600, 5, false);
	pass(SECOND / 2);
	taken = now;
	vq_pacer_take(&pacer, taken, 5);
	pass(SECOND / 10);
	vq_pacer_take(&pacer, now, 1);
	vq_pacer_give_back(&pacer, taken, 5);
	is(vq_pacer_available(&pacer, now), 4, "what was gained since then is taken off");
	taken = now;
	vq_pacer_configure(&pacer, now, 60, 5);
	vq_pacer_give_back(&pacer, taken, 1);
	is(vq_pacer_available(&pacer, now), 4, "nothing comes back across a change of rate");

	/* Takes that failed over ten seconds must not add up to one great burst. */
	begin(600, 1, true);
	for (int i = 0; i < 100; i++)
	{
		vq_pacer_take(&pacer, now, 1);
		pass(SECOND / 10);
	}
	taken = now;
	for (int i = 1; i <= 100; i++)
	{
		used += vq_pacer_take(&pacer, now, 1);
		taken.wall = now.wall - i * SECOND / 10;
		taken.mono = now.mono - i * SECOND / 10;
		vq_pacer_give_back(&pacer, taken, 1);
	}
	is(used, 1, "a hundred old tokens put back at once let in no more than burst");
}

/* A billion releases: exactly what the time is worth. */
static void
test_drift(int32 rate, const char *what)
{
	Source		source = source_of_seed(rate, PG_UINT64_MAX);
	__int128	time = 0;
	int64		released = 0;

	begin(rate, 1000000, false);
	while (released < INT64CONST(1000000000))
	{
		/* never long enough to fill the bucket */
		int64		step = source_between(&source, 1, INT64CONST(900000) * VQ_TOKEN / rate);
		int32		n;

		pass(step);
		time += step;
		n = vq_pacer_available(&pacer, now);
		if (!vq_pacer_take(&pacer, now, n))
			break;
		released += n;
	}
	is(released, (int64) (time * rate / VQ_TOKEN), "a billion releases at %s a minute: not one off", what);
}

/*
 * The clocks are read one after the other, in whole microseconds, sometimes
 * with a pause in between; whole seconds must not get lost by and by.
 */
static void
test_reading_jitter(void)
{
	const int64 n = 1000000;
	Source		source = source_of_seed(1, PG_UINT64_MAX);
	int64		nanos = 0;
	int64		released = 0;
	int64		worth;

	begin(3000000, 1000, false);
	for (int64 i = 0; i < n; i++)
	{
		VqNow		read = now;
		int64		pause = source_one_in(&source, 1000) ? 50000 : 30;

		nanos += source_between(&source, 2000, 30000);
		read.mono += (nanos + 400) / 1000;
		read.wall += (nanos + pause) / 1000;
		released += vq_pacer_available(&pacer, read) > 0 && vq_pacer_take(&pacer, read, 1);
	}
	worth = nanos / 1000 * pacer.rate_per_minute / VQ_TOKEN;
	ok(released <= worth, "uneven readings of the clocks: no more than the rate allows");
	ok(released >= worth - worth / 1000, "and next to nothing is lost: " INT64_FORMAT " of " INT64_FORMAT,
	   released, worth);
}

static void
test_random(uint64 seed, int lives, uint64 choices)
{
	uint64		done = 0;

	for (int i = 0; i < lives; i++)
	{
		Source		source = source_of_seed(seed + i, choices);

		done += model_pacer_run(&source);
	}
	ok(done > 0, UINT64_FORMAT " random calls keep the contract", done);
}

/* The judge itself must be able to say no. */
static void
test_bound(void)
{
	Take		takes[3] = {{{100, 0}, 2, 0}, {{60000100, 0}, 1, 0}, {{60000100, 0}, 2, 0}};

	ok(bound_holds(takes, 3, 2, 3, BY_WALL), "two, then three a minute later, are within 2 a minute, burst 3");
	ok(!bound_holds(takes, 3, 1, 3, BY_WALL), "but not within 1 a minute");
	ok(!bound_holds(takes, 3, 2, 2, BY_WALL), "nor within burst 2");
}

int
main(int argc, char **argv)
{
	uint64		seed = tap_seed(argc, argv, 20260101);
	bool		small = getenv("VQ_EFFORT") != NULL;

	test_bucket();
	test_charge();
	test_cede();
	test_configure();
	test_clocks();
	test_give_back();
	test_drift(10000000, "10,000,000");
	test_drift(9999999, "9,999,999");
	test_drift(7, "7");
	test_reading_jitter();
	test_bound();
	test_random(seed, small ? 200 : 8000, 1500);
	return tap_done();
}
