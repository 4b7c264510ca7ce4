/*
 * steps.c
 *		Who came in and who went, in the order of time.
 */
#include <stdlib.h>

#include "steps.h"

static int
by_moment(const void *a, const void *b)
{
	const Step *x = a;
	const Step *y = b;
	int			order = compare_numbers(x->at, y->at);

	return order != 0 ? order : x->change - y->change;
}

Step *
steps_of(const Row *rows, int n_rows, int *n)
{
	Step	   *steps = get_memory(2 * n_rows * sizeof(Step));

	*n = 0;
	for (int r = 0; r < n_rows; r++)
	{
		if (row_let_in_at(&rows[r]) == 0)
			continue;
		steps[(*n)++] = (Step) {row_let_in_at(&rows[r]), 1};
		if (rows[r].left_at != 0)
			steps[(*n)++] = (Step) {rows[r].left_at, -1};
	}
	qsort(steps, *n, sizeof(Step), by_moment);
	return steps;
}
