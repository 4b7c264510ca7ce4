/*
 * laws_ways.c
 *		The laws of a storm about claims, about who may join, and about the clock.
 *
 * Whether a queue calls, refuses or lets all in is decided under the lock of its
 * memory at the very time that the row has, so what surely was in force at that time
 * must show.
 */
#include "laws_ways.h"

#include "checks_time.h"

/* By when a change must have been made that the clock brings, unless the machine stood still. */
#define CLOCK_PATIENCE	(2 * SECOND)

/* ---- I11: claims ---- */

static bool
calls(const Setting *setting)
{
	return setting->claim_timeout > 0;
}

static bool
calls_not(const Setting *setting)
{
	return setting->claim_timeout == 0;
}

/* Whether somebody may have claimed a slot at just this time. */
static bool
may_have_claimed(const Case *it, int session, int64_t at)
{
	for (int t = it->first_touch[session]; t < it->first_touch[session + 1]; t++)
	{
		const Touch *touch = &it->book->touches[it->touches[t]];

		if (touch->verb == V_CLAIM && touch->deed.outcome != ROLLED_BACK &&
			touch->deed.asked_at <= at && deed_end(&touch->deed) >= at)
			return true;
	}
	return false;
}

/* Claims that were answered, and that no visit knows of. */
static int
count_lost_claims(const Case *it, int *claims)
{
	int			lost = 0;

	for (int t = 0; t < it->book->n_touches; t++)
	{
		const Touch *touch = &it->book->touches[t];
		bool		found = false;
		int			n;
		const Visit *visits = case_visits(it, touch->session, &n);

		if (touch->verb != V_CLAIM || touch->deed.outcome != COMMITTED || touch->deed.answered_at == 0)
			continue;
		(*claims)++;
		for (int v = 0; v < n; v++)
			found |= visits[v].row->served_at == touch->served_at && touch->served_at != 0;
		if (!found && n > 0 && !it->patchy[touch->session] && lost++ == 0)
			case_tell(it, touch->session);
	}
	return lost;
}

void
law_claims(const Case *it, Verdict *verdict)
{
	int			claims = 0;
	int			lost = count_lost_claims(it, &claims);
	int			called = 0;
	int			unclaimed = 0;
	int			miscalled = 0;

	for (int q = 0; q < it->book->n_queues; q++)
	{
		const Settings *graces = &it->book->queues[q].graces;

		for (int v = 0; v < it->visits[q].n; v++)
		{
			const Visit *visit = &it->visits[q].list[v];
			const Row  *row = visit->row;
			int64_t		at = row_let_in_at(row);
			bool		amiss = false;

			called += row->ready_at != 0;
			if (at != 0 && graces->n > 0 &&
				!settings_any(graces, at, at, row->ready_at != 0 ? calls : calls_not))
			{
				miscalled++;
				amiss = true;
			}
			if (row->ready_at != 0 && row->served_at != 0 && visit->session >= 0 &&
				it->book->sessions[visit->session].known_at != NEVER &&
				!may_have_claimed(it, visit->session, row->served_at))
			{
				unclaimed++;
				amiss = true;
			}
			if (amiss && unclaimed + miscalled == 1 && visit->session >= 0)
				case_tell(it, visit->session);
		}
	}
	verdict_say(verdict, lost + unclaimed + miscalled == 0,
				"%d called, %d claims; %d claims without effect, %d came in without one, "
				"%d called, or not, other than set", called, claims, lost, unclaimed, miscalled);
}

/* ---- I13: doors ---- */

static bool
is_closed(const Setting *setting)
{
	return !setting->open;
}

static bool
passes_not(const Setting *setting)
{
	return !setting->passes;
}

static bool
surely_shut(const BookQueue *queue, int64_t from, int64_t to)
{
	return (queue->states.n > 0 && !settings_any(&queue->states, from, to, setting_admits)) ||
		(queue->methods.n > 0 && !settings_any(&queue->methods, from, to, setting_admits));
}

static bool
may_be_shut(const BookQueue *queue, int64_t from, int64_t to)
{
	return settings_any(&queue->states, from, to, setting_is_shut) ||
		settings_any(&queue->methods, from, to, setting_is_shut);
}

static bool
surely_passes(const BookQueue *queue, int64_t from, int64_t to)
{
	return queue->methods.n > 0 && !settings_any(&queue->methods, from, to, passes_not) &&
		!settings_any(&queue->states, from, to, is_closed);
}

typedef struct Doors
{
	int			joined;
	int			refused;
	int			passed;
	int			intruders;
	int			shut_out;
	int			kept;			/* waiting, where all come in at once */
} Doors;

/* The join that made a session, if this is the one. */
static void
look_at_joiner(const Case *it, const Join *join, Doors *doors)
{
	const BookQueue *queue = &it->book->queues[join->queue];
	const Row  *row = case_row(it, join->session);
	int64_t		joined_at = row != NULL ? row->joined_at : 0;
	const Visit *visits;
	int			n;

	if (row == NULL || joined_at < join->deed.asked_at || joined_at > deed_end(&join->deed))
		return;
	doors->joined++;
	visits = case_visits(it, join->session, &n);
	if (surely_shut(queue, join->deed.asked_at, joined_at))
	{
		if (doors->intruders++ == 0)
			case_tell(it, join->session);
	}
	if (surely_passes(queue, join->deed.asked_at, joined_at))
	{
		doors->passed++;
		if (!it->patchy[join->session] && row_let_in_at(visits[0].row) != joined_at && doors->kept++ == 0)
			case_tell(it, join->session);
	}
}

void
law_doors(const Case *it, Verdict *verdict)
{
	Doors		doors = {0};

	for (int j = 0; j < it->book->n_joins; j++)
	{
		const Join *join = &it->book->joins[j];

		if (join->session >= 0)
			look_at_joiner(it, join, &doors);
		if (!join->shut_out)
			continue;
		doors.refused++;
		doors.shut_out += !may_be_shut(&it->book->queues[join->queue], join->deed.asked_at, deed_end(&join->deed));
	}
	verdict_say(verdict, doors.intruders + doors.shut_out + doors.kept == 0,
				"%d joined, %d of them where they were refused; %d were refused, %d of them elsewhere; "
				"%d joined where all pass, %d of them waited", doors.joined, doors.intruders, doors.refused,
				doors.shut_out, doors.passed, doors.kept);
}

/* ---- I14: the clock ---- */

void
law_clock(const Case *it, Verdict *verdict)
{
	int			moments = 0;
	int			early = 0;
	int			late = 0;
	int64_t		latest = 0;

	for (int q = 0; q < it->book->n_queues; q++)
		for (int m = 0; m < it->book->queues[q].n_moments; m++)
		{
			const Moment *moment = &it->book->queues[q].moments[m];
			int64_t		until = moment->done_at != 0 ? moment->done_at : moment->seen_at;

			moments++;
			early += moment->done_at != 0 && (moment->done_at < moment->at || moment->seen_at < moment->at);
			if (moment->at < it->judged_from || moment->at + CLOCK_PATIENCE > it->judged_to ||
				spans_touch(&it->book->stalled, moment->at - SECOND, moment->at + CLOCK_PATIENCE))
				continue;
			late += until > moment->at + CLOCK_PATIENCE;
			latest = until - moment->at > latest ? until - moment->at : latest;
		}
	verdict_say(verdict, early + late == 0, "%d moments; %d early, %d late; the latest after %.3f s",
				moments, early, late, (double) latest / SECOND);
}
