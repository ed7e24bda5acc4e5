/* A cell of the matrix: one way to do an experiment that must give the bits of every other way.
 *
 *     mlp . n3 . t2 . tiny . mpi . resume . avx2         its id; any id that the axes allow can be run alone
 *      |    |    |     |      |      |       |
 *    model  |  threads |  transport  |    kernels
 *         ranks     buckets      interruption
 *
 * A model comes with its data, optimizer and number of shards (model.h): that is the experiment, and its
 * weights hash is the same in all of its cells. The other axes are what must not matter. */
#ifndef DDP_BENCH_REPRO_CELL_H
#define DDP_BENCH_REPRO_CELL_H

#include "base/base.h"
#include "bench/repro/model.h"

enum repro_axis_index {
    REPRO_RANKS,
    REPRO_THREADS,
    REPRO_BUCKETS,
    REPRO_TRANSPORT,
    REPRO_BREAK,
    REPRO_KERNELS,
    REPRO_AXES
};

enum { REPRO_MOST_VALUES = 8 };
struct repro_axis {
    const char *name;
    const char *value[REPRO_MOST_VALUES + 1]; /* as in ids; ends with NULL */
    const char *doc;
};
extern const struct repro_axis repro_axes[REPRO_AXES];
int repro_axis_values(int axis);

/* Positions in .value. Those of REPRO_RANKS and REPRO_THREADS are the numbers less 1. */
enum repro_transport { REPRO_SELF, REPRO_IN_THREADS, REPRO_NODE, REPRO_MPI, REPRO_NODES, REPRO_DEALT };
enum repro_break { REPRO_WHOLE, REPRO_RESUME, REPRO_KILL };
enum repro_kernels { REPRO_AVX512, REPRO_AVX2, REPRO_SCALAR, REPRO_NEON };

struct repro_cell {
    struct repro_model model;
    int at[REPRO_AXES];
};

static inline int repro_ranks(const struct repro_cell *c)
{
    return c->at[REPRO_RANKS] + 1;
}

static inline int repro_threads(const struct repro_cell *c)
{
    return c->at[REPRO_THREADS] + 1;
}

enum { REPRO_ID_SIZE = 96 };
/* Its id. buf: [REPRO_ID_SIZE]; returns it. */
const char *repro_cell_id(const struct repro_cell *c, char *buf);
/* DDP_E_USAGE: an id that names no value of an axis, or a cell that cannot be. */
int repro_cell_parse(const char *id, struct repro_cell *out, struct ddp_error *err);
/* Why such a cell cannot be (one rank has no transport, ..); NULL: it can. */
const char *repro_cell_impossible(const struct repro_cell *c);
/* What all cells of a model are held against: one rank, one thread, undisturbed, by the plainest kernels that
 * the model is small enough for. */
struct repro_cell repro_reference(const struct repro_model *m);

/* One of the cells of a drawn model, drawn by its seed as well. */
struct repro_cell repro_cell_draw(const struct repro_model *m);

/* The number of ranks that a cell goes on with after its interruption: another one after a stop, the same
 * after a kill. */
int repro_ranks_after(const struct repro_cell *c);

#endif
