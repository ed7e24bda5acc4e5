/* The canonical tree: index arithmetic, and sums of small vectors. */
#include "reduce/tree.h"

#include <stddef.h>
#include <stdint.h>

int ddp_tree_split(int lo, int hi)
{
    int half = 1;
    while (2 * half < hi - lo)
        half *= 2;
    return lo + half;
}

bool ddp_tree_is_node(int shards, int lo, int hi)
{
    int a = 0, b = shards;
    while (a != lo || b != hi) {
        if (b - a < 2)
            return false;
        int mid = ddp_tree_split(a, b);
        if (hi <= mid)
            b = mid;
        else if (lo >= mid)
            a = mid;
        else
            return false;
    }
    return true;
}

int ddp_tree_first_shard(int shards, int ranks, int rank)
{
    return (int)((int64_t)rank * shards / ranks);
}

/* Nodes of tree(0, shards) that cover [first, last), depth of the walk: log2(shards). */
static int cover(int first, int last, int lo, int hi, struct ddp_tree_node *nodes)
{
    if (hi <= first || lo >= last)
        return 0;
    if (first <= lo && hi <= last) {
        *nodes = (struct ddp_tree_node){lo, hi};
        return 1;
    }
    int mid = ddp_tree_split(lo, hi);
    int n = cover(first, last, lo, mid, nodes);
    return n + cover(first, last, mid, hi, nodes + n);
}

int ddp_tree_cover(int shards, int first, int last, struct ddp_tree_node nodes[DDP_TREE_MAX_NODES])
{
    return cover(first, last, 0, shards, nodes);
}

/* The stack over [first, lo) holds exactly the nodes that cover it, so what is pushed lies on top of them,
 * and what is above the cover of [first, hi) is merged. */
int ddp_tree_merges_after(int shards, int first, int lo, int hi)
{
    struct ddp_tree_node nodes[DDP_TREE_MAX_NODES];
    return ddp_tree_cover(shards, first, lo, nodes) + 1 - ddp_tree_cover(shards, first, hi, nodes);
}

/* The sum of [lo, hi) ends in v[lo]. */
static void sum_float(int lo, int hi, size_t width, float *v)
{
    if (hi - lo == 1)
        return;
    int mid = ddp_tree_split(lo, hi);
    sum_float(lo, mid, width, v);
    sum_float(mid, hi, width, v);
    float *restrict a = v + (size_t)lo * width;
    const float *restrict b = v + (size_t)mid * width;
    for (size_t i = 0; i < width; i++)
        a[i] += b[i];
}

static void sum_double(int lo, int hi, size_t width, double *v)
{
    if (hi - lo == 1)
        return;
    int mid = ddp_tree_split(lo, hi);
    sum_double(lo, mid, width, v);
    sum_double(mid, hi, width, v);
    double *restrict a = v + (size_t)lo * width;
    const double *restrict b = v + (size_t)mid * width;
    for (size_t i = 0; i < width; i++)
        a[i] += b[i];
}

void ddp_tree_sum_float(int shards, int width, float *v, float *out)
{
    sum_float(0, shards, (size_t)width, v);
    for (int i = 0; i < width; i++)
        out[i] = v[i];
}

void ddp_tree_sum_double(int shards, int width, double *v, double *out)
{
    sum_double(0, shards, (size_t)width, v);
    for (int i = 0; i < width; i++)
        out[i] = v[i];
}
