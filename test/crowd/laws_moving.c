/*
 * laws_moving.c
 *		The law of positions: what they may do while the line moves.
 *
 * Between two answers a position may have grown by as many as may have come to
 * stand ahead meanwhile: those who joined a higher lane, or where places are random the
 * same, and those who were moved into a higher lane or into the same.  A place counts from when it is taken,
 * so joins that were rolled back count as well.  A draw places all anew, once.
 */
#include "laws_moving.h"

#include <stdio.h>
#include <stdlib.h>

#include "checks_time.h"
#include "samples.h"

/* When places ahead of somebody in a lane may have been taken: beginnings and ends, each sorted. */
typedef struct Entries
{
	Samples		begins;
	Samples		ends;
} Entries;

/* By when a place was taken, if it was. */
static int64_t
taken_by(const Deed *deed)
{
	return deed->answered_at != 0 ? deed->answered_at : deed_end(deed);
}

static void
add_entry(Entries *lanes, int lane, bool same_lane, const Deed *deed)
{
	for (int behind = same_lane ? lane : lane + 1; behind < LANES; behind++)
	{
		samples_add(&lanes[behind].begins, deed->asked_at);
		samples_add(&lanes[behind].ends, taken_by(deed));
	}
}

/* Whether a newcomer may have come to stand ahead of others of its lane. */
static bool
may_be_random(const Book *book, const Join *join)
{
	return settings_any(&book->queues[join->queue].methods, join->deed.asked_at, taken_by(&join->deed),
						setting_is_random);
}

/* For each queue, and each lane of it. */
static Entries *
collect_entries(const Book *book)
{
	Entries    *entries = get_memory(book->n_queues * LANES * sizeof(Entries));

	for (int j = 0; j < book->n_joins; j++)
	{
		const Join *join = &book->joins[j];

		add_entry(&entries[join->queue * LANES], join->lane, may_be_random(book, join), &join->deed);
	}
	for (int t = 0; t < book->n_touches; t++)
	{
		const Touch *touch = &book->touches[t];

		/* Who is readmitted comes to stand ahead of those who joined later, in a lane that may not be known. */
		if (verb_moves(touch->verb) || touch->verb == V_READMIT)
			add_entry(&entries[book->sessions[touch->session].queue * LANES],
					  verb_moves(touch->verb) ? touch->lane :
					  touch->deed.answered_at != 0 ? touch->past.lane : VIP, true, &touch->deed);
	}
	for (int i = 0; i < book->n_queues * LANES; i++)
	{
		samples_sort(&entries[i].begins);
		samples_sort(&entries[i].ends);
	}
	return entries;
}

static void
free_entries(const Book *book, Entries *entries)
{
	for (int i = 0; i < book->n_queues * LANES; i++)
	{
		samples_free(&entries[i].begins);
		samples_free(&entries[i].ends);
	}
	free(entries);
}

/* How many values are less than a limit. */
static int
count_below(const Samples *samples, int64_t limit)
{
	int			low = 0;
	int			high = samples->n;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (samples->values[middle] < limit)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int
count_entries(const Entries *entries, int64_t from, int64_t to)
{
	return count_below(&entries->begins, to + 1) - count_below(&entries->ends, from);
}

/*
 * The lowest lane that a session may have been in between two times; -1 if it may have
 * been moving, or have come back.
 */
static int
lowest_lane(const Case *it, int session, int64_t from, int64_t to)
{
	int			lane = it->book->sessions[session].lane;

	for (int t = it->first_touch[session]; t < it->first_touch[session + 1]; t++)
	{
		const Touch *touch = &it->book->touches[it->touches[t]];

		if (!verb_moves(touch->verb) && touch->verb != V_READMIT)
			continue;
		if (touch->deed.asked_at <= to && deed_end(&touch->deed) >= from)
			return -1;
		if (verb_moves(touch->verb) && (int) touch->lane > lane && touch->deed.outcome != ROLLED_BACK)
			lane = touch->lane;
	}
	return lane;
}

static const Reading *all_readings;

static int
by_session(const void *a, const void *b)
{
	const Reading *x = &all_readings[*(const int *) a];
	const Reading *y = &all_readings[*(const int *) b];

	if (x->session != y->session)
		return x->session - y->session;
	return compare_numbers(x->asked_at, y->asked_at);
}

static bool
was_readmitted(const Case *it, int session, int64_t from, int64_t to)
{
	for (int t = it->first_touch[session]; t < it->first_touch[session + 1]; t++)
	{
		const Touch *touch = &it->book->touches[it->touches[t]];

		if (touch->verb == V_READMIT && touch->deed.asked_at <= to && deed_end(&touch->deed) >= from)
			return true;
	}
	return false;
}

/* Whether the queue had its draw between two answers: places of before have nothing to do with those of after. */
static bool
was_drawn_between(const BookQueue *queue, const Reading *early, const Reading *late)
{
	return queue->drawn_from != 0 && early->asked_at <= queue->drawn_to && late->answered_at >= queue->drawn_from;
}

/* Whether the later answer is more than the earlier one allows. */
static bool
grew(const Case *it, const Entries *entries, const Reading *early, const Reading *late)
{
	const Session *session = &it->book->sessions[early->session];
	int			lane;

	if (late->position <= early->position)
		return false;
	lane = lowest_lane(it, early->session, early->asked_at, late->answered_at);
	if (early->position == 0)
		return !was_readmitted(it, early->session, early->asked_at, late->answered_at);

	if (was_drawn_between(&it->book->queues[session->queue], early, late))
		return false;

	/* In turns by weight others may come to stand ahead without anybody's doing. */
	if (settings_any(&it->book->queues[session->queue].turns, early->asked_at, late->answered_at,
					 setting_is_weighted))
		return false;
	return lane >= 0 && late->position - early->position >
		count_entries(&entries[session->queue * LANES + lane], early->asked_at, late->answered_at);
}

static void
tell_growth(const Case *it, const Reading *early, const Reading *late)
{
	if (it->silent)
		return;
	printf("# position %lld from %lld to %lld, then %lld from %lld to %lld\n",
		   (long long) early->position, (long long) early->asked_at, (long long) early->answered_at,
		   (long long) late->position, (long long) late->asked_at, (long long) late->answered_at);
	case_tell(it, early->session);
}

/* How many positions grew; compared is how many pairs were looked at. */
static int
count_grown(const Case *it, const Entries *entries, int *compared)
{
	const Book *book = it->book;
	int		   *order = get_memory(book->n_readings * sizeof(int));
	int			n = 0;
	int			grown = 0;

	*compared = 0;
	for (int r = 0; r < book->n_readings; r++)
		if (book->readings[r].position >= 0 && case_row(it, book->readings[r].session) != NULL)
			order[n++] = r;
	all_readings = book->readings;
	qsort(order, n, sizeof(int), by_session);
	for (int i = 1; i < n; i++)
	{
		const Reading *late = &book->readings[order[i]];

		for (int k = i - 1; k >= 0 && k >= i - 4; k--)
		{
			const Reading *early = &book->readings[order[k]];

			if (early->session != late->session)
				break;
			if (early->answered_at > late->asked_at)
				continue;
			(*compared)++;
			if (grew(it, entries, early, late) && grown++ == 0)
				tell_growth(it, early, late);
			break;
		}
	}
	free(order);
	return grown;
}

void
law_positions(const Case *it, Verdict *verdict)
{
	Entries    *entries = collect_entries(it->book);
	int			compared;
	int			grown = count_grown(it, entries, &compared);

	free_entries(it->book, entries);
	verdict_say(verdict, it->book->still_wrong + grown == 0,
				"%lld compared with a count, %lld wrong; %d with the one before, %d grown",
				(long long) it->book->still_compared, (long long) it->book->still_wrong, compared, grown);
}
