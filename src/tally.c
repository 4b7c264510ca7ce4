/*
 * tally.c
 *		Counts of sessions by queue and minute, and percentiles of how long they took.
 */
#include "postgres.h"

#include "tally.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

struct VqTally
{
	MemoryContext context;
	HTAB	   *minutes;		/* VqMinute by queue and minute */
	VqMinute  **sorted;
	int			n;
};

VqTally *
vq_tally_make(MemoryContext context)
{
	VqTally    *tally = MemoryContextAllocZero(context, sizeof(VqTally));
	HASHCTL		ctl = {0};

	tally->context = context;
	ctl.keysize = offsetof(VqMinute, joined);
	ctl.entrysize = sizeof(VqMinute);
	ctl.hcxt = context;
	tally->minutes = hash_create("vqueue minutes", 256, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	return tally;
}

/* ---- counting ---- */

static void
set_key(VqMinute *key, const pg_uuid_t *id, TimestampTz at)
{
	int64		into = at % USECS_PER_MINUTE;

	key->queue_id = *id;
	key->minute = at - (into < 0 ? into + USECS_PER_MINUTE : into);
}

static VqMinute *
minute_of(VqTally *tally, const pg_uuid_t *id, TimestampTz at)
{
	VqMinute	key;
	VqMinute   *minute;
	bool		found;

	set_key(&key, id, at);
	minute = hash_search(tally->minutes, &key, HASH_ENTER, &found);
	if (!found)
		memset((char *) minute + offsetof(VqMinute, joined), 0, sizeof(VqMinute) - offsetof(VqMinute, joined));
	return minute;
}

static void
add_duration(VqTally *tally, VqDurations *durations, int64 value)
{
	if (value < 0)
		return;
	if (durations->n == durations->room)
	{
		durations->room = Max(2 * durations->room, 16);
		if (durations->values == NULL)
			durations->values = MemoryContextAlloc(tally->context, durations->room * sizeof(int64));
		else
			durations->values = repalloc_huge(durations->values, durations->room * sizeof(int64));
	}
	durations->values[durations->n++] = value;
}

void
vq_tally_joined(VqTally *tally, const pg_uuid_t *id, TimestampTz at, int64 n)
{
	minute_of(tally, id, at)->joined += n;
}

void
vq_tally_released(VqTally *tally, const pg_uuid_t *id, TimestampTz at, int64 wait)
{
	VqMinute   *minute = minute_of(tally, id, at);

	minute->released++;
	add_duration(tally, &minute->wait, wait);
}

void
vq_tally_ended(VqTally *tally, const pg_uuid_t *id, TimestampTz at, int status, int64 stay)
{
	VqMinute   *minute = minute_of(tally, id, at);

	if (status >= 0)
		minute->ended[status]++;
	add_duration(tally, &minute->stay, stay);
}

void
vq_tally_peaks(VqTally *tally, const pg_uuid_t *id, TimestampTz at, int64 waiting, int64 inside)
{
	VqMinute	key;
	VqMinute   *minute;

	set_key(&key, id, at);
	minute = hash_search(tally->minutes, &key, HASH_FIND, NULL);
	if (minute == NULL)
		return;
	minute->peak_waiting = Max(minute->peak_waiting, waiting);
	minute->peak_inside = Max(minute->peak_inside, inside);
}

/* ---- results ---- */

static int
by_queue(const void *a, const void *b)
{
	const VqMinute *x = *(VqMinute *const *) a;
	const VqMinute *y = *(VqMinute *const *) b;
	int			order = memcmp(&x->queue_id, &y->queue_id, sizeof(pg_uuid_t));

	return order != 0 ? order : x->minute < y->minute ? -1 : x->minute > y->minute;
}

static int
by_length(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return x < y ? -1 : x > y;
}

void
vq_tally_sort(VqTally *tally)
{
	HASH_SEQ_STATUS status;
	VqMinute   *minute;

	tally->sorted = MemoryContextAllocHuge(tally->context,
										   (hash_get_num_entries(tally->minutes) + 1) * sizeof(VqMinute *));
	tally->n = 0;
	hash_seq_init(&status, tally->minutes);
	while ((minute = hash_seq_search(&status)) != NULL)
		tally->sorted[tally->n++] = minute;
	qsort(tally->sorted, tally->n, sizeof(VqMinute *), by_queue);
}

VqMinute **
vq_tally_minutes(VqTally *tally, int *n)
{
	*n = tally->n;
	return tally->sorted;
}

/* As percentile_cont has it: between two values in proportion. */
static int64
percentile(const VqDurations *durations, double part)
{
	double		place = part * (durations->n - 1);
	int			below = (int) place;
	int			above = Min(below + 1, durations->n - 1);

	return durations->values[below] +
		(int64) ((place - below) * (durations->values[above] - durations->values[below]));
}

static void
put_percentiles(const VqDurations *durations, Datum *values, char *nulls)
{
	static const double parts[] = {0.5, 0.9, 0.99};

	qsort(durations->values, durations->n, sizeof(int64), by_length);
	for (int i = 0; i < (int) lengthof(parts); i++)
	{
		Interval   *interval;

		if (durations->n == 0)
		{
			nulls[i] = 'n';
			continue;
		}
		interval = palloc0(sizeof(Interval));
		interval->time = percentile(durations, parts[i]);
		values[i] = IntervalPGetDatum(interval);
	}
}

void
vq_minute_values(const VqMinute *minute, Datum *values, char *nulls)
{
	static const VqStatus order[] = {VQ_COMPLETED, VQ_LEFT, VQ_ABANDONED, VQ_NO_SHOW, VQ_EXPIRED, VQ_REMOVED};
	int			column = 0;

	memset(nulls, ' ', VQ_MINUTE_COLUMNS);
	nulls[VQ_MINUTE_COLUMNS] = '\0';
	values[column++] = UUIDPGetDatum(&minute->queue_id);
	values[column++] = TimestampTzGetDatum(minute->minute);
	values[column++] = Int64GetDatum(minute->joined);
	values[column++] = Int64GetDatum(minute->released);
	for (int i = 0; i < (int) lengthof(order); i++)
		values[column++] = Int64GetDatum(minute->ended[order[i]]);
	put_percentiles(&minute->wait, values + column, nulls + column);
	column += 3;
	put_percentiles(&minute->stay, values + column, nulls + column);
	column += 3;
	values[column++] = Int64GetDatum(minute->peak_waiting);
	values[column++] = Int64GetDatum(minute->peak_inside);
	Assert(column == VQ_MINUTE_COLUMNS);
}
