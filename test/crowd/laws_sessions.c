/*
 * laws_sessions.c
 *		The laws of a storm about sessions: nobody is lost, and nobody is there twice.
 */
#include "laws_sessions.h"

#include <stdlib.h>
#include <string.h>

#include "checks_time.h"

/* ---- I1: nobody lost ---- */

typedef struct Losses
{
	int			told;			/* of the first that are amiss all is told */
	int			rows;
	int			missing;
	int			differing;
	int			undead;			/* rolled back, and there */
	int			unasked;
	int			misfits;		/* times that do not fit the status */
	int			otherwise;		/* in another status than answered */
	int			orders;
} Losses;

/* Users of a queue, by an id that is made of both. */
static Uuid
user_of_queue(int queue, const Uuid *user)
{
	Uuid		key = *user;

	key.bytes[0] ^= queue & 0xff;
	key.bytes[1] ^= queue >> 8;
	return key;
}

/* How many joins of each user have an outcome that is not known; index by user. */
static int *
count_unknown(const Book *book, IdMap *users)
{
	int		   *unknown = get_memory(book->n_joins * sizeof(int));

	for (int j = 0; j < book->n_joins; j++)
	{
		Uuid		key = user_of_queue(book->joins[j].queue, &book->joins[j].user);

		if (book->joins[j].deed.outcome != UNKNOWN)
			continue;
		(void) idmap_add(users, &key, j);
		unknown[idmap_find(users, &key)]++;
	}
	return unknown;
}

static bool
was_answered_open(const Session *session)
{
	return session->answered && session->known_at == NEVER;
}

/* Rows that nobody was told of as committed must be of somebody whose answer was lost. */
static void
look_for_ghosts(const Case *it, Losses *losses)
{
	const Book *book = it->book;
	IdMap	   *users = idmap_make();
	int		   *unknown = count_unknown(book, users);

	for (int q = 0; q < book->n_queues; q++)
		for (int r = 0; r < book->queues[q].n_rows; r++)
		{
			const Row  *row = &book->queues[q].rows[r];
			int			session = idmap_find(book->by_id, &row->id);
			Uuid		key = user_of_queue(q, &row->user_id);
			int			index = idmap_find(users, &key);

			losses->rows++;
			if (session >= 0 && book->sessions[session].known_at != NEVER)
				continue;
			if (index >= 0 && unknown[index] > 0)
				unknown[index]--;
			else if (session >= 0 && was_answered_open(&book->sessions[session]))
				losses->undead++;
			else
				losses->unasked++;
		}
	free(unknown);
	idmap_free(users);
}

/* The lane that a row must have as answered; -1 if that is not known. */
static int
lane_of(const Case *it, int session)
{
	int			moves = 0;
	int			lane = it->book->sessions[session].lane;

	for (int t = it->first_touch[session]; t < it->first_touch[session + 1]; t++)
	{
		const Touch *touch = &it->book->touches[it->touches[t]];

		if (!verb_moves(touch->verb) || touch->deed.outcome == ROLLED_BACK ||
			(touch->deed.outcome == COMMITTED && !touch->changed))
			continue;
		lane = touch->lane;
		if (++moves > 1 || touch->deed.outcome == UNKNOWN)
			return -1;
	}
	return lane;
}

static Status
status_after(Verb verb)
{
	return verb == V_LEAVE ? LEFT : verb == V_COMPLETE ? COMPLETED : REMOVED;
}

/* Whether a row is in the status that all answers together leave possible. */
static bool
status_as_answered(const Case *it, int session, const Row *row)
{
	bool		explained = status_is_live(row->status);
	bool		unsure = false;
	bool		otherwise = false;
	int64_t		began = 0;
	int64_t		known = 0;
	int			n;
	const Visit *visits = case_visits(it, session, &n);

	/* Only what was answered since it was readmitted counts. */
	if (it->patchy[session])
		return true;
	if (n > 1)
	{
		began = visits[n - 1].begun_at;
		known = visits[n - 1].from;
	}
	/* Whether that was in time is another law's. */
	explained |= row->status == ABANDONED || row->status == NO_SHOW || row->status == EXPIRED;
	for (int t = it->first_touch[session]; t < it->first_touch[session + 1]; t++)
	{
		const Touch *touch = &it->book->touches[it->touches[t]];

		if (!verb_ends(touch->verb) || touch->deed.outcome == ROLLED_BACK || deed_end(&touch->deed) < began)
			continue;
		if (touch->deed.outcome == UNKNOWN || touch->deed.asked_at < known)
		{
			unsure = true;
			explained |= status_after(touch->verb) == row->status;
		}
		else if (touch->status != row->status)
			otherwise = true;
		else
			explained = true;
	}
	/* Who found it ended already did so only if that was sure. */
	if (otherwise && !(unsure && status_is_live(row->status)))
		return false;
	return explained;
}

static void
lose_one(const Case *it, int session, Losses *losses, int *count)
{
	(*count)++;
	if (losses->told++ < 2)
		case_tell(it, session);
}

static void
look_at_sessions(const Case *it, Losses *losses)
{
	for (int s = 0; s < it->book->n_sessions; s++)
	{
		const Session *session = &it->book->sessions[s];
		const Row  *row = case_row(it, s);
		int			lane;

		if (session->known_at == NEVER)
			continue;
		if (row == NULL)
		{
			if (!book_may_be_lost(it->book, s))
				lose_one(it, s, losses, &losses->missing);
			continue;
		}
		lane = lane_of(it, s);
		if (session->differs || session->ticket != row->ticket ||
			!uuid_equal(&session->user, &row->user_id) || (lane >= 0 && lane != (int) row->lane))
			lose_one(it, s, losses, &losses->differing);
		if (!times_fit(row))
			lose_one(it, s, losses, &losses->misfits);
		else if (!status_as_answered(it, s, row))
			lose_one(it, s, losses, &losses->otherwise);
	}
}

static void
look_at_orders(const Book *book, Losses *losses)
{
	int			found = 0;

	for (int o = 0; o < book->n_orders; o++)
	{
		const Order *order = &book->orders[o];
		bool		there = idmap_find(book->orders_found, &order->id) >= 0;

		found += there;
		if (order->deed.outcome != UNKNOWN && there != (order->deed.outcome == COMMITTED))
			losses->orders++;
	}
	losses->orders += abs(book->n_orders_found - found);
}

void
law_nobody_lost(const Case *it, Verdict *verdict)
{
	Losses		losses = {0};

	look_for_ghosts(it, &losses);
	look_at_sessions(it, &losses);
	look_at_orders(it->book, &losses);
	verdict_say(verdict, losses.missing + losses.differing + losses.undead + losses.unasked +
				losses.misfits + losses.otherwise + losses.orders == 0,
				"%d sessions of %d joins; %d missing, %d differing, %d rolled back but there, "
				"%d never asked for, %d with times that do not fit, %d in another status than answered; "
				"%d orders, %d amiss", losses.rows, it->book->n_joins, losses.missing, losses.differing,
				losses.undead, losses.unasked, losses.misfits, losses.otherwise, it->book->n_orders,
				losses.orders);
}

/* ---- I2: nobody twice ---- */

typedef struct Issued
{
	int			queue;
	int64_t		ticket;
} Issued;

static int
by_issue(const void *a, const void *b)
{
	const Issued *x = a;
	const Issued *y = b;

	return x->queue != y->queue ? x->queue - y->queue : compare_numbers(x->ticket, y->ticket);
}

/* Tickets issued twice, to sessions that were rolled back too. */
static int
count_tickets_twice(const Book *book, int *n)
{
	Issued	   *issued;
	int			twice = 0;

	*n = 0;
	for (int q = 0; q < book->n_queues; q++)
		*n += book->queues[q].n_rows;
	issued = get_memory((*n + book->n_sessions) * sizeof(Issued));
	*n = 0;
	for (int s = 0; s < book->n_sessions; s++)
		if (book->sessions[s].queue >= 0)
			issued[(*n)++] = (Issued) {book->sessions[s].queue, book->sessions[s].ticket};
	for (int q = 0; q < book->n_queues; q++)
		for (int r = 0; r < book->queues[q].n_rows; r++)
			if (idmap_find(book->by_id, &book->queues[q].rows[r].id) < 0)
				issued[(*n)++] = (Issued) {q, book->queues[q].rows[r].ticket};
	qsort(issued, *n, sizeof(Issued), by_issue);
	for (int i = 1; i < *n; i++)
		twice += by_issue(&issued[i - 1], &issued[i]) == 0;
	free(issued);
	return twice;
}

typedef struct Claim
{
	Uuid		user;			/* with the queue in it */
	int64_t		at;
	int			join;			/* -1: a live row of the end */
} Claim;

static int
by_claim(const void *a, const void *b)
{
	const Claim *x = a;
	const Claim *y = b;
	int			order = memcmp(&x->user, &y->user, sizeof(Uuid));

	return order != 0 ? order : compare_numbers(x->at, y->at);
}

/*
 * Whether a session surely was live while a join of its user went on.  Who ends
 * it in a transaction and joins anew has another one, even if all of that is
 * rolled back later.
 */
static bool
surely_lives(const Case *it, int session, const Deed *join)
{
	const Row  *row = case_row(it, session);

	/* A timeout may have ended it, more than once if it was readmitted. */
	if (row != NULL && (row->status == ABANDONED || row->status == NO_SHOW || row->status == EXPIRED) &&
		row->left_at <= join->answered_at)
		return false;
	for (int t = it->first_touch[session]; t < it->first_touch[session + 1]; t++)
	{
		const Touch *touch = &it->book->touches[it->touches[t]];

		if (touch->verb == V_READMIT)
			return false;
		if (verb_ends(touch->verb) && touch->deed.asked_at <= join->answered_at &&
			(touch->deed.outcome != ROLLED_BACK || deed_end(&touch->deed) >= join->asked_at))
			return false;
	}
	return true;
}

/* Joins that were answered with another session than the one that the user surely had. */
static int
count_second_sessions(const Case *it, int *again)
{
	const Book *book = it->book;
	Claim	   *claims = get_memory(book->n_joins * sizeof(Claim));
	int			n = 0;
	int			second = 0;

	*again = 0;
	for (int j = 0; j < book->n_joins; j++)
		if (book->joins[j].deed.answered_at != 0 && book->joins[j].session >= 0)
			claims[n++] = (Claim) {user_of_queue(book->joins[j].queue, &book->joins[j].user),
			book->joins[j].deed.asked_at, j};
	qsort(claims, n, sizeof(Claim), by_claim);
	for (int i = 1; i < n; i++)
		for (int k = i - 1; k >= 0 && k > i - 20 && uuid_equal(&claims[k].user, &claims[i].user); k--)
		{
			const Join *late = &book->joins[claims[i].join];
			const Join *early = &book->joins[claims[k].join];

			*again += k == i - 1;
			if (early->session != late->session && early->deed.outcome == COMMITTED &&
				early->deed.ended_at < late->deed.asked_at &&
				surely_lives(it, early->session, &late->deed))
			{
				if (second++ == 0)
				{
					case_tell(it, early->session);
					case_tell(it, late->session);
				}
				break;
			}
		}
	free(claims);
	return second;
}

static int
count_live_twice(const Book *book)
{
	int			twice = 0;

	for (int q = 0; q < book->n_queues; q++)
	{
		const BookQueue *queue = &book->queues[q];
		IdMap	   *users = idmap_make();

		for (int r = 0; r < queue->n_rows; r++)
			if (status_is_live(queue->rows[r].status) && !idmap_add(users, &queue->rows[r].user_id, r))
				twice++;
		for (int i = 0; i < queue->n_snapshots; i++)
			twice += queue->snapshots[i].doubles > 0;
		idmap_free(users);
	}
	return twice;
}

/* Answers by which somebody came in at a time at which no visit did. */
static int
count_served_otherwise(const Case *it)
{
	const Book *book = it->book;
	int			otherwise = 0;

	for (int i = 0; i < book->n_servings; i++)
	{
		int			session = book->servings[i].session;
		bool		found = false;
		int			n;
		const Visit *visits = case_visits(it, session, &n);

		for (int v = 0; v < n; v++)
			found |= visits[v].row->served_at == book->servings[i].served_at;
		if (n > 0 && !found && !it->patchy[session] && book->sessions[session].known_at != NEVER &&
			otherwise++ == 0)
			case_tell(it, session);
	}
	return otherwise;
}

void
law_nobody_twice(const Case *it, Verdict *verdict)
{
	int			again;
	int			tickets;
	int			tickets_twice = count_tickets_twice(it->book, &tickets);
	int			second = count_second_sessions(it, &again);
	int			live = count_live_twice(it->book);
	int			released = count_served_otherwise(it);

	verdict_say(verdict, tickets_twice + second + live + released == 0,
				"%d tickets, %d issued twice; %d joined again, %d with a second session, "
				"%d times two live ones; %d released twice",
				tickets, tickets_twice, again, second, live, released);
}
