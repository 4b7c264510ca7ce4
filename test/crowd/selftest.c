/*
 * selftest.c
 *		Tests of the crowd itself, without a server.
 */
#include "selftest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agenda.h"
#include "breaches.h"
#include "event.h"
#include "idmap.h"
#include "naive.h"
#include "naive_laws.h"
#include "samples.h"
#include "tap.h"
#include "trace.h"
#include "violations.h"

/* ---- small parts ---- */

static void
test_agenda(void)
{
	Agenda	   *agenda = agenda_make();
	Random		random = random_start(3);
	Entry		entry;
	Entry		before = {.at = -1};
	int			taken = 0;
	bool		in_order = true;

	for (int i = 0; i < 10000; i++)
		agenda_add(agenda, random_between(&random, 0, 999), i, 0);
	tap(!agenda_take(agenda, -1, &entry), "agenda: nothing is due before the first entry");
	while (agenda_take(agenda, 999, &entry))
	{
		if (entry.at < before.at || (entry.at == before.at && entry.who < before.who))
			in_order = false;
		before = entry;
		taken++;
	}
	tap(in_order && taken == 10000, "agenda: entries come by time, equal ones as they were added");
	tap(agenda_next(agenda) == NEVER, "agenda: empty in the end");
	agenda_free(agenda);
}

static void
test_idmap(void)
{
	IdMap	   *map = idmap_make();
	Random		random = random_start(4);
	Uuid	   *ids = get_memory(5000 * sizeof(Uuid));
	Uuid		stranger;
	int			found = 0;

	for (int i = 0; i < 5000; i++)
	{
		ids[i] = uuid_random(&random);
		(void) idmap_add(map, &ids[i], i);
	}
	for (int i = 0; i < 5000; i++)
		found += idmap_find(map, &ids[i]) == i;
	stranger = uuid_random(&random);
	tap(found == 5000, "idmap: all are found");
	tap(idmap_find(map, &stranger) == -1, "idmap: a stranger is not");
	tap(!idmap_add(map, &ids[7], 8) && idmap_find(map, &ids[7]) == 7, "idmap: the first index stays");
	free(ids);
	idmap_free(map);
}

static void
test_samples(void)
{
	Samples		samples = {0};

	tap(samples_percentile(&samples, 0.5) == 0, "samples: no values, no percentile");
	for (int i = 100; i >= 1; i--)
		samples_add(&samples, i);
	samples_sort(&samples);
	tap(samples_percentile(&samples, 0.5) == 50 && samples_percentile(&samples, 0.99) == 99 &&
		samples_percentile(&samples, 1) == 100 && samples_percentile(&samples, 0) == 1,
		"samples: percentiles of 1 to 100");
	samples_free(&samples);
}

static void
test_texts(void)
{
	Random		random = random_start(5);
	Uuid		uuid = uuid_random(&random);
	Uuid		again;
	int64_t		number = 0;
	char		text[UUID_TEXT];

	uuid_print(&uuid, text);
	tap(uuid_parse(text, strlen(text), &again) && uuid_equal(&uuid, &again), "uuid: printed and parsed");
	text[8] = 'x';
	tap(!uuid_parse(text, strlen(text), &again) && !uuid_parse(text, 5, &again), "uuid: malformed ones");
	tap(parse_number("-120", 4, &number) && number == -120, "number: parsed");
	tap(parse_number("9223372036854775807", 19, &number) && number == INT64_MAX, "number: the highest");
	tap(!parse_number("", 0, &number) && !parse_number("-", 1, &number) &&
		!parse_number("1x", 2, &number) && !parse_number("9223372036854775808", 19, &number),
		"number: malformed ones");
}

static void
test_trace(const char *path)
{
	Trace		trace = trace_read(path);

	tap(trace.seconds == 3600, "trace: an hour, %d seconds", trace.seconds);
	tap(trace.total == 14922, "trace: %d arrivals", trace.total);
	free(trace.arrivals);
}

/* ---- events ---- */

#define HEAD(event) "{\"v\":1,\"event\":\"" event "\",\"at\":\"2026-01-01T00:00:00.123456Z\"," \
	"\"tenant\":\"default\",\"queue\":\"a \\\"b\\\"\",\"queue_id\":\"00000000-0000-7000-8000-000000000002\""
#define TOLD(event) HEAD(event) ",\"seq\":1795611981129359"
#define ID "\"id\":\"00000000-0000-7000-8000-000000000003\",\"user_id\":\"00000000-0000-7000-8000-000000000004\""
#define TICKET ID ",\"ticket\":17"

static const char *const good_events[] = {
	TOLD("released") ",\"sessions\":[{" TICKET "}]}",
	TOLD("released") ",\"sessions\":[{" TICKET "},{" TICKET "}]}",
	TOLD("ended") ",\"sessions\":[{" TICKET ",\"status\":\"left\"}]}",
	TOLD("state") ",\"state\":\"paused\"}",
	HEAD("moved") ",\"waiting\":0,\"serving\":100,\"head\":null,\"released_last_minute\":600}",
	HEAD("moved") ",\"head\":17,\"waiting\":12,\"serving\":100,\"released_last_minute\":600}",
};

static const char *const bad_events[] = {
	"",
	"{}",
	"[]",
	"null",
	TOLD("released") "}",
	TOLD("released") ",\"sessions\":[]}",
	TOLD("released") ",\"sessions\":[{" TICKET "}]",
	TOLD("released") ",\"sessions\":[{" TICKET "}]} ",
	TOLD("released") ",\"sessions\":[{" TICKET "},]}",
	TOLD("released") ",\"sessions\":[{" ID "}]}",
	TOLD("released") ",\"sessions\":[{" ID ",\"ticket\":\"17\"}]}",
	TOLD("released") ",\"sessions\":[{" ID ",\"ticket\":-17}]}",
	TOLD("released") ",\"sessions\":[{" TICKET ",\"ticket\":17}]}",
	TOLD("released") ",\"sessions\":[{" TICKET "},{" ID "}]}",
	TOLD("released") ",\"sessions\":[{" TICKET ",\"status\":\"serving\"}]}",
	TOLD("released") ",\"sessions\":[{" TICKET "}],\"state\":\"paused\"}",
	TOLD("ended") ",\"sessions\":[{" TICKET "}]}",
	TOLD("ended") ",\"sessions\":[{" TICKET ",\"status\":\"waiting\"}]}",
	TOLD("ended") ",\"sessions\":[{" TICKET ",\"status\":\"gone\"}]}",
	TOLD("closed") ",\"state\":\"paused\"}",
	TOLD("state") ",\"state\":paused}",
	TOLD("state") ",\"state\":\"pau\nsed\"}",
	TOLD("state") ",\"other\":\"paused\"}",
	HEAD("state") ",\"state\":\"paused\"}",
	TOLD("state") ",\"state\":\"away\"}",
	TOLD("moved") ",\"waiting\":0,\"serving\":100,\"head\":null,\"released_last_minute\":600}",
	HEAD("moved") ",\"waiting\":12,\"serving\":100,\"head\":17}",
	HEAD("moved") ",\"waiting\":-1,\"serving\":100,\"head\":17,\"released_last_minute\":600}",
	"{\"v\":2,\"event\":\"state\",\"at\":\"2026-01-01T00:00:00Z\",\"tenant\":\"default\",\"queue\":\"q\","
	"\"queue_id\":\"00000000-0000-7000-8000-000000000002\",\"state\":\"paused\",\"seq\":1}",
	"{\"v\":1,\"event\":\"state\",\"at\":\"2026-01-01 00:00:00+02\",\"tenant\":\"default\",\"queue\":\"q\","
	"\"queue_id\":\"00000000-0000-7000-8000-000000000002\",\"state\":\"paused\",\"seq\":1}",
};

/* The same event as the log shows it, with a blank after each comma and colon. */
static const char *
spaced(const char *payload)
{
	static char text[2 * MAX_EVENT];
	char	   *at = text;
	bool		in_string = false;

	for (const char *c = payload; *c != '\0'; c++)
	{
		*at++ = *c;
		if (*c == '"' && (c == payload || c[-1] != '\\'))
			in_string = !in_string;
		if (!in_string && (*c == ',' || *c == ':'))
			*at++ = ' ';
	}
	*at = '\0';
	return text;
}

static void
test_events(void)
{
	static char huge[MAX_EVENT + 100];
	static const char beginning[] = TOLD("state") ",\"state\":\"";
	Event		event;
	const char *expected;

	for (size_t i = 0; i < sizeof(good_events) / sizeof(good_events[0]); i++)
	{
		bool		parsed = event_parse(good_events[i], &event, &expected);

		tap(parsed && strcmp(event.queue, "a \"b\"") == 0, "event: good one %zu", i + 1);
		if (!parsed)
			tap_note("expected %s in %s", expected, good_events[i]);
		tap(event_parse_logged(spaced(good_events[i]), &event, &expected) &&
			!event_parse_logged(good_events[i], &event, &expected) &&
			!event_parse(spaced(good_events[i]), &event, &expected), "event: good one %zu, from the log", i + 1);
	}
	(void) event_parse(good_events[3], &event, &expected);
	tap(event.type == STATE_EVENT && event.state == IS_PAUSED && event.seq == INT64_C(1795611981129359),
		"event: its state and number");
	(void) event_parse(good_events[2], &event, &expected);
	tap(event.type == ENDED_EVENT && event.n_sessions == 1 && event.sessions[0].ticket == 17 &&
		event.sessions[0].status == LEFT && event.sessions[0].user_id.bytes[15] == 4,
		"event: its session");
	(void) event_parse(good_events[4], &event, &expected);
	tap(event.type == MOVED_EVENT && event.waiting == 0 && event.serving == 100 && event.head == -1 &&
		event.released_last_minute == 600, "event: its figures");
	for (size_t i = 0; i < sizeof(bad_events) / sizeof(bad_events[0]); i++)
		tap(!event_parse(bad_events[i], &event, &expected) && expected != NULL,
			"event: malformed one %zu, expected %s", i + 1, expected ? expected : "");
	memset(huge, 'x', sizeof(huge) - 1);
	memcpy(huge, beginning, sizeof(beginning) - 1);
	tap(!event_parse(huge, &event, &expected), "event: one of 8000 bytes or more");
}

int
self_test(const char *trace_path)
{
	test_agenda();
	test_idmap();
	test_samples();
	test_texts();
	test_trace(trace_path);
	test_events();
	test_violations();
	test_against_naive();
	test_breaches();
	test_laws_against_naive();
	return tap_done();
}
