/*
 * screen.h
 *		Shows a run while it goes on: redrawn in place on a terminal, otherwise
 *		a line a second.
 */
#ifndef CROWD_SCREEN_H
#define CROWD_SCREEN_H

#include "basics.h"

/* How often to paint. */
#define SCREEN_INTERVAL (SECOND / 4)

#define SCREEN_HISTORY	240		/* samples, one a painting */

/* Someone in the line whom we follow. */
typedef struct Example
{
	bool		known;
	Uuid		user_id;
	int64_t		ticket;
	int64_t		first_position;
	int64_t		position;		/* 0: has come in */
	int64_t		estimated_wait; /* -1: unknown */
	int64_t		waited;
} Example;

typedef struct Figures
{
	int			trace_second;
	int			trace_seconds;
	int			arrived;
	int			total;
	int64_t		waiting;
	int64_t		serving;
	int64_t		cap;
	double		released_a_second;
	double		limit;
	int64_t		line[SCREEN_HISTORY];	/* waiting, the oldest first */
	int			samples;
	int64_t		events;
	int64_t		released_heard;
	int64_t		ended_heard;
	Example		example;
} Figures;

typedef struct Screen Screen;

extern Screen *screen_open(void);
extern void screen_paint(Screen *screen, const Figures *figures, int64_t now);
extern void screen_close(Screen *screen);

#endif							/* CROWD_SCREEN_H */
