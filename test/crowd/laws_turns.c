/*
 * laws_turns.c
 *		The law of a storm about lanes with weights: each has its share.
 *
 * While somebody surely stands in a lane, it gains its weight with every turn and pays
 * at most all weights for one of its own, and what it may owe or save up is bounded.
 * So in any window of turns it has at least its share of them, less a few, whatever
 * the other lanes do: nobody starves.  Where all lanes are occupied that also bounds
 * each from above.
 */
#include "laws_time.h"
#include "laws_ways.h"

#include <stdlib.h>

#include "checks_time.h"
#include "samples.h"

/* Turns that a lane may be behind its share: it may owe one, save up one, and wait for each other lane's. */
#define SLACK	3

/* A session that was about to be ended may have been passed over as locked, as of this long before. */
#define LOCKING (SECOND / 10)

typedef struct Turn
{
	int64_t		at;
	Lane		lane;
} Turn;

/* While one setting was surely the only one in force. */
typedef struct Reign
{
	const Setting *setting;
	int64_t		from;
	int64_t		to;
} Reign;

/* Since when and until when somebody surely stood in a lane: each sorted. */
typedef struct Cover
{
	Samples		from;
	Samples		to;
} Cover;

typedef struct Shares
{
	int			turns;			/* judged, of all lanes */
	int			starved;
	double		furthest;		/* behind, in turns */
} Shares;

static int
by_turn(const void *a, const void *b)
{
	return compare_numbers(((const Turn *) a)->at, ((const Turn *) b)->at);
}

static Reign
get_reign(const Settings *turns, int i)
{
	Reign		reign = {&turns->list[i], turns->list[i].from, turns->list[i].to};

	for (int j = 0; j < turns->n; j++)
	{
		const Setting *other = &turns->list[j];

		if (j == i || other->to < other->from)
			continue;			/* never in force */
		if (j < i && other->to > reign.from)
			reign.from = other->to;
		if (j > i && other->from < reign.to)
			reign.to = other->from;
	}
	return reign;
}

static Turn *
get_turns(const Case *it, int queue, int *n)
{
	const Visits *visits = &it->visits[queue];
	Turn	   *turns = get_memory(visits->n * sizeof(Turn));

	*n = 0;
	for (int v = 0; v < visits->n; v++)
		if (row_let_in_at(visits->list[v].row) != 0)
			turns[(*n)++] = (Turn) {row_let_in_at(visits->list[v].row), visits->list[v].row->lane};
	qsort(turns, *n, sizeof(Turn), by_turn);
	return turns;
}

static void
get_covers(const Case *it, int queue, Cover *covers)
{
	int			n;
	Stand	   *stands = stands_of(it, queue, &n);

	for (int i = 0; i < n; i++)
	{
		int64_t		to = stands[i].seen_to == NEVER ? stands[i].to : stands[i].to - LOCKING;
		Cover	   *cover = &covers[stands[i].key >> 61];

		if (to <= stands[i].from)
			continue;
		samples_add(&cover->from, stands[i].from);
		samples_add(&cover->to, to);
	}
	free(stands);
	for (int lane = 0; lane < LANES; lane++)
	{
		samples_sort(&covers[lane].from);
		samples_sort(&covers[lane].to);
	}
}

static int
sum_of_weights(const Setting *setting)
{
	int			sum = 0;

	for (int lane = 0; lane < LANES; lane++)
		sum += setting->weights[lane];
	return sum;
}

/*
 * Find the window of turns in which a lane is furthest behind: of those, one after
 * the other, at which somebody surely stands in it and stays.  Turns of one moment
 * are in no order that we know, so a window has all of them or none.  After a restart,
 * in which the listener has lost its connection, turns begin anew.
 */
static void
look_at_lane(const Book *book, const BookQueue *queue, const Reign *reign, const Turn *turns, int n, int lane,
			 const Cover *cover, Shares *shares)
{
	int64_t		sum = sum_of_weights(reign->setting);
	int64_t		behind = 0;
	int			begun = 0;
	int			ended = 0;

	for (int i = 0; i < n;)
	{
		int64_t		at = turns[i].at;
		int64_t		step = 0;
		int			first = i;

		for (; i < n && turns[i].at == at; i++)
			step += reign->setting->weights[lane] - ((int) turns[i].lane == lane ? sum : 0);
		while (begun < cover->from.n && cover->from.values[begun] < at)
			begun++;
		while (ended < cover->to.n && cover->to.values[ended] <= at)
			ended++;
		if (at <= reign->from || at >= reign->to || begun == ended || queue_may_pass(queue, at, at) ||
			(first > 0 && spans_touch(&book->away, turns[first - 1].at, at)))
		{
			behind = 0;
			continue;
		}
		shares->turns += i - first;
		behind = behind + step > 0 ? behind + step : 0;
		if ((double) behind / sum > shares->furthest)
			shares->furthest = (double) behind / sum;
		if (behind > SLACK * sum)
		{
			shares->starved++;
			behind = 0;
		}
	}
}

void
law_turns(const Case *it, Verdict *verdict)
{
	Shares		shares = {0};

	for (int q = 0; q < it->book->n_queues; q++)
	{
		const BookQueue *queue = &it->book->queues[q];
		Cover		covers[LANES] = {0};
		int			n;
		Turn	   *turns = get_turns(it, q, &n);

		get_covers(it, q, covers);
		for (int s = 0; s < queue->turns.n; s++)
		{
			Reign		reign = get_reign(&queue->turns, s);

			for (int lane = 0; lane < LANES && setting_is_weighted(reign.setting) && reign.from < reign.to; lane++)
				look_at_lane(it->book, queue, &reign, turns, n, lane, &covers[lane], &shares);
		}
		for (int lane = 0; lane < LANES; lane++)
		{
			samples_free(&covers[lane].from);
			samples_free(&covers[lane].to);
		}
		free(turns);
	}
	verdict_say(verdict, shares.starved == 0,
				"%d turns of lanes in which somebody stood, furthest behind their share by %.2f; %d times too far",
				shares.turns, shares.furthest, shares.starved);
}
