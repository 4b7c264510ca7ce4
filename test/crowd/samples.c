/*
 * samples.c
 *		Numbers to take percentiles of.
 */
#include "samples.h"

#include <stdlib.h>

void
samples_add(Samples *samples, int64_t value)
{
	samples->values = grow(samples->values, samples->n, &samples->room, sizeof(int64_t));
	samples->values[samples->n++] = value;
}

void
samples_free(Samples *samples)
{
	free(samples->values);
	samples->values = NULL;
	samples->n = 0;
	samples->room = 0;
}

static int
by_value(const void *a, const void *b)
{
	return compare_numbers(*(const int64_t *) a, *(const int64_t *) b);
}

void
samples_sort(Samples *samples)
{
	if (samples->n > 0)
		qsort(samples->values, samples->n, sizeof(int64_t), by_value);
}

int64_t
samples_percentile(const Samples *samples, double share)
{
	int			at = 0;

	if (samples->n == 0)
		return 0;
	while (at < samples->n - 1 && at + 1 < share * samples->n)
		at++;
	return samples->values[at];
}
