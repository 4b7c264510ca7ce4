/*
 * tree.h
 *		Sums over a row of counts, in a Fenwick tree: node i (from 1) is the sum of
 *		the (i & -i) counts that end at i.
 *
 * For whoever keeps pieces in order and asks how many come before one, or which
 * one is the n-th: all but vq_tree_build take a logarithm of steps.
 */
#ifndef VQ_TREE_H
#define VQ_TREE_H

/* Make the tree of n counts that were written into its nodes. */
static inline void
vq_tree_build(int64 *tree, uint32 n)
{
	for (uint32 i = 1; i <= n; i++)
	{
		uint32		parent = i + (i & -i);

		if (parent <= n)
			tree[parent - 1] += tree[i - 1];
	}
}

/* Make node n, the last one, for a count of zero. */
static inline void
vq_tree_append(int64 *tree, uint32 n)
{
	int64		sum = 0;

	for (uint32 i = n - 1; i > n - (n & -n); i -= i & -i)
		sum += tree[i - 1];
	tree[n - 1] = sum;
}

/* Add to the count at an index (from 0) of n. */
static inline void
vq_tree_add(int64 *tree, uint32 n, uint32 index, int64 by)
{
	for (uint32 i = index + 1; i <= n; i += i & -i)
		tree[i - 1] += by;
}

/* The sum of the first counts, so many of them. */
static inline int64
vq_tree_sum(const int64 *tree, uint32 first)
{
	int64		sum = 0;

	for (uint32 i = first; i > 0; i -= i & -i)
		sum += tree[i - 1];
	return sum;
}

/*
 * The index (from 0) of n counts in which number *rank (from 0) of all that is
 * counted lies; *rank becomes its number there.  n if it is not below their sum.
 */
static inline uint32
vq_tree_find(const int64 *tree, uint32 n, int64 *rank)
{
	uint32		at = 0;
	uint32		step = 1;

	while (step <= n / 2)
		step *= 2;

	/* Down the tree: as many counts as hold no more than rank before it. */
	for (; step > 0; step /= 2)
	{
		if (at + step <= n && tree[at + step - 1] <= *rank)
		{
			at += step;
			*rank -= tree[at - 1];
		}
	}
	return at;
}

#endif							/* VQ_TREE_H */
