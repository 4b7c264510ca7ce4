/*
 * agenda.c
 *		Who does what when: a binary heap.
 */
#include "agenda.h"

#include <stdlib.h>

struct Agenda
{
	Entry	   *heap;
	int			used;
	int			room;
	uint64_t	serial;
};

Agenda *
agenda_make(void)
{
	return get_memory(sizeof(Agenda));
}

void
agenda_free(Agenda *agenda)
{
	free(agenda->heap);
	free(agenda);
}

static bool
before(const Entry *a, const Entry *b)
{
	return a->at < b->at || (a->at == b->at && a->serial < b->serial);
}

void
agenda_add(Agenda *agenda, int64_t at, int who, int what)
{
	Entry		entry = {at, agenda->serial++, who, what};
	int			hole = agenda->used;

	agenda->heap = grow(agenda->heap, agenda->used, &agenda->room, sizeof(Entry));
	agenda->used++;
	while (hole > 0 && before(&entry, &agenda->heap[(hole - 1) / 2]))
	{
		agenda->heap[hole] = agenda->heap[(hole - 1) / 2];
		hole = (hole - 1) / 2;
	}
	agenda->heap[hole] = entry;
}

int64_t
agenda_next(const Agenda *agenda)
{
	return agenda->used > 0 ? agenda->heap[0].at : NEVER;
}

bool
agenda_take(Agenda *agenda, int64_t now, Entry *entry)
{
	Entry		last;
	int			hole = 0;

	if (agenda_next(agenda) > now)
		return false;
	*entry = agenda->heap[0];
	last = agenda->heap[--agenda->used];
	for (;;)
	{
		int			child = 2 * hole + 1;

		if (child + 1 < agenda->used && before(&agenda->heap[child + 1], &agenda->heap[child]))
			child++;
		if (child >= agenda->used || !before(&agenda->heap[child], &last))
			break;
		agenda->heap[hole] = agenda->heap[child];
		hole = child;
	}
	if (agenda->used > 0)
		agenda->heap[hole] = last;
	return true;
}
