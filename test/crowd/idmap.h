/*
 * idmap.h
 *		From an id to the index of what it names.
 */
#ifndef CROWD_IDMAP_H
#define CROWD_IDMAP_H

#include "basics.h"

typedef struct IdMap IdMap;

extern IdMap *idmap_make(void);
extern void idmap_free(IdMap *map);

/* Index of an id, or -1. */
extern int	idmap_find(const IdMap *map, const Uuid *id);

/* Note the index of an id; false, and no change, if it has one already. */
extern bool idmap_add(IdMap *map, const Uuid *id, int index);

#endif							/* CROWD_IDMAP_H */
