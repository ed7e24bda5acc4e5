/* The face of src/telemetry: the run directory, run.json, metrics.jsonl, the progress line. Rank 0 only,
 * except where said. */
#ifndef DDP_TELEMETRY_H
#define DDP_TELEMETRY_H

#include "base/base.h"
#include "checkpoint/checkpoint.h"
#include "config/config.h"
#include "data/data.h"
#include "engine/engine.h"
#include "record/record.h"

/* DIR/NAME-YYYYMMDD-HHMMSS-xxxx, made now with log/ and checkpoints/ in it; on disk with `later`. */
int ddp_rundir_create(const struct ddp_config *cfg, struct ddp_later *later, char *path, int size,
                      struct ddp_error *err);
/* What the program's source had more than its commit goes into the run directory, packed (git apply takes it
 * back), under a name that the record tells. */
int ddp_rundir_keep_diff(const char *run_dir, struct ddp_later *later, struct ddp_error *err);
/* Before a run goes on: remove the files that a killed process left half written in it (NAME.tmp-PID). */
void ddp_rundir_tidy(const char *run_dir);
/* What --resume and --eval name -> the run, checkpoint or file.
 *   latest   the run under cfg->run.dir that was saved to last, by what its checkpoints say, among those of
 *            cfg's run.name, experiment and training data (SHA-256; NULL: whatever it is); runs without a
 *            checkpoint are named and passed over
 *   auto     the same; where there is none *path is ""
 *   RUN@best, or a path */
int ddp_rundir_find(const struct ddp_config *cfg, const char *train_data, const char *name, char *path,
                    int size, struct ddp_error *err);
/* When a run of cfg's name last wrote a checkpoint, as the file system says (ms since 1970, rounded up); 0:
 * there is none. What is saved from now on is later, wherever the clock was set. */
int64_t ddp_rundir_last_ms(const struct ddp_config *cfg);

struct ddp_data_id {
    char name[64];
    char sha256[65];
};

struct ddp_key_change { /* borrowed */
    const char *key, *from, *to;
};

/* ---- where the time of a step goes ----------------------------------------------------------- */

/* A rank's step is the sum of these. Where an engine cannot tell, all is in `rest`.
 *   data      for a batch to be ready
 *   forward, backward, optimizer
 *   reduce    adding up and sending gradients, as far as it is not hidden under other work
 *   wait      for other ranks
 *   rest      records, and all else */
#define DDP_TIMES(X)                                                                                         \
    X(DATA, data)                                                                                            \
    X(FORWARD, forward)                                                                                      \
    X(BACKWARD, backward)                                                                                    \
    X(OPTIMIZER, optimizer)                                                                                  \
    X(REDUCE, reduce)                                                                                        \
    X(WAIT, wait)                                                                                            \
    X(REST, rest)
#define DDP_TIME_NUMBER(NUMBER, name) DDP_TIME_##NUMBER,
enum ddp_time { DDP_TIMES(DDP_TIME_NUMBER) DDP_TIME_COUNT };
const char *ddp_time_name(enum ddp_time part);

struct ddp_step_time { /* seconds of one step on one rank */
    float part[DDP_TIME_COUNT];
};
struct ddp_rank_time { /* seconds a step, in the middle; of all steps since training began: */
    double part[DDP_TIME_COUNT];
    double delayed; /* its most delayed thread could have run and had no CPU; nan: the system does not tell */
    double cpu;     /* CPU time of the process */
    double rss_mb;  /* the most that it had in memory */
};
struct ddp_time_summary {
    int ranks;                /* 0: nothing is known */
    int64_t batch;            /* samples of a step */
    int steps;                /* that were looked at: without the first, in which caches and memory warm up */
    double median, low, high; /* seconds: half of the steps lie between low and high */
    double mean[DDP_TIME_COUNT]; /* over ranks, and over that half: they add up to its mean */
    double imbalance;           /* how much longer the busiest rank of a step works than they do on average */
    struct ddp_rank_time *rank; /* [ranks] */
};
/* t: [ranks][steps], steps in order. s->rank: room for all of them, whose parts are filled in, as is the
 * rest. */
void ddp_times_summarize(const struct ddp_step_time *t, int ranks, int steps, struct ddp_time_summary *s);
int ddp_times_warm_up(int steps); /* so many of them do not count */
/* "a step takes 12.31 ms: data 0.2 %, forward 31.0 %, .."; buf as snprintf. */
void ddp_times_text(const struct ddp_time_summary *s, char *buf, int size);

struct ddp_run_info {        /* what run.json says; strings are borrowed */
    bool opens;              /* a new leg; false: the last one again, further on */
    struct ddp_later *later; /* on disk with it; NULL: at once */
    const char *run_dir;
    int argc;
    const char *const *command; /* as the user gave it */
    const char *program;        /* absolute, where the command names one of the user's own; else NULL */
    int ranks, threads, shards;
    const char *transport, *transport_version, *isa, *map; /* transport_version: NULL unknown */
    const char *network; /* between hosts, as preflight found it; NULL none */
    int nhosts;
    const char *const *hosts;
    int ndata;
    const struct ddp_data_id *data;
    struct { /* the file that the weights began with; path NULL: they were drawn */
        const char *path, *sha256;
    } init;
    const struct ddp_scaling *inputs, *targets; /* of real numbers; NULL or n 0: none */
    const char *resumed_from;                   /* checkpoint; NULL: no */
    int64_t from_step;
    const char *forked_from; /* the run that this one forked from at resumed_from; NULL: none */
    const char *fork_reason; /* why */
    int nchanges; /* keys of this leg that differ from the run's config.cfg, or a fork's from its parent's */
    const struct ddp_key_change *changes;
    const char *set_aside; /* folder of the checkpoints that this leg turned back from; NULL: none */
    struct {
        int64_t step; /* < 0: none yet */
        double loss, accuracy;
        const char *path; /* its checkpoint, NULL: not kept */
    } best;
    int nbroken; /* keys that break the promise of the same bits */
    const char *const *broken;
    int nfacts; /* what the engine says of itself, of rank 0: all have the same kind */
    const struct ddp_fact *facts;
    int nslow; /* ranks that have held up the others in this leg */
    const struct ddp_slow_rank *slow;
    const char *config_hash; /* of the experiment */
    const char *error;       /* why it failed; NULL: it did not */
    /* result; valid once finished is set */
    bool finished;
    const char *status; /* "running", "done", "stopped", "failed" */
    char weights_hash[65];
    double eval_accuracy, eval_error, eval_loss; /* accuracy or error is nan */
    int64_t eval_count;                          /* 0: there was none yet */
    int64_t steps, epochs, parameters;
    double samples_per_s, wall_s, time_to_first_step_s;
    double peak_rss_mb;                   /* of this rank */
    const struct ddp_time_summary *times; /* NULL or ranks 0: not known */
};

/* Write run.json (whole, atomic): at the start of a leg and at its end. The legs before it stay as they are;
 * one that is still open is closed. The keys beside the legs are those of the newest. Adds code version,
 * dirty flag, binary hash, library versions. */
int ddp_runjson_write(const struct ddp_config *cfg, const struct ddp_run_info *info, struct ddp_error *err);

/* What run.json would say of this program and machine (code, machine), as JSON; malloc'd. */
char *ddp_about(void);

/* ---- metrics.jsonl --------------------------------------------------------------------------- */

struct ddp_step_metrics {
    int64_t step, epoch, count;
    double loss, accuracy /* nan: real targets */, lr, grad_norm, samples_per_s, step_s, data_wait,
        comm_wait;                               /* waits: share of step_s */
    double forward, backward, optimizer, reduce; /* of rank 0, shares as well */
    double time;                                 /* seconds since start */
};
struct ddp_eval_metrics {
    int64_t step, epoch, count;
    double loss, seconds, time;
    double accuracy, error; /* with labels; the mean absolute one, with real targets; the other is nan */
    double train_loss, train_accuracy; /* means over the epoch's training steps so far; nan: none */
    bool best;
};

struct ddp_metrics;
/* Where a resumed run goes on in its records: what came after the checkpoint is dropped, and done again. */
struct ddp_records_from {
    int64_t step; /* of the checkpoint */
    bool owed;    /* it is from before the evaluation that is due there: this is made again, too */
};

/* from NULL: a new file, on disk with `later` (NULL: at once). */
int ddp_metrics_open(const char *run_dir, const struct ddp_records_from *from, struct ddp_later *later,
                     struct ddp_metrics **out, struct ddp_error *err);
int ddp_metrics_step(struct ddp_metrics *m, const struct ddp_step_metrics *s, struct ddp_error *err);
int ddp_metrics_eval(struct ddp_metrics *m, const struct ddp_eval_metrics *e, struct ddp_error *err);
/* A rank that holds up the others: step is the one at hand. */
int ddp_metrics_slow(struct ddp_metrics *m, int64_t step, const struct ddp_slow_rank *s,
                     struct ddp_error *err);
/* The last evaluation in the run's metrics.jsonl as it is on disk; false: there is none that was whole. */
bool ddp_metrics_last_eval(const char *run_dir, struct ddp_eval_metrics *out);
int ddp_metrics_fd(const struct ddp_metrics *m); /* for ddp_saver_sync_first(); -1: NULL */
void ddp_metrics_close(struct ddp_metrics *m);

/* ---- weights.trail --------------------------------------------------------------------------- */

/* One JSON record a line. The first says format, version and hash; then, of the state before the first step
 * and every train.trail_every steps,
 *   {"step":N,"random":{..},"samples":h,"gradient":{..},"optimizer":{..},
 *    "parameters":{"hash":H,"tensors":{NAME:h,...}}}
 * h: 16 digits of the SHA-256 over the digests of the tensor's blocks (ddp_engine_digest), or over the
 * indices of the step's samples; H the SHA-256 over names and hashes of all tensors. Readers skip parts that
 * they do not know. Opened as metrics are. */
struct ddp_trail;
struct ddp_trail_point {
    int64_t step;        /* done */
    int64_t seed, epoch; /* what the step's random numbers are keyed by */
    const char *samples; /* hash of their indices; NULL: before the first step */
};
int ddp_trail_open(const char *run_dir, const struct ddp_records_from *from, struct ddp_later *later,
                   struct ddp_trail **out, struct ddp_error *err);
/* On rank 0, behind a ddp_engine_digest. */
int ddp_trail_add(struct ddp_trail *t, const struct ddp_trail_point *p, const struct ddp_engine *e,
                  struct ddp_error *err);
int ddp_trail_fd(const struct ddp_trail *t); /* for ddp_saver_sync_first(); -1: NULL */
void ddp_trail_close(struct ddp_trail *t);   /* NULL is fine */

/* ---- probe/ ---------------------------------------------------------------------------------- */

/* What each op computed in the steps that probe.from and probe.to name (engine/probe.h). On every rank, of
 * its own parts, in RUN/probe:
 *   rank-R.jsonl                       {"step":N,"at":PLACE,"kind":"forward","name":"conv1",
 *                                       "op":"conv2d+relu","of":"8 shards","first":2,"hash":"16 digits each"}
 *   step-0000000N-rank-R.safetensors   values that probe.values names: "forward/conv1/SHARD", "sum/fc.weight"
 * Opened as metrics are. */
struct ddp_probe_log;
int ddp_probe_log_open(const char *run_dir, int rank, const struct ddp_records_from *from,
                       struct ddp_probe_log **out, struct ddp_error *err);
/* Behind the ddp_engine_enqueue that made it `step` steps; nothing is written of others. Local. */
int ddp_probe_log_add(struct ddp_probe_log *log, int64_t step, const struct ddp_engine *e,
                      struct ddp_error *err);
void ddp_probe_log_close(struct ddp_probe_log *log); /* NULL is fine */

/* ---- progress -------------------------------------------------------------------------------- */

/* "step 120/938  epoch 1/2  loss 0.1234  acc 96.12 %  5,120 samples/s  data 0 %  comm 3 %  ETA 0:12"
 * and, of slow[nslow] that are not over, who is latest: "  rank 3 on n7 48 ms late (and 1 more)".
 * columns: what is less wanted is left out until the line is shorter; 0: all of it. */
void ddp_progress_line(const struct ddp_step_metrics *s, int64_t total_steps, int64_t epochs,
                       const struct ddp_slow_rank *slow, int nslow, int columns, char *buf, int size);
/* Whether it is time for another line: the first time, then twice a second on a terminal, else every so many
 * seconds. now: seconds since any time. */
struct ddp_progress {
    double last; /* when the last one came */
    bool begun;
};
bool ddp_progress_due(struct ddp_progress *p, double now, double every);

#endif
