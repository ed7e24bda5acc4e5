/* How each transport is started, and what each axis is on a command line. */
#include "bench/repro/legs.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct start {
    const struct repro_site *site;
    const struct repro_cell *cell;
    int ranks;
    struct repro_leg *leg;
};

static void add(struct ddp_words *w, const char *word)
{
    ddp_words_add(w, "%s", word);
}

static void add_number(struct ddp_words *w, int n)
{
    ddp_words_add(w, "%d", n);
}

static bool is_emulated(const struct start *s)
{
    return s->cell->at[REPRO_KERNELS] == REPRO_NEON && !s->site->kernels[REPRO_NEON];
}

/* A program of one process. */
static void add_program(const struct start *s, const char *name)
{
    struct ddp_words *w = &s->leg->argv;
    if (is_emulated(s)) {
        add(w, s->site->emulator);
        ddp_words_add(w, "%s/%s", s->site->neon, name);
    } else if (s->site->program && strcmp(name, "ddp-train") == 0) {
        add(w, s->site->program);
    } else {
        ddp_words_add(w, "%s/%s", s->site->programs, name);
    }
}

static void start_self(const struct start *s)
{
    add_program(s, "ddp-train");
    add(&s->leg->argv, "--quiet");
}

static void start_in_threads(const struct start *s)
{
    add_program(s, "ddp-bench");
    ddp_words_add_all(&s->leg->argv, (const char *const[]){"repro", "--as-threads", NULL});
    add_number(&s->leg->argv, s->ranks);
}

static void start_launcher(const struct start *s)
{
    struct ddp_words *w = &s->leg->argv;
    ddp_words_add(w, "%s/ddp-launch", s->site->programs);
    add(w, "--quiet");
    add(w, "-n");
    add_number(w, s->ranks);
    if (s->site->program) {
        add(w, "--program");
        add(w, s->site->program);
    }
}

static void start_mpi(const struct start *s)
{
    start_launcher(s);
    add(&s->leg->argv, "--starter");
    add(&s->leg->argv, "mpirun");
}

/* mpirun, with a host's name for each rank: host is its number, as the shell reckons it. */
static void start_hosts(const struct start *s, const char *host)
{
    struct ddp_words *w = &s->leg->argv;
    ddp_words_add_all(w, (const char *const[]){"mpirun", "--oversubscribe", "--bind-to", "none", "--mca",
                                               "mpi_yield_when_idle", "1", "-n", NULL});
    add_number(w, s->ranks);
    add(w, "sh");
    add(w, "-c");
    ddp_words_add(w, "export DDP_COMM_NODE=node$((%s)); exec \"$@\"", host);
    add(w, "sh");
    start_self(s);
    if (geteuid() == 0) { /* containers */
        add(&s->leg->env, "OMPI_ALLOW_RUN_AS_ROOT=1");
        add(&s->leg->env, "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1");
    }
}

static void start_nodes(const struct start *s)
{
    char host[64];
    snprintf(host, sizeof host, "OMPI_COMM_WORLD_RANK * 2 / %d", s->ranks);
    start_hosts(s, host);
}

static void start_dealt(const struct start *s)
{
    start_hosts(s, "OMPI_COMM_WORLD_RANK % 3");
}

/* By enum repro_transport. */
static void (*const starts[])(const struct start *) = {start_self, start_in_threads, start_launcher,
                                                       start_mpi,  start_nodes,      start_dealt};

/* That of the cell; where it goes on with another number of ranks, one that can have so many. */
static int transport_for(const struct repro_cell *c, int ranks)
{
    const int transport = c->at[REPRO_TRANSPORT];
    if (transport == REPRO_SELF && ranks > 1)
        return c->at[REPRO_KERNELS] == REPRO_NEON ? REPRO_IN_THREADS : REPRO_NODE;
    return transport >= REPRO_MPI && ranks == 1 ? REPRO_SELF : transport;
}

static void add_keys(const struct repro_cell *c, int leg, const char *runs, struct ddp_words *w)
{
    static const char *const buckets[] = {"0.016384", "4", "4096"};
    ddp_words_add(w, "run.dir=%s", runs);
    ddp_words_add(w, "train.threads=%d", repro_threads(c));
    ddp_words_add(w, "reduce.bucket_mb=%s", buckets[c->at[REPRO_BUCKETS]]);
    if (leg == 0 && c->at[REPRO_BREAK] == REPRO_RESUME)
        ddp_words_add(w, "train.max_steps=%d", REPRO_FIRST_STEPS);
}

/* A leg that is to be killed waits for it, after so many steps. */
static void add_pause(const struct start *s, int transport)
{
    if (transport == REPRO_IN_THREADS)
        ddp_words_add(&s->leg->argv, "--pause-after=%d", REPRO_FIRST_STEPS - 1);
    else
        ddp_words_add(&s->leg->env, "DDP_TEST_DELAY=0:forward:%d-%d:%d", REPRO_FIRST_STEPS, REPRO_FIRST_STEPS,
                      REPRO_PAUSE_S);
}

void repro_leg_make(const struct repro_site *site, const struct repro_cell *c, int leg, const char *config,
                    const char *runs, const char *resume, struct repro_leg *out)
{
    *out = (struct repro_leg){0};
    const int ranks = leg == 0 ? repro_ranks(c) : repro_ranks_after(c);
    const struct start s = {site, c, ranks, out};
    const int transport = transport_for(c, ranks);
    starts[transport](&s);
    if (leg == 0 && c->at[REPRO_BREAK] == REPRO_KILL)
        add_pause(&s, transport);
    if (resume) {
        add(&out->argv, "--resume");
        add(&out->argv, resume);
    }
    add(&out->argv, config);
    add_keys(c, leg, runs, &out->argv);
    ddp_words_add_all(&out->argv, site->words);
    ddp_words_add(&out->env, "DDP_ISA=%s", repro_axes[REPRO_KERNELS].value[c->at[REPRO_KERNELS]]);
    ddp_words_add(&out->env, "DDP_CORES_DIR=%s", site->cores);
    add(&out->env, "DDP_COMM_NODE");
}

void repro_leg_finish(struct repro_leg *leg)
{
    ddp_words_finish(&leg->argv);
    ddp_words_finish(&leg->env);
}

void repro_leg_text(const struct repro_leg *leg, struct ddp_text *out)
{
    for (int i = 0; i < leg->env.n; i++)
        if (strchr(leg->env.w[i], '=') && strncmp(leg->env.w[i], "DDP_CORES_DIR=", 14) != 0)
            ddp_text_add(out, "%s ", leg->env.w[i]);
    for (int i = 0; i < leg->argv.n; i++) {
        ddp_text_add(out, "%s", i ? " " : "");
        ddp_words_quote(leg->argv.w[i], out);
    }
}
