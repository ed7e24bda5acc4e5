/* The nearest name to one that does not exist. */
#include "config/parts.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Near enough to be a slip of the fingers: one edit in short names, a third of the letters in long ones. */
static bool near_enough(int distance, const char *given, const char *name)
{
    size_t a = strlen(given), b = strlen(name);
    size_t shorter = a < b ? a : b;
    return distance <= 1 + (int)(shorter / 4) && (size_t)distance < shorter;
}

const char *ddp_suggest(const char *given, const char *const *names, int n)
{
    const char *best = NULL;
    int best_distance = 0;
    for (int i = 0; i < n; i++) {
        int d = ddp_edit_distance(given, names[i]);
        if (near_enough(d, given, names[i]) && (!best || d < best_distance)) {
            best = names[i];
            best_distance = d;
        }
    }
    if (best)
        return best;
    /* "momentun_decay" for "decay" is far in edits, but one of them holds the other whole */
    for (int i = 0; i < n; i++) {
        size_t a = strlen(given), b = strlen(names[i]);
        if (a >= 3 && b >= 3 && (strstr(names[i], given) || strstr(given, names[i])))
            return names[i];
    }
    return NULL;
}

static const char *last_part(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

/* List the keys that stand directly under a prefix, as far as the buffer goes. */
static void list_known(const struct ddp_key *keys, const char *const *common, const char *prefix, char *buf,
                       size_t size)
{
    struct ddp_text t;
    ddp_text_init(&t);
    char group[128];
    snprintf(group, sizeof group, "%.*s", (int)(strlen(prefix) - (prefix[0] != 0)), prefix);
    if (!ddp_key_is_group(keys, group))
        prefix = ""; /* no such group: what there is at the top */
    size_t skip = strlen(prefix);
    char last[128] = "";
    for (const struct ddp_key *k = keys; k->name; k++) {
        if (strncmp(k->name, prefix, skip) != 0)
            continue;
        char part[128];
        snprintf(part, sizeof part, "%.*s", (int)strcspn(k->name + skip, "."), k->name + skip);
        if (strcmp(part, last) == 0)
            continue; /* the next key of a group already named */
        ddp_text_add(&t, "%s%s", t.len ? ", " : "", part);
        snprintf(last, sizeof last, "%s", part);
    }
    for (; common && *common && skip == 0; common++)
        ddp_text_add(&t, "%s%s", t.len ? ", " : "", *common);
    snprintf(buf, size, "; known here: %.400s", t.len ? t.s : "nothing");
    ddp_text_finish(&t);
}

/* What other frameworks, and people in a hurry, call our keys. */
static const struct {
    const char *theirs, *ours;
} aliases[] = {
    {"wd", "optim.weight_decay"},
    {"decay", "optim.weight_decay"},
    {"l2", "optim.weight_decay"},
    {"learning_rate", "optim.lr"},
    {"base_lr", "optim.lr"},
    {"optimizer", "optim.type"},
    {"betas", "optim.beta1"},
    {"epsilon", "optim.eps"},
    {"scheduler", "optim.schedule"},
    {"lr_schedule", "optim.schedule"},
    {"lr_scheduler", "optim.schedule"},
    {"warmup", "optim.warmup_steps"},
    {"grad_clip", "optim.clip_norm"},
    {"clip_grad", "optim.clip_norm"},
    {"clip_grad_norm", "optim.clip_norm"},
    {"max_norm", "optim.clip_norm"},
    {"max_grad_norm", "optim.clip_norm"},
    {"bs", "train.batch"},
    {"batch_size", "train.batch"},
    {"global_batch_size", "train.batch"},
    {"grad_accum", "train.accumulate"},
    {"gradient_accumulation_steps", "train.accumulate"},
    {"num_epochs", "train.epochs"},
    {"max_epochs", "train.epochs"},
    {"n_epochs", "train.epochs"},
    {"iterations", "train.max_steps"},
    {"max_iters", "train.max_steps"},
    {"num_threads", "train.threads"},
    {"patience", "train.early_stop"},
    {"dtype", "train.precision"},
    {"amp", "train.precision"},
    {"num_workers", "data.workers"},
    {"dataset", "data.format"},
    {"data_dir", "data.root"},
    {"data_path", "data.path"},
    {"output_dir", "run.dir"},
    {"save_every", "checkpoint.every_steps"},
    {"pretrained", "init.from"},
    {"weights", "init.from"},
    {"log_level", "log.level"},
};

const char *ddp_config_alias(const char *name)
{
    for (size_t i = 0; i < DDP_COUNT(aliases); i++)
        if (strcasecmp(name, aliases[i].theirs) == 0)
            return aliases[i].ours;
    return NULL;
}

char *ddp_suggest_key(const struct ddp_key *keys, const char *const *common, const char *prefix,
                      const char *name, char buf[DDP_WHERE_SIZE])
{
    enum { MAX = 256 };
    const char *names[MAX];
    int n = 0;
    char full[256];
    size_t skip = strlen(prefix);
    const char *alias = keys == ddp_config_keys ? ddp_config_alias(last_part(name)) : NULL;
    if (alias) {
        snprintf(buf, DDP_WHERE_SIZE, "; did you mean '%s'?", alias);
        return buf;
    }
    /* the groups and keys beside it, by their own name */
    static const char *const none[] = {NULL};
    for (const char *const *c = common ? common : none; skip == 0 && *c && n < MAX; c++)
        names[n++] = *c;
    for (const struct ddp_key *k = keys; k->name && n < MAX; k++)
        if (strncmp(k->name, prefix, skip) == 0 && !strchr(k->name + skip, '.'))
            names[n++] = k->name + skip;
    if (keys == ddp_config_keys && skip == 0)
        for (const struct ddp_config_group *g = ddp_config_groups; g->name && n < MAX; g++)
            if (g->name[0])
                names[n++] = g->name;
    const char *best = ddp_suggest(name, names, n);
    if (best) {
        snprintf(buf, DDP_WHERE_SIZE, "; did you mean '%s%s'?", prefix, best);
        return buf;
    }
    /* a slip in the group's name, or the right key in the wrong group */
    n = 0;
    for (const struct ddp_key *k = keys; k->name && n < MAX; k++)
        names[n++] = k->name;
    snprintf(full, sizeof full, "%s%s", prefix, name);
    best = skip > 0 || strchr(name, '.') ? ddp_suggest(full, names, n) : NULL;
    int len = 0;
    for (int i = 0; i < n && !best && len < DDP_WHERE_SIZE / 2; i++)
        if (strcmp(last_part(names[i]), last_part(name)) == 0)
            len += snprintf(buf + len, (size_t)(DDP_WHERE_SIZE - len), "%s'%s'",
                            len ? " or " : "; did you mean ", names[i]);
    if (len)
        snprintf(buf + len, (size_t)(DDP_WHERE_SIZE - len), "?");
    else if (best)
        snprintf(buf, DDP_WHERE_SIZE, "; did you mean '%s'?", best);
    else
        list_known(keys, common, prefix, buf, DDP_WHERE_SIZE);
    return buf;
}
