/* Why N ranks are not N times as fast: the loss of a step, attributed to causes by what was measured.
 * Pure.
 *
 * Three jobs say it: `job` on N ranks, `base` on the fewest, and so many jobs of one rank at the same time
 * that know nothing of each other (`together`), against one of them (`alone`). Parts of a step are those of
 * the training loop (struct ddp_time_summary); seconds a step.
 *
 *   ideal          base's step, times what is left of its work for each rank (`share`: 1 weak, base/N strong)
 *   loss           job's step - ideal
 *   data           the busiest rank waits longer for batches
 *   communication  it reduces and waits for others longer, without what uneven steps explain
 *   imbalance      it computes longer than the fastest, and steps where now this, now that rank is late
 *   shared core    its threads could have run and had no CPU
 *   memory         ranks that know nothing of each other slow each other down: memory bandwidth, caches
 *   frequency      of that, what the clock explains that is slower where all cores work
 *   serial         optimizer and the rest, and, strong, that a smaller batch takes longer than its share
 *   remainder      what none of these explains: so that they add up to the loss */
#ifndef DDP_BENCH_SCALING_PARTS_H
#define DDP_BENCH_SCALING_PARTS_H

#include "bench/job.h"

#define BENCH_CAUSES(X)                                                                                      \
    X(DATA, data, "data")                                                                                    \
    X(COMMUNICATION, communication, "communication")                                                         \
    X(IMBALANCE, imbalance, "imbalance")                                                                     \
    X(SHARED_CORE, shared_core, "shared core")                                                               \
    X(MEMORY, memory, "memory")                                                                              \
    X(FREQUENCY, frequency, "frequency")                                                                     \
    X(SERIAL, serial, "serial part")                                                                         \
    X(REMAINDER, remainder, "remainder")
#define BENCH_CAUSE_NUMBER(NUMBER, key, words) BENCH_CAUSE_##NUMBER,
enum bench_cause { BENCH_CAUSES(BENCH_CAUSE_NUMBER) BENCH_CAUSE_COUNT };
const char *bench_cause_words(enum bench_cause cause);

struct bench_evidence {
    const struct bench_took *job, *base, *alone;
    const struct bench_took *together; /* NULL: a host has one rank of it */
    double share;
    double ghz_alone, ghz_all; /* of the clock; 0: not known */
};

struct bench_loss {
    double ideal, loss; /* seconds a step */
    double part[BENCH_CAUSE_COUNT];
    enum bench_cause first; /* the largest */
};

void bench_loss_explain(const struct bench_evidence *e, struct bench_loss *out);

/* Sum of a step's parts, and of those that are work and no wait. */
double bench_parts_sum(const double part[DDP_TIME_COUNT]);
double bench_parts_work(const double part[DDP_TIME_COUNT]);
/* Field by field the median of n. */
void bench_took_median(const struct bench_took *v, int n, struct bench_took *out);
/* Of jobs at the same time: means of all, as if they were the ranks of one. */
void bench_took_join(const struct bench_took *v, int n, struct bench_took *out);

#endif
