/* ddp-bench allreduce: the command line, the rounds over all ways, and the report. */
#include "bench/allreduce/allreduce.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>

#include "bench/bench.h"
#include "bench/lists.h"
#include "bench/report.h"
#include "bench/stats.h"

enum { MOST_ROUNDS = 1000, ROUNDS_OF_A_RUN = 5 };
static const double LIMIT_S = 600;

/* ddp-launch wants a config; nothing of it is trained. */
static const char *const config = "model: { layers = ({type = \"flatten\", name = \"flat\"},\n"
                                  "    {type = \"linear\", name = \"fc\", out = \"classes\"},\n"
                                  "    {type = \"softmax_cross_entropy\", name = \"loss\"}); };\n"
                                  "data: { format = \"digits\"; };\n";

struct options {
    struct bench_reduce_job job;
    long repeat;
    const char *only, *in;
    struct bench_outputs outputs;
};

enum { RANKS = 1, HOSTS, SIZES, FACTOR, REPEAT, BUCKET, DIR };
// clang-format off
static const struct ddp_option option_list[] = {
    {"--ranks", "-n", "N", RANKS, "Ranks. Without it as many as there are CPUs, at least 2."},
    {"--hosts", "-H", "LIST", HOSTS, "Hosts as ddp-launch and mpirun take them, \"a:4,b:4\". Without it this one."},
    {"--sizes", NULL, "FIRST:LAST", SIZES, "Bytes, with K or M for 1,024 and its square. Without it 1K:256M."},
    {"--factor", NULL, "F", FACTOR, "From one size to the next. Without it 4."},
    {"--repeat", NULL, "R", REPEAT, "How often each way is started, in turn, 5 rounds each time. Without it 3."},
    {"--bucket-kb", NULL, "KB", BUCKET, "Of our reduction (reduce.bucket_mb). Without it 3906, which are the 4 MB of the "
                                        "config's default."},
    {"--dir", NULL, "FOLDER", DIR, "For a config that ranks read; on several hosts all have to see it. Without it the "
                                   "current folder."},
    BENCH_REPORT_OPTIONS,
    DDP_COMMON_OPTIONS,
    {0},
};
// clang-format on
static const char *const usage[] = {"[options] [WAY]", NULL};

static const struct ddp_manual_section sections[] = {
    {"Ways",
     "node\tours: processes of one host in shared memory, canonical order of sums\n"
     "node-fast\tthe same with reduce.mode = \"fast\"\n"
     "threads, threads-fast\tours: threads of one process\n"
     "mpi, mpi-fast\tours: ranks that mpirun starts, on one host or several; fast is MPI_Iallreduce\n"
     "NCCL\tncclAllReduce by itself, on a GPU for each rank, where there are so many\n"
     "MPI\tMPI_Allreduce by itself (ddp-bench-mpi), with Open MPI's own choice of algorithm\n"
     "MPI-han, MPI-sm, MPI-adapt\tthe same with that component put first",
     false},
    {"Bandwidth",
     "As nccl-tests defines it: the algorithm's is bytes / time, the bus's that times 2 (N - 1) / N, which "
     "does not depend on N where the links are the limit.",
     false},
    {0},
};

const struct ddp_manual bench_allreduce_manual = {
    .name = "ddp-bench allreduce",
    .summary = "time and bandwidth of an all-reduce over sizes, by our transports, MPI and NCCL",
    .usage = usage,
    .about = "Sums of N ranks, over a list of sizes, by each way in turn, checked on every size against "
             "exact sums. "
             "WAY: only ways whose name contains it, in any case. Times are those of the slowest rank: the "
             "median of all "
             "rounds, "
             "and the interval that holds it.",
    .options = option_list,
    .sections = sections,
};

/* ---- one run --------------------------------------------------------------------------------- */

static int size_index(const struct bench_reduce_sweep *w, long bytes)
{
    for (int i = 0; i < w->nsizes; i++)
        if (w->bytes[i] == bytes)
            return i;
    return -1;
}

/* "row BYTES WRONG SECONDS .." of all sizes. */
static int read_rows(struct bench_reduce_sweep *w, int way, const char *text, struct ddp_error *err)
{
    int rows = 0;
    for (const char *line = text; line; line = strchr(line, '\n'), line += line != NULL) {
        long bytes;
        double wrong, s;
        int used = 0;
        if (sscanf(line, "row %ld %lf%n", &bytes, &wrong, &used) != 2)
            continue;
        const int size = size_index(w, bytes);
        if (size < 0)
            continue;
        struct bench_reduce_found *f = &w->found[way][size];
        const size_t room = (size_t)(w->rounds);
        f->seconds = f->seconds ? f->seconds : ddp_calloc(room, sizeof *f->seconds);
        f->wrong += wrong;
        for (const char *at = line + used; f->n < (int)room && sscanf(at, " %lf%n", &s, &used) == 1;
             at += used)
            f->seconds[f->n++] = s;
        rows++;
    }
    return rows == w->nsizes ? 0
                             : ddp_fail(err, DDP_E_COMM, "%d rows in place of %d came back", rows, w->nsizes);
}

static int run_way(const struct options *o, struct bench_reduce_sweep *w, int way, struct ddp_error *err)
{
    const struct bench_reduce_way *k = &bench_reduce_ways[way];
    struct bench_reduce_task task = o->job.task;
    struct bench_words words = {0};
    struct bench_run run = {0};
    char text[BENCH_TASK_TEXT], variable[BENCH_TASK_TEXT + 32];
    task.fast = k->fast;
    task.copied = k->copied;
    struct ddp_error lacks = {0};
    if (k->command(k, &o->job, &words, &task, &lacks) != 0) {
        snprintf(w->lacks[way], sizeof w->lacks[way], "%s", lacks.text);
        bench_words_finish(&words);
        return 0;
    }
    snprintf(variable, sizeof variable, BENCH_RANK_VARIABLE "=%s", bench_reduce_task_text(&task, text));
    const char *const env[] = {k->ours || k->device ? variable : "OMPI_ALLOW_RUN_AS_ROOT=1",
                               "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1", NULL};
    int status = bench_run(&words, env, LIMIT_S, &run, err);
    if (status == 0)
        status = read_rows(w, way, run.out, err);
    if (status && !k->ours && status != DDP_E_STOPPED) { /* a peer that fails is no failure of ours */
        snprintf(w->lacks[way], sizeof w->lacks[way], "%.500s", err->text);
        status = 0;
    }
    bench_run_finish(&run);
    bench_words_finish(&words);
    return status ? ddp_error_prefix(err, "%s", k->name) : 0;
}

static bool wanted(const struct options *o, const struct bench_reduce_way *k)
{
    return strcasestr(k->name, o->only) && !(o->job.hosts && k->local);
}

static int measure(const struct options *o, struct bench_reduce_sweep *w, struct bench_report *r,
                   struct ddp_error *err)
{
    int status = 0;
    for (long i = 0; i < o->repeat && status == 0; i++) {
        for (int way = 0; way < bench_reduce_nways && status == 0; way++)
            if (wanted(o, &bench_reduce_ways[way]) && !*w->lacks[way])
                status = run_way(o, w, way, err);
        bench_report_clock(r);
    }
    return status;
}

static int run(struct options *o, struct bench_report *r, struct ddp_error *err)
{
    struct bench_reduce_sweep *w = ddp_calloc(1, sizeof *w);
    char path[PATH_MAX + 16];
    w->ranks = o->job.ranks;
    w->rounds = o->repeat * ROUNDS_OF_A_RUN;
    for (long b = o->job.task.first; b <= o->job.task.last && w->nsizes < BENCH_REDUCE_SIZES;
         b *= o->job.task.factor)
        w->bytes[w->nsizes++] = b;
    int status = bench_report_begin(r, err);
    if (status == 0)
        status = bench_folder_make(o->in, o->job.folder, err);
    if (status == 0) {
        snprintf(path, sizeof path, "%s/allreduce.cfg", o->job.folder);
        status = ddp_file_write(path, config, strlen(config), err);
        if (status == 0)
            status = measure(o, w, r, err);
        bench_folder_remove(o->job.folder);
    }
    if (status == 0) {
        bench_report_pinning(
            r, "ours as ddp-launch places ranks; MPI --bind-to core where there is a core for each");
        bench_reduce_tell(w, r);
        status = bench_report_finish(r, err);
    }
    for (int way = 0; way < bench_reduce_nways; way++)
        for (int i = 0; i < w->nsizes; i++)
            free(w->found[way][i].seconds);
    free(w);
    return status;
}

/* ---- the command line ------------------------------------------------------------------------ */

/* "64K", "4M", "512". */
static bool parse_bytes(const char *text, size_t len, long *out)
{
    char word[32];
    int64_t v;
    const char unit = len > 0 ? text[len - 1] : '\0';
    const long times = unit == 'K' || unit == 'k' ? 1024 : unit == 'M' || unit == 'm' ? 1048576 : 1;
    len -= times > 1;
    if (len == 0 || len >= sizeof word)
        return false;
    snprintf(word, sizeof word, "%.*s", (int)len, text);
    if (!ddp_parse_int(word, &v) || v < 1 || v > (int64_t)1 << 32)
        return false;
    *out = (long)v * times;
    return *out % 4 == 0 && *out <= 1L << 34;
}

static int parse_sizes(const char *value, struct bench_reduce_task *t, struct ddp_error *err)
{
    const size_t n = strcspn(value, ":");
    const bool range = value[n] == ':';
    if (!parse_bytes(value, n, &t->first) ||
        !parse_bytes(range ? value + n + 1 : value, range ? strlen(value + n + 1) : n, &t->last) ||
        t->last < t->first)
        return ddp_fail(err, DDP_E_USAGE,
                        "--sizes %s: a range of bytes is wanted, whole floats, as in 64K:64M", value);
    return 0;
}

static int take_option(void *options, int id, const char *value, struct ddp_error *err)
{
    struct options *o = options;
    struct bench_reduce_task *t = &o->job.task;
    switch (id) {
    case RANKS:
        return bench_number_parse("-n", value, 1, 1024, &o->job.ranks, err);
    case SIZES:
        return parse_sizes(value, t, err);
    case FACTOR:
        return bench_number_parse("--factor", value, 2, 1024, &t->factor, err);
    case REPEAT:
        return bench_number_parse("--repeat", value, 1, MOST_ROUNDS, &o->repeat, err);
    case BUCKET: {
        long kb = 0;
        const int status = bench_number_parse("--bucket-kb", value, 16, 1 << 22, &kb, err);
        t->bucket = kb * 1024;
        return status;
    }
    case HOSTS:
        o->job.hosts = value;
        return 0;
    case DIR:
        o->in = value;
        return 0;
    case DDP_OPTION_WORD:
        if (*o->only)
            return ddp_fail(err, DDP_E_USAGE, "%s: one WAY is enough", value);
        o->only = value;
        return 0;
    default:
        return 0;
    }
}

static int check_ways(const struct options *o, struct ddp_error *err)
{
    for (int way = 0; way < bench_reduce_nways; way++)
        if (wanted(o, &bench_reduce_ways[way]))
            return 0;
    return ddp_fail(err, DDP_E_USAGE, "no way's name contains '%s'%s", o->only,
                    o->job.hosts ? " and works between hosts" : "");
}

static long count_cpus(void)
{
    cpu_set_t cpus;
    const int n = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
    return n > 2 ? n : 2;
}

int bench_allreduce(int argc, char **argv)
{
    struct options o = {.repeat = 3,
                        .only = "",
                        .in = ".",
                        .job = {.ranks = count_cpus(),
                                .task = {.first = 1024,
                                         .last = 256L << 20,
                                         .factor = 4,
                                         .rounds = ROUNDS_OF_A_RUN,
                                         .bucket = 4000000}}};
    struct ddp_error err = {0};
    int status = bench_options_read(argc, argv, &bench_allreduce_manual, &o.outputs, take_option, &o);
    if (status < 0 && check_ways(&o, &err) != 0) {
        ddp_say("ddp-bench allreduce", "%s", err.text);
        status = DDP_EXIT_USAGE;
    }
    if (status >= 0)
        return status;
    struct bench_report *r = bench_report_create(bench_allreduce_manual.name, argc, argv, &o.outputs);
    const int code = run(&o, r, &err);
    bench_report_destroy(r);
    return code ? ddp_report("ddp-bench allreduce", &err) : DDP_EXIT_OK;
}
