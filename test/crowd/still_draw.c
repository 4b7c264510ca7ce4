/*
 * still_draw.c
 *		Queues that open with a draw: people come before, then it is held, and in
 *		the end it is recomputed.
 */
#include <stdio.h>
#include <string.h>

#include "still_inside.h"

/* How many come in each lane, and how many of them in joins that are rolled back. */
#define GATHERED		20
#define GATHERED_IN_VAIN 3

/* Some join at once, as users whom nobody else joins. */
static void
join_some(Still *still, int queue, Lane lane, int n, bool in_vain)
{
	Book	   *book = still->storm->book;
	Random		random = random_start(still->storm->options->seed * 100 + queue * 10 + lane * 2 + in_vain);
	char		ids[GATHERED * UUID_TEXT + 2];
	const char *params[] = {book->queues[queue].name, ids, lane_names[lane]};
	int			joins[GATHERED];
	char	   *at = ids;
	PGresult   *result;
	int64_t		now = wall_time();

	for (int i = 0; i < n; i++)
	{
		Uuid		user = uuid_random(&random);

		*at++ = i == 0 ? '{' : ',';
		uuid_print(&user, at);
		at += strlen(at);
		joins[i] = book_join_asked(book, queue, &user, lane, now);
	}
	strcpy(at, "}");
	if (in_vain)
		still_tell(still, "BEGIN");
	result = still_ask(still, "SELECT " PLACE_COLUMNS " FROM vqueue.join_many($1, $2::uuid[], $3)", 3, params);
	now = wall_time();
	if (PQntuples(result) != n)
		die("%d came back of %d who joined", PQntuples(result), n);
	for (int i = 0; i < n; i++)
	{
		Place		place = place_read(result, i);

		book_join_answered(book, joins[i], &place, 0, now);
		book_was_alive(book);
	}
	PQclear(result);
	if (in_vain)
		still_tell(still, "ROLLBACK");
	for (int i = 0; i < n; i++)
		book_join_over(book, joins[i], in_vain ? ROLLED_BACK : COMMITTED, false, wall_time());
}

void
still_gather(Still *still, int queue)
{
	char		sql[300];
	const char *name = still->storm->book->queues[queue].name;

	snprintf(sql, sizeof(sql), "SELECT vqueue.prepare_draw('%s')", name);
	still_tell(still, sql);
	for (int lane = 0; lane < LANES; lane++)
	{
		/* What is lost in the middle of a transaction would go on outside of it. */
		if (!still->storm->options->faults)
			join_some(still, queue, lane, GATHERED_IN_VAIN, true);
		join_some(still, queue, lane, GATHERED, false);
	}
	snprintf(sql, sizeof(sql), "SELECT vqueue.set_draw_beacon('%s', 'seed %lld')", name,
			 (long long) still->storm->options->seed);
	still_tell(still, sql);
}

void
still_hold_draws(Still *still)
{
	Book	   *book = still->storm->book;
	Setting		open = {.open = true};

	for (int q = 0; q < book->n_queues; q++)
	{
		BookQueue  *queue = &book->queues[q];
		char		sql[300];
		int			change;

		if (storm_kind(still->storm->options, q) != DRAWN)
			continue;
		queue->drawn_from = wall_time();
		change = settings_asked(&queue->states, &open, queue->drawn_from);
		snprintf(sql, sizeof(sql), "SELECT vqueue.open('%s')", queue->name);
		still_tell(still, sql);
		queue->drawn_to = wall_time();
		settings_over(&queue->states, change, COMMITTED, queue->drawn_to);
	}
}

/* Each entrant's number in the list and place, and all that they follow from. */
void
still_verify_draws(Still *still)
{
	Book	   *book = still->storm->book;

	for (int q = 0; q < book->n_queues; q++)
	{
		const char *name = book->queues[q].name;
		PGresult   *result;

		if (book->queues[q].drawn_from == 0)
			continue;
		result = still_ask(still, "SELECT count(*), count(*) FILTER (WHERE v.verdict = 'right' AND v.number = e.number"
						   " AND v.place = e.place AND e.id_hash = encode(sha256(uuid_send(s.id)), 'hex'))"
						   " FROM vqueue.draw_entrants($1) e JOIN vqueue.queues q ON q.name = $1"
						   " JOIN vqueue.user_sessions s ON s.queue_id = q.id AND s.ticket = e.ticket,"
						   " LATERAL vqueue.verify_draw($1, s.id) v", 1, &name);
		book->draws_verified += number_field(result, 0, 0, 0);
		book->draws_wrong += number_field(result, 0, 0, 0) - number_field(result, 0, 1, 0);
		PQclear(result);
	}
}
