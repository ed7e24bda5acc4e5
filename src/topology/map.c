/* Drawing a placement:
 *
 *   2 packages, 2 NUMA nodes, 8 cores, 16 threads
 *   package 0
 *     NUMA node 0
 *       core    0  1  2  3
 *       cpu     0  2  4  6    rank  0  0  1  1
 *
 * One line of hardware threads per level of the cores (first threads, second threads ..), rank numbers in the
 * cells. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "topology/machine.h"

enum { LINE_WIDTH = 96, CELL_MAX = 24 };

/* ---- which ranks run on a hardware thread ---------------------------------------------------- */

static bool uses(const struct ddp_place *p, int pu)
{
    for (int i = 0; i < p->npus; i++)
        if (p->pus[i] == pu)
            return true;
    return false;
}

/* What is drawn. */
struct drawing {
    const struct ddp_machine *m;
    const struct ddp_placement *p;
    const int *number; /* [ranks] what ranks are called; NULL: as they lie here */
    int levels, width; /* hardware threads of the widest core; columns of a cell */
};

static int number_of(const struct drawing *d, int r)
{
    return d->number ? d->number[r] : r;
}

/* "3", "0-2", "0,2": the ranks on a hardware thread; "." none. */
static void rank_cell(const struct drawing *d, int pu, char *cell)
{
    const struct ddp_placement *p = d->p;
    struct ddp_text t;
    ddp_text_init(&t);
    for (int r = 0; r < p->ranks; r++) {
        if (!uses(&p->place[r], pu))
            continue;
        int end = r;
        while (end + 1 < p->ranks && uses(&p->place[end + 1], pu) &&
               number_of(d, end + 1) == number_of(d, end) + 1)
            end++;
        ddp_text_add(&t, "%s%d", t.len ? "," : "", number_of(d, r));
        if (end > r)
            ddp_text_add(&t, "%s%d", end == r + 1 ? "," : "-", number_of(d, end));
        r = end;
    }
    if (t.len >= CELL_MAX) /* many ranks of a spread plan */
        snprintf(cell, CELL_MAX, "%.*s..", CELL_MAX - 3, t.s);
    else
        snprintf(cell, CELL_MAX, "%s", t.len ? t.s : ".");
    ddp_text_finish(&t);
}

/* What stands in the line of level `level` under a core; "-": barred to this process, "x": another job's. */
static void level_cell(const struct drawing *d, const struct core *c, int level, char *cell)
{
    if (c->npus == 0)
        snprintf(cell, CELL_MAX, "-");
    else if (level < c->npus)
        rank_cell(d, c->pus[level], cell);
    else
        snprintf(cell, CELL_MAX, "-");
    if (c->held && strcmp(cell, ".") == 0)
        strcpy(cell, "x");
}

/* ---- drawing a NUMA node --------------------------------------------------------------------- */

static int widest_cell(const struct drawing *d)
{
    char cell[CELL_MAX];
    int width = snprintf(NULL, 0, "%d", d->m->ncores - 1);
    for (int i = 0; i < d->m->ncores; i++)
        for (int level = 0; level < d->levels; level++) {
            level_cell(d, &d->m->cores[i], level, cell);
            width = (int)strlen(cell) > width ? (int)strlen(cell) : width;
        }
    return width;
}

static void draw_cores(struct ddp_text *t, const struct drawing *d, const int *cores, int n)
{
    char cell[CELL_MAX];

    ddp_text_add(t, "    core     ");
    for (int i = 0; i < n; i++)
        ddp_text_add(t, " %*d", d->width, cores[i]);
    ddp_text_add(t, "\n");
    for (int level = 0; level < d->levels; level++) {
        ddp_text_add(t, level == 0 ? "    rank     " : "    thread %d ", level + 1);
        for (int i = 0; i < n; i++) {
            level_cell(d, &d->m->cores[cores[i]], level, cell);
            ddp_text_add(t, " %*s", d->width, cell);
        }
        ddp_text_add(t, "\n");
    }
}

static void draw_domain(struct ddp_text *t, const struct drawing *d, int domain)
{
    const struct ddp_machine *m = d->m;
    const int per_line = LINE_WIDTH / (d->width + 1) > 1 ? LINE_WIDTH / (d->width + 1) : 1;
    int *row = ddp_calloc((size_t)per_line, sizeof *row);
    int n = 0;

    if (m->domains[domain].numa >= 0)
        ddp_text_add(t, "  NUMA node %d\n", m->domains[domain].numa);
    for (int i = 0; i < m->ncores; i++) {
        if (m->cores[i].domain != domain)
            continue;
        row[n++] = i;
        if (n == per_line) {
            draw_cores(t, d, row, n);
            n = 0;
        }
    }
    if (n > 0)
        draw_cores(t, d, row, n);
    free(row);
}

/* ---- the GPUs -------------------------------------------------------------------------------- */

/* "  0000:3b:00.0  NUMA node 0  NIC mlx5_0  rank 0  NVIDIA H100 (GPU-...)" */
static void list_gpus(struct ddp_text *t, const struct drawing *d)
{
    const struct ddp_machine *m = d->m;
    const struct ddp_placement *p = d->p;
    bool *near = ddp_calloc((size_t)m->ncores, sizeof *near);
    ddp_text_add(t, "GPUs\n");
    for (int g = 0; g < p->ngpus; g++) {
        char nic[32];
        int numa = -1, ranks = 0;
        bool several = false;
        const bool known = ddp_machine_near(m, p->gpus[g].pci, near);
        for (int i = 0; i < m->ncores && known; i++)
            if (near[i]) {
                several = several || (numa >= 0 && m->cores[i].numa != numa);
                numa = m->cores[i].numa;
            }
        ddp_text_add(t, "  %s", p->gpus[g].pci);
        if (known && numa >= 0 && !several)
            ddp_text_add(t, "  NUMA node %d", numa);
        ddp_machine_nic(m, p->gpus[g].pci, nic);
        if (nic[0])
            ddp_text_add(t, "  NIC %s", nic);
        for (int r = 0; r < p->ranks; r++)
            if (strcmp(p->place[r].gpu, p->gpus[g].uuid) == 0)
                ddp_text_add(t, "%s%d", ranks++ ? "," : "  rank ", number_of(d, r));
        ddp_text_add(t, "%s  %s (%s)\n", ranks ? "" : "  no rank", p->gpus[g].name, p->gpus[g].uuid);
    }
    free(near);
}

/* ---- the list below the picture -------------------------------------------------------------- */

static void list_ranks(struct ddp_text *t, const struct drawing *d)
{
    const struct ddp_placement *p = d->p;
    for (int r = 0; r < p->ranks; r++) {
        const int size = ddp_place_format(&p->place[r], p->oversubscribed, NULL, 0) + 1;
        char *text = ddp_malloc((size_t)size);
        ddp_place_format(&p->place[r], p->oversubscribed, text, size);
        ddp_text_add(t, "rank %-3d %s\n", number_of(d, r), text);
        free(text);
    }
}

/* ---- the face -------------------------------------------------------------------------------- */

char *ddp_placement_map(const struct ddp_machine *m, const struct ddp_placement *p, const int *number)
{
    struct drawing d = {.m = m, .p = p, .number = number, .levels = 1};
    struct ddp_text t;

    for (int i = 0; i < m->ncores; i++)
        d.levels = m->cores[i].npus > d.levels ? m->cores[i].npus : d.levels;
    d.width = widest_cell(&d);

    ddp_text_init(&t);
    ddp_text_add(&t, "%s%s\n", m->text,
                 m->described ? " (described by HWLOC_SYNTHETIC or HWLOC_XMLFILE)" : "");
    for (int package = 0; package < m->npackages; package++) {
        ddp_text_add(&t, "package %d\n", package);
        for (int k = 0; k < m->ndomains; k++)
            if (m->domains[k].package == package)
                draw_domain(&t, &d, k);
    }
    ddp_text_add(&t, "('.' no rank, '-' not for this process%s)\n",
                 m->held_cores ? ", 'x' held by another job" : "");
    if (p->ngpus > 0)
        list_gpus(&t, &d);
    if (!p->bound)
        ddp_text_add(&t, "ranks are not bound to cores\n");
    list_ranks(&t, &d);
    for (const char *line = p->note; *line; line += strcspn(line, "\n"), line += *line == '\n')
        ddp_text_add(&t, "note: %.*s\n", (int)strcspn(line, "\n"), line);
    return t.s; /* the text's buffer is malloc'd and now the caller's */
}
