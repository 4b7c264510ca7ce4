/*
 * checks.h
 *		What has to hold of one queue after a run, whatever has happened in it.
 *
 * A check looks at evidence alone: what the crowd was answered and told, and
 * what the table says.  It asks no server, so that it can be shown to fail.
 */
#ifndef CROWD_CHECKS_H
#define CROWD_CHECKS_H

#include "ledger.h"
#include "place.h"

typedef struct Evidence
{
	/* the queue's settings */
	int64_t		rate_per_minute;
	int64_t		burst;
	int64_t		cap;

	const Ledger *ledger;
	const Row  *rows;
	int			n_rows;
	IdMap	   *row_by_id;		/* made by evidence_index */

	int			differences;	/* rows that vqueue.check() returned */
	int			refused;		/* requests answered with an error */
	int			notices;
	int64_t		malformed;		/* notifications that were no event */
} Evidence;

typedef struct Verdict
{
	const char *claim;
	bool		holds;
	char		figures[400];
} Verdict;

/* Find rows by id; once they are all there. */
extern void evidence_index(Evidence *evidence);
extern void evidence_forget(Evidence *evidence);

extern int	checks_count(void);
extern const char *check_name(int check);	/* one word */
extern void check_run(int check, const Evidence *evidence, Verdict *verdict);

/* Whether a row's times fit its status, and are in order. */
extern bool times_fit(const Row *row);

/* The burst that 0 stands for, as documented: a tenth of a second's worth, at least 1. */
extern int64_t default_burst(int64_t rate_per_minute);

#endif							/* CROWD_CHECKS_H */
