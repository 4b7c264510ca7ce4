/*
 * checks.c
 *		What has to hold of one queue after a run: the list of checks, and those
 *		that compare what was told with what is in the table.
 */
#include "checks.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "checks_time.h"

void
verdict_say(Verdict *verdict, bool holds, const char *format,...)
{
	va_list		args;

	verdict->holds = holds;
	va_start(args, format);
	vsnprintf(verdict->figures, sizeof(verdict->figures), format, args);
	va_end(args);
}

/* ---- evidence ---- */

int64_t
default_burst(int64_t rate_per_minute)
{
	return rate_per_minute / 600 > 1 ? rate_per_minute / 600 : 1;
}

void
evidence_index(Evidence *evidence)
{
	evidence->row_by_id = idmap_make();
	for (int i = 0; i < evidence->n_rows; i++)
		(void) idmap_add(evidence->row_by_id, &evidence->rows[i].id, i);
}

void
evidence_forget(Evidence *evidence)
{
	idmap_free(evidence->row_by_id);
	evidence->row_by_id = NULL;
}

static const Row *
row_of(const Evidence *evidence, const Record *record)
{
	int			index = idmap_find(evidence->row_by_id, &record->id);

	return index >= 0 ? &evidence->rows[index] : NULL;
}

/* ---- sessions ---- */

/* Every join that was answered is in the table exactly once, as answered, and nothing else is. */
static void
check_joined(const Evidence *evidence, Verdict *verdict)
{
	const Ledger *ledger = evidence->ledger;
	int			answered = 0;
	int			missing = 0;
	int			differing = 0;
	int			unknown = 0;
	int			twice = 0;

	for (int i = 0; i < ledger->n_records; i++)
	{
		const Record *record = &ledger->records[i];
		const Row  *row = row_of(evidence, record);

		if (record->answered_at == 0)
			continue;
		answered++;
		if (row == NULL)
			missing++;
		else if (!uuid_equal(&row->user_id, &record->user_id) ||
				 row->ticket != record->ticket || row->lane != record->lane)
			differing++;
	}
	for (int i = 0; i < evidence->n_rows; i++)
	{
		const Record *record = ledger_find(ledger, &evidence->rows[i].id);

		if (idmap_find(evidence->row_by_id, &evidence->rows[i].id) != i)
			twice++;
		else if (record == NULL || record->answered_at == 0)
			unknown++;
	}
	verdict_say(verdict, missing + differing + unknown + twice == 0,
				"%d answered, %d in the table; %d missing, %d differing, %d never answered, %d twice",
				answered, evidence->n_rows, missing, differing, unknown, twice);
}

bool
times_fit(const Row *row)
{
	bool		ended = row->left_at != 0;
	bool		served = row->served_at != 0;
	bool		called = row->ready_at != 0;
	int64_t		times[] = {row->joined_at, row->ready_at, row->served_at, row->extended_at, row->left_at};
	int64_t		latest = 0;

	if (row->joined_at == 0 || ended == status_is_live(row->status))
		return false;
	for (int t = 0; t < 5; t++)
	{
		if (times[t] != 0 && times[t] < latest)
			return false;
		latest = times[t] != 0 ? times[t] : latest;
	}
	if (row->extended_at != 0 && !served)
		return false;
	switch (row->status)
	{
		case WAITING:
		case ABANDONED:
			return !served && !called;
		case READY:
		case NO_SHOW:
			return called && !served;
		case SERVING:
		case COMPLETED:
		case EXPIRED:
			return served;
		default:
			return true;
	}
}

/* Every session is in exactly one status, and its times fit that. */
static void
check_status(const Evidence *evidence, Verdict *verdict)
{
	int			counts[STATUSES] = {0};
	int			misfits = 0;
	int			length = 0;
	char		list[200] = "";

	for (int i = 0; i < evidence->n_rows; i++)
	{
		counts[evidence->rows[i].status]++;
		if (!times_fit(&evidence->rows[i]))
			misfits++;
	}
	for (int s = 0; s < STATUSES; s++)
		if (counts[s] > 0)
			length += snprintf(list + length, sizeof(list) - length, "%d %s, ",
							   counts[s], status_names[s]);
	verdict_say(verdict, misfits == 0, "%s%d with times that do not fit", list, misfits);
}

/* All is over: nobody is left waiting or inside, and each ended as it was answered. */
static void
check_ended(const Evidence *evidence, Verdict *verdict)
{
	int			live = 0;
	int			differing = 0;
	int			unanswered = 0;

	for (int i = 0; i < evidence->n_rows; i++)
	{
		const Row  *row = &evidence->rows[i];
		const Record *record = ledger_find(evidence->ledger, &row->id);

		if (status_is_live(row->status))
			live++;
		else if (record == NULL || !record->has_ended)
			unanswered++;
		else if (record->ended_as != row->status)
			differing++;
	}
	verdict_say(verdict, live + differing + unanswered == 0,
				"%d ended; %d still live, %d other than answered, %d ended without having asked",
				evidence->n_rows - live, live, differing, unanswered);
}

/* A user who joins again gets the session it has. */
static void
check_rejoined(const Evidence *evidence, Verdict *verdict)
{
	const Ledger *ledger = evidence->ledger;
	int			other = 0;

	for (int i = 0; i < ledger->n_rejoins; i++)
		if (!uuid_equal(&ledger->rejoins[i].had, &ledger->rejoins[i].got))
			other++;
	verdict_say(verdict, other == 0, "%d joins by users who had joined; %d got another session",
				ledger->n_rejoins, other);
}

/* Nobody with the same priority as all others ever moves back. */
static void
check_positions(const Evidence *evidence, Verdict *verdict)
{
	const Ledger *ledger = evidence->ledger;
	int			grown = 0;
	int64_t		worst = 0;

	for (int i = 0; i < ledger->n_records; i++)
	{
		int64_t		growth = ledger->records[i].worst_growth;

		if (growth > 0)
			grown++;
		if (growth > worst)
			worst = growth;
	}
	verdict_say(verdict, grown == 0, "%d sessions moved back, the worst by %lld", grown,
				(long long) worst);
}

/* ---- events ---- */

/* How the events of one kind fit the table. */
typedef struct EventCount
{
	int			due;			/* sessions of the table that had to be told of */
	int			heard;
	int			missing;
	int			repeated;
	int			untrue;			/* no such session, or not in that status */
	int			differing;		/* another user, ticket or status */
} EventCount;

static bool
event_agrees(const Record *record, const Row *row)
{
	return !record->event_differs && uuid_equal(&record->event_user_id, &row->user_id) &&
		record->event_ticket == row->ticket;
}

static void
count_events(EventCount *count, const Record *record, const Row *row, int events, bool due)
{
	count->heard += events;
	if (events > 0 && !due)
		count->untrue++;
	else if (events > 1)
		count->repeated++;
	else if (events == 1 && !event_agrees(record, row))
		count->differing++;
}

static void
say_events(Verdict *verdict, const EventCount *count)
{
	verdict_say(verdict,
				count->missing + count->repeated + count->untrue + count->differing == 0,
				"%d heard of %d in the table; %d missing, %d repeated, %d untrue, %d differing",
				count->heard, count->due, count->missing, count->repeated, count->untrue,
				count->differing);
}

/* Every release in the table was told of exactly once, and no others. */
static void
check_released_events(const Evidence *evidence, Verdict *verdict)
{
	EventCount	count = {0};

	for (int i = 0; i < evidence->ledger->n_records; i++)
	{
		const Record *record = &evidence->ledger->records[i];
		const Row  *row = row_of(evidence, record);

		count_events(&count, record, row, record->released_events, row && row->served_at != 0);
	}
	for (int i = 0; i < evidence->n_rows; i++)
	{
		const Record *record = ledger_find(evidence->ledger, &evidence->rows[i].id);

		if (evidence->rows[i].served_at == 0)
			continue;
		count.due++;
		if (record == NULL || record->released_events == 0)
			count.missing++;
	}
	say_events(verdict, &count);
}

/* Likewise every end, with its status. */
static void
check_ended_events(const Evidence *evidence, Verdict *verdict)
{
	EventCount	count = {0};

	for (int i = 0; i < evidence->ledger->n_records; i++)
	{
		const Record *record = &evidence->ledger->records[i];
		const Row  *row = row_of(evidence, record);

		count_events(&count, record, row, record->ended_events, row && row->left_at != 0);
		if (row && record->ended_events == 1 && event_agrees(record, row) &&
			record->ended_event_status != row->status)
			count.differing++;
	}
	for (int i = 0; i < evidence->n_rows; i++)
	{
		const Record *record = ledger_find(evidence->ledger, &evidence->rows[i].id);

		if (evidence->rows[i].left_at == 0)
			continue;
		count.due++;
		if (record == NULL || record->ended_events == 0)
			count.missing++;
	}
	say_events(verdict, &count);
}

/* ---- the server ---- */

/* No request failed, no answer came with a notice, no event was malformed. */
static void
check_answers(const Evidence *evidence, Verdict *verdict)
{
	verdict_say(verdict, evidence->refused + evidence->notices + evidence->malformed == 0,
				"%d refused, %d notices, %lld malformed events",
				evidence->refused, evidence->notices, (long long) evidence->malformed);
}

/* vqueue.check() finds memory and tables the same. */
static void
check_memory(const Evidence *evidence, Verdict *verdict)
{
	verdict_say(verdict, evidence->differences == 0, "%d differences", evidence->differences);
}

/* ---- the list ---- */

typedef struct Check
{
	const char *name;
	const char *claim;
	void		(*run) (const Evidence *evidence, Verdict *verdict);
} Check;

static const Check checks[] = {
	{"answers", "every request was answered without error or notice, every event well formed",
	check_answers},
	{"joined", "every answered join is in the table exactly once, and nothing else is",
	check_joined},
	{"rejoined", "who joined again got the same session", check_rejoined},
	{"status", "every session has one status, and times that fit it", check_status},
	{"ended", "everybody came in or walked away, and ended as answered", check_ended},
	{"tickets", "no ticket was given twice", check_tickets},
	{"arrival", "tickets follow the order of arrival", check_arrival},
	{"order", "nobody was let in past an earlier ticket of the same lane", check_order},
	{"positions", "nobody's position ever grew", check_positions},
	{"rate", "releases in any window stay within burst + rate * window", check_rate},
	{"cap", "never more inside at once than the cap", check_cap},
	{"released", "every release was announced exactly once", check_released_events},
	{"ends", "every end was announced exactly once, with its status", check_ended_events},
	{"memory", "vqueue.check() finds memory as the tables say", check_memory},
};

int
checks_count(void)
{
	return sizeof(checks) / sizeof(checks[0]);
}

const char *
check_name(int check)
{
	return checks[check].name;
}

void
check_run(int check, const Evidence *evidence, Verdict *verdict)
{
	verdict->claim = checks[check].claim;
	verdict->holds = false;
	checks[check].run(evidence, verdict);
}
