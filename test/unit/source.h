/*
 * source.h
 *		Where a model takes its choices from: a seed, or the bytes of a fuzzer.
 *
 * Both kinds drive the same model: a property test replays one by its seed, a
 * fuzzer steers the choices by what code they reach.
 */
#ifndef VQ_SOURCE_H
#define VQ_SOURCE_H

#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

typedef struct Source
{
	const uint8 *bytes;			/* NULL: by seed */
	size_t		size;
	size_t		used;
	uint64		state;
	uint64		left;			/* by seed: choices before it ends */
} Source;

static inline Source
source_of_seed(uint64 seed, uint64 choices)
{
	Source		source = {NULL, 0, 0, seed, choices};

	return source;
}

static inline Source
source_of_bytes(const uint8 *bytes, size_t size)
{
	Source		source = {bytes, size, 0, 0, 0};

	return source;
}

static inline bool
source_ended(const Source *source)
{
	return source->bytes != NULL ? source->used >= source->size : source->left == 0;
}

/* A number of 64 bits; a fuzzer's is as long as the limit needs. */
static inline uint64
source_bits(Source *source, uint64 limit)
{
	uint64		z;

	if (source->bytes != NULL)
	{
		z = 0;
		for (; limit > 0 && source->used < source->size; limit >>= 8)
			z = z << 8 | source->bytes[source->used++];
		return z;
	}
	if (source->left > 0)
		source->left--;
	/* the splitmix64 generator */
	source->state += UINT64CONST(0x9E3779B97F4A7C15);
	z = source->state;
	z = (z ^ (z >> 30)) * UINT64CONST(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64CONST(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

/* From 0 to limit - 1; 0 once a fuzzer's bytes have run out. */
static inline uint64
source_below(Source *source, uint64 limit)
{
	return source_bits(source, limit - 1) % limit;
}

static inline int64
source_between(Source *source, int64 low, int64 high)
{
	return low + (int64) source_below(source, (uint64) high - (uint64) low + 1);
}

/* As likely small as large: first a number of bits, then that many. */
static inline int64
source_scaled(Source *source, int max_bits)
{
	int			bits = source_below(source, max_bits + 1);

	return bits == 0 ? 0 : (int64) source_below(source, UINT64CONST(1) << bits);
}

static inline bool
source_one_in(Source *source, uint64 n)
{
	return source_below(source, n) == 0;
}

/* What no contract allows: say where and how to see it again. */
#define MUST(condition) \
	do { \
		if (!(condition)) \
		{ \
			printf("not ok - %s at %s:%d\n", #condition, __FILE__, __LINE__); \
			fflush(stdout); \
			abort(); \
		} \
	} while (0)

#endif							/* VQ_SOURCE_H */
