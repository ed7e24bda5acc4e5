/* The experiments of the matrix: model, data, optimizer, shards; tiny data, few steps. One of the table, or
 * one of the endless row that a seed draws. */
#ifndef DDP_BENCH_REPRO_MODEL_H
#define DDP_BENCH_REPRO_MODEL_H

#include "base/base.h"

struct repro_model {
    char name[32];       /* "mlp"; of a drawn one "rSEED-INDEX" */
    const char *config;  /* what is its own, the group train left open; NULL: drawn */
    int strength, quick; /* of its cells in the full and in the reduced matrix (cover.h) */
    bool small;          /* plain C (a software fma takes 21 ns) and an emulated processor are fast enough */
    int shards;          /* most ranks that it can have */
    uint64_t seed;       /* drawn: by which seed, .. */
    int64_t index;       /* .. and which of its row */
};

/* Steps of a run; those between two checkpoints; those done when an interrupted one stops: in the second
 * epoch, and not where a checkpoint lies. */
enum { REPRO_STEPS = 8, REPRO_SAVE_EVERY = 3, REPRO_FIRST_STEPS = 5 };

extern const struct repro_model repro_models[];
extern const int repro_nmodels;

/* By name, of the table or drawn. DDP_E_USAGE names those that there are. */
int repro_model_find(const char *name, struct repro_model *out, struct ddp_error *err);
/* The whole text of its config. malloc'd. */
char *repro_model_config(const struct repro_model *m);

/* draw.c: number `index` of the row that `seed` draws: layers whose shapes fit by construction, batch,
 * shards, data and optimizer. The same on every machine. */
struct repro_model repro_draw(uint64_t seed, int64_t index);
/* draw.c: what is its own of a config, the group train left open. */
void repro_draw_config(const struct repro_model *m, struct ddp_text *out);

#endif
