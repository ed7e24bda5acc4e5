/* A covering array, greedily: of all cells that can be, the one with most combinations that no cell had. */
#include "bench/repro/cover.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_STRENGTH = 3, SUBSETS = 64 /* of the axes */ };

struct covering {
    int strength;
    unsigned subset[SUBSETS]; /* the axes that are looked at together, as bits */
    int subsets;
    bool *had[SUBSETS]; /* [8^strength] by the values on them */
    const struct repro_cell *all;
    int nall;
};

void repro_cells_add(struct repro_cells *cells, const struct repro_cell *c)
{
    if ((cells->n & (cells->n - 1)) == 0)
        cells->cell = ddp_realloc(cells->cell, (size_t)(cells->n ? 2 * cells->n : 1) * sizeof *cells->cell);
    cells->cell[cells->n++] = *c;
}

void repro_cells_finish(struct repro_cells *cells)
{
    free(cells->cell);
    *cells = (struct repro_cells){0};
}

/* All that can be, the last axis fastest. */
static void list_all(const struct repro_model *m, struct repro_cells *out)
{
    struct repro_cell c = {.model = *m};
    for (int a = 0; a >= 0;) {
        if (!repro_cell_impossible(&c))
            repro_cells_add(out, &c);
        for (a = REPRO_AXES - 1; a >= 0 && ++c.at[a] == repro_axis_values(a); a--)
            c.at[a] = 0;
    }
}

static int key_of(const struct repro_cell *c, unsigned axes)
{
    int key = 0;
    for (int a = 0; a < REPRO_AXES; a++)
        if (axes >> a & 1)
            key = key * REPRO_MOST_VALUES + c->at[a];
    return key;
}

static int gain_of(const struct covering *v, const struct repro_cell *c)
{
    int gain = 0;
    for (int s = 0; s < v->subsets; s++)
        gain += !v->had[s][key_of(c, v->subset[s])];
    return gain;
}

static void take(struct covering *v, const struct repro_cell *c)
{
    for (int s = 0; s < v->subsets; s++)
        v->had[s][key_of(c, v->subset[s])] = true;
}

/* One after the other, until none adds anything. emulated: kernels of another processor, too. */
static void take_all(struct covering *v, const struct repro_cells *all, bool emulated,
                     struct repro_cells *out)
{
    for (int best = 0; best >= 0;) {
        int most = 0;
        best = -1;
        for (int i = 0; i < all->n; i++) {
            const bool may = emulated || all->cell[i].at[REPRO_KERNELS] != REPRO_NEON;
            const int gain = may ? gain_of(v, &all->cell[i]) : 0;
            if (gain > most) {
                most = gain;
                best = i;
            }
        }
        if (best >= 0) {
            take(v, &all->cell[best]);
            repro_cells_add(out, &all->cell[best]);
        }
    }
}

void repro_cover(const struct repro_model *m, int strength, struct repro_cells *out)
{
    struct covering v = {.strength = strength < MOST_STRENGTH ? strength : MOST_STRENGTH};
    struct repro_cells all = {0};
    if (v.strength < 1)
        return;
    list_all(m, &all);
    for (unsigned axes = 1; axes < SUBSETS; axes++)
        if (__builtin_popcount(axes) == v.strength) {
            v.had[v.subsets] = ddp_calloc((size_t)1 << (3 * v.strength), sizeof(bool));
            v.subset[v.subsets++] = axes;
        }
    take_all(&v, &all, false, out); /* without an emulator all that can be without it is covered */
    take_all(&v, &all, true, out);
    for (int s = 0; s < v.subsets; s++)
        free(v.had[s]);
    repro_cells_finish(&all);
}
