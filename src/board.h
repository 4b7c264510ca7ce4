/*
 * board.h
 *		The board: a small picture of a queue from which anybody can compute a
 *		position from a ticket.
 */
#ifndef VQ_BOARD_H
#define VQ_BOARD_H

#include "shmem.h"

#define VQ_BOARD_VERSION	1

/* Points of all lanes together. */
#define VQ_BOARD_POINTS		256

/* Positions of a lane for which waits are told. */
#define VQ_BOARD_WAITS		16

typedef struct VqBoardLane
{
	int64		waiting;
	int64		next;			/* the position of who joins this lane now */
	int			n_points;
	int64		tickets[VQ_BOARD_POINTS];	/* rising */
	int64		positions[VQ_BOARD_POINTS];
} VqBoardLane;

typedef struct VqBoard
{
	VqSettings	settings;
	int64		serving;
	int64		head;			/* 0: nobody waits */
	int64		last_ticket;
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

#endif							/* VQ_BOARD_H */
