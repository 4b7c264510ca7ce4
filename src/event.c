/*
 * event.c
 *		Telling listeners.
 *
 * Each event is a JSON object of less than 8000 bytes, sent on the queue's
 * channel and on that for all queues.  Lists that are longer are split.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/async.h"
#include "event.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#define ALL_CHANNEL "vqueue"

/* An event, and each channel's name, must be shorter than these. */
#define MAX_PAYLOAD 7999
#define MAX_CHANNEL (NAMEDATALEN - 1)

/* An event that is being written. */
typedef struct Event
{
	StringInfoData text;
	int			head_length;	/* what each part of a split list begins with */
	bool		empty;
	char		channel[NAMEDATALEN];
} Event;

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

static void
begin(Event *event, const char *type, const pg_uuid_t *queue_id, const VqSettings *settings)
{
	char	   *tenant = tenant_name(&settings->tenant_id);
	char		at[MAXDATELEN + 1];
	int			utc = 0;

	channel_name(event->channel, tenant, queue_id, settings->name);
	JsonEncodeDateTime(at, TimestampTzGetDatum(GetCurrentTimestamp()), TIMESTAMPTZOID, &utc);
	initStringInfo(&event->text);
	appendStringInfo(&event->text, "{\"v\":%d,\"event\":\"%s\",\"at\":\"%s\",\"tenant\":",
					 VQ_EVENT_VERSION, type, at);
	escape_json(&event->text, tenant);
	appendStringInfoString(&event->text, ",\"queue\":");
	escape_json(&event->text, settings->name);
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

static void
send_list(Event *event)
{
	if (event->empty)
		return;
	appendStringInfoString(&event->text, "]}");
	send(event);
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
	if (event->text.len + length + (int) strlen(",\"sessions\":[]}") > MAX_PAYLOAD)
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

	begin(&event, "released", queue_id, settings);
	for (int i = 0; i < n; i++)
		add_session(&event, &released[i].id, &released[i].user_id, released[i].ticket, NULL);
	send_list(&event);
}

void
vq_tell_ended(const pg_uuid_t *queue_id, const VqSettings *settings, const VqRow *rows, int n)
{
	Event		event;

	begin(&event, "ended", queue_id, settings);
	for (int i = 0; i < n; i++)
		add_session(&event, &rows[i].id, &rows[i].user_id, rows[i].ticket,
					vq_status_names[rows[i].status]);
	send_list(&event);
}

void
vq_tell_state(const pg_uuid_t *queue_id, const VqSettings *settings)
{
	Event		event;

	begin(&event, "state", queue_id, settings);
	appendStringInfo(&event.text, ",\"state\":\"%s\"}", vq_state_name(settings->state));
	send(&event);
}

void
vq_tell_moved(const pg_uuid_t *queue_id, const VqSettings *settings,
			  int64 waiting, int64 serving, int64 head, int released_last_minute)
{
	Event		event;

	begin(&event, "moved", queue_id, settings);
	appendStringInfo(&event.text, ",\"waiting\":" INT64_FORMAT ",\"serving\":" INT64_FORMAT ",\"head\":",
					 waiting, serving);
	if (head > 0)
		appendStringInfo(&event.text, INT64_FORMAT, head);
	else
		appendStringInfoString(&event.text, "null");
	appendStringInfo(&event.text, ",\"released_last_minute\":%d}", released_last_minute);
	send(&event);
}
