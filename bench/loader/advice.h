/* What to change first about a slow loader, from how fast it was in each setting. Pure. */
#ifndef DDP_BENCH_LOADER_ADVICE_H
#define DDP_BENCH_LOADER_ADVICE_H

enum bench_augment { BENCH_AUGMENT_NONE, BENCH_AUGMENT_CONFIG, BENCH_AUGMENT_FULL, BENCH_AUGMENTS };

struct bench_loader_cell {
    int store, workers;
    enum bench_augment augment;
    double rate, low, high; /* samples/s: the median, its interval */
};

/* How the config has it: store 0, its augmentation, its workers. */
struct bench_loader_advice {
    double rate; /* in the setting nearest to that */
    int workers; /* of that setting */
    /* Times as fast: with the best number of workers, without augmentation, with the best store; 1: no
     * gain, or not measured. */
    double by_workers, by_augment, by_store;
    int best_workers, best_store;
    double spare; /* rate by need; nan: nobody said what is needed */
};

/* n >= 1 cells. What is faster counts where the intervals do not overlap.
 * have: data.workers of the config. need: samples/s that training takes, 0: not known. */
void bench_loader_advise(const struct bench_loader_cell *cell, int n, int have, double need,
                         struct bench_loader_advice *out);
/* In one or two sentences. store: names. buf as snprintf. */
void bench_loader_advice_text(const struct bench_loader_advice *a, const char *const *store, char *buf,
                              int size);

#endif
