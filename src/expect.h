/*
 * expect.h
 *		What memory should have, by the tables.
 */
#ifndef VQ_EXPECT_H
#define VQ_EXPECT_H

#include "shmem.h"
#include "standing.h"
#include "utils/hsearch.h"

/* Who waits by a key in which lane. */
typedef struct VqExpectedKey
{
	int64		ticket;
	int64		place_key;
	int			lane;
} VqExpectedKey;

/* A queue by the tables. */
typedef struct VqExpected
{
	pg_uuid_t	id;				/* key */
	VqSettings	settings;
	VqLine		line;
	VqExpectedKey *keys;		/* of who waits by a key, as the rows came */
	int			n_keys;
	int			max_keys;
	VqEntrants	entrants;		/* of its draw, if that was held */
} VqExpected;

/* All queues of this database. */
typedef struct VqExpectation
{
	HTAB	   *queues;			/* of VqExpected */
	VqArena		arena;			/* of their lines */
} VqExpectation;

/* Read the tables by the latest snapshot, into the current memory context. */
extern void vq_read_expectation(VqExpectation *expectation);

/* Then, of one queue: those who were drawn by the places that they drew. */
extern void vq_expect_drawn(VqExpectation *expectation, VqExpected *expected);

/* By what a ticket should stand, whose row has this place_key. */
extern int64 vq_expected_key(const VqExpected *expected, int64 ticket, int64 place_key);

/* Give the lines back. */
extern void vq_forget_expectation(VqExpectation *expectation);

#endif							/* VQ_EXPECT_H */
