/* ddp-bench startup: the time from a command to its first step, phase by phase, over a list of ranks.
 *
 * ddp-launch is started for each number of ranks in turn, several rounds of them, so that what else goes on
 * on the machine hits all alike; what its phases took is read from run.json (base/startup.h). */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "bench/lists.h"
#include "bench/report.h"
#include "bench/run.h"
#include "bench/stats.h"

enum { MOST_SIZES = 16, MOST_ROUNDS = 1000 };
static const double LIMIT_S = 300;

/* Small, so that the first step is no work; a shard for each rank. */
static const char *const small_config =
    "model: { layers = (\n"
    "    {type = \"flatten\", name = \"flat\"}, {type = \"linear\", name = \"fc1\", out = 256},\n"
    "    {type = \"relu\", name = \"relu1\"}, {type = \"linear\", name = \"fc2\", out = 128},\n"
    "    {type = \"relu\", name = \"relu2\"}, {type = \"linear\", name = \"fc3\", out = \"classes\"},\n"
    "    {type = \"softmax_cross_entropy\", name = \"loss\"}); };\n"
    "data: { format = \"digits\"; train_count = 4096; test_count = 64; };\n";

struct options {
    long ranks[MOST_SIZES];
    int nranks;
    long rounds;
    const char *hosts, *in;
    const char *config; /* NULL: the small one */
    int nwords;
    char **words; /* key=value; borrowed */
    struct bench_outputs outputs;
};

struct measured { /* of one number of ranks, by rounds: seconds */
    double *first, *wall, *cpu, *rss_mb;
    double *phase[DDP_STARTUP_COUNT];
};

enum { RANKS = 1, HOSTS, ROUNDS, DIR };
// clang-format off
static const struct ddp_option option_list[] = {
    {"--ranks", "-n", "LIST", RANKS, "Numbers of ranks, \"1,2,4\". Without it 1, 2, 4 .. 64."},
    {"--hosts", "-H", "LIST", HOSTS, "Hosts as ddp-launch takes them, \"a,b:4\". Without it this one."},
    {"--repeat", NULL, "R", ROUNDS, "Rounds over all numbers of ranks; medians are shown. Without it 5."},
    {"--dir", NULL, "FOLDER", DIR, "Where runs are written, and removed again. Without it the current folder; on several "
                                   "hosts all should see it."},
    BENCH_REPORT_OPTIONS,
    DDP_COMMON_OPTIONS,
    {0},
};
// clang-format on
static const char *const usage[] = {"[options] [CONFIG] [key=value ...]", NULL};

#define PHASE_ROW(NAME, name, words) name "\t" words "\n"
static const struct ddp_manual_section sections[] = {
    {"Phases", DDP_STARTUP(PHASE_ROW), false},
    {0},
};

const struct ddp_manual bench_startup_manual = {
    .name = "ddp-bench startup",
    .summary = "the time from a command to its first step, phase by phase, over a list of ranks",
    .usage = usage,
    .about = "Starts ddp-launch for each number of ranks, several rounds in turn, and shows the median of "
             "what each phase "
             "took. Without CONFIG a small network on built-in data is trained for one step. A phase holds "
             "what rank 0 "
             "waited for others in it.",
    .options = option_list,
    .sections = sections,
};

/* ---- one start ------------------------------------------------------------------------------- */

static void make_command(const struct options *o, const char *launch, const char *folder, long ranks,
                         struct bench_words *w)
{
    bench_words_add(w, "%s", launch);
    bench_words_add(w, "--quiet");
    bench_words_add(w, "-n");
    bench_words_add(w, "%ld", ranks);
    if (o->hosts) {
        bench_words_add(w, "-H");
        bench_words_add(w, "%s", o->hosts);
    }
    if (o->config) {
        bench_words_add(w, "%s", o->config);
    } else {
        bench_words_add(w, "%s/startup.cfg", folder);
        bench_words_add(w, "train.shards=%ld", ranks);
        bench_words_add(w, "train.batch=%ld", ranks > 64 ? ranks : 64);
    }
    bench_words_add(w, "run.dir=%s/runs", folder);
    bench_words_add(w, "train.max_steps=1");
    for (int i = 0; i < o->nwords; i++)
        bench_words_add(w, "%s", o->words[i]);
}

/* "run: PATH" of ddp-launch's last lines. */
static int read_record(const char *out, json_t **record, struct ddp_error *err)
{
    const char *line = strstr(out, "run: ");
    json_error_t why;
    char path[PATH_MAX];
    *record = NULL;
    if (line)
        snprintf(path, sizeof path, "%.*s/run.json", (int)strcspn(line + 5, "\n"), line + 5);
    if (line)
        *record = json_load_file(path, 0, &why);
    return *record ? 0
                   : ddp_fail(err, DDP_E_IO, "%s: %s", line ? path : "ddp-launch",
                              line ? why.text : "did not say where its run is");
}

static int take(const struct bench_run *run, int round, struct measured *m, struct ddp_error *err)
{
    json_t *record;
    const int status = read_record(run->out, &record, err);
    if (status)
        return status;
    const json_t *train = json_object_get(record, "train"), *phases = json_object_get(train, "startup_s");
    m->first[round] = json_number_value(json_object_get(train, "time_to_first_step_s"));
    m->rss_mb[round] = json_number_value(json_object_get(train, "peak_rss_mb"));
    m->wall[round] = run->wall_s;
    m->cpu[round] = run->cpu_s;
    for (int p = 0; p < DDP_STARTUP_COUNT; p++)
        m->phase[p][round] =
            json_number_value(json_object_get(phases, ddp_startup_name((enum ddp_startup)p)));
    json_decref(record);
    return 0;
}

static int start(const struct options *o, const char *launch, const char *folder, int which, int round,
                 struct measured *m, struct ddp_error *err)
{
    struct bench_words words = {0};
    struct bench_run run;
    char runs[PATH_MAX + 8];
    make_command(o, launch, folder, o->ranks[which], &words);
    int status = bench_run(&words, NULL, LIMIT_S, &run, err);
    if (status == 0 && round >= 0)
        status = take(&run, round, &m[which], err);
    bench_run_finish(&run);
    bench_words_finish(&words);
    snprintf(runs, sizeof runs, "%s/runs", folder);
    bench_folder_remove(runs);
    return status ? ddp_error_prefix(err, "%ld rank%s", o->ranks[which], o->ranks[which] == 1 ? "" : "s") : 0;
}

/* How long a process of ddp-launch takes that does nothing: before its clock begins. */
static int time_nothing(const char *launch, double *seconds, struct ddp_error *err)
{
    struct bench_words words = {0};
    struct bench_run run;
    bench_words_add(&words, "%s", launch);
    bench_words_add(&words, "--version");
    const int status = bench_run(&words, NULL, LIMIT_S, &run, err);
    *seconds = run.wall_s;
    bench_run_finish(&run);
    bench_words_finish(&words);
    return status;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static int measure(const struct options *o, struct bench_report *r, const char *folder, struct measured *m,
                   double *nothing, struct ddp_error *err)
{
    char launch[PATH_MAX], path[PATH_MAX + 16];
    int status = bench_program_find("ddp-launch", launch, err);
    snprintf(path, sizeof path, "%s/startup.cfg", folder);
    if (status == 0 && !o->config)
        status = ddp_file_write(path, small_config, strlen(small_config), err);
    for (int round = -1; round < o->rounds && status == 0; round++) { /* the first warms up */
        if (round >= 0)
            status = time_nothing(launch, &nothing[round], err);
        for (int i = 0; i < o->nranks && status == 0; i++)
            status = start(o, launch, folder, i, round, m, err);
        bench_report_clock(r);
    }
    return status;
}

#define PHASE_COLUMN(NAME, name, words) {name "_ms", name, "%.1f"},
static const struct bench_column columns[] = {
    {"ranks", "ranks", "%.0f"},
    {"first_step_ms", "first step ms", "%.1f"},
    {"low_ms", "from", "%.1f"},
    {"high_ms", "to", "%.1f"},
    DDP_STARTUP(PHASE_COLUMN){"command_ms", "whole command", "%.1f"},
    {"cpu_ms", "CPU ms", "%.1f"},
    {"rss_mb", "MB", "%.1f"},
};

#define PHASE_PART(NAME, name, words) name "_ms",
static const struct bench_plot plot = {.kind = BENCH_BARS,
                                       .title = "From the command to the first step",
                                       .x = "ranks",
                                       .x_title = "ranks",
                                       .y_title = "ms",
                                       .parts = {DDP_STARTUP(PHASE_PART) NULL}};

static void tell(const struct options *o, struct bench_report *r, const struct measured *m,
                 const double *nothing)
{
    const int n = (int)o->rounds;
    struct bench_table *t = bench_report_table(r, "startup", "ms, medians of the rounds; phases of rank 0",
                                               columns, DDP_COUNT(columns));
    double worst = 0;
    for (int i = 0; i < o->nranks; i++) {
        struct bench_cell row[DDP_COUNT(columns)];
        const struct bench_interval first = bench_median_interval(m[i].first, n);
        int at = 0;
        row[at++] = BENCH_NUMBER(o->ranks[i]);
        row[at++] = BENCH_NUMBER(first.median * 1e3);
        row[at++] = BENCH_NUMBER(first.low * 1e3);
        row[at++] = BENCH_NUMBER(first.high * 1e3);
        for (int p = 0; p < DDP_STARTUP_COUNT; p++)
            row[at++] = BENCH_NUMBER(bench_median(m[i].phase[p], n) * 1e3);
        row[at++] = BENCH_NUMBER(bench_median(m[i].wall, n) * 1e3);
        row[at++] = BENCH_NUMBER(bench_median(m[i].cpu, n) * 1e3);
        row[at++] = BENCH_NUMBER(bench_median(m[i].rss_mb, n));
        bench_row_add(t, row, at);
        const double spread = bench_spread(m[i].first, n);
        worst = spread > worst ? spread : worst;
    }
    bench_report_plot(r, t, &plot);
    bench_fact_number(r, "nothing_ms", bench_median(nothing, n) * 1e3, "a command that does nothing",
                      "%.1f ms (ddp-launch --version; not in the figures below)");
    bench_warn_spread(r, "the row that moves most", worst, 0.3);
}

static void make_room(struct measured *m, const struct options *o)
{
    for (int i = 0; i < o->nranks; i++) {
        double *v = ddp_calloc((size_t)o->rounds * (4 + DDP_STARTUP_COUNT), sizeof *v);
        m[i].first = v;
        m[i].wall = v + o->rounds;
        m[i].cpu = v + 2 * o->rounds;
        m[i].rss_mb = v + 3 * o->rounds;
        for (int p = 0; p < DDP_STARTUP_COUNT; p++)
            m[i].phase[p] = v + (4 + p) * o->rounds;
    }
}

static int run(const struct options *o, struct bench_report *r, struct ddp_error *err)
{
    struct measured *m = ddp_calloc((size_t)o->nranks, sizeof *m);
    double *nothing = ddp_calloc((size_t)o->rounds, sizeof *nothing);
    char folder[PATH_MAX];
    int status = bench_report_begin(r, err);
    make_room(m, o);
    if (status == 0)
        status = bench_folder_make(o->in, folder, err);
    if (status == 0) {
        bench_report_pinning(r, "as ddp-launch places ranks (ddp-launch --map shows it)");
        status = measure(o, r, folder, m, nothing, err);
        bench_folder_remove(folder);
    }
    if (status == 0) {
        tell(o, r, m, nothing);
        status = bench_report_finish(r, err);
    }
    for (int i = 0; i < o->nranks; i++)
        free(m[i].first);
    free(nothing);
    free(m);
    return status;
}

/* ---- the command line ------------------------------------------------------------------------ */

static int take_option(void *options, int id, const char *value, struct ddp_error *err)
{
    struct options *o = options;
    int n = 0;
    if (id == RANKS && (n = bench_list_parse("-n", value, 1, 4096, MOST_SIZES, o->ranks, err)) > 0)
        o->nranks = n;
    else if (id == ROUNDS)
        n = bench_number_parse("--repeat", value, 1, MOST_ROUNDS, &o->rounds, err);
    else if (id == DDP_OPTION_WORD && (strchr(value, '=') || *value == '~'))
        o->words[o->nwords++] = (char *)(uintptr_t)value;
    else if (id == DDP_OPTION_WORD && o->config)
        n = ddp_fail(err, DDP_E_USAGE, "%s: one CONFIG is enough (is that key=value without the '='?)",
                     value);
    else if (id == DDP_OPTION_WORD)
        o->config = value;
    o->hosts = id == HOSTS ? value : o->hosts;
    o->in = id == DIR ? value : o->in;
    return n < 0 ? n : 0;
}

int bench_startup(int argc, char **argv)
{
    struct options o = {.ranks = {1, 2, 4, 8, 16, 32, 64}, .nranks = 7, .rounds = 5, .in = "."};
    struct ddp_error err = {0};
    o.words = ddp_calloc((size_t)argc + 1, sizeof *o.words);
    int status = bench_options_read(argc, argv, &bench_startup_manual, &o.outputs, take_option, &o);
    if (status < 0) {
        struct bench_report *r = bench_report_create(bench_startup_manual.name, argc, argv, &o.outputs);
        const int code = run(&o, r, &err);
        bench_report_destroy(r);
        status = code ? ddp_report("ddp-bench startup", &err) : DDP_EXIT_OK;
    }
    free(o.words);
    return status;
}
