/*
 * reaper.c
 *		Ending sessions whose time is up: a step of the worker.
 *
 * What memory says is where to look; whether a lease has run out the statement
 * asks the row again.  Those who wait are looked through no more often than the
 * most silent of them could run out of time.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mark.h"
#include "miscadmin.h"
#include "reaper.h"
#include "statement.h"
#include "table.h"
#include "trial.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

/* When to look again at rows that were locked (microseconds). */
#define LOCKED_DELAY	USECS_PER_SEC

/* Whose time may be up, and what becomes of them. */
typedef struct Rule
{
	VqKind		kind;
	VqKind		except;
	VqStatus	from;
	VqStatus	to;
} Rule;

static const Rule rules[] = {
	{VQ_CALLED, VQ_KINDS, VQ_IS_READY, VQ_NO_SHOW},
	{VQ_INSIDE, VQ_CALLED, VQ_SERVING, VQ_EXPIRED},
	{VQ_LANE_VIP, VQ_INSIDE, VQ_WAITING, VQ_ABANDONED},
	{VQ_LANE_HIGH, VQ_INSIDE, VQ_WAITING, VQ_ABANDONED},
	{VQ_LANE_NORMAL, VQ_INSIDE, VQ_WAITING, VQ_ABANDONED},
	{VQ_LANE_LOW, VQ_INSIDE, VQ_WAITING, VQ_ABANDONED},
};

int64
vq_reap_due(const VqQueue *queue)
{
	for (int r = 0; r < (int) lengthof(rules); r++)
		if (queue->line.count[rules[r].kind] > 0 &&
			(vq_timeout(&queue->settings, rules[r].from, false) > 0 ||
			 (vq_has_trial(&queue->settings) && vq_timeout(&queue->settings, rules[r].from, true) > 0)))
			return queue->reap_at;
	return VQ_NEVER;
}

/*
 * When the most silent one of those who were looked at will be found silent.  Silences
 * grow when a new span of marks begins, all at once: to look between is to look late.
 */
static int64
next_look(const VqSilence *silence)
{
	int64		rest = silence->limit + VQ_MARK_SECONDS - silence->longest;
	int64		spans = Max((rest + VQ_MARK_SECONDS - 1) / VQ_MARK_SECONDS, 1);

	return (silence->second / VQ_MARK_SECONDS + spans) * VQ_MARK_SECONDS * USECS_PER_SEC;
}

/* Whom a rule is applied to at a time: all, or those on trial, or the others. */
typedef struct Party
{
	int64		timeout;		/* 0: nobody's time is ever up */
	const VqShare *share;		/* NULL: all */
	bool		others;
} Party;

static Party
party_of(const VqSettings *settings, const Rule *rule, bool on_trial)
{
	Party		party = {vq_timeout(settings, rule->from, on_trial), NULL, !on_trial};

	if (vq_has_trial(settings))
		party.share = &settings->trial.share;
	return party;
}

/*
 * The tickets of a rule that memory finds silent, at most n; *next is when there
 * may be more, unless that many were found.
 */
static int
find_silent(VqQueue *queue, const Rule *rule, const Party *party, int64 *tickets, int n, int64 *next)
{
	VqNow		now = vq_now();
	VqSilence	silence = {rule->kind, rule->except, now.mono / USECS_PER_SEC};
	int64		chunk[VQ_CHUNK];
	int			found = 0;

	silence.limit = (party->timeout + USECS_PER_SEC - 1) / USECS_PER_SEC;
	silence.next = 1;
	silence.share = party->share;
	silence.others = party->others;
	while (silence.next > 0 && found < n)
	{
		int			more;

		/* A chunk at a time, so that others come in between. */
		LWLockAcquire(&queue->lock, LW_SHARED);
		more = vq_mark_silent(&queue->line, vq_arena(), &silence, chunk);
		LWLockRelease(&queue->lock);
		memcpy(tickets + found, chunk, Min(more, n - found) * sizeof(int64));
		found += Min(more, n - found);
		CHECK_FOR_INTERRUPTS();
	}
	if (found < n)
		*next = Min(*next, next_look(&silence));
	return found;
}

/* End those of the tickets whose rows say so too; how many. */
static int
end_silent(const pg_uuid_t *id, const Rule *rule, int64 timeout, const int64 *tickets, int n)
{
	Datum	   *elements = palloc(n * sizeof(Datum));
	TimestampTz now = vq_now().wall;
	Datum		values[6];
	VqCaller	caller;
	int			ended;
	int			level = vq_force_index_plans();

	for (int i = 0; i < n; i++)
		elements[i] = Int64GetDatum(tickets[i]);
	values[0] = UUIDPGetDatum(id);
	values[1] = PointerGetDatum(construct_array(elements, n, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	values[2] = CStringGetTextDatum(vq_status_names[rule->from]);
	values[3] = CStringGetTextDatum(vq_status_names[rule->to]);

	/* Signs of life are in no row; that of a waiting one says nothing against its end. */
	values[4] = TimestampTzGetDatum(rule->from == VQ_WAITING ? DT_NOEND : now - timeout);
	values[5] = TimestampTzGetDatum(now);
	ended = vq_execute(VQ_END_SILENT, values, NULL, &caller);
	vq_executed(&caller);
	AtEOXact_GUC(true, level);
	pfree(elements);
	return ended;
}

/* How many of at most so many were found; *next becomes when to look again at the latest. */
static int
reap_party(VqQueue *queue, const pg_uuid_t *id, const Rule *rule, const Party *party, int64 *tickets, int room,
		   int64 *next)
{
	int			found;
	int			ended;

	if (party->timeout == 0 || room == 0)
		return 0;
	found = find_silent(queue, rule, party, tickets, room, next);
	ended = found > 0 ? end_silent(id, rule, party->timeout, tickets, found) : 0;

	/* Where all that fit were locked, to look again at once would be to look at them again. */
	if (found == room && ended > 0)
		*next = 0;
	else if (ended < found)
		*next = Min(*next, vq_now().mono + LOCKED_DELAY);
	return found;
}

int64
vq_reap(VqQueue *queue, const pg_uuid_t *id, const VqSettings *settings, int room)
{
	int64	   *tickets = palloc(room * sizeof(int64));
	int64		next = VQ_NEVER;
	int			parties = vq_has_trial(settings) ? 2 : 1;

	for (int r = 0; r < (int) lengthof(rules); r++)
		for (int g = 0; g < parties; g++)
		{
			Party		party = party_of(settings, &rules[r], g == 1);

			room -= reap_party(queue, id, &rules[r], &party, tickets, room, &next);
		}
	pfree(tickets);
	return next;
}
