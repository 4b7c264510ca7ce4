/*
 * crowd.h
 *		The lives of simulated users: they arrive as a trace says, join, wait,
 *		poll, come in, stay, and complete; some lose patience, some join twice.
 */
#ifndef CROWD_CROWD_H
#define CROWD_CROWD_H

#include "agenda.h"
#include "event.h"
#include "ledger.h"
#include "pool.h"
#include "samples.h"
#include "trace.h"

/* How the users are; all but the arrivals go by the real clock. */
typedef struct Habits
{
	double		impatient;		/* share who leave if they wait too long */
	int64_t		patience_min;
	int64_t		patience_max;
	int64_t		stay_min;		/* time inside */
	int64_t		stay_max;
	double		deaf;			/* share who hear no events, and only poll */
	double		double_click;	/* share who join twice at once */
	double		come_again;		/* share who join again later, forgetting that they have */
	int			burst;			/* so many arrivals in a second join in one statement */
} Habits;

extern const Habits usual_habits;

/* What has become of them so far. */
typedef struct CrowdFigures
{
	int			total;
	int			arrived;
	int			gone;			/* completed, left or refused */
	int			bursts;
	Samples    *join_times;		/* from asking to the answer */
	Samples    *poll_times;
} CrowdFigures;

typedef struct Crowd Crowd;

/* Users that arrive as in the trace, speed times as fast; the same seed makes the same users. */
extern Crowd *crowd_make(const Trace *trace, int speed, const Habits *habits, uint64_t seed,
						 const char *queue, Pool *pool, Ledger *ledger);
extern void crowd_free(Crowd *crowd);

/* The trace begins at this steady time. */
extern void crowd_start(Crowd *crowd, int64_t now);

/* When somebody next wants to do something, and having all do what is due. */
extern int64_t crowd_next(const Crowd *crowd);
extern void crowd_go_on(Crowd *crowd, int64_t now);

/* An event that the ledger has noted says that this session was let in. */
extern void crowd_called(Crowd *crowd, const Uuid *session);

/* All have come and gone. */
extern bool crowd_is_over(const Crowd *crowd);

/* The session of the last one to have arrived who, as far as it knows, still waits. */
extern bool crowd_find_waiting(const Crowd *crowd, Uuid *session);

extern CrowdFigures crowd_figures(Crowd *crowd);

#endif							/* CROWD_CROWD_H */
