/*
 * world.c
 *		A made-up run of a queue in which all is right, to seed violations into.
 */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BEGINNING		(INT64_C(1700000000) * SECOND)
#define RATE_PER_MINUTE 6000
#define INTERVAL		(MINUTE / RATE_PER_MINUTE)
#define BURST			10
#define CAP				25
#define STAY			(3 * SECOND / 10)

/* So many join in one statement at the very beginning: more than the burst. */
#define FIRST_BATCH		15

/* One in so many leaves after this time if it still waits. */
#define WALKER			7
#define PATIENCE		(SECOND / 2)

/* From asking to being in the table, from there to being answered; until an event is heard. */
#define TRAVEL			200
#define HEARING			500

/* The queue: when the next one may be let in. */
typedef struct Door
{
	int64_t		theoretical;	/* when the pacer would be full again but for one */
	int64_t		last;			/* release */
	int64_t		free_at[CAP];	/* when each slot is free */
} Door;

static int
first_free(const Door *door)
{
	int			first = 0;

	for (int i = 1; i < CAP; i++)
		if (door->free_at[i] < door->free_at[first])
			first = i;
	return first;
}

/* The earliest time at which one who has joined by then can come in. */
static int64_t
next_opening(const Door *door, int64_t joined_at)
{
	int64_t		opening = joined_at;
	int64_t		paced = door->theoretical - (BURST - 1) * INTERVAL;
	int64_t		slot = door->free_at[first_free(door)];

	if (paced > opening)
		opening = paced;
	if (slot > opening)
		opening = slot;
	return door->last > opening ? door->last : opening;
}

static void
let_in(Door *door, int64_t at)
{
	door->free_at[first_free(door)] = at + STAY;
	door->theoretical = (door->theoretical > at ? door->theoretical : at) + INTERVAL;
	door->last = at;
}

static void
fill_row(Row *row, int i, int64_t joined_at, Door *door, Random *random)
{
	int64_t		opening = next_opening(door, joined_at);

	row->id = uuid_random(random);
	row->user_id = uuid_random(random);
	row->lane = NORMAL;
	row->ticket = i + 1;
	row->joined_at = joined_at;
	if (i % WALKER == WALKER - 1 && opening > joined_at + PATIENCE)
	{
		row->status = LEFT;
		row->left_at = joined_at + PATIENCE;
		return;
	}
	let_in(door, opening);
	row->status = COMPLETED;
	row->served_at = opening;
	row->left_at = opening + STAY;
}

/* ---- what was answered and heard ---- */

static Place
place_of(const Row *row, Status status, int64_t position)
{
	Place		place;

	place.id = row->id;
	place.user_id = row->user_id;
	place.status = status;
	place.lane = row->lane;
	place.ticket = row->ticket;
	place.position = position;
	place.estimated_wait = -1;
	place.next_poll_after = -1;
	return place;
}

void
world_see(World *world, int row, int64_t position)
{
	Place		place = place_of(&world->rows[row], WAITING, position);

	ledger_seen(world->ledger, &place, world->rows[row].joined_at + 2 * TRAVEL);
}

void
world_hear(World *world, EventType type, const Row *row, int64_t at)
{
	char		id[UUID_TEXT];
	char		user_id[UUID_TEXT];
	char		status[50] = "";
	char		payload[1000];
	const char *expected;
	Event		event;

	if (type == ENDED_EVENT)
		snprintf(status, sizeof(status), ",\"status\":\"%s\"", status_names[row->status]);
	snprintf(payload, sizeof(payload),
			 "{\"v\":1,\"event\":\"%s\",\"at\":\"2026-01-01T00:00:00.5Z\",\"tenant\":\"default\","
			 "\"queue\":\"q\",\"queue_id\":\"00000000-0000-7000-8000-000000000002\","
			 "\"sessions\":[{\"id\":\"%s\",\"user_id\":\"%s\",\"ticket\":%lld%s}],\"seq\":1}",
			 type == ENDED_EVENT ? "ended" : "released", uuid_print(&row->id, id),
			 uuid_print(&row->user_id, user_id), (long long) row->ticket, status);
	if (!event_parse(payload, &event, &expected))
		die("expected %s in %s", expected, payload);
	ledger_heard(world->ledger, &event, at);
}

static void
tell(World *world, int i, int64_t asked_at, int64_t batch, int place_in_batch)
{
	const Row  *row = &world->rows[i];
	Place		place = place_of(row, WAITING, i + 1);

	ledger_joined(world->ledger, i, &place, asked_at, row->joined_at + TRAVEL, batch, place_in_batch);
	if (i % 10 == 0)
		ledger_rejoined(world->ledger, &row->id, &place);
	world_see(world, i, i);
	if (row->served_at != 0)
		world_hear(world, RELEASED_EVENT, row, row->served_at + HEARING);
	else
		ledger_asked_to_leave(world->ledger, &row->id, row->left_at - TRAVEL);
	place = place_of(row, row->status, -1);
	ledger_ended(world->ledger, &place);
	world_hear(world, ENDED_EVENT, row, row->left_at + HEARING);
}

World *
world_make(int sessions, uint64_t seed)
{
	World	   *world = get_memory(sizeof(World));
	Random		random = random_start(seed);
	Door		door = {0};
	int64_t		asked_at = BEGINNING;
	int64_t		first_batch;

	world->ledger = ledger_make();
	world->rows = get_memory((sessions + 1) * sizeof(Row));
	world->n = sessions;
	first_batch = ledger_new_batch(world->ledger);
	for (int i = 0; i < sessions; i++)
	{
		bool		in_batch = i < FIRST_BATCH;

		/* Each joins after the one before was answered, twice as fast as they are let in. */
		if (!in_batch)
			asked_at += random_between(&random, 2 * TRAVEL + 1, INTERVAL);
		fill_row(&world->rows[i], i, asked_at + TRAVEL, &door, &random);
		tell(world, i, asked_at, in_batch ? first_batch : ledger_new_batch(world->ledger),
			 in_batch ? i : 0);
	}
	world->evidence.rate_per_minute = RATE_PER_MINUTE;
	world->evidence.burst = BURST;
	world->evidence.cap = CAP;
	world->evidence.ledger = world->ledger;
	world->evidence.rows = world->rows;
	world->evidence.n_rows = sessions;
	return world;
}

void
world_free(World *world)
{
	ledger_free(world->ledger);
	free(world->rows);
	free(world);
}

/* ---- finding ---- */

int
world_find_served(const World *world, int from)
{
	for (int i = from; i < world->n; i++)
		if (world->rows[i].status == COMPLETED)
			return i;
	die("the made-up run has nobody who came in from %d on", from);
}

int
world_find_walker(const World *world, int from)
{
	for (int i = from; i < world->n; i++)
		if (world->rows[i].status == LEFT)
			return i;
	die("the made-up run has nobody who walked away from %d on", from);
}
