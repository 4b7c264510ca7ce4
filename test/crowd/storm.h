/*
 * storm.h
 *		A storm: many clients that do everything at random, and the laws that have
 *		to hold of it all.
 */
#ifndef CROWD_STORM_H
#define CROWD_STORM_H

#include "book.h"

typedef struct StormOptions
{
	int64_t		seconds;
	int64_t		clients;
	int64_t		queues;
	const char *prefix;
	int64_t		rate;			/* a minute */
	int64_t		cap;
	int64_t		seed;
	bool		faults;			/* connections may be lost, and errors come of it */
	bool		settings;		/* change them while it goes on */
	bool		sick;			/* with a queue beside them that nobody can be let into */
	const char *ledger;			/* a file, or NULL */
	const char *direct;			/* the server itself if a pooler is before it, or NULL */
} StormOptions;

/* What is changed of a queue while it goes on, beside rate, burst and cap. */
typedef enum Kind
{
	PLAIN,						/* nothing: it is paused at times, as all are */
	CALLING,					/* claims and timeouts */
	WEIGHTED,					/* turns by weight */
	CLOCKED,					/* methods, the clock, and timeouts */
	RANDOM,						/* newcomers come to random places; timeouts */
	DRAWN,						/* opens with a draw among those who came before; timeouts */
	KINDS
} Kind;

/* What the parts of a storm share. */
typedef struct Storm
{
	const StormOptions *options;
	Book	   *book;
	char		name[40];		/* of its connections that change something */
	bool		holding;		/* no client is to begin anything */
	char		orders[100];	/* the business's own table */

	/* A join that a second client is to do at the same time. */
	int			twins;
	int			twin_queue;
	Uuid		twin_user;

	int64_t		done[VERBS];	/* answered */
	int64_t		committed;		/* transactions of several statements */
	int64_t		rolled_back;
	int64_t		savepoints;
	int64_t		cancels;
	int64_t		losses;			/* of connections */
} Storm;

/* The kind of a queue, by its number; all are plain if nothing is to be changed. */
extern Kind storm_kind(const StormOptions *options, int queue);

/* Run one; the exit status. */
extern int	storm_run(const StormOptions *options);

/* Count an error as one that may be, or not; verb is what was asked for, VERBS for anything else. */
extern void storm_refused(Storm *storm, const char *sqlstate, const char *message, Verb verb);

#endif							/* CROWD_STORM_H */
