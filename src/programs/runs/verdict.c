/* Following two runs step by step until they part. */
#include "verdict.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lines.h"

static void note(struct ddp_verdict *v, const char *fmt, ...) DDP_PRINTF(2, 3);
static void note(struct ddp_verdict *v, const char *fmt, ...)
{
    va_list args;
    if (v->nnotes == DDP_VERDICT_NOTES)
        return;
    va_start(args, fmt);
    vsnprintf(v->note[v->nnotes++], sizeof v->note[0], fmt, args);
    va_end(args);
}

/* ---- the trail ------------------------------------------------------------------------------- */

/* Parts of a record in the order in which one follows from the other; parts that are not known here come
 * behind them. */
static const char *const parts[] = {"random", "samples", "gradient", "optimizer", "parameters"};

static bool is_known(const char *part)
{
    for (size_t i = 0; i < DDP_COUNT(parts); i++)
        if (strcmp(parts[i], part) == 0)
            return true;
    return strcmp(part, "step") == 0;
}

/* A part that only one of them has says nothing. */
static bool part_differs(const json_t *a, const json_t *b, const char *part)
{
    const json_t *x = json_object_get(a, part), *y = json_object_get(b, part);
    return x && y && !json_equal(x, y);
}

/* The first part of the records that differs; NULL: none does. */
static const char *first_part(const json_t *a, const json_t *b)
{
    const char *part;
    json_t *value;
    for (size_t i = 0; i < DDP_COUNT(parts); i++)
        if (part_differs(a, b, parts[i]))
            return parts[i];
    json_object_foreach((json_t *)a, part, value) /* NOLINT: only read */
    {
        if (!is_known(part) && part_differs(a, b, part))
            return part;
    }
    return NULL;
}

/* The same among those that consist of tensors. */
static const char *first_part_of_tensors(const json_t *a, const json_t *b)
{
    for (size_t i = 0; i < DDP_COUNT(parts); i++)
        if (part_differs(a, b, parts[i]) && json_object_get(json_object_get(a, parts[i]), "tensors"))
            return parts[i];
    return NULL;
}

static void add_tensor(struct ddp_verdict *v, const char *name)
{
    v->tensor = ddp_realloc(v->tensor, (size_t)(v->ntensors + 1) * sizeof *v->tensor);
    v->tensor[v->ntensors++] = ddp_strdup(name);
}

static void name_tensors(struct ddp_verdict *v, const json_t *a, const json_t *b, const char *part)
{
    const json_t *x = json_object_get(json_object_get(a, part), "tensors"),
                 *y = json_object_get(json_object_get(b, part), "tensors");
    const char *name;
    json_t *hash;
    v->tensors_step = v->first_step;
    snprintf(v->tensors_part, sizeof v->tensors_part, "%s", part);
    json_object_foreach((json_t *)x, name, hash) /* NOLINT: only read */
    {
        v->tensors_of++;
        if (!json_equal(hash, json_object_get(y, name)))
            add_tensor(v, name);
    }
    json_object_foreach((json_t *)y, name, hash) /* NOLINT: only read */
    {
        if (json_object_get(x, name))
            continue;
        v->tensors_of++;
        add_tensor(v, name);
    }
}

static void note_file(struct ddp_verdict *v, const struct ddp_lines *l)
{
    if (*l->fault)
        note(v, "%s is not used: %s", l->path, l->fault);
    else if (l->bad > 0)
        note(v, "%s: %lld line%s that %s no whole record (or out of order) passed over", l->path,
             (long long)l->bad, ddp_plural(l->bad), l->bad == 1 ? "is" : "are");
}

/* Go on to records of one step; false: there are no more. */
static bool meet(struct ddp_lines *a, struct ddp_lines *b)
{
    while (a->now && b->now && a->step != b->step)
        ddp_lines_next(a->step < b->step ? a : b);
    return a->now && b->now;
}

static void follow_trail(const struct ddp_past *a, const struct ddp_past *b, struct ddp_verdict *v)
{
    struct ddp_lines x, y;
    ddp_lines_open(&x, a->path, "weights.trail", "ddp-trail");
    ddp_lines_open(&y, b->path, "weights.trail", "ddp-trail");
    const bool alike = x.version == y.version;
    if (!alike && x.now && y.now)
        note(v, "their trails are of different versions (%lld and %lld), and not compared",
             (long long)x.version, (long long)y.version);
    while (alike && meet(&x, &y)) {
        const char *part = first_part(x.now, y.now);
        if (part) {
            v->first_step = x.step;
            snprintf(v->part, sizeof v->part, "%s", part);
            const char *in = first_part_of_tensors(x.now, y.now);
            if (in)
                name_tensors(v, x.now, y.now, in);
            break;
        }
        v->records++;
        v->equal_step = x.step;
        ddp_lines_next(&x);
        ddp_lines_next(&y);
    }
    note_file(v, &x);
    note_file(v, &y);
    ddp_lines_close(&x);
    ddp_lines_close(&y);
}

/* ---- metrics --------------------------------------------------------------------------------- */

/* In the order of what follows from what; times are not compared. */
static const struct {
    const char *field, *part;
} numbers[] = {
    {"epoch", "epoch"},
    {"count", "samples"},
    {"lr", "lr"},
    {"loss", "loss"},
    {"accuracy", "accuracy"},
    {"grad_norm", "gradient"},
    {"mean_absolute_error", "mean absolute error"},
};

static const char *first_number(const json_t *a, const json_t *b)
{
    for (size_t i = 0; i < DDP_COUNT(numbers); i++)
        if (part_differs(a, b, numbers[i].field))
            return numbers[i].part;
    return NULL;
}

static const char *type_of(const json_t *o)
{
    const char *type = json_string_value(json_object_get(o, "type"));
    return type ? type : "";
}

/* The next record that is of steps or of evaluations: what ranks did in between is nobody's result. */
static void skip_others(struct ddp_lines *l)
{
    while (l->now && strcmp(type_of(l->now), "step") != 0 && strcmp(type_of(l->now), "eval") != 0)
        ddp_lines_next(l);
}

/* What the metrics add to the trail: an earlier step, or evaluations. An evaluation counts where nothing else
 * has parted them. */
static void follow_metrics(const struct ddp_past *a, const struct ddp_past *b, struct ddp_verdict *v)
{
    struct ddp_lines x, y;
    int64_t eval_step = -1;
    ddp_lines_open(&x, a->path, "metrics.jsonl", NULL);
    ddp_lines_open(&y, b->path, "metrics.jsonl", NULL);
    for (;;) {
        skip_others(&x);
        skip_others(&y);
        if (!meet(&x, &y) || (v->first_step >= 0 && x.step > v->first_step))
            break;
        const bool eval = strcmp(type_of(x.now), "eval") == 0;
        if (strcmp(type_of(x.now), type_of(y.now)) !=
            0) { /* only one has evaluated here: its record is the second */
            ddp_lines_next(eval ? &x : &y);
            continue;
        }
        const char *part = first_number(x.now, y.now);
        const bool earlier = v->first_step < 0 || x.step < v->first_step;
        if (part && eval && eval_step < 0)
            eval_step = x.step;
        if (part && !eval && (earlier || strcmp(part, "lr") == 0 || strcmp(part, "samples") == 0)) {
            v->first_step = x.step;
            snprintf(v->part, sizeof v->part, "%s", part);
            break;
        }
        if (!part && x.step > v->equal_step && (v->first_step < 0 || x.step < v->first_step))
            v->equal_step = x.step;
        v->records += !part;
        ddp_lines_next(&x);
        ddp_lines_next(&y);
    }
    if (eval_step >= 0 && (v->first_step < 0 || eval_step < v->first_step)) {
        v->first_step = eval_step;
        snprintf(v->part, sizeof v->part, "evaluation");
    }
    note_file(v, &x);
    note_file(v, &y);
    ddp_lines_close(&x);
    ddp_lines_close(&y);
}

/* ---- the end --------------------------------------------------------------------------------- */

static void compare_ends(const struct ddp_past *a, const struct ddp_past *b, struct ddp_verdict *v)
{
    const char *x = ddp_past_text(a, "weights_hash"), *y = ddp_past_text(b, "weights_hash");
    const int64_t steps[2] = {ddp_past_steps(a), ddp_past_steps(b)};
    if (v->first_step >= 0) {
        v->kind = DDP_VERDICT_DIFFERENT;
    } else if (*x && *y && steps[0] == steps[1] && strcmp(x, y) != 0) {
        v->kind = DDP_VERDICT_DIFFERENT;
        v->first_step = steps[0];
        snprintf(v->part, sizeof v->part, "weights");
    } else if (*x && *y && steps[0] == steps[1]) {
        v->kind = DDP_VERDICT_EQUAL;
        v->equal_step = steps[0];
    } else {
        v->kind = v->equal_step >= 0 ? DDP_VERDICT_SO_FAR : DDP_VERDICT_UNKNOWN;
        for (int i = 0; i < 2; i++) {
            const struct ddp_past *p = i ? b : a;
            if (steps[i] < steps[1 - i] || !*(i ? y : x))
                note(v, "%s is %s, after step %lld", p->path, ddp_past_state_name(p->state),
                     (long long)steps[i]);
        }
    }
}

void ddp_verdict_reach(const struct ddp_past *a, const struct ddp_past *b, struct ddp_verdict *out)
{
    struct ddp_verdict v = {.first_step = -1, .equal_step = -1, .tensors_step = -1};
    follow_trail(a, b, &v);
    follow_metrics(a, b, &v);
    compare_ends(a, b, &v);
    if (v.kind == DDP_VERDICT_DIFFERENT) {
        struct ddp_differences d;
        ddp_differ(a, b, &d);
        ddp_causes_find(&d, &v);
        ddp_differences_finish(&d);
    }
    *out = v;
}

void ddp_verdict_finish(struct ddp_verdict *v)
{
    for (int i = 0; i < v->ntensors; i++)
        free(v->tensor[i]);
    free(v->tensor);
    for (int i = 0; i < v->ncauses; i++) {
        free(v->cause[i].text);
        free(v->cause[i].key);
        free(v->cause[i].a);
        free(v->cause[i].b);
    }
    free(v->cause);
    *v = (struct ddp_verdict){0};
}
