/*
 * laws_told.c
 *		The law of a storm about events: what a listener heard.
 */
#include "laws_told.h"

#include "checks_time.h"

typedef struct Heard
{
	int			due;
	int			excused;
	int			missing;
	int			repeated;
	int			untrue;
	int			differing;
} Heard;

/*
 * One session's events of one kind; of what they tell so many happened, from one
 * time to another.  False if something is amiss.
 */
static bool
count_heard(const Book *book, Heard *heard, const Session *session, int events, int happened,
			int64_t from, int64_t to)
{
	int64_t		seen = session->seen_serving_at > to ? session->seen_serving_at : to;

	if (session->known_at != NEVER && session->known_at > seen)
		seen = session->known_at;
	heard->due += happened;
	if (events == happened)
		return true;
	if (events > happened && happened > 0)
		heard->repeated++;
	else if (events > happened)
		heard->untrue++;
	else if (!spans_touch(&book->away, from, seen + EVENT_PATIENCE))
		heard->missing++;
	else
	{
		heard->excused++;
		return true;
	}
	return false;
}

/* What happened to a session in all its visits that is to be told. */
typedef struct Told
{
	int			releases;
	int			ends;
	int64_t		first_release;
	int64_t		last_release;
	int64_t		first_end;
	int64_t		last_end;
} Told;

static Told
to_be_told(const Case *it, int session)
{
	Told		told = {0};
	int			n;
	const Visit *visits = case_visits(it, session, &n);

	for (int v = 0; v < n; v++)
	{
		int64_t		let_in_at = row_let_in_at(visits[v].row);
		int64_t		left_at = visits[v].row->left_at;

		if (let_in_at != 0)
		{
			told.first_release = told.releases++ == 0 ? let_in_at : told.first_release;
			told.last_release = let_in_at;
		}
		if (left_at != 0)
		{
			told.first_end = told.ends++ == 0 ? left_at : told.first_end;
			told.last_end = left_at;
		}
	}
	return told;
}

static bool
was_heard(const Book *book, int events, int happened, int64_t from, int64_t to)
{
	return events >= happened || spans_touch(&book->away, from, to + EVENT_PATIENCE);
}

bool
laws_all_heard(const Book *book)
{
	Case		it = {0};
	bool		all = true;

	case_open(&it, book);
	for (int s = 0; s < book->n_sessions && all; s++)
	{
		const Session *session = &book->sessions[s];
		Told		told = to_be_told(&it, s);

		all = it.patchy[s] ||
			(was_heard(book, session->released_events, told.releases, told.first_release, told.last_release) &&
			 was_heard(book, session->ended_events, told.ends, told.first_end, told.last_end));
	}
	for (int q = 0; q < book->n_queues && all; q++)
		for (int v = 0; v < it.visits[q].n && all; v++)
		{
			const Visit *visit = &it.visits[q].list[v];
			int64_t		at = row_let_in_at(visit->row);

			all = visit->session >= 0 ||
				(was_heard(book, 0, at != 0, at, at) &&
				 was_heard(book, 0, visit->row->left_at != 0, visit->row->left_at, visit->row->left_at));
		}
	case_close(&it);
	return all;
}

void
law_events(const Case *it, Verdict *verdict)
{
	const Book *book = it->book;
	Heard		released = {0};
	Heard		ended = {0};
	int			differing = 0;
	int			unheard = 0;
	int			told = 0;

	for (int s = 0; s < book->n_sessions; s++)
	{
		const Session *session = &book->sessions[s];
		const Row  *row = case_row(it, s);
		Told		due = to_be_told(it, s);
		bool		right;

		if (it->patchy[s])
			continue;
		right = count_heard(book, &released, session, session->released_events, due.releases,
							due.first_release, due.last_release);
		right &= count_heard(book, &ended, session, session->ended_events, due.ends,
							 due.first_end, due.last_end);
		if (!right && told++ < 2)
			case_tell(it, s);
		differing += session->event_differs ||
			(row && row->left_at != 0 && session->ended_events == due.ends &&
			 session->ended_event_status != row->status);
	}
	for (int q = 0; q < book->n_queues; q++)
		for (int r = 0; r < book->queues[q].n_rows; r++)
		{
			const Row  *row = &book->queues[q].rows[r];

			if (idmap_find(book->by_id, &row->id) < 0 && row_let_in_at(row) != 0 &&
				!spans_touch(&book->away, row_let_in_at(row), row_let_in_at(row) + EVENT_PATIENCE))
				unheard++;
		}
	verdict_say(verdict, released.missing + released.repeated + released.untrue + ended.missing +
				ended.repeated + ended.untrue + differing + unheard + book->malformed == 0,
				"%d releases, %d while the listener was away; %d missing, %d repeated, %d untrue; "
				"%d ends, %d while away; %d missing, %d repeated, %d untrue; %d differing, %lld malformed",
				released.due, released.excused, released.missing + unheard, released.repeated,
				released.untrue, ended.due, ended.excused, ended.missing, ended.repeated, ended.untrue,
				differing, (long long) book->malformed);
}
