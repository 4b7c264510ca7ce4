/*
 * highest.c
 *		Numbers at times: the highest of those within any stretch of time.
 *
 * levels[k][i] is the highest of the 2^k numbers from place i on; any stretch
 * is covered by two of them.
 */
#include <stdlib.h>

#include "highest.h"

#define MAX_LEVELS 31

struct Highest
{
	int64_t    *times;
	int			n;
	int64_t    *levels[MAX_LEVELS];
	int			built;			/* levels that are complete; 0 while numbers are added */
};

Highest *
highest_make(int room)
{
	Highest    *highest = get_memory(sizeof(Highest));

	highest->times = get_memory(room * sizeof(int64_t));
	highest->levels[0] = get_memory(room * sizeof(int64_t));
	return highest;
}

void
highest_add(Highest *highest, int64_t at, int64_t number)
{
	highest->times[highest->n] = at;
	highest->levels[0][highest->n++] = number;
}

void
highest_free(Highest *highest)
{
	for (int k = 0; k < MAX_LEVELS; k++)
		free(highest->levels[k]);
	free(highest->times);
	free(highest);
}

static void
build_levels(Highest *highest)
{
	for (highest->built = 1; (1 << highest->built) <= highest->n; highest->built++)
	{
		const int64_t *below = highest->levels[highest->built - 1];
		int64_t    *level = get_memory(highest->n * sizeof(int64_t));
		int			half = 1 << (highest->built - 1);

		for (int i = 0; i + 2 * half <= highest->n; i++)
			level[i] = below[i] > below[i + half] ? below[i] : below[i + half];
		highest->levels[highest->built] = level;
	}
}

int
highest_first(const Highest *highest, int64_t at)
{
	int			low = 0;
	int			high = highest->n;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (highest->times[middle] < at)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int64_t
highest_between(Highest *highest, int from, int to)
{
	int			k = 0;
	int64_t		left;
	int64_t		right;

	if (from >= to)
		return 0;
	if (highest->built == 0)
		build_levels(highest);
	while ((2 << k) <= to - from)
		k++;
	left = highest->levels[k][from];
	right = highest->levels[k][to - (1 << k)];
	return left > right ? left : right;
}
