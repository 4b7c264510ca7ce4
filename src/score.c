/*
 * score.c
 *		How far estimates of waits were off.
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include <math.h>

#include "score.h"

/* The shortest wait (microseconds) of which an estimate is worth a judgement. */
#define SHORTEST		INT64CONST(5000000)

/* A session that is not let in after so many times its wait is not waited for. */
#define FORSAKEN		10

static int
order_of(int64 wait)
{
	int			order = 0;

	for (int64 w = wait / SHORTEST; w > 1 && order < VQ_ORDERS - 1; w /= 2)
		order++;
	return order;
}

void
vq_score_note(VqScore *score, int64 ticket, int64 mono, int64 wait)
{
	VqNoted    *noted;

	if (wait < SHORTEST)
		return;
	noted = score->noted[order_of(wait)];
	for (int i = 0; i < VQ_OF_EACH; i++)
	{
		if (noted[i].ticket == ticket)
			return;
		if (noted[i].ticket != 0 && (mono - noted[i].at) / FORSAKEN < noted[i].wait)
			continue;
		score->pending += noted[i].ticket == 0;
		noted[i].ticket = ticket;
		noted[i].at = mono;
		noted[i].wait = wait;
		return;
	}
}

static void
judge(VqScore *score, const VqNoted *noted, int64 mono)
{
	int64		wait = mono - noted->at;

	score->errors[score->judged++ % VQ_ERRORS] = fabs((double) (noted->wait - wait)) / Max(wait, SHORTEST);
}

void
vq_score_settle(VqScore *score, int64 ticket, int64 mono, bool let_in)
{
	if (score->pending == 0)
		return;
	for (int order = 0; order < VQ_ORDERS; order++)
		for (int i = 0; i < VQ_OF_EACH; i++)
		{
			VqNoted    *noted = &score->noted[order][i];

			if (noted->ticket != ticket)
				continue;
			if (let_in)
				judge(score, noted, mono);
			noted->ticket = 0;
			score->pending--;
		}
}

void
vq_score_void(VqScore *score)
{
	memset(score->noted, 0, sizeof(score->noted));
	score->pending = 0;
}

static int
by_value(const void *a, const void *b)
{
	float		x = *(const float *) a;
	float		y = *(const float *) b;

	return x < y ? -1 : x > y;
}

float
vq_score_error(const VqScore *score)
{
	float		errors[VQ_ERRORS];
	int			n = Min(score->judged, VQ_ERRORS);

	if (n == 0)
		return -1;
	memcpy(errors, score->errors, n * sizeof(float));
	qsort(errors, n, sizeof(float), by_value);
	return n % 2 == 1 ? errors[n / 2] : (errors[n / 2 - 1] + errors[n / 2]) / 2;
}
