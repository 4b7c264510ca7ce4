/*
 * idmap.c
 *		From an id to the index of what it names: open addressing, at most half full.
 */
#include "idmap.h"

#include <stdlib.h>
#include <string.h>

typedef struct Slot
{
	Uuid		id;
	int			index;			/* -1: free */
} Slot;

struct IdMap
{
	Slot	   *slots;
	size_t		size;			/* a power of two */
	size_t		used;
};

static Slot *
make_slots(size_t size)
{
	Slot	   *slots = get_memory(size * sizeof(Slot));

	for (size_t i = 0; i < size; i++)
		slots[i].index = -1;
	return slots;
}

IdMap *
idmap_make(void)
{
	IdMap	   *map = get_memory(sizeof(IdMap));

	map->size = 1024;
	map->slots = make_slots(map->size);
	return map;
}

void
idmap_free(IdMap *map)
{
	free(map->slots);
	free(map);
}

/* The slot that holds the id, or the free one where it would go. */
static Slot *
slot_of(const IdMap *map, const Uuid *id)
{
	uint64_t	halves[2];
	Random		mixer;
	size_t		at;

	memcpy(halves, id->bytes, sizeof(halves));
	mixer = random_start(halves[0] ^ (halves[1] << 1));
	at = random_bits(&mixer) & (map->size - 1);
	while (map->slots[at].index >= 0 && !uuid_equal(&map->slots[at].id, id))
		at = (at + 1) & (map->size - 1);
	return &map->slots[at];
}

int
idmap_find(const IdMap *map, const Uuid *id)
{
	return slot_of(map, id)->index;
}

static void
double_slots(IdMap *map)
{
	Slot	   *old = map->slots;
	size_t		old_size = map->size;

	map->size *= 2;
	map->slots = make_slots(map->size);
	for (size_t i = 0; i < old_size; i++)
		if (old[i].index >= 0)
			*slot_of(map, &old[i].id) = old[i];
	free(old);
}

bool
idmap_add(IdMap *map, const Uuid *id, int index)
{
	Slot	   *slot;

	if (2 * (map->used + 1) > map->size)
		double_slots(map);
	slot = slot_of(map, id);
	if (slot->index >= 0)
		return false;
	slot->id = *id;
	slot->index = index;
	map->used++;
	return true;
}
