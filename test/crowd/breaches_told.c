/*
 * breaches_told.c
 *		Breaches of the laws about what is told: events, the log of events, statistics;
 *		and about what the checks and the answers say.
 */
#include "breaches_inside.h"

#include <string.h>

/* ---- I7 ---- */

static void
tell_never(Weather *weather)
{
	weather->book->sessions[breach_served(weather)].released_events = 0;
}

static void
tell_while_away(Weather *weather)
{
	int64_t		at = breach_row(weather, breach_served(weather))->served_at;

	tell_never(weather);
	spans_add(&weather->book->away, at + 1000, at + 2000);
}

static void
tell_twice(Weather *weather)
{
	weather->book->sessions[breach_served(weather)].released_events = 2;
}

static void
tell_of_rolled_back(Weather *weather)
{
	weather->book->sessions[weather->book->joins[breach_rolled_back(weather)].session].released_events = 1;
}

static void
tell_of_other_ticket(Weather *weather)
{
	weather->book->sessions[breach_served(weather)].event_differs = true;
}

static void
end_never(Weather *weather)
{
	weather->book->sessions[breach_served(weather)].ended_events = 0;
}

static void
end_as_other(Weather *weather)
{
	weather->book->sessions[breach_served(weather)].ended_event_status = REMOVED;
}

static void
garble_event(Weather *weather)
{
	weather->book->malformed = 1;
}

/* ---- I16: the log ---- */

/* The line that tells of a session; the last one of that type if there are several. */
static Telling *
line_of(const Weather *weather, const Tellings *tellings, int session, EventType type)
{
	for (int i = tellings->n - 1; i >= 0; i--)
		if (tellings->list[i].type == type &&
			uuid_equal(&tellings->list[i].session.id, &weather->book->sessions[session].id))
			return &tellings->list[i];
	die("the made-up storm does not tell that");
}

static Telling *
logged(const Weather *weather, int session, EventType type)
{
	return line_of(weather, &weather->book->logged, session, type);
}

static Telling *
heard(const Weather *weather, int session, EventType type)
{
	return line_of(weather, &weather->book->heard, session, type);
}

static void
take_out(Tellings *tellings, Telling *line)
{
	memmove(line, line + 1, (&tellings->list[tellings->n] - (line + 1)) * sizeof(Telling));
	tellings->n--;
}

static void
log_again(Tellings *tellings, const Telling *line)
{
	Telling		again = *line;

	again.seq = tellings->list[tellings->n - 1].seq + 1;
	tellings->list = grow(tellings->list, tellings->n, &tellings->room, sizeof(Telling));
	tellings->list[tellings->n++] = again;
}

static void
log_never(Weather *weather)
{
	take_out(&weather->book->logged, logged(weather, breach_served(weather), RELEASED_EVENT));
}

static void
log_never_elsewhere(Weather *weather)
{
	log_never(weather);
	weather->book->log_read = false;
}

static void
log_twice(Weather *weather)
{
	log_again(&weather->book->logged, logged(weather, breach_served(weather), RELEASED_EVENT));
}

static void
log_as_end(Weather *weather)
{
	logged(weather, breach_served(weather), RELEASED_EVENT)->type = ENDED_EVENT;
}

static void
log_other_status(Weather *weather)
{
	logged(weather, breach_served(weather), ENDED_EVENT)->session.status = REMOVED;
}

static void
hear_never(Weather *weather)
{
	take_out(&weather->book->heard, heard(weather, breach_served(weather), RELEASED_EVENT));
}

static void
hear_while_away(Weather *weather)
{
	int64_t		at = breach_row(weather, breach_served(weather))->served_at;

	hear_never(weather);
	spans_add(&weather->book->away, at + 1000, at + 2000);
}

/* It was heard so as well. */
static void
log_end_first(Weather *weather)
{
	int			session = breach_served(weather);
	Status		status = breach_row(weather, session)->status;
	Telling    *release[] = {logged(weather, session, RELEASED_EVENT), heard(weather, session, RELEASED_EVENT)};
	Telling    *end[] = {logged(weather, session, ENDED_EVENT), heard(weather, session, ENDED_EVENT)};

	for (int i = 0; i < 2; i++)
	{
		release[i]->type = ENDED_EVENT;
		release[i]->session.status = status;
		end[i]->type = RELEASED_EVENT;
	}
}

static void
log_stranger(Weather *weather)
{
	int			session = weather->book->joins[breach_rolled_back(weather)].session;
	Telling		line = *logged(weather, breach_served(weather), RELEASED_EVENT);

	line.session.id = weather->book->sessions[session].id;
	log_again(&weather->book->logged, &line);
	log_again(&weather->book->heard, &line);
	weather->book->heard.list[weather->book->heard.n - 1].seq =
		weather->book->logged.list[weather->book->logged.n - 1].seq;
}

static void
log_other_ticket(Weather *weather)
{
	int			session = breach_served(weather);

	logged(weather, session, RELEASED_EVENT)->session.ticket++;
	heard(weather, session, RELEASED_EVENT)->session.ticket++;
}

static void
log_out_of_order(Weather *weather)
{
	int			session = breach_served(weather);
	Telling    *release = logged(weather, session, RELEASED_EVENT);
	Telling    *end = logged(weather, session, ENDED_EVENT);
	Telling		kept = *release;

	*release = *end;
	*end = kept;
}

static const Telling *
some_state(const Weather *weather)
{
	const Tellings *tellings = &weather->book->logged;

	for (int i = tellings->n - 1; i >= 0; i--)
		if (tellings->list[i].type == STATE_EVENT)
			return &tellings->list[i];
	die("the made-up storm changes no state");
}

static void
log_state_twice(Weather *weather)
{
	const Telling *state = some_state(weather);

	log_again(&weather->book->logged, state);
	log_again(&weather->book->heard, state);
	weather->book->heard.list[weather->book->heard.n - 1].seq =
		weather->book->logged.list[weather->book->logged.n - 1].seq;
}

/* It had been another one meanwhile, but not for long. */
static void
log_state_after_other(Weather *weather)
{
	const Telling *state = some_state(weather);
	Settings   *states = &weather->book->queues[state->queue].states;
	Setting		same = states->list[states->n - 1];
	Setting		other = same;

	other.open = !same.open;
	settings_over(states, settings_asked(states, &other, state->at + 1), COMMITTED, state->at + 2);
	settings_over(states, settings_asked(states, &same, state->at + 3), COMMITTED, state->at + 4);
	log_state_twice(weather);
	weather->book->logged.list[weather->book->logged.n - 1].at += 5;
}

static void
end_in_other_state(Weather *weather)
{
	weather->book->queues[some_state(weather)->queue].state = IS_DRAINING;
}

/* Who was readmitted; the end before that was never told, and so not counted. */
static void
lose_first_end(Weather *weather)
{
	int			session = breach_readmitted(weather);
	int			n;
	const Row  *row = case_visits(&weather->it, session, &n)->row;
	Tellings   *all[] = {&weather->book->logged, &weather->book->heard};

	for (int i = 0; i < 2; i++)
		for (int l = 0; l < all[i]->n; l++)
			if (all[i]->list[l].type == ENDED_EVENT && uuid_equal(&all[i]->list[l].session.id, &row->id))
			{
				take_out(all[i], &all[i]->list[l]);
				break;
			}
	weather->book->sessions[session].ended_events--;
	weather->book->queues[CALLING_QUEUE].figures[figure_of(row->status)]--;
}

static void
lose_with_server(Weather *weather)
{
	int			n;
	int64_t		at = case_visits(&weather->it, breach_readmitted(weather), &n)->row->left_at;

	lose_first_end(weather);
	spans_add(&weather->book->away, at + 1000, at + 2000);
}

/* ---- I17: statistics ---- */

static void
count_join_twice(Weather *weather)
{
	weather->book->queues[0].figures[JOINED_FIGURE]++;
}

static void
count_release_never(Weather *weather)
{
	weather->book->queues[WEIGHTED_QUEUE].figures[RELEASED_FIGURE]--;
}

static void
count_as_other(Weather *weather)
{
	weather->book->queues[CALLING_QUEUE].figures[EXPIRED_FIGURE]--;
	weather->book->queues[CALLING_QUEUE].figures[NO_SHOW_FIGURE]++;
}

static void
count_nothing(Weather *weather)
{
	count_join_twice(weather);
	weather->book->counted = false;
}

/* ---- the rest ---- */

static void
differ_in_memory(Weather *weather)
{
	weather->book->differences = 1;
}

static void
never_check(Weather *weather)
{
	weather->book->checks_made = 0;
}

static void
refuse(Weather *weather)
{
	weather->book->refused = 1;
}

static const Breach told[] = {
	{"a release never told", "I7", tell_never},
	{"a release told while nobody listened", "", tell_while_away},
	{"a release told twice", "I7", tell_twice},
	{"a release told that was rolled back", "I7", tell_of_rolled_back},
	{"an event with another ticket", "I7", tell_of_other_ticket},
	{"an end never told", "I7", end_never},
	{"an end told with another status", "I7", end_as_other},
	{"a malformed event", "I7", garble_event},
	{"a release that is not in the log", "I16", log_never},
	{"the same in the log of another server", "", log_never_elsewhere},
	{"a release that is in the log twice", "I16", log_twice},
	{"a release that the log calls an end", "I16", log_as_end},
	{"an end with another status in the log", "I16", log_other_status},
	{"a release that is in the log and was not heard", "I16", hear_never},
	{"the same while nobody listened", "", hear_while_away},
	{"an end in the log before the release", "I16", log_end_first},
	{"a release in the log that was rolled back", "I16", log_stranger},
	{"a release in the log with another ticket", "I16", log_other_ticket},
	{"a log that is out of order", "I16", log_out_of_order},
	{"a state in the log that is no change", "I16", log_state_twice},
	{"the same after another one that was over soon", "", log_state_after_other},
	{"another state than the log tells last", "I16", end_in_other_state},
	{"an end never told, logged or counted, before a readmission", "I7 I16 I17", lose_first_end},
	{"the same about the time that a server was lost", "", lose_with_server},
	{"a join that is counted twice", "I17", count_join_twice},
	{"a release that is not counted", "I17", count_release_never},
	{"an end that is counted as another", "I17", count_as_other},
	{"statistics that there are none of", "", count_nothing},
	{"a difference between memory and table", "I8", differ_in_memory},
	{"memory that was never checked", "I8", never_check},
	{"an error that may not be", "answers", refuse},
};

const Breach *
breaches_of_told(int *n)
{
	*n = sizeof(told) / sizeof(told[0]);
	return told;
}
