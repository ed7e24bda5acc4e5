/* Options of ddp-bench repro, and the cells they stand for. */
#include "bench/repro/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    CELL = 1,
    MODELS,
    QUICK,
    LIST,
    RANDOM,
    SEED,
    JOBS,
    KEEP,
    PROGRAM,
    NEON,
    AS_THREADS,
    PAUSE,
    RESUME,
    COST,
};

// clang-format off
static const struct ddp_option options[] = {
    {"--quick", NULL, NULL, QUICK, "The reduced matrix, that of the tests: a minute."},
    {"--models", NULL, "LIST", MODELS, "Only these models: mlp,recipe."},
    {"--cell", NULL, "ID", CELL, "This cell alone, as --list shows them or put together by hand; may be given again."},
    {"--list", NULL, NULL, LIST, "Print the ids of the cells, run nothing."},
    {"--random", NULL, "COUNT", RANDOM, "In place of the matrix, so many models that a seed draws, each in one cell that it draws."},
    {"--seed", NULL, "S", SEED, "Of --random, 1 if not given. The same seed draws the same models on every machine."},
    {"--cost", NULL, "PAIRS", COST, "In place of the matrix, what the order of sums costs: pairs of runs with reduce.mode=canonical "
     "and fast on two ranks."},
    {"--jobs", "-j", "J", JOBS, "Cells at once; half of the processors if not given."},
    {"--keep", NULL, "DIR", KEEP, "Make the runs below DIR and leave them there."},
    {"--program", NULL, "PATH", PROGRAM, "Run this program in place of ddp-train, one of your own on the ddp library."},
    {"--neon", NULL, "DIR", NEON, "ddp-train and ddp-bench for aarch64, linked statically; run by qemu-aarch64 for the cells with "
     "kernels neon."},
    {"--as-threads", NULL, "N", AS_THREADS, "Train CONFIG on N ranks that are threads of this process: what cells with transport "
     "threads run."},
    {"--resume", NULL, "RUN", RESUME, "With --as-threads: go on from the newest checkpoint of a run."},
    {"--pause-after", NULL, "STEPS", PAUSE, "With --as-threads: wait then to be killed."},
    BENCH_REPORT_OPTIONS,
    DDP_COMMON_OPTIONS,
    {0},
};
// clang-format on

static const char *const usage[] = {"[options] [key=value ...]",
                                    "--as-threads N [options] CONFIG [key=value ...]", NULL};

static const struct ddp_manual_section sections[] = {
    {"Cells",
     "The axes are model, ranks (n1 to n8), threads of each (t1 to t3), buckets (tiny, default, "
     "one), transport (self: ddp-train alone; threads: of one process; node: processes in shared "
     "memory; mpi: mpirun; nodes: mpirun, as two hosts; dealt: as three hosts, ranks dealt in "
     "turn), interruption (whole, resume at another number of ranks, kill) and kernels (avx512, "
     "avx2, scalar, neon). An id has a value of each: mlp.n3.t2.tiny.mpi.resume.avx2. Of all that "
     "can be so many are run that any three values of different axes meet in one (of resnet18 and "
     "table, any two). What the machine cannot run is skipped and counted.\n"
     "\n"
     "Each is a run of ddp-launch or ddp-train, as a user would start it. It is equal when its "
     "weights have the hash of the reference, and ddp-runs verify finds all records on the way "
     "equal: those of every step's samples, gradient, optimizer and parameters. The reference of a "
     "model is one rank with one thread, undisturbed, of small models by the kernels in plain C.\n"
     "\n"
     "With key=value all cells are run with that key and the references without: whether it "
     "changes results. As a control a cell of the matrix is also run with sums in the transport's "
     "own order (reduce.mode=fast), which must differ.",
     false},
    {"Exit codes",
     "0\tall cells are equal\n"
     "1\tsome differ, or failed\n"
     "2\twrong usage\n"
     "3\tno cell could be run, or a report not be written",
     false},
    {"Examples",
     "    ddp-bench repro --quick\n"
     "    ddp-bench repro -j 4 --json repro.json --md repro.md\n"
     "    ddp-bench repro --cell recipe.n5.t1.tiny.nodes.kill.avx2\n"
     "    ddp-bench repro --random 1000 --seed 7",
     false},
    {"See also", "ddp-runs(1), ddp-launch(1)", true},
    {0},
};

const struct ddp_manual bench_repro_manual = {
    .name = "ddp-bench repro",
    .summary = "whether a result depends on ranks, threads, buckets, transport, interruptions or kernels",
    .usage = usage,
    .about = "Trains a few small experiments in some hundred ways each that must not matter, and compares "
             "the bits.",
    .options = options,
    .sections = sections,
};

/* ---- the command line ------------------------------------------------------------------------------ */

static int take_count(const char *option, const char *value, int64_t least, int64_t *out,
                      struct ddp_error *err)
{
    if (!ddp_parse_int(value, out) || *out < least)
        return ddp_fail(err, DDP_E_USAGE, "%s %s: a whole number from %lld on is wanted", option, value,
                        (long long)least);
    return 0;
}

static int take_cell(struct repro_request *r, const char *id, struct ddp_error *err)
{
    struct repro_cell c;
    const int status = repro_cell_parse(id, &c, err);
    if (status == 0)
        repro_cells_add(&r->cells, &c);
    return status;
}

static int take_number(struct repro_request *r, int id, const char *value, struct ddp_error *err)
{
    const char *name = options[0].name;
    int64_t n = 0;
    for (const struct ddp_option *o = options; o->name; o++)
        name = o->id == id ? o->name : name;
    const int status = take_count(name, value, id == SEED ? 0 : 1, &n, err);
    if (status)
        return status;
    if (n > 1000000 && id != SEED)
        return ddp_fail(err, DDP_E_USAGE, "%s %s: that is too many", name, value);
    switch (id) {
    case RANDOM:
        r->random = n;
        break;
    case SEED:
        r->seed = (uint64_t)n;
        break;
    case JOBS:
        r->jobs = (int)n;
        break;
    case COST:
        r->cost = (int)n;
        break;
    case AS_THREADS:
        r->threads.ranks = (int)n;
        break;
    default:
        r->threads.pause_after = n;
    }
    return 0;
}

static int take_word(struct repro_request *r, const char *word, struct ddp_error *err)
{
    if (strchr(word, '=') || *word == '~')
        r->words[r->nwords++] = word;
    else if (r->threads.config)
        return ddp_fail(err, DDP_E_USAGE, "%s: one CONFIG is enough", word);
    else
        r->threads.config = word;
    return 0;
}

static int take(struct repro_request *r, int id, const char *value, struct ddp_error *err)
{
    const struct {
        int id;
        const char **text;
    } texts[] = {{MODELS, &r->models},
                 {KEEP, &r->keep},
                 {PROGRAM, &r->program},
                 {NEON, &r->neon},
                 {RESUME, &r->threads.resume}};
    const struct {
        int id;
        bool *flag;
    } flags[] = {{QUICK, &r->quick}, {LIST, &r->list}};
    for (size_t i = 0; i < DDP_COUNT(texts); i++)
        if (texts[i].id == id) {
            *texts[i].text = value;
            return 0;
        }
    for (size_t i = 0; i < DDP_COUNT(flags); i++)
        if (flags[i].id == id) {
            *flags[i].flag = true;
            return 0;
        }
    if (bench_outputs_take(&r->outputs, id, value))
        return 0;
    if (id == DDP_OPTION_WORD)
        return take_word(r, value, err);
    return id == CELL ? take_cell(r, value, err) : take_number(r, id, value, err);
}

static int check(const struct repro_request *r, struct ddp_error *err)
{
    if (r->threads.ranks && !r->threads.config)
        return ddp_fail(err, DDP_E_USAGE, "--as-threads: no CONFIG");
    if (!r->threads.ranks && r->threads.config)
        return ddp_fail(err, DDP_E_USAGE,
                        "%s: what is that? Cells are named by --cell; a CONFIG goes with --as-threads",
                        r->threads.config);
    if (!r->threads.ranks && (r->threads.resume || r->threads.pause_after))
        return ddp_fail(err, DDP_E_USAGE, "--resume and --pause-after go with --as-threads");
    if (r->cells.n > 0 && (r->quick || r->models || r->random))
        return ddp_fail(err, DDP_E_USAGE,
                        "--cell names cells: --quick, --models and --random would choose others");
    if (r->cost && (r->cells.n > 0 || r->quick || r->models || r->random))
        return ddp_fail(err, DDP_E_USAGE,
                        "--cost has models of its own: no cells, --quick, --models or --random go with it");
    if (r->random && (r->quick || r->models))
        return ddp_fail(err, DDP_E_USAGE,
                        "--random draws its models: --quick and --models choose from the table");
    return 0;
}

int repro_request_parse(int argc, char **argv, struct repro_request *out)
{
    struct ddp_option_walk walk = {argc, argv, 1, false};
    struct ddp_error err = {0};
    const char *value;
    const long processors = sysconf(_SC_NPROCESSORS_ONLN);
    *out = (struct repro_request){.seed = 1, .jobs = processors > 3 ? (int)(processors / 2) : 1};
    out->words = ddp_calloc((size_t)argc + 1, sizeof *out->words);
    out->threads.argc = argc;
    out->threads.command = (const char *const *)argv;
    int status = 0;
    for (int id = DDP_OPTION_WORD; status == 0 && id != DDP_OPTION_END;) {
        status = ddp_option_next(&walk, &bench_repro_manual, &id, &value, &err);
        if (status == 0 && ddp_manual_answer(&bench_repro_manual, id))
            return DDP_EXIT_OK;
        if (status == 0 && id != DDP_OPTION_END)
            status = take(out, id, value, &err);
    }
    out->threads.words = out->words;
    out->threads.nwords = out->nwords;
    if (status == 0)
        status = check(out, &err);
    return status ? ddp_usage(&bench_repro_manual, "%s", err.text) : -1;
}

void repro_request_finish(struct repro_request *r)
{
    repro_cells_finish(&r->cells);
    free(r->words);
}

/* ---- the cells ------------------------------------------------------------------------------------- */

static void add_model(const struct repro_model *m, bool quick, struct repro_cells *out)
{
    repro_cover(m, quick ? m->quick : m->strength, out);
}

static int add_models(const struct repro_request *r, struct repro_cells *out, struct ddp_error *err)
{
    char *list = ddp_strdup(r->models), *save = NULL;
    int status = 0;
    for (char *name = strtok_r(list, ",", &save); name && status == 0; name = strtok_r(NULL, ",", &save)) {
        struct repro_model m;
        status = repro_model_find(name, &m, err);
        if (status == 0)
            add_model(&m, r->quick, out);
    }
    free(list);
    return status;
}

int repro_request_cells(const struct repro_request *r, struct repro_cells *out, struct ddp_error *err)
{
    *out = (struct repro_cells){0};
    for (int i = 0; i < r->cells.n; i++)
        repro_cells_add(out, &r->cells.cell[i]);
    for (int64_t i = 0; i < r->random; i++) {
        const struct repro_model m = repro_draw(r->seed, i);
        const struct repro_cell c = repro_cell_draw(&m);
        repro_cells_add(out, &c);
    }
    if (r->models)
        return add_models(r, out, err);
    for (int i = 0; i < repro_nmodels && r->cells.n == 0 && r->random == 0; i++)
        add_model(&repro_models[i], r->quick, out);
    return 0;
}
