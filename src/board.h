/*
 * board.h
 *		The board: a small picture of a queue from which anybody can compute a
 *		position from a ticket.
 *
 * Where a draw was held, or places are random, tickets are not the order.  What a
 * point then has instead is a number that rises in the order in which people stand,
 * so that nothing else is different: below 0 for who was drawn, the ticket for who
 * has no key, and from VQ_BOARD_RANDOM on for random places.  None is beyond 2^53,
 * as a number in JavaScript must not be.
 */
#ifndef VQ_BOARD_H
#define VQ_BOARD_H

#include "shmem.h"

#define VQ_BOARD_VERSION	1

/* Points of all lanes together. */
#define VQ_BOARD_POINTS		256

/* Positions of a lane for which waits are told. */
#define VQ_BOARD_WAITS		16

/* The numbers of random places begin here; those of the drawn end at 0 and begin here below it. */
#define VQ_BOARD_RANDOM		(INT64CONST(1) << 52)
#define VQ_BOARD_DRAWN		(INT64CONST(1) << 40)

typedef struct VqBoardLane
{
	int64		waiting;
	int64		next;			/* the position of who joins this lane now */
	int			n_points;
	int64		tickets[VQ_BOARD_POINTS];	/* or numbers as above; rising */
	int64		positions[VQ_BOARD_POINTS];
} VqBoardLane;

typedef struct VqBoard
{
	VqSettings	settings;
	int64		serving;
	int64		head;			/* 0: nobody waits */
	int64		last_ticket;
	bool		by_key;			/* tickets are not the order */
	bool		foretells;		/* the forecast is there */
	VqForecast	forecast;
	VqNow		now;
	VqBoardLane lanes[VQ_LANES];
} VqBoard;

/*
 * So many apart by rank are the points of each lane, which are at rank 0 and so
 * on, and at the last one: equal shares of the waiting.
 */
extern int64 vq_board_step(const int64 *count);

/* The number of somebody who stands by this key; the ticket where that is the order. */
extern int64 vq_board_number(int64 key, int64 ticket);

#endif							/* VQ_BOARD_H */
