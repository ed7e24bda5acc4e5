/* The table at the start of a run. */
#include "model/graph.h"
#include "model/memory_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int64_t trained(const struct ddp_layer *l)
{
    int64_t n = 0;
    for (int k = 0; k < l->plan.nparams; k++)
        if (l->plan.params[k].role == DDP_PARAM_TRAINED)
            n += ddp_layout_plain_size(&l->plan.params[k]);
    return n;
}

int64_t ddp_model_parameters(const struct ddp_model *m)
{
    int64_t n = 0;
    for (int i = 0; i < m->nlayers; i++)
        n += trained(&m->layer[i]);
    return n;
}

double ddp_model_flops(const struct ddp_model *m)
{
    double n = 0;
    for (int i = 0; i < m->nlayers; i++)
        n += m->layer[i].plan.flops;
    return n;
}

/* 1234567 -> "1,234,567" */
static char *grouped(int64_t n, char buf[32])
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%lld", (long long)n), k = 0;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            buf[k++] = ',';
        buf[k++] = digits[i];
    }
    buf[k] = '\0';
    return buf;
}

static double span_bytes(const struct ddp_memory *mem, int span)
{
    return span < 0 ? 0 : (double)mem->span[span].bytes;
}

/* Activations, gradients and saved data of the stage that ends with layer i, before any sharing; -1: none
 * does. mem NULL: the device has sizes of its own. */
static double stage_bytes(const struct ddp_stages *p, const struct ddp_memory *mem, int i)
{
    for (int s = 0; mem && s < p->nstages; s++) {
        const int out = p->stage[s].out;
        if (p->stage[s].last == i)
            return span_bytes(mem, mem->saved[s]) +
                   (out < 0 ? 0 : span_bytes(mem, mem->value[out]) + span_bytes(mem, mem->grad[out]));
    }
    return -1;
}

/* 24090112 -> "24.090": millions, whatever the locale's decimal point is. */
static char *millions(double n, char buf[32])
{
    long long thousandths = (long long)(n * 1e-3 + 0.5);
    snprintf(buf, 32, "%lld.%03lld", thousandths / 1000, thousandths % 1000);
    return buf;
}

/* ---- the table ---- */

enum column { NAME, TYPE, OUTPUT, PARAMETERS, FLOPS, MEMORY, NOTE, COLUMNS };
enum { CELL = 128, SHORTEST_NAME = 8 };

static const struct {
    const char *head;
    bool left;       /* to the left edge of its column */
    int least;       /* characters, where there is room */
    int dispensable; /* those of the highest number are left out first */
} columns_of_table[COLUMNS] = {
    [NAME] = {"layer", true, 0, 0},
    [TYPE] = {"type", true, 0, 3},
    [OUTPUT] = {"output", false, 12, 1},
    [PARAMETERS] = {"parameters", false, 12, 0},
    [FLOPS] = {"MFLOP/sample", false, 12, 4},
    [MEMORY] = {"memory", false, 10, 2},
    [NOTE] = {"", true, 0, 5},
};

struct row {
    char cell[COLUMNS][CELL];
};

static void fill_row(const struct ddp_model *m, const struct ddp_memory *memory, int i, struct row *r)
{
    const struct ddp_layer *l = &m->layer[i];
    char text[40];
    const double bytes = stage_bytes(&m->stages, memory, i);
    const int64_t n = trained(l);
    snprintf(r->cell[NAME], CELL, "%s", l->name);
    snprintf(r->cell[TYPE], CELL, "%s", l->op->name);
    snprintf(r->cell[OUTPUT], CELL, "%s", l->op->is_loss ? "-" : ddp_shape_text(l->plan.out, text));
    snprintf(r->cell[PARAMETERS], CELL, "%s", n ? grouped(n, text) : "-");
    snprintf(r->cell[FLOPS], CELL, "%s", millions(l->plan.flops, text));
    snprintf(r->cell[MEMORY], CELL, "%s", bytes > 0 ? ddp_bytes_text(bytes, text) : "-");
    if (l->host != i)
        snprintf(r->cell[NOTE], CELL, "in %.120s", m->layer[l->host].name);
    else if (bytes < 0 && memory && ddp_layer_is(l, "flatten"))
        snprintf(r->cell[NOTE], CELL, "costs nothing");
}

static int separator(int c)
{
    return c == NAME ? 0 : c == TYPE || c == NOTE ? 2 : 1;
}

/* Of the columns that are shown; a number of 0: left out. */
static int table_width(const int width[COLUMNS])
{
    int n = 0;
    for (int c = 0; c < COLUMNS; c++)
        n += width[c] ? width[c] + separator(c) : 0;
    return n;
}

/* As wide as what is in it, and with room as ever (wide). */
static void measure(const struct row *rows, int n, bool wide, int width[COLUMNS])
{
    for (int c = 0; c < COLUMNS; c++) {
        width[c] = wide ? columns_of_table[c].least : 0;
        for (int i = 0; i < n; i++) {
            const int len = (int)strlen(rows[i].cell[c]);
            width[c] = len > width[c] ? len : width[c];
        }
    }
}

/* How wide each column is, so that all lines are shorter than `columns` where that is not 0. */
static void fit(struct row *rows, int n, int columns, int width[COLUMNS])
{
    measure(rows, n, true, width);
    if (columns == 0 || table_width(width) < columns)
        return;
    snprintf(rows[0].cell[FLOPS], CELL, "MFLOP");
    measure(rows, n, false, width);
    for (int drop = COLUMNS; drop > 0 && table_width(width) >= columns; drop--)
        for (int c = 0; c < COLUMNS; c++)
            if (columns_of_table[c].dispensable == drop)
                width[c] = 0;
    const int over = table_width(width) - (columns - 1);
    if (over > 0)
        width[NAME] = width[NAME] - over > SHORTEST_NAME ? width[NAME] - over : SHORTEST_NAME;
}

static void add_row(const struct row *r, const int width[COLUMNS], struct ddp_text *t)
{
    const size_t begin = t->len;
    for (int c = 0; c < COLUMNS; c++) {
        char cell[CELL];
        snprintf(cell, sizeof cell, "%s", r->cell[c]);
        if (!width[c])
            continue;
        if ((int)strlen(cell) > width[c]) /* a name */
            snprintf(cell + width[c] - 2, 3, "..");
        ddp_text_add(t, "%*s%*s", separator(c), "", columns_of_table[c].left ? -width[c] : width[c], cell);
    }
    while (t->len > begin && t->s[t->len - 1] == ' ')
        t->s[--t->len] = '\0';
    ddp_text_add(t, "\n");
}

/* Parts of a sentence, on as many lines as it takes. */
static void add_parts(const char *const *part, int n, int columns, struct ddp_text *t)
{
    int at = 0;
    for (int i = 0; i < n; i++) {
        const int len = (int)strlen(part[i]);
        const bool wraps = i && columns && at + 2 + len + 1 >= columns;
        ddp_text_add(t, "%s%s", i == 0 ? "" : wraps ? ",\n" : ", ", part[i]);
        at = wraps || i == 0 ? len : at + 2 + len;
    }
    ddp_text_add(t, "\n");
}

static void add_totals(const struct ddp_model *m, const struct ddp_memory *memory, int columns,
                       struct ddp_text *t)
{
    char part[4][96], text[32];
    const char *parts[4];
    int n = 0;
    snprintf(part[n++], sizeof part[0], "%s parameters", grouped(ddp_model_parameters(m), text));
    snprintf(part[n++], sizeof part[0], "%s MFLOP per sample forward", millions(ddp_model_flops(m), text));
    if (memory)
        snprintf(part[n++], sizeof part[0], "%s for a shard of %d in training",
                 ddp_bytes_text((double)memory->shard_bytes, text), m->batch);
    if (memory && memory->scratch_bytes)
        snprintf(part[n++], sizeof part[0], "%s scratch",
                 ddp_bytes_text((double)memory->scratch_bytes, text));
    for (int i = 0; i < n; i++)
        parts[i] = part[i];
    add_parts(parts, n, columns, t);
}

char *ddp_model_summary(const struct ddp_model *m, int columns)
{
    const bool cpu = !m->gpu;
    const int n = m->nlayers + 2; /* head, data */
    struct ddp_memory memory = {0};
    struct ddp_text t;
    int width[COLUMNS];
    struct row *rows = ddp_calloc((size_t)n, sizeof *rows);
    if (cpu)
        ddp_memory_plan_cpu(&m->stages, true, &memory);
    for (int c = 0; c < COLUMNS; c++)
        snprintf(rows[0].cell[c], CELL, "%s", columns_of_table[c].head);
    snprintf(rows[1].cell[NAME], CELL, "data");
    ddp_shape_text(m->input, rows[1].cell[OUTPUT]);
    for (int i = 0; i < m->nlayers; i++)
        fill_row(m, cpu ? &memory : NULL, i, &rows[i + 2]);
    fit(rows, n, columns, width);
    ddp_text_init(&t);
    for (int i = 0; i < n; i++)
        add_row(&rows[i], width, &t);
    add_totals(m, cpu ? &memory : NULL, columns, &t);
    ddp_memory_finish(&memory);
    free(rows);
    return t.s;
}
