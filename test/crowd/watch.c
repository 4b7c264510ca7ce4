/*
 * watch.c
 *		Asks the server how the queue stands, follows one user in the line, and
 *		has the screen show it.
 */
#include "watch.h"

#include <stdlib.h>
#include <string.h>

/* The rate shown is that of the last so many samples: a second. */
#define RATE_SAMPLES 4

/* For so many paintings an example that has come in stays on the screen. */
#define LINGER 4

typedef struct Sample
{
	int64_t		at;
	int64_t		released;		/* in all */
} Sample;

struct Watch
{
	WatchPlan	plan;
	Crowd	   *crowd;
	Pool	   *pool;
	const Listener *listener;
	Screen	   *screen;
	int64_t		started_at;
	int64_t		next;
	bool		asking;			/* how the queue stands */
	bool		asking_example;
	Figures		figures;
	Sample		samples[RATE_SAMPLES + 1];	/* the newest first */
	int			n_samples;
	int64_t		longest;
	Uuid		example;		/* a session */
	int64_t		followed_since;
	int			linger;
};

enum
{
	QUEUE, SESSION, STATEMENTS
};

static const Statement statements[STATEMENTS] = {
	{"queue", "SELECT waiting, serving, released FROM vqueue.overview WHERE queue = $1", 1},
	{"session", "SELECT " PLACE_COLUMNS " FROM vqueue.status($1)", 1}
};

Watch *
watch_make(const WatchPlan *plan, Crowd *crowd, Pool *pool, const Listener *listener,
		   Screen *screen)
{
	Watch	   *watch = get_memory(sizeof(Watch));

	watch->plan = *plan;
	watch->crowd = crowd;
	watch->pool = pool;
	watch->listener = listener;
	watch->screen = screen;
	watch->figures.cap = plan->cap;
	watch->figures.limit = plan->rate_per_minute / 60.0;
	watch->figures.trace_seconds = plan->trace_seconds;
	pool_prepare(pool, statements, STATEMENTS);
	return watch;
}

void
watch_free(Watch *watch)
{
	free(watch);
}

void
watch_start(Watch *watch, int64_t now)
{
	watch->started_at = now;
	watch->next = now;
}

int64_t
watch_next(const Watch *watch)
{
	return watch->next;
}

/* ---- how the queue stands ---- */

static int64_t
number(const PGresult *result, int column)
{
	int64_t		value;

	if (!parse_number(PQgetvalue(result, 0, column), PQgetlength(result, 0, column), &value))
		return 0;				/* null: the server is still building its memory */
	return value;
}

static void
note_released(Watch *watch, int64_t released, int64_t at)
{
	const Sample *oldest;

	memmove(&watch->samples[1], &watch->samples[0], RATE_SAMPLES * sizeof(Sample));
	watch->samples[0].at = at;
	watch->samples[0].released = released;
	if (watch->n_samples < RATE_SAMPLES + 1)
		watch->n_samples++;
	oldest = &watch->samples[watch->n_samples - 1];
	if (at > oldest->at)
		watch->figures.released_a_second = (double) (released - oldest->released) * SECOND / (at - oldest->at);
}

static void
note_line(Figures *figures, int64_t waiting)
{
	if (figures->samples == SCREEN_HISTORY)
		memmove(&figures->line[0], &figures->line[1], --figures->samples * sizeof(int64_t));
	figures->line[figures->samples++] = waiting;
}

static void
queue_answered(void *owner, const Request *request, const PGresult *result)
{
	Watch	   *watch = owner;

	watch->asking = false;
	if (result == NULL || PQntuples(result) != 1)
		return;
	watch->figures.waiting = number(result, 0);
	watch->figures.serving = number(result, 1);
	note_released(watch, number(result, 2), request->answered_at);
	note_line(&watch->figures, watch->figures.waiting);
	if (watch->figures.waiting > watch->longest)
		watch->longest = watch->figures.waiting;
}

static void
ask_for_queue(Watch *watch)
{
	const char *params[] = {watch->plan.queue};

	watch->asking = true;
	pool_ask(watch->pool, &statements[QUEUE], params, 0, queue_answered, watch);
}

/* ---- the example ---- */

static void
example_answered(void *owner, const Request *request, const PGresult *result)
{
	Watch	   *watch = owner;
	Example    *example = &watch->figures.example;
	Place		place;

	watch->asking_example = false;
	if (result == NULL || PQntuples(result) != 1)
		return;
	place = place_read(result, 0);
	if (!status_is_live(place.status) || (!example->known && place.status != WAITING))
	{
		example->known = false; /* has walked away, is done already, or never waited for us */
		return;
	}
	if (!example->known)
		example->first_position = place.position;
	example->known = true;
	example->user_id = place.user_id;
	example->ticket = place.ticket;
	example->position = place.position;
	example->estimated_wait = place.estimated_wait;
	example->waited = request->answered_at - watch->followed_since;
}

static void
ask_for_example(Watch *watch)
{
	char		id[UUID_TEXT];
	const char *params[] = {uuid_print(&watch->example, id)};

	watch->asking_example = true;
	pool_ask(watch->pool, &statements[SESSION], params, 0, example_answered, watch);
}

/* Follow one until it has come in, and then the next one to have joined. */
static void
follow_example(Watch *watch)
{
	Example    *example = &watch->figures.example;

	if (watch->asking_example)
		return;
	if (example->known && example->position == 0 && watch->linger++ < LINGER)
		return;
	if (!example->known || example->position == 0)
	{
		watch->linger = 0;
		example->known = false;
		if (!crowd_find_waiting(watch->crowd, &watch->example))
			return;
		watch->followed_since = wall_time();
	}
	ask_for_example(watch);
}

/* ---- painting ---- */

void
watch_heard(Watch *watch, const Event *event)
{
	if (event->type == RELEASED_EVENT)
		watch->figures.released_heard += event->n_sessions;
	else if (event->type == ENDED_EVENT)
		watch->figures.ended_heard += event->n_sessions;
}

void
watch_go_on(Watch *watch, int64_t now)
{
	CrowdFigures crowd;

	if (now < watch->next)
		return;
	crowd = crowd_figures(watch->crowd);
	watch->figures.trace_second = (now - watch->started_at) * watch->plan.speed / SECOND;
	watch->figures.arrived = crowd.arrived;
	watch->figures.total = crowd.total;
	watch->figures.events = 0;
	for (int t = 0; t < EVENT_TYPES; t++)
		watch->figures.events += listener_events(watch->listener, t);
	screen_paint(watch->screen, &watch->figures, now);
	if (!watch->asking)
		ask_for_queue(watch);
	follow_example(watch);
	watch->next = now + SCREEN_INTERVAL;
}

int64_t
watch_longest_line(const Watch *watch)
{
	return watch->longest;
}
