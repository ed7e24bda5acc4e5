/* Overrides from the command line:
 *
 *   optim.lr=0.1  --optim.lr=0.1     a key of the table, or one that the config has
 *   +model.layers[2].bias=false      a new key, where the table leaves keys to others (inside model.layers)
 *   ~optim.lr                        back to the table's default; in lists: removed
 *   model=resnet18                   another file for a group: what the config gave inline for it goes too
 *   optim.base=adamw                 another file under what the config gives inline
 */
#include "config/parts.h"

#include <stdio.h>
#include <string.h>

static void fault(struct ddp_config *cfg, struct ddp_error *err, const struct ddp_override *o,
                  const char *text, const char *more)
{
    if (o->key)
        ddp_config_refuse(cfg, o->key);
    ddp_error_add(err, DDP_E_CONFIG, DDP_COMMAND_LINE ": %.200s: %s%s", o->raw, text, more);
}

static bool path_valid(const char *key)
{
    struct ddp_path_part part;
    int more, n = 0;
    while ((more = ddp_path_next(&key, &part)) == 1) {
        bool digits = part.name && strspn(part.name, "0123456789") >= (size_t)part.len;
        if (part.name && !digits && !ddp_name_valid(part.name, part.len))
            return false;
        if ((n++ == 0 && (!part.name || digits)) || n > DDP_CONFIG_MAX_DEPTH)
            return false;
    }
    return more == 0 && n > 0;
}

void ddp_overrides_parse(struct ddp_config *cfg, const struct ddp_config_options *opt,
                         struct ddp_override **out, int *n, struct ddp_error *err)
{
    struct ddp_arena *a = cfg->arena;
    *out = ddp_arena_alloc(a, (size_t)(opt->noverrides + 1) * sizeof **out);
    *n = 0;
    for (int i = 0; i < opt->noverrides; i++) {
        const char *raw = opt->overrides[i];
        struct ddp_override o = {.op = '=', .raw = ddp_arena_strdup(a, raw)};
        if (strncmp(raw, "--", 2) == 0)
            raw += 2;
        if (*raw == '+' || *raw == '~')
            o.op = *raw++;
        char *key = ddp_arena_strdup(a, raw);
        char *equals = strchr(key, '=');
        if (equals)
            *equals = '\0';
        o.key = key;
        o.value = equals ? equals + 1 : NULL;
        if (!ddp_utf8_valid(raw, strlen(raw)))
            fault(cfg, err, &o, "is not UTF-8", "");
        else if (o.op == '~' && equals)
            fault(cfg, err, &o, "~KEY goes back to the default and takes no value", "");
        else if (o.op != '~' && !equals)
            fault(cfg, err, &o, "an override is KEY=VALUE, +KEY=VALUE or ~KEY", "");
        else if (!path_valid(key))
            fault(cfg, err, &o, "its key is not a path like optim.lr or model.layers[0].out", "");
        else
            (*out)[(*n)++] = o;
    }
}

/* "model" for the keys model and model.base; NULL for all others. */
static const struct ddp_config_group *chosen_group(const char *key)
{
    for (const struct ddp_config_group *g = ddp_config_groups; g->name; g++) {
        size_t n = strlen(g->name);
        if (g->file && strncmp(key, g->name, n) == 0 && (key[n] == '\0' || strcmp(key + n, ".base") == 0))
            return g;
    }
    return NULL;
}

static struct ddp_node *text_node(struct ddp_arena *a, const char *name, const char *text)
{
    struct ddp_node *node = ddp_node_create(a, DDP_NODE_STRING, name, DDP_COMMAND_LINE, 0);
    node->s = text;
    return node;
}

/* The right-hand side, by the type that the key wants. NULL: fault added. */
static struct ddp_node *value(struct ddp_config *cfg, const struct ddp_override *o, const char *name,
                              bool scalar_text, bool text, struct ddp_error *err)
{
    const char *s = o->value + strspn(o->value, " \t");
    const char *why = "";
    if (scalar_text && *s != '"' && *s != '\'')
        return text_node(cfg->arena, name, o->value);
    struct ddp_node *node = ddp_value_parse(cfg->arena, s, text || scalar_text, name, DDP_COMMAND_LINE, &why);
    if (!node)
        fault(cfg, err, o, why, "");
    return node;
}

static void choose(struct ddp_config *cfg, struct ddp_node *root, const struct ddp_override *o,
                   const struct ddp_config_group *g, struct ddp_error *err)
{
    struct ddp_node *old = ddp_node_child(root, g->name);
    bool base = o->key[strlen(g->name)] == '.';
    if (o->op == '+') {
        fault(cfg, err, o, "is a known key; write it without +", "");
        return;
    }
    if (o->op == '~') {
        struct ddp_node *gone = base && old && old->type == DDP_NODE_GROUP ? ddp_node_child(old, "base")
                                : base                                     ? NULL
                                                                           : old;
        if (gone)
            ddp_node_remove(gone);
        return;
    }
    bool inline_group = !base && o->value[strspn(o->value, " \t")] == '{';
    struct ddp_node *node = value(cfg, o, g->name, !inline_group, false, err);
    if (!node)
        return;
    if (base && old && old->type == DDP_NODE_GROUP) {
        node->name = "base";
        ddp_node_set(old, node);
    } else {
        ddp_node_set(root, node);
    }
}

void ddp_overrides_choose(struct ddp_config *cfg, const struct ddp_override *ov, int n, struct ddp_error *err)
{
    struct ddp_node *root = cfg->tree;
    for (int i = 0; i < n; i++) {
        const struct ddp_config_group *g = chosen_group(ov[i].key);
        if (g)
            choose(cfg, root, &ov[i], g, err);
    }
}

/* ---- keys of the table ----------------------------------------------------------------------- */

/* Set a key of the table; its groups are made on the way. */
static void set_known(struct ddp_config *cfg, struct ddp_node *root, const struct ddp_override *o,
                      const struct ddp_key *key, struct ddp_error *err)
{
    struct ddp_node *at = root;
    const char *path = ddp_arena_strdup(cfg->arena, o->key);
    for (char *dot; (dot = strchr(path, '.')); path = dot + 1) {
        *dot = '\0';
        struct ddp_node *next = ddp_node_child(at, path);
        if (!next || next->type != DDP_NODE_GROUP) {
            if (o->op == '~')
                return;
            next = ddp_node_create(cfg->arena, DDP_NODE_GROUP, path, DDP_COMMAND_LINE, 0);
            ddp_node_set(at, next);
        }
        at = next;
    }
    struct ddp_node *old = ddp_node_child(at, path);
    if (o->op == '~') {
        if (old)
            ddp_node_remove(old);
        return;
    }
    bool scalar_text = key && (key->type == DDP_KEY_STRING || key->type == DDP_KEY_CHOICE);
    struct ddp_node *node = value(cfg, o, path, scalar_text, key && key->type == DDP_KEY_STRING_LIST, err);
    if (!node)
        return;
    if (!key && node->type != DDP_NODE_GROUP)
        fault(cfg, err, o, "is a group: override one of its keys, or give {key = value, ..}", "");
    else if (!key && old && old->type == DDP_NODE_GROUP)
        ddp_node_merge(old, node);
    else
        ddp_node_set(at, node);
}

/* ---- keys inside a list or group that its module reads itself -------------------------------- */

/* "; there is: conv1, conv2" for a path that leads nowhere. */
static char *children_text(const struct ddp_node *at, char buf[DDP_WHERE_SIZE])
{
    struct ddp_text t;
    ddp_text_init(&t);
    int i = 0;
    for (const struct ddp_node *c = at->first; c && t.len < 300; c = c->next, i++) {
        const struct ddp_node *own = c->type == DDP_NODE_GROUP ? ddp_node_child(c, "name") : NULL;
        if (c->name)
            ddp_text_add(&t, "%s%s", t.len ? ", " : "", c->name);
        else if (own && own->type == DDP_NODE_STRING)
            ddp_text_add(&t, "%s%s", t.len ? ", " : "", own->s);
        else
            ddp_text_add(&t, "%s[%d]", t.len ? ", " : "", i);
    }
    snprintf(buf, DDP_WHERE_SIZE, "; there is: %s", t.len ? t.s : "nothing");
    ddp_text_finish(&t);
    return buf;
}

/* Whether what replaces a text is one, too: a number in place of a word ("classes") is a number, but names
 * stay names. */
static bool stays_text(const struct ddp_node *old, const char *value)
{
    int64_t i;
    double f;
    static const char *const names[] = {"name", "type", "input"};
    if (!old || old->type != DDP_NODE_STRING)
        return false;
    for (size_t k = 0; k < DDP_COUNT(names); k++)
        if (old->name && strcmp(old->name, names[k]) == 0)
            return true;
    return !ddp_parse_int(value, &i) && !ddp_parse_double(value, &f);
}

static void set_inside(struct ddp_config *cfg, struct ddp_node *root, const struct ddp_override *o,
                       const struct ddp_key *outer, struct ddp_error *err)
{
    if (err->code && !ddp_node_get(root, outer->name))
        return; /* its group could not be read, which is said already */
    char text[DDP_WHERE_SIZE], part_text[128];
    const char *path = o->key;
    struct ddp_path_part part = {0};
    struct ddp_node *at = root, *next = root;
    do {
        at = next;
        next = ddp_node_walk(at, &path, &part);
    } while (next && *path);
    if (part.name)
        snprintf(part_text, sizeof part_text, "%.*s", part.len, part.name);
    else
        snprintf(part_text, sizeof part_text, "[%d]", (int)part.index);
    if (!next && (*path || o->op != '+')) {
        char message[192];
        const char *cure = *path || o->op == '~' || at->type != DDP_NODE_GROUP ? "" : " (+ in front adds it)";
        snprintf(message, sizeof message, "there is no %s here%s", part_text, cure);
        fault(cfg, err, o, message, children_text(at, text));
    } else if (next && o->op == '+') {
        fault(cfg, err, o, "is there already; write it without +", "");
    } else if (!next && (at->type != DDP_NODE_GROUP || !part.name)) {
        fault(cfg, err, o, "only a key of a group can be added", "");
    } else if (o->op == '~') {
        ddp_node_remove(next);
    } else {
        const char *name = next ? next->name : ddp_arena_strdup(cfg->arena, part_text);
        struct ddp_node *node = value(cfg, o, name, stays_text(next, o->value), false, err);
        if (!node)
            return;
        if (!next) {
            ddp_node_add(at, node);
            return;
        }
        /* in its place, by content: elements of lists have no name to find them by */
        struct ddp_node *after = next->next;
        *next = *node;
        next->parent = at;
        next->next = after;
        for (struct ddp_node *c = next->first; c; c = c->next)
            c->parent = next;
    }
}

/* The NODE key of the table that a path leads into ("model.layers" for model.layers[2].out), or NULL. */
static const struct ddp_key *leads_into(const char *path)
{
    for (const struct ddp_key *k = ddp_config_keys; k->name; k++) {
        size_t n = strlen(k->name);
        if (k->type == DDP_KEY_NODE && strncmp(path, k->name, n) == 0 && (path[n] == '.' || path[n] == '['))
            return k;
    }
    return NULL;
}

void ddp_overrides_apply(struct ddp_config *cfg, const struct ddp_override *ov, int n, struct ddp_error *err)
{
    struct ddp_node *root = cfg->tree;
    for (int i = 0; i < n; i++) {
        const struct ddp_override *o = &ov[i];
        const struct ddp_key *key = ddp_key_find(ddp_config_keys, o->key);
        if (chosen_group(o->key))
            continue;
        if (key || ddp_key_is_group(ddp_config_keys, o->key)) {
            if (o->op == '+')
                fault(cfg, err, o, "is a known key; write it without +", "");
            else
                set_known(cfg, root, o, key, err);
        } else if (leads_into(o->key)) {
            set_inside(cfg, root, o, leads_into(o->key), err);
        } else {
            char near[DDP_WHERE_SIZE], prefix[256];
            const char *dot = strrchr(o->key, '.');
            snprintf(prefix, sizeof prefix, "%.*s", dot ? (int)(dot - o->key) + 1 : 0, o->key);
            fault(cfg, err, o, "unknown key",
                  ddp_suggest_key(ddp_config_keys, NULL, prefix, dot ? dot + 1 : o->key, near));
        }
    }
}
