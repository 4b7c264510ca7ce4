/*
 * world.h
 *		A made-up run of a queue in which all is right, to seed violations into.
 */
#ifndef CROWD_WORLD_H
#define CROWD_WORLD_H

#include "checks.h"

typedef struct World
{
	Ledger	   *ledger;
	Row		   *rows;			/* with room for one more */
	int			n;
	Evidence	evidence;
} World;

/*
 * Sessions that wait in a paced and capped queue, the rate and the cap used to
 * the full; row i belongs to record i.  The seed varies who joins when.
 */
extern World *world_make(int sessions, uint64_t seed);
extern void world_free(World *world);

/* Hear an event of one session, by way of its JSON text. */
extern void world_hear(World *world, EventType type, const Row *row, int64_t at);

/* Find a row: let in and completed; left without having been let in. */
extern int	world_find_served(const World *world, int from);
extern int	world_find_walker(const World *world, int from);

/* Another answer on this session, with this position. */
extern void world_see(World *world, int row, int64_t position);

#endif							/* CROWD_WORLD_H */
