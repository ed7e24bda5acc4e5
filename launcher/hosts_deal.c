/* Dealing ranks to hosts. */
#include "launcher/hosts_deal.h"

#include <limits.h>
#include <stdlib.h>

/* Ranks that a host takes before any host takes more than its own. */
static int64_t fair(const struct ddp_deal *d, int h)
{
    const struct ddp_host *host = &d->hosts->host[h];
    if (host->slots == 0)
        return d->units[h];
    if (d->gpus) /* the lists of many sites count cores */
        return d->hosts->allocated || d->units[h] < host->slots ? d->units[h] : host->slots;
    return host->slots;
}

/* Ranks that a host takes at all. */
static int64_t limit(const struct ddp_deal *d, int h)
{
    const struct ddp_host *host = &d->hosts->host[h];
    return host->slots > 0 && !d->hosts->allocated ? host->slots : INT_MAX;
}

static int64_t sum(const struct ddp_deal *d, int64_t (*of)(const struct ddp_deal *, int))
{
    int64_t total = 0;
    for (int h = 0; h < d->hosts->n; h++)
        total += of(d, h);
    return total;
}

int ddp_deal_ranks(const struct ddp_deal *d)
{
    const int64_t n = sum(d, fair);
    return n < 1 ? 1 : n < INT_MAX ? (int)n : INT_MAX;
}

/* ---- how many on each host ------------------------------------------------------------------- */

static bool is_filled_in_order(const struct ddp_deal *d)
{
    bool all = !d->hosts->allocated;
    for (int h = 0; h < d->hosts->n; h++)
        all = all && d->hosts->host[h].slots > 0;
    return all;
}

static void fill(const struct ddp_deal *d, int64_t ranks, int64_t *count)
{
    for (int h = 0; h < d->hosts->n; h++) {
        count[h] = fair(d, h) < ranks ? fair(d, h) : ranks;
        ranks -= count[h];
    }
}

struct remainder {
    int64_t of_total; /* what was cut off the host's part */
    int host;
};

static int larger_first(const void *a, const void *b)
{
    const struct remainder *x = a, *y = b;
    if (x->of_total != y->of_total)
        return x->of_total > y->of_total ? -1 : 1;
    return x->host - y->host;
}

/* Parts as their fair ones are to each other, the largest remainders rounded up: no host's is above its fair
 * one, as ranks are not more than all of these. */
static void part(const struct ddp_deal *d, int64_t ranks, int64_t *count)
{
    const int64_t total = sum(d, fair);
    struct remainder *cut = ddp_calloc((size_t)d->hosts->n, sizeof *cut);
    int64_t left = ranks;
    for (int h = 0; h < d->hosts->n && total > 0; h++) {
        count[h] = fair(d, h) * ranks / total;
        cut[h] = (struct remainder){fair(d, h) * ranks % total, h};
        left -= count[h];
    }
    qsort(cut, (size_t)d->hosts->n, sizeof *cut, larger_first);
    for (int k = 0; k < left; k++)
        count[cut[k].host]++;
    free(cut);
}

/* What is left goes round the hosts that have not reached `most`. Returns what nobody takes. */
static int64_t go_round(const struct ddp_deal *d, int64_t left, int64_t (*most)(const struct ddp_deal *, int),
                        int64_t *count)
{
    bool moved = true;
    while (left > 0 && moved) {
        moved = false;
        for (int h = 0; h < d->hosts->n && left > 0; h++)
            if (count[h] < most(d, h)) {
                count[h]++;
                left--;
                moved = true;
            }
    }
    return left;
}

static int64_t count_ranks(const struct ddp_deal *d, int ranks, int64_t *count)
{
    const int64_t total = sum(d, fair), first = ranks < total ? ranks : total;
    if (d->by_node)
        go_round(d, first, fair, count);
    else if (is_filled_in_order(d))
        fill(d, first, count);
    else
        part(d, first, count);
    return go_round(d, ranks - first, limit, count);
}

/* ---- which on each host ---------------------------------------------------------------------- */

static void number(const struct ddp_deal *d, int ranks, int64_t *count, int *host_of)
{
    for (int r = 0, h = 0; r < ranks; r++) {
        while (count[h] == 0)
            h = (h + 1) % d->hosts->n;
        host_of[r] = h;
        count[h]--;
        if (d->by_node)
            h = (h + 1) % d->hosts->n;
    }
}

int ddp_deal_hosts(const struct ddp_deal *d, int ranks, int *host_of, struct ddp_error *err)
{
    int64_t *count = ddp_calloc((size_t)d->hosts->n, sizeof *count);
    const int64_t left = count_ranks(d, ranks, count);
    if (left == 0)
        number(d, ranks, count, host_of);
    free(count);
    if (left > 0)
        return ddp_fail(err, DDP_E_USAGE,
                        "-n %d: %s has %lld slot%s; start as many (-n %lld; the result is the same to the "
                        "bit), or give its hosts more, as in n0:%d",
                        ranks, d->hosts->from, (long long)(ranks - left), ranks - left == 1 ? "" : "s",
                        (long long)(ranks - left), ranks);
    return 0;
}
