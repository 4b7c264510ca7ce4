/*
 * trace.h
 *		Arrivals a second, read from a file.
 */
#ifndef CROWD_TRACE_H
#define CROWD_TRACE_H

typedef struct Trace
{
	int		   *arrivals;		/* one count a second */
	int			seconds;
	int			total;
} Trace;

/* Read a trace: numbers between blanks and newlines, lines that begin with # left out. */
extern Trace trace_read(const char *path);

#endif							/* CROWD_TRACE_H */
