/* ddp-bench step: where the time of a training step goes, and how far that is from what the machine could
 * do.
 *
 * A job of ddp-launch on random data is run (job.h); its own notes are shown. Beside them a roofline: the
 * model knows its floating-point operations, and at least so many bytes pass memory (bytes_of); both
 * against what as many threads get when they do nothing else (ceilings.h). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "bench/ceilings.h"
#include "bench/job.h"
#include "bench/lists.h"
#include "bench/report.h"
#include "bench/stats.h"

enum { MOST_ROUNDS = 100 };

struct options {
    struct bench_job_conf job;
    long ranks, rounds;
    struct bench_outputs outputs;
};

enum { RANKS = 1, HOSTS, THREADS, STEPS, ROUNDS, OWN_DATA, DIR };
// clang-format off
static const struct ddp_option option_list[] = {
    {"--ranks", "-n", "N", RANKS, "Ranks (1)."},
    {"--hosts", "-H", "LIST", HOSTS, "Hosts as ddp-launch takes them, \"a,b:4\". Without it this one."},
    {"--threads", NULL, "T", THREADS, "Threads of each rank. Without it the cores that ddp-launch gives it."},
    {"--steps", NULL, "S", STEPS, "Steps that count (60); some to warm up come before."},
    {"--repeat", NULL, "R", ROUNDS, "Runs, of which the one in the middle is shown (3)."},
    {"--own-data", NULL, NULL, OWN_DATA, "Train on CONFIG's own data, with its loader and augmentation, in place of random "
                                         "pictures in memory."},
    {"--dir", NULL, "FOLDER", DIR, "Where runs are written, and removed again. Without it the current folder; on several "
                                   "hosts all should see it."},
    BENCH_REPORT_OPTIONS,
    DDP_COMMON_OPTIONS,
    {0},
};
// clang-format on
static const char *const usage[] = {"[options] [CONFIG] [key=value ...]", NULL};

static const struct ddp_manual_section sections[] = {
    {"Parts of a step",
     "data\twaiting for a batch\n"
     "forward, backward\tthe passes over the model\n"
     "optimizer\tthe update of the parameters\n"
     "reduce\tadding up and sending gradients, as far as that is not hidden under backward\n"
     "wait\tfor other ranks\n"
     "rest\trecords, and all else",
     false},
    {0},
};

const struct ddp_manual bench_step_manual = {
    .name = "ddp-bench step",
    .summary = "where the time of a training step goes, against what the machine could do",
    .usage = usage,
    .about =
        "Runs ddp-launch for some steps on random pictures in memory, of the shape of CONFIG's data, and "
        "shows "
        "samples/s, the parts that a step is made of, and a roofline of measured ceilings. Without CONFIG it "
        "is mnist_cnn in batches of 128. The batch is that of all ranks: train.batch=256, or "
        "train.batch_per_rank=64.",
    .options = option_list,
    .sections = sections,
};

/* ---- the parts ------------------------------------------------------------------------------- */

static const struct bench_column part_columns[] = {
    {"part", "part", NULL},        {"ms", "ms", "%.3f"},        {"percent", "%", "%.1f"},
    {"least_ms", "least", "%.3f"}, {"most_ms", "most", "%.3f"},
};

static double sum_of(const double part[DDP_TIME_COUNT])
{
    double sum = 0;
    for (int p = 0; p < DDP_TIME_COUNT; p++)
        sum += part[p];
    return sum;
}

static void tell_parts(struct bench_report *r, const struct bench_took *t)
{
    static const struct bench_plot plot = {.kind = BENCH_BARS,
                                           .title = "Where a step's time goes",
                                           .x = "part",
                                           .x_title = "",
                                           .y_title = "ms",
                                           .parts = {"ms"}};
    struct bench_table *table = bench_report_table(
        r, "parts", "parts of a step: means over ranks, and the least and most of any rank", part_columns,
        DDP_COUNT(part_columns));
    const double whole = sum_of(t->part);
    for (int p = 0; p < DDP_TIME_COUNT; p++)
        bench_row(table, BENCH_TEXT(ddp_time_name((enum ddp_time)p)), BENCH_NUMBER(t->part[p] * 1e3),
                  BENCH_NUMBER(100 * t->part[p] / whole), BENCH_NUMBER(t->least[p] * 1e3),
                  BENCH_NUMBER(t->most[p] * 1e3));
    bench_row(table, BENCH_TEXT("step"), BENCH_NUMBER(whole * 1e3), BENCH_NUMBER(100), BENCH_NUMBER(NAN),
              BENCH_NUMBER(NAN));
    bench_report_plot(r, table, &plot);
}

/* ---- the roofline ---------------------------------------------------------------------------- */

/* Bytes that pass memory at least, of one rank: what a shard's layers leave is written and read by the layer
 * behind, and in backward read once more while its gradient is written and read; weights are read in both
 * passes of each shard; gradients are written, read, and state and weights read and written by the owner. */
struct bytes {
    double forward, backward, update;
};

static struct bytes bytes_of(const struct bench_job_facts *f, int ranks, double batch)
{
    const double values = f->activations * batch / ranks, weights = (double)f->parameters,
                 shards = fmax(1, f->shards > 0 ? (double)(f->shards * f->accumulate) / ranks : 1);
    return (struct bytes){.forward = 4 * (2 * values + shards * weights),
                          .backward = 4 * (3 * values + 2 * shards * weights),
                          .update = 4 * weights * (1 + (2 + 2 * f->optimizer_arrays) / (double)ranks)};
}

static const struct bench_column roof_columns[] = {
    {"part", "part", NULL},
    {"gflop", "GFLOP", "%.3f"},
    {"mb", "MB", "%.1f"},
    {"ms", "ms", "%.3f"},
    {"gflops", "GFLOP/s", "%.1f"},
    {"percent_of_flops", "% of peak", "%.1f"},
    {"gb_s", "GB/s", "%.1f"},
    {"percent_of_bytes", "% of memory", "%.1f"},
    {"floor_ms", "floor ms", "%.3f"},
    {"bound", "bound by", NULL},
};

static void roof_row(struct bench_table *t, const char *name, double flops, double bytes, double s,
                     const struct bench_ceilings *c)
{
    const double by_flops = flops / c->flops, by_bytes = bytes / c->bytes;
    bench_row(t, BENCH_TEXT(name), BENCH_NUMBER(flops * 1e-9), BENCH_NUMBER(bytes * 1e-6),
              BENCH_NUMBER(s * 1e3), BENCH_NUMBER(flops / s * 1e-9), BENCH_NUMBER(100 * by_flops / s),
              BENCH_NUMBER(bytes / s * 1e-9), BENCH_NUMBER(100 * by_bytes / s),
              BENCH_NUMBER(fmax(by_flops, by_bytes) * 1e3),
              BENCH_TEXT(by_flops > by_bytes ? "arithmetic" : "memory"));
}

/* Of one rank and its threads. */
static void tell_roof(struct bench_report *r, const struct bench_job *job, const struct bench_took *t,
                      long threads, const struct bench_ceilings *each)
{
    const struct bench_job_facts *f = &job->facts;
    const struct bench_ceilings c = {each->flops * (double)threads, each->bytes * (double)threads, each->ghz};
    const struct bytes b = bytes_of(f, t->ranks, t->batch);
    const double each_rank = t->batch / t->ranks, forward = f->forward_flops * each_rank,
                 backward = f->backward_flops * each_rank;
    struct bench_table *table = bench_report_table(
        r, "roofline", "roofline of a rank: operations of the definition, least bytes, measured ceilings",
        roof_columns, DDP_COUNT(roof_columns));
    roof_row(table, "forward", forward, b.forward, t->part[DDP_TIME_FORWARD], &c);
    roof_row(table, "backward", backward, b.backward, t->part[DDP_TIME_BACKWARD], &c);
    roof_row(table, "step", forward + backward, b.forward + b.backward + b.update, sum_of(t->part), &c);
    bench_fact_number(r, "peak_gflops", c.flops * 1e-9, "ceiling, arithmetic",
                      "%.1f GFLOP/s a rank (multiply-adds in registers, all ranks' threads at once)");
    bench_fact_number(r, "memory_gb_s", c.bytes * 1e-9, "ceiling, memory",
                      "%.1f GB/s a rank (a = b + c / 2 over 48 MB a thread, all at once)");
}

/* ---- all of it ------------------------------------------------------------------------------- */

static int by_step(const void *a, const void *b)
{
    const double x = ((const struct bench_took *)a)->step, y = ((const struct bench_took *)b)->step;
    return x < y ? -1 : x > y;
}

/* "rank 0  cpus=0 .. threads=1": of any rank, they have as many; else what was asked for. */
static long threads_of(const struct options *o, const struct bench_took *t)
{
    const char *said = strstr(t->placement, "threads=");
    return o->job.threads > 0 ? o->job.threads : said ? strtol(said + 8, NULL, 10) : 1;
}

static void tell(struct bench_report *r, const struct options *o, const struct bench_job *job,
                 const struct bench_took *t, long threads, double spread)
{
    const struct bench_job_facts *f = &job->facts;
    const double whole = sum_of(t->part), exposed = t->part[DDP_TIME_REDUCE] + t->part[DDP_TIME_WAIT];
    bench_fact_text(r, "model", f->model, "model");
    bench_fact_number(r, "parameters", (double)f->parameters, "parameters", "%.0f");
    bench_fact_number(r, "ranks", t->ranks, "ranks", "%.0f");
    bench_fact_number(r, "threads", (double)threads, "threads of each", "%.0f");
    bench_fact_number(r, "batch", t->batch, "batch", "%.0f samples of all ranks");
    bench_fact_number(r, "steps", t->steps, "steps that count", "%.0f");
    bench_fact_text(r, "data", f->own_data ? "the config's own" : "random, in memory", "data");
    bench_fact_number(r, "images_per_s", t->samples_per_s, "speed", "%.1f samples/s");
    bench_fact_number(r, "step_ms", t->step * 1e3, "a step takes", "%.3f ms (median)");
    bench_fact_number(r, "step_low_ms", t->low * 1e3, NULL, "%f");
    bench_fact_number(r, "step_high_ms", t->high * 1e3, NULL, "%f");
    bench_fact_number(r, "exposed_comm", exposed / whole, NULL, "%f");
    bench_fact_number(r, "exposed_percent", 100 * exposed / whole, "exposed communication",
                      "%.2f %% of a step (reduce and wait)");
    bench_fact_number(r, "imbalance_ms", t->imbalance * 1e3, "imbalance",
                      "%.3f ms that the busiest rank works longer than they do on average");
    bench_fact_number(r, "delayed_ms", t->delayed * 1e3, "without a CPU",
                      "%.3f ms a step in which a rank could have run, on average over all steps");
    bench_fact_number(r, "cpu_ms", t->cpu * 1e3, "CPU time of a rank",
                      "%.3f ms a step, its loader's threads with it");
    bench_fact_number(r, "rss_mb", t->rss_mb, "memory of a rank", "%.1f MB at most");
    tell_parts(r, t);
    const double within = t->step > 0 ? (t->high - t->low) / t->step : 0;
    bench_warn_spread(r, "steps within the run", within, 0.15);
    bench_warn_spread(r, "runs", spread, 0.05);
    if (t->delayed > 0.05 * t->step)
        bench_warn(
            r,
            "ranks were without a CPU for %.0f %% of a step: others, or more threads than cores, shared "
            "theirs",
            100 * fmin(1, t->delayed / t->step));
    (void)o;
}

static int run(const struct options *o, struct bench_job *job, struct bench_report *r, struct ddp_error *err)
{
    struct bench_took took[MOST_ROUNDS];
    struct bench_ceilings each;
    double step[MOST_ROUNDS];
    int status = bench_report_begin(r, err);
    for (long i = 0; i < o->rounds && status == 0; i++) {
        status = bench_job_run(job, (int)o->ranks, NULL, 1, &took[i], err);
        step[i] = took[i].step;
        bench_report_clock(r);
    }
    if (status)
        return status;
    const double spread = bench_spread(step, (int)o->rounds);
    qsort(took, (size_t)o->rounds, sizeof *took, by_step);
    const struct bench_took *t = &took[o->rounds / 2];
    const long threads = threads_of(o, t);
    bench_report_pinning(r, t->placement);
    tell(r, o, job, t, threads, spread);
    if (!t->on_cpu) {
        bench_note(r, "A GPU's step is one piece: its parts are not known, and there is no roofline.");
        return bench_report_finish(r, err);
    }
    status = bench_ceilings_measure((int)(threads * t->ranks / (t->hosts > 0 ? t->hosts : 1)), &each, err);
    if (status == 0)
        tell_roof(r, job, t, threads, &each);
    return status ? status : bench_report_finish(r, err);
}

/* ---- the command line ------------------------------------------------------------------------ */

static int take_option(void *options, int id, const char *value, struct ddp_error *err)
{
    struct options *o = options;
    struct bench_job_conf *j = &o->job;
    switch (id) {
    case RANKS:
        return bench_number_parse("-n", value, 1, 4096, &o->ranks, err);
    case THREADS:
        return bench_number_parse("--threads", value, 1, 4096, &j->threads, err);
    case STEPS:
        return bench_number_parse("--steps", value, 1, 100000, &j->steps, err);
    case ROUNDS:
        return bench_number_parse("--repeat", value, 1, MOST_ROUNDS, &o->rounds, err);
    case HOSTS:
        j->hosts = value;
        return 0;
    case DIR:
        j->in = value;
        return 0;
    case OWN_DATA:
        j->own_data = true;
        return 0;
    default:
        return id == DDP_OPTION_WORD ? bench_job_word(j, value, err) : 0;
    }
}

int bench_step(int argc, char **argv)
{
    struct options o = {.job = {.steps = 60, .in = "."}, .ranks = 1, .rounds = 3};
    struct ddp_error err = {0};
    struct bench_job *job = ddp_calloc(1, sizeof *job);
    o.job.words = ddp_calloc((size_t)argc + 1, sizeof *o.job.words);
    int status = bench_options_read(argc, argv, &bench_step_manual, &o.outputs, take_option, &o);
    if (status < 0) {
        struct bench_report *r = bench_report_create(bench_step_manual.name, argc, argv, &o.outputs);
        int code = bench_job_open(&o.job, job, &err);
        if (code == 0)
            code = run(&o, job, r, &err);
        bench_job_close(job);
        bench_report_destroy(r);
        status = code ? ddp_report("ddp-bench step", &err) : DDP_EXIT_OK;
    }
    free(o.job.words);
    free(job);
    return status;
}
