/* Comparing a checkpoint with what is asked for now. */
#include "train/leg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/trainer.h"

/* ---- what differs ---------------------------------------------------------------------------- */

static void note_change(void *user, const char *key, const char *from, const char *to)
{
    struct ddp_leg *leg = user;
    if (strcmp(key, "run.dir") == 0 || strcmp(key, "run.name") == 0)
        return; /* where it lies */
    leg->change = ddp_realloc(leg->change, (size_t)(leg->nchanges + 1) * sizeof *leg->change);
    leg->change[leg->nchanges++] = (struct ddp_key_change){.key = ddp_arena_strdup(leg->arena, key),
                                                           .from = ddp_arena_strdup(leg->arena, from),
                                                           .to = ddp_arena_strdup(leg->arena, to)};
}

static void forget_changes(struct ddp_leg *leg)
{
    free(leg->change);
    leg->change = NULL;
    leg->nchanges = 0;
}

/* Notes the keys by which `path` differs from the config at hand. False: it cannot be read. */
static bool compare_keys(const struct ddp_trainer *t, const char *path, bool experiment, struct ddp_leg *leg)
{
    struct ddp_config *there;
    const struct ddp_config_options opt = {.path = path};
    forget_changes(leg);
    if (!ddp_path_exists(path) || ddp_config_load(&opt, &there, NULL) != 0)
        return false;
    ddp_config_differ(there, t->cfg, experiment, note_change, leg);
    ddp_config_destroy(there);
    return true;
}

/* "optim.lr (0.1 -> 0.02)"; long values are left out. */
static void name_changes(const struct ddp_leg *leg, struct ddp_text *why)
{
    for (int i = 0; i < leg->nchanges; i++) {
        const struct ddp_key_change *c = &leg->change[i];
        ddp_text_add(why, "%s%s", why->len ? ", " : "", c->key);
        if (strlen(c->from) + strlen(c->to) < 60)
            ddp_text_add(why, " (%s -> %s)", c->from, c->to);
    }
}

static void add_reason(struct ddp_text *why, bool differs, const char *what)
{
    if (differs)
        ddp_text_add(why, "%s%s", why->len ? ", " : "", what);
}

static bool other(const char *there, const char *here)
{
    return *there && strcmp(there, here) != 0; /* "": the checkpoint does not say */
}

/* All by which this would be another experiment, in words; "": it is the same. */
static void compare(const struct ddp_trainer *t, struct ddp_leg *leg, struct ddp_text *why)
{
    const struct ddp_train_state *s = &t->state;
    char path[1100], experiment[65];
    snprintf(path, sizeof path, "%s/config.cfg", t->resumed_from);
    if (!ddp_path_exists(path))
        snprintf(path, sizeof path, "%s/config.cfg", leg->run); /* of a format without configs */
    ddp_config_experiment(t->cfg, experiment);
    if (compare_keys(t, path, true, leg))
        name_changes(leg, why);
    else
        add_reason(why, other(s->experiment, experiment),
                   "keys that affect results (its config cannot be read)");
    leg->other_test = other(s->test_data, t->data[1].sha256);
    add_reason(why, other(s->train_data, t->data[0].sha256), "the training data");
    add_reason(why, leg->other_test, "the held-out data");
    add_reason(why, *s->experiment && strcmp(s->engine, t->engine->identity) != 0,
               "what computes it, or by which algorithms");
}

/* ---- deciding -------------------------------------------------------------------------------- */

/* DIR/checkpoints/step-N lies in the run DIR, step-N moved anywhere else in none. */
static void find_run(const char *checkpoint, char run[1024])
{
    snprintf(run, 1024, "%s", checkpoint);
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(run, '/');
        if (slash)
            *slash = '\0';
        if (!slash ||
            (i == 0 && strcmp(strrchr(run, '/') ? strrchr(run, '/') + 1 : run, "checkpoints") != 0)) {
            *run = '\0';
            return;
        }
    }
}

/* Whether the run holds checkpoints of later steps than the one at hand. */
static bool goes_back(const struct ddp_trainer *t, const struct ddp_leg *leg)
{
    struct ddp_train_state newest;
    return ddp_checkpoint_newest(leg->run, &newest, NULL) == 0 && newest.step > t->state.step;
}

static int refuse(const struct ddp_trainer *t, const struct ddp_leg *leg, const char *why,
                  struct ddp_error *err)
{
    return ddp_fail(
        err, DDP_E_USAGE,
        "--resume %s: it has made all of its %lld steps, so other values change nothing any more: %s. "
        "Raise train.epochs or train.max_steps, or go on from an earlier checkpoint of it",
        *leg->run ? leg->run : t->resumed_from, (long long)t->state.step, why);
}

int ddp_leg_decide(struct ddp_trainer *t, bool nothing_left, struct ddp_leg *leg, struct ddp_error *err)
{
    *leg = (struct ddp_leg){.kind = DDP_LEG_NEW, .arena = ddp_arena_create()};
    if (!*t->resumed_from)
        return 0;
    find_run(t->resumed_from, leg->run);
    struct ddp_text why;
    ddp_text_init(&why);
    compare(t, leg, &why);
    int status = 0;
    const bool differs = why.len > 0;
    char was[32] = "";
    if (*leg->run)
        ddp_run_status(leg->run, was, sizeof was);
    const bool done = strcmp(was, "done") == 0;
    if (!*leg->run)
        add_reason(&why, true, "the checkpoint lies in no run directory");
    else if (done && !differs && !nothing_left && goes_back(t, leg))
        add_reason(&why, true, "that run is finished, and its files stay as they are");
    leg->kind = why.len > 0 ? DDP_LEG_FORK : DDP_LEG_APPEND;
    if (nothing_left && differs && *leg->run)
        status = refuse(t, leg, why.s, err);
    else if (nothing_left && done)
        leg->kind = DDP_LEG_OVER;
    snprintf(leg->why, sizeof leg->why, "%.*s", (int)sizeof leg->why - 1, why.s);
    ddp_text_finish(&why);
    if (status == 0 && leg->kind == DDP_LEG_APPEND) {
        char path[1100];
        snprintf(path, sizeof path, "%s/config.cfg", leg->run);
        compare_keys(t, path, false, leg);
    }
    return status;
}

void ddp_leg_finish(struct ddp_leg *leg)
{
    forget_changes(leg);
    ddp_arena_destroy(leg->arena);
    leg->arena = NULL;
}
