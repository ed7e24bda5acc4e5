/* An engine without any compute, for tests of a run's life: it writes down what it is asked, answers as the
 * script says, and keeps its state where only upload and download reach it. A step adds 1 to the first
 * parameter, so the weights' hash tells which steps were made. */
#ifndef DDP_TEST_FAKE_ENGINE_H
#define DDP_TEST_FAKE_ENGINE_H

#include "engine/engine.h"

enum { FAKE_RANKS = 4, FAKE_EVALS = 8 };

struct fake_script {
    const char *fail; /* the call that fails: a member of struct ddp_engine_ops; NULL: none */
    int fail_at;      /* the how manieth of its kind, from 1 */
    int fail_rank;
    int64_t stop_after; /* the results of this step (from 1) say that some rank asked to stop; 0: never */
    int64_t signal_in;  /* a signal arrives while this step (from 1) is enqueued; 0: never */
    /* Rank stop_rank is asked to stop in its evaluation batch of this number, of all that it makes (from 1);
     * 0: never. */
    int stop_batch;
    int stop_rank;
    int64_t nan_step;    /* the loss of this step (from 1) is nan, in rank 0's first shard; 0: none */
    bool nan_sum;        /* only its sum is, no shard's */
    int64_t refuse_step; /* sums of this step (from 1) are refused, last in refuse_block; 0: none */
    int64_t refuse_block;
    int nan_eval;                /* so is that of this evaluation (from 1); 0: none */
    float eval_loss[FAKE_EVALS]; /* mean loss of each evaluation; 0: 1 */
};

extern const struct ddp_engine_ops fake_engine;      /* depth 1 */
extern const struct ddp_engine_ops fake_engine_deep; /* depth 2: results come late */

/* Forgets what was written down. */
void fake_engine_play(const struct fake_script *script);
/* What rank `rank` was asked, in order: "memory", "init", "upload", "e4" (enqueue of step 4, from 0), "c4",
 * "v0" (evaluation of batch 0), "V" (its end), "bad", "download", "finish", "abort" (finish with abort). */
const char *fake_engine_calls(int rank);

#endif
