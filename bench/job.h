/* A job of ddp-launch on random data, for a number of steps: what ddp-bench step and scaling measure. The
 * numbers are those that the training loop itself notes (step_time of run.json), so a user's own job has the
 * same. */
#ifndef DDP_BENCH_JOB_H
#define DDP_BENCH_JOB_H

#include <limits.h>

#include "bench/run.h"
#include "config/config.h"
#include "telemetry/telemetry.h"

struct bench_job_conf { /* all borrowed */
    const char *config; /* NULL: configs/cnn.cfg */
    char **words;       /* key=value */
    int nwords;
    const char *hosts; /* as ddp-launch takes them; NULL: this machine */
    long threads;      /* of a rank; 0: what ddp-launch gives it */
    long steps;        /* that count, beside those to warm up */
    bool own_data;     /* CONFIG's data, loader and augmentation; else random pictures of the same shape */
    const char *in;    /* where runs are written, and removed again */
};

/* What the config makes of it, on one rank. */
struct bench_job_facts {
    char model[64], config[PATH_MAX];
    int64_t batch, shards, accumulate; /* shards: -1, one for each rank */
    int64_t parameters;
    double forward_flops, backward_flops; /* of a sample, by the layers' definition */
    double activations;                   /* values that a sample leaves between layers */
    int optimizer_arrays;                 /* as large as the parameters */
    bool own_data;                        /* random pictures cannot stand in for this data */
    struct ddp_shape shape;
    int classes;
};

struct bench_job {
    struct bench_job_conf conf;
    struct bench_job_facts facts;
    char launch[PATH_MAX], folder[PATH_MAX];
};

/* Seconds; of the steps that the run looked at, see struct ddp_time_summary. */
struct bench_took {
    int ranks, steps, hosts;
    double step, low, high;      /* median, quartiles */
    double part[DDP_TIME_COUNT]; /* over ranks */
    double imbalance;
    double busiest[DDP_TIME_COUNT];  /* of the rank that works longest */
    double busiest_delayed, delayed; /* its threads without a CPU, and of ranks on average; nan: not known */
    int busiest_rank;
    bool on_cpu; /* else a GPU's, whose steps are one piece: all of it is in `rest` */
    double least[DDP_TIME_COUNT], most[DDP_TIME_COUNT]; /* of any rank */
    double cpu;                                         /* CPU time, of ranks on average */
    double rss_mb;                                      /* of the largest rank */
    double batch;                                       /* samples of a step */
    double samples_per_s;
    char placement[512];
};

/* A word of the command line: CONFIG, or key=value, which is kept in conf->words. */
int bench_job_word(struct bench_job_conf *conf, const char *word, struct ddp_error *err);

/* Finds the programs, makes the folder, reads the config. Close it in any case. */
int bench_job_open(const struct bench_job_conf *conf, struct bench_job *job, struct ddp_error *err);
void bench_job_close(struct bench_job *job);

/* Run it on `ranks` ranks, with overrides of ours (ends with NULL; NULL: none) behind the user's. copies > 1:
 * so many jobs at the same time, that know nothing of each other. out: [copies]. */
int bench_job_run(const struct bench_job *job, int ranks, const char *const *ours, int copies,
                  struct bench_took *out, struct ddp_error *err);

/* Of the JSON of a run. DDP_E_DATA: it has no times. */
int bench_took_read(const char *path, struct bench_took *out, struct ddp_error *err);

#endif
