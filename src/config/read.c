/* A group through its key table into a struct: strict types, every fault found, each with its place and the
 * way out. */
#include "config/parts.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

struct reader {
    struct ddp_config *cfg;
    struct ddp_arena *arena;
    const struct ddp_key *keys;
    const char *const *common;
    char *conf;
    struct ddp_error *err;
    bool *seen; /* [keys] */
};

/* ---- what a key accepts, in words ------------------------------------------------------------ */

static bool has_range(const struct ddp_key *key)
{
    return key->min != 0 || key->max != 0;
}

static void number_text(double v, bool integer, char buf[32])
{
    if (integer && v >= 9223372036854775807.0)
        snprintf(buf, 32, "%" PRId64, INT64_MAX);
    else if (integer || (v == floor(v) && fabs(v) < 1e9))
        snprintf(buf, 32, "%.0f", v);
    else
        ddp_double_text(v, buf);
}

char *ddp_key_allowed(const struct ddp_key *key, char buf[DDP_WHERE_SIZE])
{
    static const char *const what[] = {
        [DDP_KEY_INT] = "an integer",
        [DDP_KEY_FLOAT] = "a number",
        [DDP_KEY_BOOL] = "true or false",
        [DDP_KEY_STRING] = "a text in quotes",
        [DDP_KEY_CHOICE] = "a text",
        [DDP_KEY_FLOAT_LIST] = "a list [a, b, ..] of numbers",
        [DDP_KEY_STRING_LIST] = "a list [\"a\", \"b\", ..] of texts",
        [DDP_KEY_NODE] = "a list ( {..}, .. ) of groups",
    };
    char low[32], high[32], choice[DDP_WHERE_SIZE];
    bool integer = key->type == DDP_KEY_INT;
    number_text(key->min, integer, low);
    number_text(key->max, integer, high);
    if (integer && key->choices) {
        snprintf(buf, DDP_WHERE_SIZE, "%s from %s to %s%s%s, or \"%s\"", what[key->type], low, high,
                 key->unit ? " " : "", key->unit ? key->unit : "", ddp_choice_at(key->choices, 0, choice));
        return buf;
    }
    if (key->choices) {
        int n = ddp_choice_count(key->choices), len = snprintf(buf, DDP_WHERE_SIZE, "one of ");
        for (int i = 0; i < n && len < DDP_WHERE_SIZE; i++)
            len += snprintf(buf + len, (size_t)(DDP_WHERE_SIZE - len), "%s\"%s\"", i ? ", " : "",
                            ddp_choice_at(key->choices, i, choice));
        return buf;
    }
    if (has_range(key))
        snprintf(buf, DDP_WHERE_SIZE, "%s from %s to %s%s%s", what[key->type], low, high,
                 key->unit ? " " : "", key->unit ? key->unit : "");
    else
        snprintf(buf, DDP_WHERE_SIZE, "%s%s%s", what[key->type], key->unit ? ", in " : "",
                 key->unit ? key->unit : "");
    return buf;
}

/* ---- one value ------------------------------------------------------------------------------- */

static void refuse(struct reader *r, const struct ddp_node *node, const struct ddp_key *key, const char *hint)
{
    char where[DDP_WHERE_SIZE], given[DDP_WHERE_SIZE], allowed[DDP_WHERE_SIZE], path[DDP_WHERE_SIZE];
    if (ddp_error_is_full(r->err))
        return;
    ddp_config_refuse(r->cfg, ddp_node_path(node, path, sizeof path));
    ddp_error_add(r->err, DDP_E_CONFIG, "%s: %s: wants %s, got %s%s", ddp_node_where(node, where), path,
                  ddp_key_allowed(key, allowed), ddp_node_given(node, given), hint);
}

/* A word on how a value of the wrong type became one. */
static const char *type_hint(const struct ddp_node *node, const struct ddp_key *key)
{
    int64_t i;
    double f;
    bool number = key->type == DDP_KEY_INT || key->type == DDP_KEY_FLOAT || key->type == DDP_KEY_FLOAT_LIST;
    if (node->type == DDP_NODE_STRING && number && ddp_parse_int(node->s, &i))
        return "; write it without quotes";
    if (node->type == DDP_NODE_STRING && number && ddp_parse_double(node->s, &f))
        return isfinite(f) ? "; write it without quotes" : "; nothing can be computed with that";
    if (node->type == DDP_NODE_STRING && key->type == DDP_KEY_BOOL)
        return "; write true or false without quotes";
    if (node->type == DDP_NODE_INT && key->type == DDP_KEY_BOOL)
        return node->i ? "; write true" : "; write false";
    bool text =
        key->type == DDP_KEY_STRING || key->type == DDP_KEY_CHOICE || key->type == DDP_KEY_STRING_LIST;
    if (text && (node->type == DDP_NODE_INT || node->type == DDP_NODE_FLOAT || node->type == DDP_NODE_BOOL))
        return "; write it in quotes";
    if (node->type == DDP_NODE_FLOAT && key->type == DDP_KEY_INT && node->f == floor(node->f) &&
        fabs(node->f) < 1e15)
        return "; write it without a point or exponent";
    if (node->type == DDP_NODE_LIST && key->type != DDP_KEY_NODE)
        return "; one value, without brackets";
    if (key->type == DDP_KEY_FLOAT_LIST || key->type == DDP_KEY_STRING_LIST)
        return "; write it in brackets [ ]";
    return "";
}

static bool read_double(struct reader *r, const struct ddp_node *node, const struct ddp_key *key, double *out)
{
    if (node->type != DDP_NODE_FLOAT && node->type != DDP_NODE_INT) {
        refuse(r, node, key, type_hint(node, key));
        return false;
    }
    double v = node->type == DDP_NODE_INT ? (double)node->i : node->f;
    if (!isfinite(v) || (has_range(key) && !(v >= key->min && v <= key->max))) {
        refuse(r, node, key, "");
        return false;
    }
    *out = v;
    return true;
}

static void read_int(struct reader *r, const struct ddp_node *node, const struct ddp_key *key, int64_t *out)
{
    if (node->type != DDP_NODE_INT)
        refuse(r, node, key, type_hint(node, key));
    else if (has_range(key) && !((double)node->i >= key->min && (double)node->i <= key->max))
        refuse(r, node, key, "");
    else
        *out = node->i;
}

/* The index of a text among the key's choices, -1 when it is none of them. */
static int read_choice(struct reader *r, const struct ddp_node *node, const struct ddp_key *key)
{
    enum { MAX = 32 };
    char text[MAX][DDP_WHERE_SIZE], hint[DDP_WHERE_SIZE] = "";
    const char *names[MAX];
    if (node->type != DDP_NODE_STRING) {
        refuse(r, node, key, type_hint(node, key));
        return -1;
    }
    int n = ddp_choice_count(key->choices);
    for (int i = 0; i < n && i < MAX; i++) {
        names[i] = ddp_choice_at(key->choices, i, text[i]);
        if (strcmp(names[i], node->s) == 0)
            return i;
    }
    const char *near = ddp_suggest(node->s, names, n < MAX ? n : MAX);
    if (near)
        snprintf(hint, sizeof hint, "; did you mean \"%s\"?", near);
    refuse(r, node, key, hint);
    return -1;
}

/* A word in place of an integer: -1 for the first of its choices. */
static void read_word(struct reader *r, const struct ddp_node *node, const struct ddp_key *key, int64_t *out)
{
    const int choice = read_choice(r, node, key);
    if (choice >= 0)
        *out = -1 - choice;
}

static void read_floats(struct reader *r, const struct ddp_node *node, const struct ddp_key *key,
                        struct ddp_floats *out)
{
    if (node->type != DDP_NODE_LIST) {
        refuse(r, node, key, type_hint(node, key));
        return;
    }
    int n = ddp_node_count(node), i = 0;
    double *v = ddp_arena_alloc(r->arena, (size_t)(n + 1) * sizeof *v);
    bool ok = true;
    struct ddp_key element = *key;
    element.type = DDP_KEY_FLOAT;
    for (const struct ddp_node *c = node->first; c; c = c->next)
        ok = read_double(r, c, &element, &v[i++]) && ok;
    if (ok)
        *out = (struct ddp_floats){n, v};
}

static void read_strings(struct reader *r, const struct ddp_node *node, const struct ddp_key *key,
                         struct ddp_strings *out)
{
    if (node->type != DDP_NODE_LIST) {
        refuse(r, node, key, type_hint(node, key));
        return;
    }
    int n = ddp_node_count(node), i = 0;
    const char **v = ddp_arena_alloc(r->arena, (size_t)(n + 1) * sizeof *v);
    bool ok = true;
    struct ddp_key element = *key;
    element.type = DDP_KEY_STRING;
    for (const struct ddp_node *c = node->first; c; c = c->next) {
        if (c->type != DDP_NODE_STRING) {
            refuse(r, c, &element, type_hint(c, &element));
            ok = false;
        } else {
            v[i++] = c->s;
        }
    }
    if (ok)
        *out = (struct ddp_strings){n, v};
}

static void read_value(struct reader *r, const struct ddp_node *node, const struct ddp_key *key)
{
    char *field = r->conf + key->offset;
    switch (key->type) {
    case DDP_KEY_INT:
        if (key->choices && node->type == DDP_NODE_STRING)
            read_word(r, node, key, (int64_t *)field);
        else
            read_int(r, node, key, (int64_t *)field);
        break;
    case DDP_KEY_FLOAT:
        read_double(r, node, key, (double *)field);
        break;
    case DDP_KEY_BOOL:
        if (node->type == DDP_NODE_BOOL)
            *(bool *)field = node->b;
        else
            refuse(r, node, key, type_hint(node, key));
        break;
    case DDP_KEY_STRING:
        if (node->type != DDP_NODE_STRING)
            refuse(r, node, key, type_hint(node, key));
        else if (!key->choices || read_choice(r, node, key) >= 0)
            *(const char **)field = node->s;
        break;
    case DDP_KEY_CHOICE: {
        int choice = read_choice(r, node, key);
        if (choice >= 0)
            *(int *)field = choice;
        break;
    }
    case DDP_KEY_FLOAT_LIST:
        read_floats(r, node, key, (struct ddp_floats *)field);
        break;
    case DDP_KEY_STRING_LIST:
        read_strings(r, node, key, (struct ddp_strings *)field);
        break;
    case DDP_KEY_NODE:
        if (node->type == DDP_NODE_LIST || node->type == DDP_NODE_GROUP)
            *(const struct ddp_node **)field = node->first ? node : NULL; /* empty is none */
        else
            refuse(r, node, key, "");
        break;
    }
}

/* ---- groups ---------------------------------------------------------------------------------- */

/* What the field of a key holds that has neither value nor default: no pointer is ever NULL that a reader
 * would follow. */
static void clear(struct reader *r, const struct ddp_key *key)
{
    static const size_t size[] = {
        [DDP_KEY_INT] = sizeof(int64_t),
        [DDP_KEY_FLOAT] = sizeof(double),
        [DDP_KEY_BOOL] = sizeof(bool),
        [DDP_KEY_STRING] = sizeof(const char *),
        [DDP_KEY_CHOICE] = sizeof(int),
        [DDP_KEY_FLOAT_LIST] = sizeof(struct ddp_floats),
        [DDP_KEY_STRING_LIST] = sizeof(struct ddp_strings),
        [DDP_KEY_NODE] = sizeof(const struct ddp_node *),
    };
    memset(r->conf + key->offset, 0, size[key->type]);
    if (key->type == DDP_KEY_STRING)
        *(const char **)(r->conf + key->offset) = "";
}

struct ddp_node *ddp_key_default(struct ddp_arena *a, const struct ddp_key *key, const char *name)
{
    bool scalar_text = key->type == DDP_KEY_STRING || key->type == DDP_KEY_CHOICE;
    const char *why;
    if (!scalar_text)
        return ddp_value_parse(a, key->dflt, key->type == DDP_KEY_STRING_LIST, name, DDP_DEFAULT_FILE, &why);
    struct ddp_node *node = ddp_node_create(a, DDP_NODE_STRING, name, DDP_DEFAULT_FILE, 0);
    node->s = key->dflt;
    return node;
}

static void apply_defaults(struct reader *r)
{
    for (const struct ddp_key *key = r->keys; key->name; key++) {
        clear(r, key);
        if (!key->dflt)
            continue;
        const struct ddp_node *node = ddp_key_default(r->arena, key, key->name);
        if (node)
            read_value(r, node, key);
    }
}

static bool is_common(const struct reader *r, const char *prefix, const char *name)
{
    for (const char *const *c = r->common; c && *c && prefix[0] == '\0'; c++)
        if (strcmp(*c, name) == 0)
            return true;
    return false;
}

/* prefix: "" or "optim.", what the names of this group's children stand behind in the table. */
static void read_group(struct reader *r, const struct ddp_node *group, const char *prefix)
{
    char where[DDP_WHERE_SIZE], text[DDP_WHERE_SIZE], path[DDP_WHERE_SIZE], full[DDP_WHERE_SIZE];
    for (const struct ddp_node *c = group->first; c; c = c->next) {
        snprintf(full, sizeof full, "%s%s", prefix, c->name);
        const struct ddp_key *key = ddp_key_find(r->keys, full);
        if (key) {
            r->seen[key - r->keys] = true;
            read_value(r, c, key);
        } else if (ddp_key_is_group(r->keys, full)) {
            if (c->type == DDP_NODE_GROUP) {
                char below[DDP_WHERE_SIZE];
                snprintf(below, sizeof below, "%s.", full);
                read_group(r, c, below);
            } else {
                ddp_config_refuse(r->cfg, ddp_node_path(c, path, sizeof path));
                ddp_error_add(r->err, DDP_E_CONFIG, "%s: %s: wants a group, %s: { key = value; .. }, got %s",
                              ddp_node_where(c, where), path, c->name, ddp_node_given(c, text));
            }
        } else if (!is_common(r, prefix, c->name) && !ddp_error_is_full(r->err)) {
            ddp_error_add(r->err, DDP_E_CONFIG, "%s: %s: unknown key%s", ddp_node_where(c, where),
                          ddp_node_path(c, path, sizeof path),
                          ddp_suggest_key(r->keys, r->common, prefix, c->name, text));
        }
    }
}

int ddp_keys_read(struct ddp_config *cfg, const struct ddp_node *group, const struct ddp_key *keys,
                  const char *const *common, void *conf, struct ddp_error *err)
{
    char where[DDP_WHERE_SIZE], path[DDP_WHERE_SIZE], allowed[DDP_WHERE_SIZE];
    int n = 0;
    while (keys[n].name)
        n++;
    struct ddp_error faults = {0};
    struct reader r = {
        cfg, cfg->arena, keys, common, conf, &faults, ddp_arena_alloc(cfg->arena, (size_t)n + 1)};
    apply_defaults(&r);
    if (group->type != DDP_NODE_GROUP)
        ddp_error_add(&faults, DDP_E_CONFIG, "%s: %s: wants a group { key = value; .. }, got %s",
                      ddp_node_where(group, where), ddp_node_path(group, path, sizeof path),
                      ddp_node_given(group, allowed));
    else
        read_group(&r, group, "");
    for (int i = 0; i < n && group->type == DDP_NODE_GROUP; i++)
        if ((keys[i].flags & DDP_KEY_REQUIRED) && !r.seen[i])
            ddp_error_add(&faults, DDP_E_CONFIG, "%s: %s%s%s: is missing; it wants %s",
                          ddp_node_where(group, where), ddp_node_path(group, path, sizeof path),
                          group->parent ? "." : "", keys[i].name, ddp_key_allowed(&keys[i], allowed));
    return faults.code ? ddp_error_add(err, faults.code, "%s", faults.text) : 0;
}
