/* Runs in pairs: what else the machine does hits both of a pair alike. */
#include "bench/repro/cost.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/repro/job.h"
#include "bench/stats.h"

static const double LIMIT_S = 600;

/* One that computes much for each gradient, and one that computes little. */
static const char *const models[] = {"mnist_cnn", "mlp"};

enum { CANONICAL, FAST, SIDES };
static const char *const modes[SIDES] = {"canonical", "fast"};

struct side {
    double *step, *cpu; /* [rounds] seconds: the median step, and CPU of all ranks */
    double least;       /* of all steps */
};

static int write_config(const char *model, const char *path, struct ddp_error *err)
{
    struct ddp_text t;
    ddp_text_init(&t);
    ddp_text_add(
        &t,
        "device = \"cpu\";\nmodel: { base = \"%s\"; };\n"
        "data: { base = \"digits\"; train_count = 2048; test_count = 8; };\noptim: { base = \"sgd\"; };\n"
        "train: { batch = 128; shards = 8; threads = 1; epochs = 1; max_steps = %d; trail_every = 0; };\n"
        "eval: { every_epochs = 0; };\ncheckpoint: { every_epochs = 0; best = false; };\n"
        "log: { every_steps = 1; progress = false; };\nrepro: { level = \"fast\"; };\n",
        model, REPRO_COST_STEPS);
    const int status = ddp_file_write(path, t.s, t.len, err);
    ddp_text_finish(&t);
    return status;
}

/* Seconds of each step but the first ones, from its metrics. step: [REPRO_COST_STEPS]; returns how many. */
static int read_steps(const char *run, double *step)
{
    char path[1200], *text, *save = NULL;
    size_t bytes;
    int n = 0;
    snprintf(path, sizeof path, "%s/metrics.jsonl", run);
    if (ddp_file_read(path, 0, &text, &bytes, NULL) != 0)
        return 0;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        json_t *o = json_loads(line, 0, NULL);
        const char *type = json_string_value(json_object_get(o, "type"));
        if (type && strcmp(type, "step") == 0 && n < REPRO_COST_STEPS &&
            json_integer_value(json_object_get(o, "step")) > REPRO_COST_WARM)
            step[n++] = json_number_value(json_object_get(o, "step_s"));
        json_decref(o);
    }
    free(text);
    return n;
}

static int run_side(const struct repro_site *site, const char *folder, const char *config, int mode,
                    int round, struct side *side, struct ddp_error *err)
{
    struct ddp_words argv = {0}, env = {0};
    struct repro_ended ended;
    char runs[1200], run[1024], why[2400];
    double step[REPRO_COST_STEPS];
    snprintf(runs, sizeof runs, "%s/runs", folder);
    ddp_words_add(&argv, "%s/ddp-launch", site->programs);
    ddp_words_add_all(&argv, (const char *const[]){"--quiet", "-n", NULL});
    ddp_words_add(&argv, "%d", REPRO_COST_RANKS);
    ddp_words_add(&argv, "%s", config);
    ddp_words_add(&argv, "run.dir=%s", runs);
    ddp_words_add(&argv, "reduce.mode=%s", modes[mode]);
    ddp_words_add(&env, "DDP_CORES_DIR=%s", site->cores);
    const struct repro_job job = {.argv = &argv, .env = &env, .limit_s = LIMIT_S};
    int status = repro_job_run(&job, &ended, err);
    if (status == 0 && (ended.late || ended.status != 0))
        status = ddp_fail(err, DDP_E_RESOURCE, "reduce.mode=%s: %s", modes[mode],
                          repro_job_why(&ended, why, sizeof why));
    const int n = status == 0 ? read_steps(repro_job_says(&ended, "run", run, sizeof run), step) : 0;
    if (status == 0 && n == 0)
        status = ddp_fail(err, DDP_E_DATA, "%s: no steps in metrics.jsonl", run);
    if (status == 0) {
        side->step[round] = bench_median(step, n);
        side->cpu[round] = ended.cpu_s;
        for (int i = 0; i < n; i++)
            side->least = side->least == 0 || step[i] < side->least ? step[i] : side->least;
    }
    repro_ended_finish(&ended);
    ddp_words_finish(&argv);
    ddp_words_finish(&env);
    ddp_dir_remove(runs, NULL);
    return status;
}

static const struct bench_column columns[] = {
    {"model", "model", NULL},
    {"canonical_ms", "canonical ms", "%.2f"},
    {"fast_ms", "fast ms", "%.2f"},
    {"cost_percent", "cost %", "%+.1f"},
    {"low_percent", "from", "%+.1f"},
    {"high_percent", "to", "%+.1f"},
    {"least_canonical_ms", "least canonical", "%.2f"},
    {"least_fast_ms", "least fast", "%.2f"},
    {"cpu_percent", "CPU %", "%+.1f"},
    {"cpu_low_percent", "from", "%+.1f"},
    {"cpu_high_percent", "to", "%+.1f"},
};

static void add_row(const char *model, const struct side *side, int rounds, struct bench_report *r,
                    struct bench_table *t)
{
    double *ratio = ddp_calloc((size_t)rounds, sizeof *ratio), *cpu = ddp_calloc((size_t)rounds, sizeof *cpu);
    for (int i = 0; i < rounds; i++) {
        ratio[i] = 100 * (side[CANONICAL].step[i] / side[FAST].step[i] - 1);
        cpu[i] = 100 * (side[CANONICAL].cpu[i] / side[FAST].cpu[i] - 1);
    }
    const struct bench_interval cost = bench_median_interval(ratio, rounds),
                                time = bench_median_interval(cpu, rounds);
    bench_row(t, BENCH_TEXT(model), BENCH_NUMBER(1e3 * bench_median(side[CANONICAL].step, rounds)),
              BENCH_NUMBER(1e3 * bench_median(side[FAST].step, rounds)), BENCH_NUMBER(cost.median),
              BENCH_NUMBER(cost.low), BENCH_NUMBER(cost.high), BENCH_NUMBER(1e3 * side[CANONICAL].least),
              BENCH_NUMBER(1e3 * side[FAST].least), BENCH_NUMBER(time.median), BENCH_NUMBER(time.low),
              BENCH_NUMBER(time.high));
    bench_warn_spread(r, model, bench_spread(side[FAST].step, rounds), 0.1);
    free(ratio);
    free(cpu);
}

static int run_model(const struct repro_site *site, const char *folder, const char *model, int rounds,
                     struct bench_report *r, struct bench_table *t, struct ddp_error *err)
{
    struct side side[SIDES] = {0};
    char config[1200];
    snprintf(config, sizeof config, "%s/%s.cfg", folder, model);
    for (int s = 0; s < SIDES; s++) {
        side[s].step = ddp_calloc((size_t)rounds, sizeof(double));
        side[s].cpu = ddp_calloc((size_t)rounds, sizeof(double));
    }
    int status = write_config(model, config, err);
    for (int round = 0; round < rounds && status == 0; round++)
        for (int k = 0; k < SIDES && status == 0; k++) {
            const int s = (k + round) % SIDES;
            bench_report_clock(r);
            status = run_side(site, folder, config, s, round, &side[s], err);
        }
    if (status == 0)
        add_row(model, side, rounds, r, t);
    for (int s = 0; s < SIDES; s++) {
        free(side[s].step);
        free(side[s].cpu);
    }
    return status;
}

int repro_cost(const struct repro_site *site, const char *folder, int rounds, struct bench_report *r,
               struct ddp_error *err)
{
    struct bench_table *t = bench_report_table(
        r, "cost", "A step with reduce.mode=canonical against one with fast", columns, DDP_COUNT(columns));
    int status = 0;
    for (size_t i = 0; i < DDP_COUNT(models) && status == 0; i++)
        status = run_model(site, folder, models[i], rounds, r, t, err);
    bench_note(r,
               "%d ranks with a thread each, batches of 128; %d pairs of runs of %d steps, the first of a "
               "pair in turn. "
               "Steps are medians of medians. Cost is the median over the pairs, from and to an interval "
               "that holds it with "
               "95 %%; CPU is the same of all processor time of a run, which other work on the machine "
               "hardly moves.",
               REPRO_COST_RANKS, rounds, REPRO_COST_STEPS);
    return status;
}
