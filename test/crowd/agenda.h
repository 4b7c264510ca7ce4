/*
 * agenda.h
 *		Who does what when.
 */
#ifndef CROWD_AGENDA_H
#define CROWD_AGENDA_H

#include "basics.h"

typedef struct Entry
{
	int64_t		at;
	uint64_t	serial;			/* equal times come in the order they were added */
	int			who;
	int			what;
} Entry;

typedef struct Agenda Agenda;

extern Agenda *agenda_make(void);
extern void agenda_free(Agenda *agenda);
extern void agenda_add(Agenda *agenda, int64_t at, int who, int what);

/* Time of the first entry, or NEVER. */
extern int64_t agenda_next(const Agenda *agenda);

/* Take the first entry if it is due. */
extern bool agenda_take(Agenda *agenda, int64_t now, Entry *entry);

#endif							/* CROWD_AGENDA_H */
