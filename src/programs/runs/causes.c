/* Why two runs parted: what differs in their records, ranked by how well it explains where they did. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "verdict.h"

/* How much a difference counts by itself. */
static const int weights[] = {
    [DDP_WEIGHT_BITS] = 100, [DDP_WEIGHT_DOUBT] = 50, [DDP_WEIGHT_EVAL] = 10,
    [DDP_WEIGHT_END] = 0,    [DDP_WEIGHT_NONE] = 0,   [DDP_WEIGHT_RESULT] = 0,
};

/* Which differences show first in which part. A part is a prefix; so is a key. */
static const struct {
    const char *part, *key;
    int bonus;
} shows[] = {
    {"lr", "optim.lr", 40},
    {"lr", "optim.schedule", 45},
    {"lr", "optim.warmup", 40},
    {"lr", "optim.milestones", 40},
    {"lr", "optim.gamma", 40},
    {"lr", "optim.final_lr", 40},
    {"lr", "optim.power", 40},
    {"lr", "optim.pct_start", 40},
    {"lr", "optim.div_factor", 40},
    {"lr", "optim.final_div_factor", 40},
    {"lr", "train.epochs", 30},
    {"lr", "train.batch", 20},
    {"samples", "seed", 20},
    {"samples", "data.", 40},
    {"samples", "train.batch", 45},
    {"samples", "training data", 30},
    {"random", "seed", 50},
    {"parameters", "init.", 25},
    {"parameters", "seed", 22},
    {"parameters", "model.", 21},
    {"loss", "data.", 20},
    {"loss", "training data", 25},
    {"loss", "init.", 25},
    {"loss", "model.", 20},
    {"loss", "seed", 20},
    {"gradient", "data.", 20},
    {"gradient", "model.", 20},
    {"gradient", "training data", 20},
    {"gradient", "train.", 20},
    {"gradient", "reduce.", 25},
    {"optimizer", "optim.", 30},
    {"parameters", "optim.", 20},
    {"evaluation", "held-out data", 100},
    {"evaluation", "data.test_count", 95},
    {"evaluation", "data.limit_test", 95},
    {"evaluation", "optim.ema", 95},
    {"evaluation", "eval.", 90},
};

/* What follows from another entry of the list, and is named only where that is not there. */
static const struct {
    const char *key, *from;
} follows[] = {
    {"training data", "data."},
    {"held-out data", "data."},
    {"input_scaling", "data."},
    {"input_scaling", "training data"},
    {"target_scaling", "data."},
    {"target_scaling", "training data"},
    {"init.sha256", "init.from"},
    {"code.binary_sha256", "code.version"},
    {"code.binary_sha256", "code.diff_sha256"},
    {"code.binary_sha256", "code.compiler"},
};

static bool begins(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool is_explained(const struct ddp_differences *d, const char *key)
{
    for (size_t k = 0; k < DDP_COUNT(follows); k++)
        for (int i = 0; begins(key, follows[k].key) && i < d->n; i++)
            if (begins(d->item[i].key, follows[k].from) && d->item[i].weight <= DDP_WEIGHT_EVAL)
                return true;
    return false;
}

static int score(const struct ddp_differences *d, const struct ddp_difference *x, const struct ddp_verdict *v)
{
    int s = weights[x->weight];
    if (s == 0)
        return 0;
    for (size_t i = 0; i < DDP_COUNT(shows); i++)
        if (begins(v->part, shows[i].part) && begins(x->key, shows[i].key)) {
            s += shows[i].bonus;
            break;
        }
    return is_explained(d, x->key) ? s / 2 : s;
}

static void add(struct ddp_verdict *v, struct ddp_cause cause)
{
    v->cause = ddp_realloc(v->cause, (size_t)(v->ncauses + 1) * sizeof *v->cause);
    v->cause[v->ncauses++] = cause;
}

/* The start of a long text, with "..". */
static void shorten(const char *s, char out[64])
{
    snprintf(out, 64, "%s", s);
    if (strlen(s) > 50)
        strcpy(out + 47, "..");
}

static void add_difference(struct ddp_verdict *v, const struct ddp_difference *x, int points)
{
    char a[64], b[64];
    struct ddp_text t;
    shorten(x->a, a);
    shorten(x->b, b);
    ddp_text_init(&t);
    if (strcmp(x->a, x->b) == 0) /* reduce.mode = fast, where the ranks differ */
        ddp_text_add(&t, "%s = %s: its sums depend on how many ranks there are, and where", x->key, a);
    else
        ddp_text_add(&t, "%s: %s / %s", x->key, a, b);
    add(v, (struct ddp_cause){.text = t.s,
                              .key = ddp_strdup(x->key),
                              .a = ddp_strdup(x->a),
                              .b = ddp_strdup(x->b),
                              .weight = (int)x->weight,
                              .score = points,
                              .likely = points >= 80});
}

static int by_score(const void *x, const void *y)
{
    const struct ddp_cause *a = x, *b = y;
    return a->score != b->score ? (a->score > b->score ? -1 : 1) : strcmp(a->key, b->key);
}

/* Nothing that the records hold explains it. */
static void add_unrecorded(const struct ddp_differences *d, struct ddp_verdict *v)
{
    struct ddp_text t;
    int shown = 0;
    ddp_text_init(&t);
    ddp_text_add(
        &t,
        "nothing that the records hold explains it: a fault of memory or of a processor, code of one's own "
        "(an op, a data set, a hook), edited files, or a bug of ddp; run both again, the bits that come "
        "back are right");
    for (int i = 0; i < d->n; i++)
        if (d->item[i].weight == DDP_WEIGHT_NONE && d->item[i].section != DDP_SECTION_CONFIG && shown < 6 &&
            strcmp(d->item[i].key, "command") != 0)
            ddp_text_add(&t, "%s%s",
                         shown++ ? ", " : " (these differ, and must not matter: ", d->item[i].key);
    ddp_text_add(&t, "%s", shown ? ")" : "");
    add(v, (struct ddp_cause){.text = t.s, .key = ddp_strdup(""), .weight = DDP_WEIGHT_NONE, .likely = true});
}

void ddp_causes_find(const struct ddp_differences *d, struct ddp_verdict *v)
{
    for (int i = 0; i < d->n; i++) {
        const int points = score(d, &d->item[i], v);
        if (points >= 25)
            add_difference(v, &d->item[i], points);
    }
    if (v->ncauses > 1)
        qsort(v->cause, (size_t)v->ncauses, sizeof *v->cause, by_score);
    if (v->ncauses == 0)
        add_unrecorded(d, v);
}
