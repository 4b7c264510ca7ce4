/*
 * violations.c
 *		Tests that each check catches what it is there for.
 *
 * Each test makes a right run, spoils one thing in it, and wants exactly the
 * named checks to fail: a check that sees nothing fails the test, and so does
 * one that sees ghosts.
 */
#include "violations.h"

#include <stdio.h>
#include <string.h>

#include "tap.h"
#include "world.h"

#define SESSIONS 300

/* Somewhere in the middle of the run, where many wait. */
#define MIDDLE 150

typedef struct Violation
{
	const char *what;
	const char *caught_by;		/* names of checks, in their order; "" if it is none */
	void		(*spoil) (World *world);
} Violation;

/* ---- answers ---- */

static void
refuse_request(World *world)
{
	world->evidence.refused = 1;
}

static void
give_notice(World *world)
{
	world->evidence.notices = 1;
}

static void
garble_event(World *world)
{
	world->evidence.malformed = 1;
}

/* ---- sessions ---- */

static void
lose_row(World *world)
{
	world->evidence.n_rows--;
}

static void
repeat_row(World *world)
{
	world->rows[world->n] = world->rows[world_find_walker(world, 0)];
	world->evidence.n_rows++;
}

static void
invent_row(World *world)
{
	Row		   *row = &world->rows[world->n];

	*row = world->rows[world_find_walker(world, 0)];
	row->id.bytes[0] ^= 1;
	row->ticket = world->n + 1;
	world->evidence.n_rows++;
}

static void
swap_user(World *world)
{
	world->rows[MIDDLE].user_id.bytes[0] ^= 1;
}

static void
swap_lane(World *world)
{
	world->rows[world->n - 1].lane = LOW;
}

static void
answer_other_ticket(World *world)
{
	world->ledger->records[world->n - 1].ticket += 1000;
}

static void
rejoin_elsewhere(World *world)
{
	world->ledger->rejoins[1].got = world->rows[0].id;
}

static void
leave_before_served(World *world)
{
	Row		   *row = &world->rows[world_find_served(world, MIDDLE)];

	row->left_at = row->served_at - 1;
}

static void
serve_before_joined(World *world)
{
	Row		   *row = &world->rows[world_find_served(world, MIDDLE)];

	row->joined_at = row->served_at + 1;
}

static void
live_with_end(World *world)
{
	world->rows[world_find_served(world, MIDDLE)].status = SERVING;
}

static void
stay_for_ever(World *world)
{
	Row		   *row = &world->rows[world->n - 1];

	row->status = SERVING;
	row->left_at = 0;
}

static void
end_otherwise(World *world)
{
	world->ledger->records[MIDDLE].ended_as = EXPIRED;
}

static void
end_unasked(World *world)
{
	world->ledger->records[MIDDLE].has_ended = false;
}

static void
move_back(World *world)
{
	world_see(world, MIDDLE, 40);
	world_see(world, MIDDLE, 41);
}

/* ---- tickets and order ---- */

static void
repeat_ticket(World *world)
{
	world->rows[world->n - 1].ticket = world->rows[world->n - 2].ticket;
}

static void
answer_ticket_twice(World *world)
{
	world->ledger->records[world->n - 1].ticket = world->ledger->records[world->n - 2].ticket;
}

static void
overtake_at_arrival(World *world)
{
	Record	   *late = &world->ledger->records[MIDDLE];
	const Record *next = &world->ledger->records[MIDDLE + 1];

	late->asked_at = next->answered_at + 1;
	late->answered_at = next->answered_at + 2;
}

static void
disorder_batch(World *world)
{
	world->ledger->records[3].place_in_batch = 4;
	world->ledger->records[4].place_in_batch = 3;
}

/* Who comes in when is exchanged, so that rate and cap are as before. */
static void
exchange_times(World *world, int a, int b)
{
	Row			kept = world->rows[a];

	world->rows[a].served_at = world->rows[b].served_at;
	world->rows[a].left_at = world->rows[b].left_at;
	world->rows[b].served_at = kept.served_at;
	world->rows[b].left_at = kept.left_at;
}

static void
pass_by(World *world)
{
	int			a = world_find_served(world, MIDDLE);

	exchange_times(world, a, world_find_served(world, a + 1));
}

/* One who walked away walks long after later ones were let in, and known to be. */
static void
pass_by_walker(World *world)
{
	int			walker = world_find_walker(world, MIDDLE);

	world->ledger->records[walker].leave_asked_at += SECOND;
	world->rows[walker].left_at += SECOND;
}

/*
 * Both asked to leave when the next one's release had been stamped and was
 * not known yet: the order may be either.
 */
static void
leave_during_release(World *world)
{
	int			walker = world_find_walker(world, MIDDLE);
	Row		   *row = &world->rows[walker];
	int			next = world_find_served(world, walker);

	world->ledger->records[walker].leave_asked_at = world->rows[next].served_at + 1;
	row->left_at = world->rows[next].served_at + 2;
}

/* ---- rate and cap ---- */

/* The first one beyond the burst, a microsecond too early. */
static void
release_early(World *world)
{
	int			i = world_find_served(world, world->evidence.burst);

	world->rows[i].served_at--;
}

/* The rate may be 1 a minute more or less only. */
static void
slow_down(World *world)
{
	world->evidence.rate_per_minute -= 60;
}

static void
lower_burst(World *world)
{
	world->evidence.burst--;
}

/* Somebody stays until just after another took the slot. */
static void
outstay(World *world)
{
	for (int i = 0; i < world->n; i++)
		for (int j = i + 1; j < world->n; j++)
			if (world->rows[i].served_at != 0 && world->rows[i].left_at == world->rows[j].served_at)
			{
				world->rows[i].left_at++;
				return;
			}
	die("the made-up run never uses its cap to the full");
}

static void
lower_cap(World *world)
{
	world->evidence.cap--;
}

/* ---- events ---- */

static void
announce_twice(World *world)
{
	const Row  *row = &world->rows[world_find_served(world, MIDDLE)];

	world_hear(world, RELEASED_EVENT, row, row->served_at);
}

static void
announce_never(World *world)
{
	world->ledger->records[world_find_served(world, MIDDLE)].released_events = 0;
}

static void
announce_walker(World *world)
{
	const Row  *row = &world->rows[world_find_walker(world, MIDDLE)];

	world_hear(world, RELEASED_EVENT, row, row->left_at);
}

static void
announce_stranger(World *world)
{
	Row			row = world->rows[MIDDLE];

	row.id.bytes[0] ^= 1;
	world_hear(world, RELEASED_EVENT, &row, row.joined_at);
}

static void
announce_other_ticket(World *world)
{
	Row			row = world->rows[world_find_served(world, MIDDLE)];
	Record	   *record = ledger_find(world->ledger, &row.id);

	record->ended_events = 0;
	row.ticket++;
	world_hear(world, ENDED_EVENT, &row, row.left_at);
}

static void
end_twice(World *world)
{
	world_hear(world, ENDED_EVENT, &world->rows[MIDDLE], world->rows[MIDDLE].left_at);
}

static void
end_never(World *world)
{
	world->ledger->records[MIDDLE].ended_events = 0;
}

static void
end_as_other(World *world)
{
	world->ledger->records[MIDDLE].ended_event_status = REMOVED;
}

static void
differ_in_memory(World *world)
{
	world->evidence.differences = 1;
}

static void
change_nothing(World *world)
{
	(void) world;
}

static const Violation violations[] = {
	{"a right run", "", change_nothing},
	{"a refused request", "answers", refuse_request},
	{"a notice", "answers", give_notice},
	{"a malformed event", "answers", garble_event},
	{"a lost row", "joined released ends", lose_row},
	{"a row twice", "joined tickets", repeat_row},
	{"a row that nobody asked for", "joined ended ends", invent_row},
	{"a row of another user", "joined released ends", swap_user},
	{"a row in another lane", "joined", swap_lane},
	{"an answer with another ticket", "joined", answer_other_ticket},
	{"a second session for one user", "rejoined", rejoin_elsewhere},
	{"an end before the release", "status", leave_before_served},
	{"a release before the join", "status", serve_before_joined},
	{"a live session with an end", "status ended ends", live_with_end},
	{"a session that never ends", "ended ends", stay_for_ever},
	{"another end than answered", "ended", end_otherwise},
	{"an end without having asked", "ended", end_unasked},
	{"a position that grows", "positions", move_back},
	{"a ticket twice in the table", "joined tickets released ends", repeat_ticket},
	{"a ticket twice in the answers", "joined tickets arrival", answer_ticket_twice},
	{"a ticket before one answered earlier", "arrival", overtake_at_arrival},
	{"tickets out of order in one statement", "arrival", disorder_batch},
	{"a later ticket let in first", "order", pass_by},
	{"a later ticket let in before one that left afterwards", "order", pass_by_walker},
	{"leaving while the next release is under way", "", leave_during_release},
	{"a release a microsecond too early", "rate", release_early},
	{"one release a second more than the rate", "rate", slow_down},
	{"a burst of one more", "rate", lower_burst},
	{"a slot taken a microsecond too early", "cap", outstay},
	{"one inside more than the cap", "cap", lower_cap},
	{"a release announced twice", "released", announce_twice},
	{"a release never announced", "released", announce_never},
	{"a release announced that was none", "released", announce_walker},
	{"a release announced of an unknown session", "released", announce_stranger},
	{"an event with another ticket", "released ends", announce_other_ticket},
	{"an end announced twice", "ends", end_twice},
	{"an end never announced", "ends", end_never},
	{"an end announced with another status", "ends", end_as_other},
	{"a difference between memory and table", "memory", differ_in_memory},
};

/* The names of the checks that fail, in their order. */
static void
list_failing(const Evidence *evidence, char *list, size_t size)
{
	size_t		length = 0;

	list[0] = '\0';
	for (int c = 0; c < checks_count(); c++)
	{
		Verdict		verdict;

		check_run(c, evidence, &verdict);
		if (!verdict.holds)
			length += snprintf(list + length, size - length, "%s%s", length > 0 ? " " : "", check_name(c));
	}
}

static void
test_violation(const Violation *violation)
{
	World	   *world = world_make(SESSIONS, 1);
	char		failing[500];

	violation->spoil(world);
	evidence_index(&world->evidence);
	list_failing(&world->evidence, failing, sizeof(failing));
	tap(strcmp(failing, violation->caught_by) == 0, "%s: caught by %s", violation->what,
		violation->caught_by[0] ? violation->caught_by : "none");
	if (strcmp(failing, violation->caught_by) != 0)
		tap_note("it was caught by: %s", failing);
	evidence_forget(&world->evidence);
	world_free(world);
}

/* No check is without a violation that it catches. */
static void
test_all_can_fail(void)
{
	for (int c = 0; c < checks_count(); c++)
	{
		bool		can_fail = false;

		for (size_t v = 0; v < sizeof(violations) / sizeof(violations[0]); v++)
			if (strstr(violations[v].caught_by, check_name(c)) != NULL)
				can_fail = true;
		tap(can_fail, "check %s has a violation to catch", check_name(c));
	}
}

void
test_violations(void)
{
	for (size_t v = 0; v < sizeof(violations) / sizeof(violations[0]); v++)
		test_violation(&violations[v]);
	test_all_can_fail();
}
