/*
 * laws_liveness.c
 *		The law of a storm that somebody comes in when somebody can.
 */
#include "laws_time.h"

#include <stdlib.h>

#include "checks_time.h"

/* Beside the time for a token: within so long somebody comes in. */
#define LIVENESS	SECOND

/* Around a time at which the machine stood still. */
#define AFTERMATH	SECOND

typedef enum What
{
	CAME_IN,					/* somebody was let in */
	STANDS,						/* one more, or less, surely waits */
	HELD,						/* one more, or less, may hold a slot */
	SET,						/* settings may have changed */
	EXCUSED						/* a reason not to judge begins, or ends */
} What;

typedef struct Happening
{
	int64_t		at;
	What		what;
	int			by;
} Happening;

typedef struct Course
{
	Happening  *list;
	int			n;
	int			room;
} Course;

static void
happen(Course *course, int64_t at, What what, int by)
{
	if (at == NEVER)
		return;
	course->list = grow(course->list, course->n, &course->room, sizeof(Happening));
	course->list[course->n++] = (Happening) {at, what, by};
}

static int
by_happening(const void *a, const void *b)
{
	return compare_numbers(((const Happening *) a)->at, ((const Happening *) b)->at);
}

/* By when the slot of a visit surely was free again; NEVER if it has not ended. */
static int64_t
freed_at(const Case *it, const Visit *visit)
{
	int			session = visit->session;
	const Row  *row = visit->row;
	const Session *of = &it->book->sessions[session];
	int64_t		freed = visit->revived_at;

	if (row->left_at == 0)
		return NEVER;
	if (freed != NEVER)
		return freed;
	/* That a timeout has ended it is told once it has. */
	if (row->status == of->ended_event_status && of->ended_heard_at >= row->left_at)
		freed = of->ended_heard_at;
	for (int t = it->first_touch[session]; t < it->first_touch[session + 1]; t++)
	{
		const Touch *touch = &it->book->touches[it->touches[t]];

		if (verb_ends(touch->verb) && touch->deed.outcome == COMMITTED &&
			deed_end(&touch->deed) >= row->left_at && deed_end(&touch->deed) < freed)
			freed = deed_end(&touch->deed);
	}
	return freed != NEVER ? freed : row->left_at + LINGERING;
}

/* Slots of those let in, and of joins that may have taken one before they were rolled back. */
static void
add_slots(const Case *it, int queue, Course *course)
{
	const Book *book = it->book;

	for (int v = 0; v < it->visits[queue].n; v++)
	{
		const Visit *visit = &it->visits[queue].list[v];
		int64_t		at = row_let_in_at(visit->row);

		if (at == 0 || visit->session < 0)
			continue;
		happen(course, at, CAME_IN, 1);
		happen(course, at, HELD, 1);
		happen(course, freed_at(it, visit), HELD, -1);
	}
	for (int j = 0; j < book->n_joins; j++)
	{
		const Join *join = &book->joins[j];

		if (join->queue != queue || join->deed.outcome == COMMITTED ||
			(join->session >= 0 && join->status != SERVING && join->status != READY))
			continue;
		happen(course, join->deed.asked_at, HELD, 1);
		happen(course, deed_end(&join->deed), HELD, -1);
	}
}

static void
add_settings(const Settings *settings, Course *course)
{
	for (int i = 0; i < settings->n; i++)
	{
		happen(course, settings->list[i].from, SET, 0);
		if (settings->list[i].to > settings->list[i].from)
			happen(course, settings->list[i].to, SET, 0);
	}
}

static Course
get_course(const Case *it, int queue)
{
	const BookQueue *of = &it->book->queues[queue];
	const Spans *stalled = &it->book->stalled;
	Course		course = {0};
	int			n;
	Stand	   *stands = stands_of(it, queue, &n);

	for (int i = 0; i < n; i++)
	{
		happen(&course, stands[i].from, STANDS, 1);
		happen(&course, stands[i].to, STANDS, -1);
	}
	free(stands);
	add_slots(it, queue, &course);
	add_settings(&of->limits, &course);
	add_settings(&of->states, &course);
	add_settings(&of->methods, &course);
	for (int i = 0; i < stalled->n; i++)
	{
		happen(&course, stalled->list[i].from, EXCUSED, 1);
		happen(&course, stalled->list[i].to + AFTERMATH, EXCUSED, -1);
	}
	happen(&course, 0, EXCUSED, 1);
	happen(&course, it->judged_from, EXCUSED, -1);
	happen(&course, it->judged_to, EXCUSED, 1);
	qsort(course.list, course.n, sizeof(Happening), by_happening);
	return course;
}

/* What surely was in force just after a time. */
typedef struct Surely
{
	int64_t		cap;
	int64_t		token;			/* time that one takes */
	bool		open;
	bool		passes;			/* past the cap */
} Surely;

static Surely
surely_after(const BookQueue *queue, int64_t at)
{
	Surely		surely = {NEVER, 0, true, queue->methods.n > 0};

	for (int i = 0; i < queue->limits.n; i++)
	{
		const Setting *setting = &queue->limits.list[i];

		if (setting->from > at || setting->to <= at)
			continue;
		if (setting->cap < surely.cap)
			surely.cap = setting->cap;
		if (MINUTE / setting->rate + 1 > surely.token)
			surely.token = MINUTE / setting->rate + 1;
	}
	for (int i = 0; i < queue->states.n; i++)
		if (queue->states.list[i].from <= at && queue->states.list[i].to > at &&
			!queue->states.list[i].open)
			surely.open = false;
	for (int i = 0; i < queue->methods.n; i++)
		if (queue->methods.list[i].from <= at && queue->methods.list[i].to > at &&
			!queue->methods.list[i].passes)
			surely.passes = false;
	return surely;
}

typedef struct Waits
{
	int			stalls;
	int64_t		longest;
	int64_t		judged;			/* time in which somebody could have been let in */
} Waits;

/* Look at each stretch in which somebody could have been let in all the time, and nobody was. */
static void
look_at_stretches(const BookQueue *queue, const Course *course, Waits *waits)
{
	int			standing = 0;
	int			held = 0;
	int			excuses = 0;
	Surely		surely = {0};
	int64_t		since = NEVER;	/* NEVER: nobody could be let in */
	int64_t		token = 0;		/* the longest that one took since then */

	for (int i = 0; i < course->n; i++)
	{
		const Happening *it = &course->list[i];
		bool		could;

		standing += it->what == STANDS ? it->by : 0;
		held += it->what == HELD ? it->by : 0;
		excuses += it->what == EXCUSED ? it->by : 0;
		if (it->what == SET)
			surely = surely_after(queue, it->at);
		could = standing > 0 && excuses == 0 && surely.open &&
			(held < surely.cap || surely.passes);
		if (since != NEVER && (!could || it->what == CAME_IN))
		{
			int64_t		wait = it->at - since;

			waits->judged += wait;
			waits->longest = wait > waits->longest ? wait : waits->longest;
			since = NEVER;
			if (wait > LIVENESS + token)
				waits->stalls++;
		}
		if (could && since == NEVER)
		{
			since = it->at;
			token = 0;
		}
		token = surely.token > token ? surely.token : token;
	}
}

void
law_liveness(const Case *it, Verdict *verdict)
{
	Waits		waits = {0};

	for (int q = 0; q < it->book->n_queues; q++)
	{
		Course		course;

		course = get_course(it, q);
		look_at_stretches(&it->book->queues[q], &course, &waits);
		free(course.list);
	}
	verdict_say(verdict, waits.stalls == 0,
				"%d stalls; longest wait %.3f s, in %.1f s of queues that could let somebody in",
				waits.stalls, (double) waits.longest / SECOND, (double) waits.judged / SECOND);
}
