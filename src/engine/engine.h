/* The face of src/engine: what computes a run. One table, an implementation for each kind of machine; who
 * trains knows the table alone, and what is computed on is a matter of this folder.
 *
 *   ddp_engine_choose -> ddp_engine_create -> fill the host's state -> ddp_engine_upload
 *     -> { ddp_engine_enqueue, ddp_engine_collect }*          steps; up to `depth` of them are on their way
 *     -> ddp_engine_eval_begin, { ddp_engine_eval }*, ddp_engine_eval_end
 *                                                             when no step is pending; one that is broken
 *                                                             off after its first batch has no end
 *     -> ddp_engine_download -> read the host's state         when no step is pending
 *     -> ddp_engine_destroy
 *
 * The results of the numerics contract hold for each engine by itself: the same bits at any number of ranks.
 * Every call but those marked local is made by all ranks in the same order. Errors are this rank's alone
 * unless said otherwise: the others may be waiting for it, and are to be aborted. */
#ifndef DDP_ENGINE_H
#define DDP_ENGINE_H

#include "comm/comm.h"
#include "engine/probe.h"
#include "model/model.h"
#include "optim/optim.h"
#include "reduce/plan.h"
#include "topology/topology.h"

struct ddp_engine;

/* ---- what a run is ---- */

struct ddp_engine_conf { /* all borrowed until destroy */
    const struct ddp_config *cfg;
    struct ddp_comm *comm;
    struct ddp_pool *pool;         /* this rank's threads */
    const struct ddp_place *place; /* where this rank runs; NULL: unplaced */
    const struct ddp_model *model;
    struct ddp_dataset *train_set; /* NULL: evaluation only */
    struct ddp_dataset *test_set;
    struct ddp_rank_plan ranks;           /* which shards are mine */
    int64_t total_steps, steps_per_epoch; /* what schedules scale to */
    const char *resumed_from;             /* the checkpoint to go on from, on rank 0; "": none */
    /* What that checkpoint holds of an engine's choices, and does not fit here, is replaced, not an error. */
    bool relock;
    bool (*stop_requested)(void); /* this rank's vote to end after the step, or evaluation batch, at hand */
};

/* ---- what a step, and an evaluation, came to ---- */

struct ddp_engine_result {
    int64_t step, epoch, index, count; /* of the batch: step from 0, samples of all ranks */
    /* Over the global batch, the same on all ranks; not finite: nothing may follow it but find_bad and
     * destroy. */
    double loss_sum;
    int64_t correct; /* with labels: right answers */
    bool stop;       /* some rank asked to stop */
    double norm;     /* of the gradient when clipping, else -1 */
    double waited;   /* seconds for other ranks; 0 where nobody can tell */
    /* Seconds of this rank's training thread without waits: in the passes, in the optimizer, and in summing
     * and sending gradients; all 0 where nobody can tell. */
    double forward, backward, optimizer, reduce;
    int bad_shard; /* the first shard of this rank with a loss that is not finite; -1: none */
    float bad_loss;
    /* The last block of the flat space whose sums, of gradients or statistics, were not finite and so not
     * applied, the same on all ranks; -1: none. Nothing may follow but destroy. */
    int64_t refused;
};

/* Of every shard of mine, shard i of batch b at [b * eval_shards + i]. Owned by the engine. */
struct ddp_engine_eval {
    const float *loss;      /* sums */
    const int32_t *correct; /* with labels: right answers; else NULL */
    const float *error;     /* with real targets: sums of the samples' mean absolute errors; else NULL */
};

/* ---- what run.json says of an engine ---- */

enum ddp_fact_kind { DDP_FACT_TEXT, DDP_FACT_INTEGER, DDP_FACT_REAL, DDP_FACT_BOOL };

struct ddp_fact {
    const char *key; /* "a.b.c": c in b in a */
    enum ddp_fact_kind kind;
    const char *text;
    int64_t integer; /* also of DDP_FACT_BOOL */
    double real;
};

/* ---- the table ---- */

struct ddp_engine_memory { /* bytes of the host */
    size_t shared;         /* once for the ranks of a node: gradients */
    size_t own;            /* of each rank: activations and scratch */
};

/* How an engine is made. Members are required unless they say otherwise; the calls below check arguments and
 * states and leave the rest to them. */
struct ddp_engine_ops {
    size_t size; /* of the implementation's struct, which begins with struct ddp_engine */
    int depth;   /* steps that may be enqueued and not collected: 1, or more where results come late */
    enum ddp_model_form model; /* how the model is to be built */
    enum ddp_loader_form form; /* how batches are to be delivered; init may ask for less in training */

    /* What it will take of the host besides the state, before anything is made. Local. */
    void (*memory)(const struct ddp_engine_conf *conf, struct ddp_engine_memory *out);
    /* Collective. e->conf and the host's state are there; plans and allocates everything, and fills in what
     * the engine says of itself. Errors are the same on all ranks; finish follows. */
    int (*init)(struct ddp_engine *e, struct ddp_error *err);
    /* Local; of what a failed init has left, too. abort: peers may be gone and devices not answer, wait for
     * nobody; what cannot be freed without is left to the end of the process. */
    void (*finish)(struct ddp_engine *e, bool abort);
    /* Rank 0's host state -> where the engine computes, and back; ranks may each bring down a part. Both
     * optional: without them the host's arrays are what the engine computes on. Collective. */
    int (*upload)(struct ddp_engine *e, struct ddp_error *err);
    int (*download)(struct ddp_engine *e, struct ddp_error *err);
    /* Steps. batch is valid until the next enqueue. */
    int (*enqueue)(struct ddp_engine *e, const struct ddp_batch *batch, int64_t step, struct ddp_error *err);
    int (*collect)(struct ddp_engine *e, struct ddp_engine_result *out, struct ddp_error *err);
    /* What evaluations need of other ranks. Optional. Collective. */
    int (*eval_begin)(struct ddp_engine *e, struct ddp_error *err);
    /* Forward of my shards of evaluation batch `index`, then the results of all of them. */
    int (*eval)(struct ddp_engine *e, const struct ddp_batch *batch, int64_t index, struct ddp_error *err);
    int (*eval_end)(struct ddp_engine *e, struct ddp_engine_eval *out, struct ddp_error *err);
    /* Between steps: slice i, from 0 on, of what this rank owns, in blocks, and the gradient's sums of the
     * last step over it. False: there is no such slice. Optional: without it nobody can tell. Local. */
    bool (*own_sums)(struct ddp_engine *e, int64_t i, struct ddp_range *blocks, const float **sum);
    bool probes; /* it tells what each op computes (probe.h) */
    /* See ddp_engine_find_bad. */
    void (*find_bad)(struct ddp_engine *e, bool training, int64_t step, const struct ddp_batch *batch,
                     int shard, char *text, int size);
};

enum { DDP_ENGINE_FACTS = 24, DDP_ENGINE_IDENTITY = 65 };

struct ddp_engine {
    const struct ddp_engine_ops *ops;
    struct ddp_engine_conf conf;
    const struct ddp_flat *flat; /* the model's */
    int my_shards, eval_shards;  /* how many are mine: of a step, of an evaluation batch */
    int pending;                 /* steps enqueued and not collected */
    int64_t eval_batches;

    /* The host's state, shared by the ranks of a node: what a checkpoint is made of. Rank 0 fills its node's
     * before upload; after steps that one is up to date from a download until the next enqueue. */
    float *params;           /* [flat total] */
    struct ddp_optim *optim; /* its arrays */
    struct {                 /* of the gradients, in half precision; each rank has it */
        double scale;
        int64_t good, skipped;
    } loss_scale;

    struct ddp_digest_board *board; /* digest.c; NULL: nobody wants digests */
    struct ddp_probe *probe;        /* probe.h; NULL: probe.from is 0 */

    /* What it says of itself; init fills it in. */
    const char *name;                   /* "avx2", "NVIDIA H100": for messages */
    enum ddp_loader_form form;          /* of training batches; init may change what the table says */
    char identity[DDP_ENGINE_IDENTITY]; /* what decides results beside the config, hashed; "": nothing does */
    const char *file, *file_text;       /* a small file of the run and of each checkpoint; NULL: none */
    struct ddp_fact fact[DDP_ENGINE_FACTS]; /* for run.json, in this order; add with ddp_engine_tell_*() */
    int nfacts;
};

/* ---- calls ---- */

/* The engine that the config asks for and this machine has; rank 0's host decides for all that were not
 * placed. cfg's `device` becomes what was decided. Collective, as are its
 * errors: DDP_E_RESOURCE, DDP_E_CONFIG with the reason. */
int ddp_engine_choose(struct ddp_config *cfg, struct ddp_comm *comm, const struct ddp_engine_ops **out,
                      struct ddp_error *err);

/* Collective. Shares the host's state (zeros, optimizer as at step 0) and makes the engine. Errors, the same
 * on all ranks: DDP_E_RESOURCE what is missing or too small; DDP_E_CONFIG what this engine lacks, or a
 * checkpoint of another machine; DDP_E_COMM. */
int ddp_engine_create(const struct ddp_engine_ops *ops, const struct ddp_engine_conf *conf,
                      struct ddp_engine **out, struct ddp_error *err);
/* Local. abort: after an error, when peers may be gone. NULL is fine. */
void ddp_engine_destroy(struct ddp_engine *e, bool abort);

/* The experiment: config and what the engine adds to it. */
void ddp_engine_hash(const struct ddp_engine *e, char hex[65]);

/* Facts about an engine, for its init. Texts are borrowed. */
void ddp_engine_tell_text(struct ddp_engine *e, const char *key, const char *text);
void ddp_engine_tell_integer(struct ddp_engine *e, const char *key, int64_t value);
void ddp_engine_tell_real(struct ddp_engine *e, const char *key, double value);
void ddp_engine_tell_bool(struct ddp_engine *e, const char *key, bool value);

/* Rank 0's host state to where the engine computes, and back for its node to read. Errors are the same on all
 * ranks. */
int ddp_engine_upload(struct ddp_engine *e, struct ddp_error *err);
int ddp_engine_download(struct ddp_engine *e, struct ddp_error *err);

/* Digests of the host's state, by which two runs are compared: one of each block of DDP_BLOCK elements of
 * the parameters (array 0), of the optimizer's state arrays (1 ..), and of the gradient. What is
 * in memory already is hashed in place, by each rank of the first node its share of the state, by owners
 * their sums; so a tensor's padding is hashed, too, and the layout is that of the engine. */
enum { DDP_DIGEST = 16, DDP_DIGEST_GRADIENT = -1 };
/* After a download, collective; all have hashed when it returns. gradient: of the last step, too, where that
 * is known (there was a step in this process, one node, an optimizer that leaves it). */
int ddp_engine_digest(struct ddp_engine *e, bool gradient, struct ddp_error *err);
/* Of an array, [blocks][DDP_DIGEST], on the first node, until the next ddp_engine_digest; NULL: not known. */
const uint8_t *ddp_engine_digests(const struct ddp_engine *e, int array);

/* Step `step` (from 0) with this rank's shards of its batch. */
int ddp_engine_enqueue(struct ddp_engine *e, const struct ddp_batch *batch, int64_t step,
                       struct ddp_error *err);
/* The oldest pending step: waits for it. */
int ddp_engine_collect(struct ddp_engine *e, struct ddp_engine_result *out, struct ddp_error *err);

/* Before the first batch of an evaluation. Errors are the same on all ranks. */
int ddp_engine_eval_begin(struct ddp_engine *e, struct ddp_error *err);
/* Forward of my shards of evaluation batch `index`, from 0 on in order; eval_end gives the results of all,
 * until the next eval. */
int ddp_engine_eval(struct ddp_engine *e, const struct ddp_batch *batch, int64_t index,
                    struct ddp_error *err);
int ddp_engine_eval_end(struct ddp_engine *e, struct ddp_engine_eval *out, struct ddp_error *err);

/* After a loss that is not finite: the first tensor of `shard` that is not finite, as text for messages.
 * training: `step` and `shard` as a result gave them, and all ranks call it (shard -1: none of mine, no text
 * is wanted); else a shard of an evaluation batch, and the rank that has it calls it alone. batch: the failed
 * one, loaded again; NULL: that could not be done, and not every engine needs it. Afterwards nothing but
 * destroy. */
void ddp_engine_find_bad(struct ddp_engine *e, bool training, int64_t step, const struct ddp_batch *batch,
                         int shard, char *text, int size);

#endif
