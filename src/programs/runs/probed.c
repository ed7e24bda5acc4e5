/* Reading RUN/probe of two runs, and following them op by op. */
#include "probed.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lines.h"

/* ---- reading --------------------------------------------------------------------------------- */

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static void free_node(struct ddp_probed_node *node)
{
    free(node->kind);
    free(node->name);
    free(node->op);
    free(node->hash);
}

/* A line of a file; false: it is none. */
static bool read_node(const json_t *o, int64_t step, struct ddp_probed_node *out)
{
    enum { MOST = 1 << 20 }; /* blocks of 4,096 elements */
    const json_int_t at = json_integer_value(json_object_get(o, "at")),
                     first = json_integer_value(json_object_get(o, "first"));
    const char *hash = text_of(o, "hash");
    const size_t digits = strlen(hash);
    long long of = 0;
    char unit[8] = "";
    if (sscanf(text_of(o, "of"), "%lld %7[a-z]", &of, unit) != 2 || at < 0 || at > MOST || of < 1 ||
        of > MOST || first < 0 || digits == 0 || digits % DDP_PROBED_DIGITS != 0 || !*text_of(o, "kind") ||
        !*text_of(o, "name") || first + (json_int_t)digits / DDP_PROBED_DIGITS > of)
        return false;
    *out = (struct ddp_probed_node){.step = step,
                                    .at = (int)at,
                                    .kind = ddp_strdup(text_of(o, "kind")),
                                    .name = ddp_strdup(text_of(o, "name")),
                                    .op = ddp_strdup(text_of(o, "op")),
                                    .of = of,
                                    .hash = ddp_calloc((size_t)of, DDP_PROBED_DIGITS)};
    strcpy(out->unit, unit);
    memcpy(out->hash + first * DDP_PROBED_DIGITS, hash, digits);
    return true;
}

static void read_file(struct ddp_probed *p, const char *run, const char *name)
{
    struct ddp_lines l;
    int64_t bad = 0;
    ddp_lines_open(&l, run, name, "ddp-probe");
    for (; l.now; ddp_lines_next(&l)) {
        struct ddp_probed_node node;
        if (!read_node(l.now, l.step, &node)) {
            bad++;
            continue;
        }
        if ((p->n & (p->n - 1)) == 0)
            p->node = ddp_realloc(p->node, (size_t)(p->n ? 2 * p->n : 1) * sizeof *p->node);
        p->node[p->n++] = node;
    }
    const long long all = bad + l.bad;
    if (*l.fault)
        snprintf(p->fault, sizeof p->fault, "%.150s is not used: %.200s", l.path, l.fault);
    else if (all > 0)
        snprintf(p->fault, sizeof p->fault, "%.150s: %lld lines are no record of it, and passed over", l.path,
                 all);
    ddp_lines_close(&l);
}

static int by_place(const void *x, const void *y)
{
    const struct ddp_probed_node *a = x, *b = y;
    return a->step != b->step ? (a->step < b->step ? -1 : 1) : a->at - b->at;
}

/* Parts of one node that several ranks have, or one rank in several rows. */
static void merge(struct ddp_probed *p)
{
    int n = 0;
    for (int i = 0; i < p->n; i++) {
        struct ddp_probed_node *last = n > 0 ? &p->node[n - 1] : NULL, *node = &p->node[i];
        if (!last || by_place(last, node) != 0 || last->of != node->of) {
            p->node[n++] = *node;
            continue;
        }
        for (int64_t k = 0; k < last->of; k++)
            if (node->hash[k * DDP_PROBED_DIGITS])
                memcpy(last->hash + k * DDP_PROBED_DIGITS, node->hash + k * DDP_PROBED_DIGITS,
                       DDP_PROBED_DIGITS);
        free_node(node);
    }
    p->n = n;
}

int ddp_probed_read(const char *run, struct ddp_probed *out, struct ddp_error *err)
{
    char pattern[2300];
    glob_t found;
    *out = (struct ddp_probed){0};
    snprintf(pattern, sizeof pattern, "%s/probe/rank-*.jsonl", run);
    const int none = glob(pattern, 0, NULL, &found);
    for (size_t i = 0; !none && i < found.gl_pathc; i++)
        read_file(out, run, found.gl_pathv[i] + strlen(run) + 1);
    if (!none)
        globfree(&found);
    if (out->n == 0)
        return ddp_fail(err, DDP_E_DATA, "%s: %s", run,
                        *out->fault ? out->fault : "it has no record of what its ops computed (probe.from)");
    qsort(out->node, (size_t)out->n, sizeof *out->node, by_place);
    merge(out);
    return 0;
}

void ddp_probed_finish(struct ddp_probed *p)
{
    for (int i = 0; i < p->n; i++)
        free_node(&p->node[i]);
    free(p->node);
    *p = (struct ddp_probed){0};
}

/* ---- comparing ------------------------------------------------------------------------------- */

static bool same_node(const struct ddp_probed_node *a, const struct ddp_probed_node *b)
{
    return strcmp(a->kind, b->kind) == 0 && strcmp(a->name, b->name) == 0;
}

/* The node of p in that step, from place `from` on; -1: there is none. */
static int find(const struct ddp_probed *p, int from, const struct ddp_probed_node *node)
{
    for (int i = from; i < p->n && p->node[i].step == node->step; i++)
        if (same_node(&p->node[i], node))
            return i;
    return -1;
}

static int step_begin(const struct ddp_probed *p, int from, int64_t step)
{
    while (from < p->n && p->node[from].step < step)
        from++;
    return from;
}

static bool differs(const struct ddp_probed_node *a, const struct ddp_probed_node *b, struct ddp_parting *out)
{
    out->part = -1;
    out->differ = 0;
    if (a->of != b->of || strcmp(a->unit, b->unit) != 0)
        return true;
    for (int64_t k = 0; k < a->of; k++)
        if (memcmp(a->hash + k * DDP_PROBED_DIGITS, b->hash + k * DDP_PROBED_DIGITS, DDP_PROBED_DIGITS) !=
            0) {
            out->part = out->differ ? out->part : k;
            out->differ++;
        }
    return out->differ > 0;
}

/* What lies behind `last` in a step of p and before `end`, and is not in the other. */
static const struct ddp_probed_node *only_here(const struct ddp_probed *p, int last, int end,
                                               const struct ddp_probed *other, int other_begin)
{
    for (int i = last + 1; i < end; i++)
        if (find(other, other_begin, &p->node[i]) < 0)
            return &p->node[i];
    return NULL;
}

/* A step that both have. False: they part in it. */
static bool follow_step(const struct ddp_probed *a, int i, const struct ddp_probed *b, int j,
                        struct ddp_parting *out)
{
    const int64_t step = a->node[i].step;
    const int begin_a = i;
    int last_a = i - 1, last_b = j - 1;
    out->steps++;
    out->equal = 0;
    for (; i < a->n && a->node[i].step == step; i++) {
        const int k = find(b, j, &a->node[i]);
        if (k < 0)
            continue;
        if (differs(&a->node[i], &b->node[k], out)) {
            out->a = &a->node[i];
            out->b = &b->node[k];
            out->only_a = only_here(a, last_a, i, b, j);
            out->only_b = only_here(b, last_b, k, a, begin_a);
            return false;
        }
        out->equal++;
        last_a = i;
        last_b = k;
    }
    return true;
}

void ddp_probed_part(const struct ddp_probed *a, const struct ddp_probed *b, struct ddp_parting *out)
{
    *out = (struct ddp_parting){.part = -1};
    int64_t equal = 0;
    for (int i = 0, j = 0; i < a->n && j < b->n;) {
        const int64_t step = a->node[i].step;
        j = step_begin(b, j, step);
        if (j < b->n && b->node[j].step == step) {
            if (!follow_step(a, i, b, j, out))
                return;
            equal += out->equal;
        }
        i = step_begin(a, i, step + 1);
    }
    out->equal = equal;
}

/* ---- words ----------------------------------------------------------------------------------- */

static void layer_of(const struct ddp_probed_node *node, char layer[160])
{
    snprintf(layer, 160, "%s", node->name);
    char *dot = strrchr(layer, '.');
    if (dot)
        *dot = '\0';
}

/* "fc1.input2" -> "2"; NULL: it is no gradient of an input. */
static const char *input_of(const struct ddp_probed_node *node)
{
    const char *dot = strrchr(node->name, '.');
    return dot && strncmp(dot, ".input", 6) == 0 && strlen(dot) <= 7 ? dot + 6 : NULL;
}

static void add_input(struct ddp_text *t, const struct ddp_probed_node *node)
{
    static const char *const words[][2] = {
        {"samples", "which samples the batch consists of"},
        {"targets", "the labels, or targets, of the samples"},
        {"data", "the samples' data, as read, augmented and scaled"},
    };
    for (size_t i = 0; i < DDP_COUNT(words); i++)
        if (strcmp(node->name, words[i][0]) == 0)
            ddp_text_add(t, "%s", words[i][1]);
}

static void add_backward(struct ddp_text *t, const struct ddp_probed_node *node)
{
    const char *input = input_of(node);
    char layer[160];
    layer_of(node, layer);
    if (input)
        ddp_text_add(t, "gradient of input%s%s in backward of '%s' (%s)", *input ? " " : "", input, layer,
                     node->op);
    else
        ddp_text_add(t, "gradient of %s in backward of '%s' (%s)", node->name, layer, node->op);
}

char *ddp_probed_words(const struct ddp_probed_node *node)
{
    struct ddp_text t;
    ddp_text_init(&t);
    if (strcmp(node->kind, "begin") == 0)
        ddp_text_add(&t, "%s, before the step", node->name);
    else if (strcmp(node->kind, "input") == 0)
        add_input(&t, node);
    else if (strcmp(node->kind, "forward") == 0)
        ddp_text_add(&t, "forward of '%s' (%s)", node->name, node->op);
    else if (strcmp(node->kind, "backward") == 0)
        add_backward(&t, node);
    else if (strcmp(node->kind, "sum") == 0)
        ddp_text_add(&t, "reduction: the gradient of %s summed over all shards", node->name);
    else if (strcmp(node->kind, "scale") == 0)
        ddp_text_add(&t, "%s",
                     strcmp(node->name, "lr") == 0 ? "the learning rate" : "the norm of the gradient");
    else if (strcmp(node->kind, "update") == 0)
        ddp_text_add(&t, "optimizer: %s after the update", node->name);
    if (t.len == 0)
        ddp_text_add(&t, "%s of '%s'", node->kind, node->name);
    return t.s;
}
