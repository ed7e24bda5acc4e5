/* ddp-bench scaling: how many times as fast N ranks are, and why not N times. */
#include "bench/scaling/scaling.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/lists.h"
#include "topology/topology.h"

enum {
    RANKS = 1,
    HOSTS,
    THREADS,
    STEPS,
    WEAK,
    STRONG,
    BATCH,
    SHARDS,
    ROUNDS,
    WITHIN,
    TIME,
    TARGET,
    PREDICT,
    READ,
    OWN_DATA,
    DIR
};
// clang-format off
static const struct ddp_option option_list[] = {
    {"--ranks", "-n", "LIST", RANKS, "Numbers of ranks, \"1,2,4\". Without it 1, 2, 4 .. up to the cores of this machine."},
    {"--hosts", "-H", "LIST", HOSTS, "Hosts as ddp-launch takes them, \"a,b:4\". Without it this one."},
    {"--threads", NULL, "T", THREADS, "Threads of each rank (1)."},
    {"--weak", NULL, NULL, WEAK, "Only weak scaling: each rank has the same batch, however many there are."},
    {"--strong", NULL, NULL, STRONG, "Only strong scaling: all ranks have one batch between them. Without either: both."},
    {"--batch", NULL, "B", BATCH, "Batch of a rank (weak), of all (strong). Without it CONFIG's."},
    {"--shards", NULL, "S", SHARDS, "Shards of a batch. Without it one for each rank."},
    {"--steps", NULL, "S", STEPS, "Steps of a run that count (40); some to warm up come before."},
    {"--within", NULL, "PERCENT", WITHIN, "Rounds go on until each median is known so well, with 95 % (2)."},
    {"--repeat", NULL, "R", ROUNDS, "At most so many rounds (20). Fewer than 6 tell no interval of 95 %."},
    {"--time", NULL, "S", TIME, "No round is begun that would pass so many seconds (600)."},
    {"--target", NULL, "N", TARGET, "Samples to train: for hours and rank-hours (6000000)."},
    {"--predict", NULL, "LIST", PREDICT, "Numbers of ranks to predict. Without it twice and four times the largest."},
    {"--read", NULL, "F", READ, "Measure nothing: read points from a CSV file with columns nodes, ranks_per_node, "
                                "local_batch and samples_per_s."},
    {"--own-data", NULL, NULL, OWN_DATA, "Train on CONFIG's own data, with its loader and augmentation, in place of random "
                                         "pictures in memory."},
    {"--dir", NULL, "FOLDER", DIR, "Where runs are written, and removed again. Without it the current folder; on several "
                                   "hosts all should see it."},
    BENCH_REPORT_OPTIONS,
    DDP_COMMON_OPTIONS,
    {0},
};
// clang-format on
static const char *const usage[] = {"[options] [CONFIG] [key=value ...]", "--read F [options]", NULL};

static const struct ddp_manual_section sections[] = {
    {"Causes",
     "data\tthe busiest rank waits longer for batches\n"
     "communication\tit reduces, and waits for others, longer\n"
     "imbalance\tit computes longer than the fastest rank, or now this, now that one is late\n"
     "shared core\tits threads could have run and had no CPU\n"
     "memory\tranks that know nothing of each other slow each other down when they run at once\n"
     "frequency\tof that, what a slower clock explains\n"
     "serial part\tthe optimizer and the rest; strong: smaller batches take longer than their share\n"
     "remainder\twhat none of these explains",
     false},
    {0},
};

const struct ddp_manual bench_scaling_manual = {
    .name = "ddp-bench scaling",
    .summary = "how many times as fast N ranks are, and why not N times",
    .usage = usage,
    .about =
        "Runs ddp-launch on random pictures for each number of ranks, in rounds until the medians are known "
        "well "
        "enough, and shows speed-up and efficiency, what each step loses to what, fits of models with their "
        "errors, and what is fastest and what is cheapest. Beside each job its ranks are run as jobs of "
        "their "
        "own at the same time: what these lose is the machine's.",
    .options = option_list,
    .sections = sections,
};

/* ---- the command line ------------------------------------------------------------------------ */

static int take_percent(const char *value, double *out, struct ddp_error *err)
{
    double v;
    if (!ddp_parse_double(value, &v) || !(v >= 0.01 && v <= 100))
        return ddp_fail(err, DDP_E_USAGE, "--within %s: wants a number from 0.01 to 100, in percent", value);
    *out = v / 100;
    return 0;
}

static int take_list(const char *option, const char *value, long *list, int *n, struct ddp_error *err)
{
    const int found = bench_list_parse(option, value, 1, 65536, BENCH_SCALING_SIZES, list, err);
    *n = found > 0 ? found : *n;
    return found < 0 ? found : 0;
}

static int take_number(int id, const char *value, struct bench_scaling_options *o, struct ddp_error *err)
{
    static const struct {
        int id;
        const char *name;
        long most;
    } numbers[] = {{THREADS, "--threads", 4096},
                   {STEPS, "--steps", 100000},
                   {BATCH, "--batch", 1 << 24},
                   {SHARDS, "--shards", 65536},
                   {ROUNDS, "--repeat", BENCH_SCALING_ROUNDS},
                   {TIME, "--time", 1000000},
                   {TARGET, "--target", 1L << 50}};
    long v = 0;
    for (size_t i = 0; i < DDP_COUNT(numbers); i++)
        if (numbers[i].id == id &&
            bench_number_parse(numbers[i].name, value, 1, numbers[i].most, &v, err) < 0)
            return DDP_E_USAGE;
    o->job.threads = id == THREADS ? v : o->job.threads;
    o->job.steps = id == STEPS ? v : o->job.steps;
    o->batch = id == BATCH ? v : o->batch;
    o->shards = id == SHARDS ? v : o->shards;
    o->most = id == ROUNDS ? v : o->most;
    o->budget_s = id == TIME ? (double)v : o->budget_s;
    o->target = id == TARGET ? (double)v : o->target;
    return 0;
}

static int take_option(void *options, int id, const char *value, struct ddp_error *err)
{
    struct bench_scaling_options *o = options;
    switch (id) {
    case RANKS:
        return take_list("-n", value, o->ranks, &o->nranks, err);
    case PREDICT:
        return take_list("--predict", value, o->predict, &o->npredict, err);
    case WITHIN:
        return take_percent(value, &o->within, err);
    case WEAK:
        o->weak = true;
        return 0;
    case STRONG:
        o->strong = true;
        return 0;
    case OWN_DATA:
        o->job.own_data = true;
        return 0;
    case HOSTS:
        o->job.hosts = value;
        return 0;
    case DIR:
        o->job.in = value;
        return 0;
    case READ:
        o->read = value;
        return 0;
    case DDP_OPTION_WORD:
        return bench_job_word(&o->job, value, err);
    default:
        return take_number(id, value, o, err);
    }
}

static int ascending(const void *a, const void *b)
{
    const long x = *(const long *)a, y = *(const long *)b;
    return x < y ? -1 : x > y;
}

/* What was not said. */
static void fill_in(struct bench_scaling_options *o, long cores)
{
    if (!o->weak && !o->strong)
        o->weak = o->strong = true;
    for (long n = 1; o->nranks == 0 || (n <= cores && o->ranks[o->nranks - 1] < n && n < 1 << 15); n *= 2) {
        if (o->nranks == BENCH_SCALING_SIZES)
            break;
        if (o->nranks > 0 && o->ranks[0] != 1)
            break;
        o->ranks[o->nranks++] = n;
    }
    qsort(o->ranks, (size_t)o->nranks, sizeof *o->ranks, ascending);
}

static void fill_predictions(struct bench_scaling_options *o, const struct bench_curve *s)
{
    double most = 1;
    for (int i = 0; i < s->npoints; i++)
        most = s->point[i].ranks > most ? s->point[i].ranks : most;
    for (int k = 2; o->npredict < 2 && k <= 4; k *= 2)
        o->predict[o->npredict++] = (long)most * k;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static int measure(struct bench_curve *s, struct bench_report *r, struct ddp_error *err)
{
    struct bench_job *job = ddp_calloc(1, sizeof *job);
    int status = bench_job_open(&s->o->job, job, err);
    if (status == 0)
        status = bench_scaling_measure(s, job, r, err);
    snprintf(s->model, sizeof s->model, "%s", job->facts.model);
    bench_job_close(job);
    free(job);
    return status;
}

static int run(struct bench_scaling_options *o, struct bench_report *r, struct ddp_error *err)
{
    struct bench_curve *s = ddp_calloc(1, sizeof *s);
    int status = bench_report_begin(r, err);
    s->o = o;
    if (status == 0 && o->read)
        status = s->npoints = bench_points_read(o->read, s->point, err);
    else if (status == 0)
        status = measure(s, r, err);
    if (status >= 0) {
        if (o->npredict == 0)
            fill_predictions(o, s);
        bench_fact_text(r, o->read ? "read" : "model", o->read ? o->read : s->model,
                        o->read ? "points of" : "model");
        bench_fact_number(r, "threads", (double)o->job.threads, o->read ? NULL : "threads of a rank", "%.0f");
        bench_fact_number(r, "steps", (double)o->job.steps, o->read ? NULL : "steps that count", "%.0f");
        bench_scaling_tell(s, r);
        status = bench_report_finish(r, err);
    }
    free(s);
    return status;
}

static long cores_here(void)
{
    struct ddp_machine *m;
    if (ddp_machine_create(&m, NULL) != 0)
        return 1;
    const long cores = ddp_machine_capacity(m, false);
    ddp_machine_destroy(m);
    return cores;
}

int bench_scaling(int argc, char **argv)
{
    struct bench_scaling_options *o = ddp_calloc(1, sizeof *o);
    struct ddp_error err = {0};
    o->job.words = ddp_calloc((size_t)argc + 1, sizeof *o->job.words);
    o->job.steps = 40;
    o->job.threads = 1;
    o->job.in = ".";
    o->most = 20;
    o->within = 0.02;
    o->budget_s = 600;
    o->target = 6e6;
    int status = bench_options_read(argc, argv, &bench_scaling_manual, &o->outputs, take_option, o);
    if (status < 0) {
        fill_in(o, cores_here());
        struct bench_report *r = bench_report_create(bench_scaling_manual.name, argc, argv, &o->outputs);
        const int code = run(o, r, &err);
        bench_report_destroy(r);
        status = code < 0 ? ddp_report("ddp-bench scaling", &err) : DDP_EXIT_OK;
    }
    free(o->job.words);
    free(o);
    return status;
}
