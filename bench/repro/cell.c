/* The axes, ids, and which cells can be. */
#include "bench/repro/cell.h"

#include <stdio.h>
#include <string.h>

const struct repro_axis repro_axes[REPRO_AXES] = {
    {"ranks", {"n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8"}, "ranks"},
    {"threads", {"t1", "t2", "t3"}, "threads of each rank"},
    {"buckets", {"tiny", "default", "one"}, "buckets of a block, of 4 MB, one for all"},
    {"transport",
     {"self", "threads", "node", "mpi", "nodes", "dealt"},
     "ddp-train alone; ranks that are threads of a process; processes in shared memory; mpirun; as two "
     "hosts, "
     "half of the ranks on each; as three hosts, to which ranks are dealt in turn"},
    {"interruption",
     {"whole", "resume", "kill"},
     "none; stopped, and resumed at another number of ranks; SIGKILL"},
    {"kernels", {"avx512", "avx2", "scalar", "neon"}, "instruction set (DDP_ISA)"},
};

int repro_axis_values(int axis)
{
    int n = 0;
    while (repro_axes[axis].value[n])
        n++;
    return n;
}

const char *repro_cell_id(const struct repro_cell *c, char *buf)
{
    int n = snprintf(buf, REPRO_ID_SIZE, "%s", c->model.name);
    for (int a = 0; a < REPRO_AXES; a++)
        n += snprintf(buf + n, REPRO_ID_SIZE - (size_t)n, ".%s", repro_axes[a].value[c->at[a]]);
    return buf;
}

/* Those of an axis, for a message. */
static int unknown_value(const char *id, const char *word, int axis, struct ddp_error *err)
{
    struct ddp_text t;
    ddp_text_init(&t);
    for (int v = 0; repro_axes[axis].value[v]; v++)
        ddp_text_add(&t, "%s%s", v ? ", " : "", repro_axes[axis].value[v]);
    const int code = ddp_fail(err, DDP_E_USAGE, "%s: '%s' is no value of the axis %s; there are %s", id, word,
                              repro_axes[axis].name, t.s);
    ddp_text_finish(&t);
    return code;
}

static int take_word(const char *id, const char *word, int axis, struct repro_cell *out,
                     struct ddp_error *err)
{
    for (int v = 0; repro_axes[axis].value[v]; v++)
        if (strcmp(word, repro_axes[axis].value[v]) == 0) {
            out->at[axis] = v;
            return 0;
        }
    return unknown_value(id, word, axis, err);
}

int repro_cell_parse(const char *id, struct repro_cell *out, struct ddp_error *err)
{
    char text[REPRO_ID_SIZE], *save = NULL;
    struct repro_cell c = {0};
    if (strlen(id) >= sizeof text)
        return ddp_fail(err, DDP_E_USAGE, "%.40s..: no id is so long; --list shows them", id);
    snprintf(text, sizeof text, "%s", id);
    const char *word = strtok_r(text, ".", &save);
    int status = word ? repro_model_find(word, &c.model, err) : ddp_fail(err, DDP_E_USAGE, "an empty id");
    for (int a = 0; a < REPRO_AXES && status == 0; a++) {
        word = strtok_r(NULL, ".", &save);
        status = word ? take_word(id, word, a, &c, err)
                      : ddp_fail(err, DDP_E_USAGE, "%s: an id has a model and %d values; --list shows them",
                                 id, REPRO_AXES);
    }
    if (status == 0 && strtok_r(NULL, ".", &save))
        status = ddp_fail(err, DDP_E_USAGE, "%s: an id has a model and %d values; --list shows them", id,
                          REPRO_AXES);
    const char *why = status == 0 ? repro_cell_impossible(&c) : NULL;
    if (why)
        status = ddp_fail(err, DDP_E_USAGE, "%s: %s", id, why);
    if (status == 0)
        *out = c;
    return status;
}

const char *repro_cell_impossible(const struct repro_cell *c)
{
    const int n = repro_ranks(c), transport = c->at[REPRO_TRANSPORT], kernels = c->at[REPRO_KERNELS];
    if (n > c->model.shards)
        return "there are no more ranks than shards (train.shards)";
    if (transport == REPRO_SELF && n > 1)
        return "transport self is one rank";
    if (transport >= REPRO_MPI && n == 1)
        return "one rank needs no MPI";
    if (kernels >= REPRO_SCALAR && !c->model.small)
        return "plain C and an emulated processor are for small models";
    if (kernels == REPRO_NEON && transport > REPRO_IN_THREADS)
        return "an emulated processor runs one process: self or threads";
    return NULL;
}

struct repro_cell repro_reference(const struct repro_model *m)
{
    struct repro_cell c = {.model = *m};
    c.at[REPRO_BUCKETS] = 1;
    c.at[REPRO_TRANSPORT] = REPRO_SELF;
    c.at[REPRO_KERNELS] = m->small ? REPRO_SCALAR : REPRO_AVX2;
    return c;
}

struct repro_cell repro_cell_draw(const struct repro_model *m)
{
    enum { STREAM = 0x2b5e81c7 };
    struct repro_cell c = {.model = *m};
    for (uint32_t draws = 0;; draws += 2) { /* some cells can be, so some draw comes upon one */
        uint32_t word[8];
        for (uint32_t half = 0; half < 2; half++) {
            const struct ddp_philox4 r = ddp_philox4(draws + half, (uint32_t)m->index,
                                                     (uint32_t)((uint64_t)m->index >> 32), STREAM, m->seed);
            memcpy(word + 4 * half, r.v, sizeof r.v);
        }
        for (int a = 0; a < REPRO_AXES; a++)
            c.at[a] = (int)ddp_uniform_int(word[a], (uint32_t)repro_axis_values(a));
        if (!repro_cell_impossible(&c) && c.at[REPRO_KERNELS] != REPRO_NEON)
            return c;
    }
}

int repro_ranks_after(const struct repro_cell *c)
{
    const int n = repro_ranks(c), most = c->model.shards < 8 ? c->model.shards : 8;
    if (c->at[REPRO_BREAK] != REPRO_RESUME || most == 1)
        return n;
    const int other = most + 1 - n;
    return other != n ? other : n - 1;
}
