/*
 * event.c
 *		Telling listeners, and keeping a log of it.
 *
 * Each event is a JSON object of less than 8000 bytes, sent on the queue's
 * channel and on that for all queues.  Lists that are longer are split.  All but
 * "moved", which says nothing that a later one does not, are logged as well.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/async.h"
#include "event.h"
#include "guc.h"
#include "lib/stringinfo.h"
#include "statement.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define ALL_CHANNEL "vqueue"

/* An event, and each channel's name, must be shorter than these. */
#define MAX_PAYLOAD 7999
#define MAX_CHANNEL (NAMEDATALEN - 1)

/* Room for the number that an event ends with. */
#define MAX_ENDING ((int) sizeof(",\"seq\":9223372036854775807}") - 1)

/* A time written by hand may lie ahead; the log follows no further than a clock may have been set. */
#define FAR_AHEAD USECS_PER_DAY

/* An event that is being written. */
typedef struct Event
{
	StringInfoData text;
	int			names_at;		/* where the names of tenant and queue are, */
	int			names_end;		/* up to here */
	int			head_length;	/* what each part of a split list begins with */
	bool		empty;
	const char *type;
	pg_uuid_t	queue_id;
	TimestampTz at;
	char		channel[NAMEDATALEN];
} Event;

/* Events of this transaction that are yet to be logged, by column; their values are in its context. */
#define COLUMNS 5
#define UNLOGGED 200

static Datum unlogged[COLUMNS][UNLOGGED];
static int	n_unlogged = 0;

/* The last seq that was given out, 0 if not known yet; one that was rolled back leaves a gap. */
static int64 last_seq = 0;

static const pg_uuid_t default_tenant = {
	{0, 0, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 1}
};

/* The rule is that of the SQL function vqueue.channel. */
static void
channel_name(char *channel, const char *tenant, const pg_uuid_t *queue_id, const char *name)
{
	if (strcmp(tenant, "default") == 0 && strlen(name) <= MAX_CHANNEL - strlen("vqueue_"))
		snprintf(channel, NAMEDATALEN, "vqueue_%s", name);
	else
		snprintf(channel, NAMEDATALEN, "vqueue_%s", vq_uuid_text(queue_id));
}

static char *
tenant_name(const pg_uuid_t *id)
{
	char	   *name;

	if (memcmp(id, &default_tenant, sizeof(*id)) == 0)
		return "default";
	name = vq_fetch_tenant_name(id);
	return name ? name : "";
}

/*
 * Begin an event of what happened at that time or before.  Its own time is not
 * before that, whatever the clocks say: by this the log tells, after a restart,
 * that it was told (recall.c).
 */
static void
begin(Event *event, const char *type, const pg_uuid_t *queue_id, const VqSettings *settings,
	  TimestampTz happened)
{
	char	   *tenant = tenant_name(&settings->tenant_id);
	TimestampTz now = GetCurrentTimestamp();
	char		at[MAXDATELEN + 1];
	int			utc = 0;

	event->type = type;
	event->queue_id = *queue_id;
	event->at = Max(now, Min(happened, now + FAR_AHEAD));
	channel_name(event->channel, tenant, queue_id, settings->name);
	JsonEncodeDateTime(at, TimestampTzGetDatum(event->at), TIMESTAMPTZOID, &utc);
	initStringInfo(&event->text);
	appendStringInfo(&event->text, "{\"v\":%d,\"event\":\"%s\",\"at\":\"%s\",", VQ_EVENT_VERSION, type, at);
	event->names_at = event->text.len;
	appendStringInfoString(&event->text, "\"tenant\":");
	escape_json(&event->text, tenant);
	appendStringInfoString(&event->text, ",\"queue\":");
	escape_json(&event->text, settings->name);
	event->names_end = event->text.len;
	appendStringInfo(&event->text, ",\"queue_id\":\"%s\"", vq_uuid_text(queue_id));
	event->head_length = event->text.len;
	event->empty = true;
}

static void
send(Event *event)
{
	Assert(event->text.len <= MAX_PAYLOAD);
	Async_Notify(event->channel, event->text.data);
	Async_Notify(ALL_CHANNEL, event->text.data);
}

/* ---- the log ---- */

int64
vq_seq_at(TimestampTz at)
{
	return at + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
}

static int64
next_seq(TimestampTz at)
{
	TimestampTz last_at;

	if (last_seq == 0)
		(void) vq_fetch_last_event(&last_seq, &last_at);
	last_seq = Max(last_seq + 1, vq_seq_at(at));
	return last_seq;
}

void
vq_begin_events(void)
{
	n_unlogged = 0;				/* of a transaction that failed */
}

void
vq_log_events(void)
{
	static const Oid types[COLUMNS] = {INT8OID, UUIDOID, TIMESTAMPTZOID, TEXTOID, TEXTOID};
	Datum		arrays[COLUMNS];
	VqCaller	caller;

	if (n_unlogged == 0)
		return;
	for (int i = 0; i < COLUMNS; i++)
	{
		int16		length;
		bool		by_value;
		char		align;

		get_typlenbyvalalign(types[i], &length, &by_value, &align);
		arrays[i] = PointerGetDatum(construct_array(unlogged[i], n_unlogged, types[i], length, by_value, align));
	}
	vq_execute(VQ_INSERT_EVENTS, arrays, NULL, &caller);
	vq_executed(&caller);
	n_unlogged = 0;
}

/* What the log keeps of an event that has no number yet: what its row does not say in other columns. */
static Datum
kept_of(const Event *event)
{
	StringInfoData kept;
	Datum		payload;

	initStringInfo(&kept);
	appendStringInfoChar(&kept, '{');
	appendBinaryStringInfo(&kept, event->text.data + event->names_at, event->names_end - event->names_at);
	appendBinaryStringInfo(&kept, event->text.data + event->head_length, event->text.len - event->head_length);
	appendStringInfoChar(&kept, '}');
	payload = PointerGetDatum(cstring_to_text_with_len(kept.data, kept.len));
	pfree(kept.data);			/* large transactions tell much */
	return payload;
}

/*
 * End the event with its number, send it, and have it logged together with others of
 * the transaction.  Where nothing is logged it has no number.
 */
static void
log_and_send(Event *event)
{
	MemoryContext old;
	Datum		kept;
	int64		seq;

	if (!vq_logging())
	{
		appendStringInfoChar(&event->text, '}');
		send(event);
		return;
	}
	old = MemoryContextSwitchTo(TopTransactionContext);
	kept = kept_of(event);
	MemoryContextSwitchTo(old);
	seq = next_seq(event->at);
	appendStringInfo(&event->text, ",\"seq\":" INT64_FORMAT "}", seq);
	send(event);
	if (n_unlogged == UNLOGGED)
		vq_log_events();
	old = MemoryContextSwitchTo(TopTransactionContext);
	unlogged[0][n_unlogged] = Int64GetDatum(seq);
	unlogged[1][n_unlogged] = UUIDPGetDatum(memcpy(palloc(UUID_LEN), &event->queue_id, UUID_LEN));
	unlogged[2][n_unlogged] = TimestampTzGetDatum(event->at);
	unlogged[3][n_unlogged] = CStringGetTextDatum(event->type);
	unlogged[4][n_unlogged++] = kept;
	MemoryContextSwitchTo(old);
}

/* ---- lists ---- */

static void
send_list(Event *event)
{
	if (event->empty)
		return;
	appendStringInfoChar(&event->text, ']');
	log_and_send(event);
	event->text.len = event->head_length;
	event->text.data[event->text.len] = '\0';
	event->empty = true;
}

/* Append a session to the list, sending what is full before. */
static void
add_session(Event *event, const pg_uuid_t *id, const pg_uuid_t *user_id, int64 ticket,
			const char *status)
{
	char		item[200];
	int			length;

	length = snprintf(item, sizeof(item), "{\"id\":\"%s\",\"user_id\":\"%s\",\"ticket\":" INT64_FORMAT "%s%s%s}",
					  vq_uuid_text(id), vq_uuid_text(user_id), ticket,
					  status ? ",\"status\":\"" : "", status ? status : "", status ? "\"" : "");
	if (event->text.len + length + (int) strlen(",\"sessions\":[]") + MAX_ENDING > MAX_PAYLOAD)
		send_list(event);
	appendStringInfoString(&event->text, event->empty ? ",\"sessions\":[" : ",");
	appendBinaryStringInfo(&event->text, item, length);
	event->empty = false;
}

void
vq_tell_released(const pg_uuid_t *queue_id, const VqSettings *settings,
				 const VqReleased *released, int n)
{
	Event		event;
	TimestampTz happened = DT_NOBEGIN;

	for (int i = 0; i < n; i++)
		happened = Max(happened, released[i].at);
	begin(&event, "released", queue_id, settings, happened);
	for (int i = 0; i < n; i++)
		add_session(&event, &released[i].id, &released[i].user_id, released[i].ticket, NULL);
	send_list(&event);
}

void
vq_tell_ended(const pg_uuid_t *queue_id, const VqSettings *settings, const VqRow *rows, int n)
{
	Event		event;
	TimestampTz happened = DT_NOBEGIN;

	for (int i = 0; i < n; i++)
		happened = Max(happened, rows[i].left_at);
	begin(&event, "ended", queue_id, settings, happened);
	for (int i = 0; i < n; i++)
		add_session(&event, &rows[i].id, &rows[i].user_id, rows[i].ticket,
					vq_status_names[rows[i].status]);
	send_list(&event);
}

void
vq_tell_state(const pg_uuid_t *queue_id, const VqSettings *settings)
{
	Event		event;
	Datum		values[2];
	VqCaller	caller;

	begin(&event, "state", queue_id, settings, DT_NOBEGIN);
	appendStringInfo(&event.text, ",\"state\":\"%s\"", vq_state_name(settings->state));
	log_and_send(&event);
	values[0] = UUIDPGetDatum(queue_id);
	values[1] = CStringGetTextDatum(vq_state_name(settings->state));
	vq_execute(VQ_MARK_STATE, values, NULL, &caller);
	vq_executed(&caller);
}

void
vq_tell_moved(const pg_uuid_t *queue_id, const VqSettings *settings,
			  int64 waiting, int64 serving, int64 head, int released_last_minute)
{
	Event		event;

	begin(&event, "moved", queue_id, settings, DT_NOBEGIN);
	appendStringInfo(&event.text, ",\"waiting\":" INT64_FORMAT ",\"serving\":" INT64_FORMAT ",\"head\":",
					 waiting, serving);
	if (head > 0)
		appendStringInfo(&event.text, INT64_FORMAT, head);
	else
		appendStringInfoString(&event.text, "null");
	appendStringInfo(&event.text, ",\"released_last_minute\":%d}", released_last_minute);
	send(&event);
}
