/* A cell as the commands that a user would type: one, or two where it is interrupted and goes on. */
#ifndef DDP_BENCH_REPRO_LEGS_H
#define DDP_BENCH_REPRO_LEGS_H

#include "launcher/words.h"
#include "bench/repro/cell.h"

/* What the commands are made of. Paths are absolute; borrowed. */
struct repro_site {
    const char *programs;            /* folder of ddp-launch, ddp-train, ddp-bench and ddp-runs */
    const char *program;             /* one of the user's own in place of ddp-train; NULL: none */
    const char *neon;                /* folder of ddp-train and ddp-bench for aarch64; NULL: none */
    const char *emulator;            /* that runs them */
    bool kernels[REPRO_MOST_VALUES]; /* by enum repro_kernels: this processor has them */
    const char *const *words;        /* KEY=VALUE for all cells but references, ends with NULL; NULL: none */
    const char *cores;               /* folder for DDP_CORES_DIR: what else runs here takes no cores */
};

enum { REPRO_PAUSE_S = 600 }; /* of a leg that is to be killed, at most */

struct repro_leg {
    struct ddp_words argv, env; /* env: NAME=VALUE, NAME to take out */
};

static inline int repro_legs(const struct repro_cell *c)
{
    return c->at[REPRO_BREAK] == REPRO_WHOLE ? 1 : 2;
}

/* Leg 0 or 1. config: its file; runs: folder for the run; resume: what leg 1 goes on from, NULL for leg 0. */
void repro_leg_make(const struct repro_site *site, const struct repro_cell *c, int leg, const char *config,
                    const char *runs, const char *resume, struct repro_leg *out);
void repro_leg_finish(struct repro_leg *leg);
/* NAME=VALUE .. PROGRAM .., as a shell takes it, added to out. */
void repro_leg_text(const struct repro_leg *leg, struct ddp_text *out);

#endif
