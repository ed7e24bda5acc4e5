/* What to change first about a slow loader. */
#include "bench/loader/advice.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Not worth a word: noise is as much. */
static const double WORTH = 1.05;

static const struct bench_loader_cell *find(const struct bench_loader_cell *cell, int n, int store,
                                            int workers, enum bench_augment augment)
{
    for (int i = 0; i < n; i++)
        if (cell[i].store == store && cell[i].workers == workers && cell[i].augment == augment)
            return &cell[i];
    return NULL;
}

/* The cell that is nearest to what the config has. */
static const struct bench_loader_cell *nearest(const struct bench_loader_cell *cell, int n, int have)
{
    const struct bench_loader_cell *best = &cell[0];
    for (int i = 1; i < n; i++) {
        const int mine = 1000 * (cell[i].store != 0) +
                         100 * abs((int)cell[i].augment - BENCH_AUGMENT_CONFIG) + abs(cell[i].workers - have),
                  its = 1000 * (best->store != 0) + 100 * abs((int)best->augment - BENCH_AUGMENT_CONFIG) +
                        abs(best->workers - have);
        best = mine < its ? &cell[i] : best;
    }
    return best;
}

/* How many times, beyond doubt; else 1. */
static double faster(const struct bench_loader_cell *a, const struct bench_loader_cell *b)
{
    return a->low > b->high ? a->rate / b->rate : 1;
}

void bench_loader_advise(const struct bench_loader_cell *cell, int n, int have, double need,
                         struct bench_loader_advice *out)
{
    const struct bench_loader_cell *at = nearest(cell, n, have);
    *out = (struct bench_loader_advice){.rate = at->rate,
                                        .workers = at->workers,
                                        .by_workers = 1,
                                        .by_augment = 1,
                                        .by_store = 1,
                                        .best_workers = at->workers,
                                        .best_store = at->store,
                                        .spare = need > 0 ? at->rate / need : NAN};
    for (int i = 0; i < n; i++) {
        const double gain = faster(&cell[i], at);
        if (cell[i].store == at->store && cell[i].augment == at->augment && gain > out->by_workers) {
            out->by_workers = gain;
            out->best_workers = cell[i].workers;
        }
        if (cell[i].workers == at->workers && cell[i].augment == at->augment && gain > out->by_store) {
            out->by_store = gain;
            out->best_store = cell[i].store;
        }
    }
    const struct bench_loader_cell *plain = find(cell, n, at->store, at->workers, BENCH_AUGMENT_NONE);
    if (plain && at->augment != BENCH_AUGMENT_NONE)
        out->by_augment = faster(plain, at);
}

void bench_loader_advice_text(const struct bench_loader_advice *a, const char *const *store, char *buf,
                              int size)
{
    int n = 0;
    if (a->spare >= WORTH) {
        snprintf(buf, (size_t)size, "Nothing to fix: the loader brings %.1f times what training takes.",
                 a->spare);
        return;
    }
    if (a->spare < WORTH)
        n = snprintf(buf, (size_t)size, "Training waits: the loader brings %.2f of what it takes. ",
                     a->spare);
    n = n < size ? n : size - 1;
    if (a->by_store >= WORTH && a->by_store >= a->by_workers && a->by_store >= a->by_augment)
        snprintf(buf + n, (size_t)(size - n),
                 "Fix this first: where the data lies; from %s it comes %.2f times as fast.",
                 store[a->best_store], a->by_store);
    else if (a->by_workers >= WORTH && a->by_workers >= a->by_augment)
        snprintf(buf + n, (size_t)(size - n), "Fix this first: data.workers=%d is %.2f times as fast as %d.",
                 a->best_workers, a->by_workers, a->workers);
    else if (a->by_augment >= WORTH)
        snprintf(buf + n, (size_t)(size - n),
                 "Fix this first: augmentation; without it the loader is %.2f times as fast, and other "
                 "workers or stores "
                 "gain less.",
                 a->by_augment);
    else
        snprintf(buf + n, (size_t)(size - n),
                 "Neither workers, nor augmentation, nor the store that were tried make a difference of 5 "
                 "%%: reading and "
                 "decoding samples is what it takes.");
}
