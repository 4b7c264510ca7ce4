/*
 * test_estimate.c
 *		Estimates against what comes true in crowds that are played out.
 */
#include "crowd_model.h"
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
	.ask_from = 60, .until = 900},
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
	.joins = {0.9, 1.2, 0.5, 0}, .crowd = 1500, .ask_from = 60, .until = 1000},
	{.name = "weighted lanes with traffic", .rate = 300, .cap = 100000, .stay = 60, .weight = {8, 4, 2, 1},
	.joins = {1, 1.5, 1, 0.5}, .crowd = 1250, .ask_from = 60, .until = 1000},
	{.name = "weighted lanes, all full", .rate = 120, .cap = 100000, .stay = 60, .weight = {8, 4, 2, 1},
	.joins = {1.5, 1, 0.6, 0.2}, .ask_from = 120, .until = 1200},
	{.name = "people walk away, the rate", .rate = 60, .cap = 100000, .stay = 60, .patience = 400, .crowd = 1000,
	.ask_from = 30, .until = 800},
	{.name = "people walk away, the cap", .rate = 6000, .cap = 100, .stays = RANDOM, .stay = 60, .patience = 300,
	.joins[VQ_LANE_NORMAL] = 2, .crowd = 1200, .ask_from = 60, .until = 900},
	{.name = "everything at once", .rate = 240, .cap = 150, .stays = MIXED, .stay = 60, .patience = 600,
	.joins = {0.2, 0.3, 1, 0.3}, .crowd = 1000, .weight = {10, 5, 3, 1}, .ask_from = 120, .until = 1200},
};

static void
test_crowds(uint64 seed)
{
	for (int i = 0; i < (int) lengthof(scenarios); i++)
	{
		Outcome		outcome = crowd_model_run(&scenarios[i], seed + i);

		printf("# %s: %d waits of 30 to %.0f s, median error %.1f %%, %.0f %% within the 90 %% figure\n",
			   scenarios[i].name, outcome.asked, outcome.longest, 100 * outcome.error, 100 * outcome.within);
		ok(outcome.asked >= 100 && outcome.untold == 0, "%s: waits were told", scenarios[i].name);
		ok(outcome.error < 0.1, "%s: the median error is below 10 %%", scenarios[i].name);
		ok(outcome.within > 0.75, "%s: the 90 %% figure holds", scenarios[i].name);
	}
}

int
main(int argc, char **argv)
{
	uint64		seed = tap_seed(argc, argv, 20260103);

	test_crowds(seed);
	return tap_done();
}
