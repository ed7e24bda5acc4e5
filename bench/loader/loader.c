/* ddp-bench loader: how fast a rank's loader brings batches that nobody trains on, over numbers of prefetch
 * threads, augmentations, and places where the data lies.
 *
 * All settings are measured in turn, round after round. Each opens the data anew and drops the first batches,
 * which threads have made ahead. */
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/lists.h"
#include "bench/loader/advice.h"
#include "bench/report.h"
#include "bench/stats.h"
#include "data/data.h"
#include "train/check.h"

enum {
    MOST_WORKERS = 8,
    MOST_STORES = 8,
    MOST_ROUNDS = 100,
    MOST_CELLS = MOST_WORKERS * MOST_STORES * BENCH_AUGMENTS
};

struct options {
    const char *config;
    char **words;
    int nwords;
    long workers[MOST_WORKERS];
    int nworkers;
    bool augment[BENCH_AUGMENTS], cold;
    char *store[MOST_STORES]; /* paths; [0]: as the config has it */
    int nstores;
    long batches, rounds, need;
    struct bench_outputs outputs;
};

enum { WORKERS = 1, AUGMENT, STORE, BATCHES, ROUNDS, NEED, COLD };
// clang-format off
static const struct ddp_option option_list[] = {
    {"--workers", NULL, "LIST", WORKERS, "Numbers of prefetch threads (0,1,2)."},
    {"--augment", NULL, "LIST", AUGMENT, "Of none, config (as CONFIG has it) and full (crop, flip and cutout). Without it "
                                         "none,config."},
    {"--store", NULL, "PATH", STORE, "The same data in another place, in place of data.path: on tmpfs (/dev/shm/..), in a "
                                     "mounted SquashFS, packed in one file (with --store again: up to 7)."},
    {"--batches", NULL, "N", BATCHES, "Batches of a measurement (20)."},
    {"--repeat", NULL, "R", ROUNDS, "Rounds over all settings (5)."},
    {"--need", NULL, "N", NEED, "Samples/s that a rank takes in training: ddp-bench step tells them."},
    {"--cold", NULL, NULL, COLD, "Ask the kernel to forget the data's files before each measurement."},
    BENCH_REPORT_OPTIONS,
    DDP_COMMON_OPTIONS,
    {0},
};
// clang-format on
static const char *const usage[] = {"[options] [CONFIG] [key=value ...]", NULL};

const struct ddp_manual bench_loader_manual = {
    .name = "ddp-bench loader",
    .summary = "how fast the loader brings batches, and what to fix first",
    .usage = usage,
    .about =
        "Measures the loader of one rank by itself: prefetch threads times augmentation times where the data "
        "lies, and says which of them to change first. The batch is train.batch. Without CONFIG the data are "
        "the digits that the program draws.",
    .options = option_list,
};

/* ---- one measurement ------------------------------------------------------------------------- */

struct took {
    double rate, cpu_us; /* samples/s; CPU time of a sample */
};

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void set_augment(struct ddp_config *cfg, enum bench_augment how)
{
    if (how == BENCH_AUGMENT_CONFIG)
        return;
    const bool full = how == BENCH_AUGMENT_FULL;
    cfg->data.crop_padding = full ? 4 : 0;
    cfg->data.flip = full;
    cfg->data.cutout = full ? 8 : 0;
    ddp_augment_unaltered(cfg);
}

static void forget_files(const struct ddp_dataset *ds)
{
    const char *path;
    for (int i = 0; ds->ops->file && (path = ds->ops->file(ds->self, i)) != NULL; i++) {
        const int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
    }
}

/* Those that are made ahead while nobody looks do not count. */
static int drain(struct ddp_loader *l, int64_t batches, int64_t *samples, struct ddp_error *err)
{
    const struct ddp_batch *b;
    int status = 0;
    for (int64_t i = 0; i < batches && status == 0; i++) {
        status = ddp_loader_next(l, &b, err);
        if (status == 0 && samples)
            *samples += b->count;
    }
    return status;
}

static int time_loader(struct ddp_loader *l, long batches, int64_t ahead, struct took *out,
                       struct ddp_error *err)
{
    int64_t samples = 0;
    int status = drain(l, ahead, NULL, err);
    const double from = ddp_now(), cpu = cpu_seconds();
    if (status == 0)
        status = drain(l, batches, &samples, err);
    const double wall = ddp_now() - from;
    *out = (struct took){(double)samples / wall, 1e6 * (cpu_seconds() - cpu) / (double)samples};
    return status;
}

static int measure(const struct options *o, struct ddp_config *cfg, const struct bench_loader_cell *cell,
                   struct took *out, struct ddp_error *err)
{
    const struct ddp_config before = *cfg;
    struct ddp_dataset *ds = NULL;
    struct ddp_loader *l = NULL;
    const struct ddp_loader_conf conf = {.form = DDP_LOADER_FLOATS,
                                         .batch = cfg->train.batch,
                                         .shards = 1,
                                         .last_shard = 1,
                                         .seed = (uint64_t)cfg->seed,
                                         .train = true,
                                         .workers = cell->workers,
                                         .prefetch = (int)cfg->data.prefetch};
    set_augment(cfg, cell->augment);
    if (cell->store > 0)
        cfg->data.path = o->store[cell->store];
    int status = ddp_dataset_open(cfg, DDP_SPLIT_TRAIN, &ds, err);
    if (status == 0 && o->cold)
        forget_files(ds);
    if (status == 0)
        status = ddp_loader_create(cfg, ds, &conf, &l, err);
    if (status == 0)
        status = time_loader(l, o->batches, conf.prefetch + 2, out, err);
    ddp_loader_destroy(l);
    ddp_dataset_close(ds);
    *cfg = before;
    return status ? ddp_error_prefix(err, "%s", cell->store > 0 ? o->store[cell->store] : "the data as it is")
                  : 0;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static const char *const augment_names[BENCH_AUGMENTS] = {"none", "config", "full"};

static int make_cells(const struct options *o, struct bench_loader_cell cell[MOST_CELLS])
{
    int n = 0;
    for (int s = 0; s < o->nstores; s++)
        for (int a = 0; a < BENCH_AUGMENTS; a++)
            for (int w = 0; w < o->nworkers && o->augment[a]; w++)
                cell[n++] = (struct bench_loader_cell){
                    .store = s, .workers = (int)o->workers[w], .augment = (enum bench_augment)a};
    return n;
}

static const struct bench_column columns[] = {
    {"store", "store", NULL},
    {"augmentation", "augmentation", NULL},
    {"workers", "workers", "%.0f"},
    {"samples_per_s", "samples/s", "%.0f"},
    {"mean", "mean", "%.0f"},
    {"deviation", "deviation", "%.0f"},
    {"low", "from", "%.0f"},
    {"high", "to", "%.0f"},
    {"cpu_us", "CPU us a sample", "%.2f"},
    {"line", NULL, NULL},
};

static double mean_of(const double *v, long n)
{
    double sum = 0;
    for (long i = 0; i < n; i++)
        sum += v[i] / (double)n;
    return sum;
}

static double deviation_of(const double *v, long n)
{
    const double m = mean_of(v, n);
    double sum = 0;
    for (long i = 0; i < n; i++)
        sum += (v[i] - m) * (v[i] - m);
    return n > 1 ? sqrt(sum / (double)(n - 1)) : NAN;
}

static void tell_cell(const struct options *o, struct bench_report *r, struct bench_table *t,
                      struct bench_loader_cell *cell, const struct took *took)
{
    double rate[MOST_ROUNDS], cpu[MOST_ROUNDS];
    char line[256], what[300];
    for (long i = 0; i < o->rounds; i++) {
        rate[i] = took[i].rate;
        cpu[i] = took[i].cpu_us;
    }
    const struct bench_interval c = bench_median_interval(rate, (int)o->rounds);
    const char *store = o->store[cell->store], *slash = strrchr(store, '/');
    cell->rate = c.median;
    cell->low = c.low;
    cell->high = c.high;
    snprintf(line, sizeof line, "%s, %s", slash && slash[1] ? slash + 1 : store,
             augment_names[cell->augment]);
    bench_row(t, BENCH_TEXT(store), BENCH_TEXT(augment_names[cell->augment]), BENCH_NUMBER(cell->workers),
              BENCH_NUMBER(c.median), BENCH_NUMBER(mean_of(rate, o->rounds)),
              BENCH_NUMBER(deviation_of(rate, o->rounds)), BENCH_NUMBER(c.low), BENCH_NUMBER(c.high),
              BENCH_NUMBER(bench_median(cpu, (int)o->rounds)), BENCH_TEXT(line));
    snprintf(what, sizeof what, "%s, %d workers", line, cell->workers);
    bench_warn_spread(r, what, bench_spread(rate, (int)o->rounds), 0.15);
}

static void tell(const struct options *o, const struct ddp_config *cfg, struct bench_report *r,
                 struct bench_loader_cell *cell, int n, const struct took *took)
{
    static const struct bench_plot plot = {.kind = BENCH_LINES,
                                           .title = "What the loader brings",
                                           .x = "workers",
                                           .y = "samples_per_s",
                                           .low = "low",
                                           .high = "high",
                                           .x_title = "prefetch threads",
                                           .y_title = "samples/s",
                                           .series = "line"};
    struct bench_table *t = bench_report_table(r, "loader", NULL, columns, DDP_COUNT(columns));
    struct bench_loader_advice advice;
    char text[512];
    bench_fact_text(r, "data", cfg->data.name, "data");
    bench_fact_number(r, "batch", (double)cfg->train.batch, "batch", "%.0f");
    for (int i = 0; i < n; i++)
        tell_cell(o, r, t, &cell[i], took + i * o->rounds);
    bench_report_plot(r, t, &plot);
    bench_loader_advise(cell, n, (int)cfg->data.workers, (double)o->need, &advice);
    bench_loader_advice_text(&advice, (const char *const *)o->store, text, sizeof text);
    bench_fact_text(r, "advice", text, NULL);
    bench_note(r, "%s", text);
}

static int run(const struct options *o, struct ddp_config *cfg, struct bench_report *r, struct ddp_error *err)
{
    struct bench_loader_cell *cell = ddp_calloc(MOST_CELLS, sizeof *cell);
    const int n = make_cells(o, cell);
    struct took *took = ddp_calloc((size_t)n * (size_t)o->rounds, sizeof *took);
    int status = bench_report_begin(r, err);
    for (long round = 0; round < o->rounds && status == 0; round++) {
        for (int i = 0; i < n && status == 0; i++)
            status = measure(o, cfg, &cell[i], &took[i * o->rounds + round], err);
        bench_report_clock(r);
    }
    if (status == 0) {
        tell(o, cfg, r, cell, n, took);
        status = bench_report_finish(r, err);
    }
    free(took);
    free(cell);
    return status;
}

/* ---- the command line ------------------------------------------------------------------------ */

static int take_augment(struct options *o, const char *list, struct ddp_error *err)
{
    memset(o->augment, 0, sizeof o->augment);
    for (const char *at = list; *at;) {
        const int n = (int)strcspn(at, ",");
        int a = 0;
        while (a < BENCH_AUGMENTS &&
               ((int)strlen(augment_names[a]) != n || strncmp(augment_names[a], at, (size_t)n) != 0))
            a++;
        if (a == BENCH_AUGMENTS)
            return ddp_fail(err, DDP_E_USAGE, "--augment %s: '%.*s' is none of none, config and full", list,
                            n, at);
        o->augment[a] = true;
        at += n + (at[n] == ',');
    }
    return 0;
}

static int take_store(struct options *o, const char *path, struct ddp_error *err)
{
    char *whole = realpath(path, NULL);
    if (!whole)
        return ddp_fail(err, DDP_E_USAGE, "--store %s: there is nothing", path);
    if (o->nstores == MOST_STORES) {
        free(whole);
        return ddp_fail(err, DDP_E_USAGE, "--store %s: more than %d", path, MOST_STORES - 1);
    }
    o->store[o->nstores++] = whole;
    return 0;
}

static int take_word(struct options *o, const char *word, struct ddp_error *err)
{
    if (strchr(word, '=') || *word == '~')
        o->words[o->nwords++] = (char *)(uintptr_t)word;
    else if (o->config)
        return ddp_fail(err, DDP_E_USAGE, "%s: one CONFIG is enough (is that key=value without the '='?)",
                        word);
    else
        o->config = word;
    return 0;
}

static int take_option(void *options, int id, const char *value, struct ddp_error *err)
{
    struct options *o = options;
    int n = 0;
    switch (id) {
    case WORKERS:
        n = bench_list_parse("--workers", value, 0, 256, MOST_WORKERS, o->workers, err);
        o->nworkers = n > 0 ? n : o->nworkers;
        return n < 0 ? n : 0;
    case AUGMENT:
        return take_augment(o, value, err);
    case STORE:
        return take_store(o, value, err);
    case BATCHES:
        return bench_number_parse("--batches", value, 1, 1000000, &o->batches, err);
    case ROUNDS:
        return bench_number_parse("--repeat", value, 1, MOST_ROUNDS, &o->rounds, err);
    case NEED:
        return bench_number_parse("--need", value, 1, 1L << 40, &o->need, err);
    case COLD:
        o->cold = true;
        return 0;
    default:
        return id == DDP_OPTION_WORD ? take_word(o, value, err) : 0;
    }
}

static int load(const struct options *o, struct ddp_config **cfg, struct ddp_error *err)
{
    struct ddp_train_check check = {0};
    const struct ddp_config_options opt = {.path = o->config,
                                           .overrides = (const char *const *)o->words,
                                           .noverrides = o->nwords,
                                           .check = ddp_train_check_keys,
                                           .user = &check};
    struct ddp_text notes;
    int status = ddp_config_load(&opt, cfg, err);
    if (status)
        return status;
    ddp_text_init(&notes);
    status = ddp_config_for_ranks(*cfg, 1, &notes, err);
    ddp_text_finish(&notes);
    if (status)
        ddp_config_destroy(*cfg);
    return status;
}

int bench_loader(int argc, char **argv)
{
    struct options o = {.workers = {0, 1, 2}, .nworkers = 3, .batches = 20, .rounds = 5, .nstores = 1};
    struct ddp_error err = {0};
    struct ddp_config *cfg;
    o.augment[BENCH_AUGMENT_NONE] = o.augment[BENCH_AUGMENT_CONFIG] = true;
    o.words = ddp_calloc((size_t)argc + 1, sizeof *o.words);
    o.store[0] = ddp_strdup("as it is");
    int status = bench_options_read(argc, argv, &bench_loader_manual, &o.outputs, take_option, &o);
    if (status < 0) {
        int code = load(&o, &cfg, &err);
        if (code == 0) {
            struct bench_report *r = bench_report_create(bench_loader_manual.name, argc, argv, &o.outputs);
            code = run(&o, cfg, r, &err);
            bench_report_destroy(r);
            ddp_config_destroy(cfg);
        }
        status = code ? ddp_report("ddp-bench loader", &err) : DDP_EXIT_OK;
    }
    for (int i = 0; i < o.nstores; i++)
        free(o.store[i]);
    free(o.words);
    return status;
}
