/* The resolved config as text, as JSON and as a hash. Reading the text back gives the same text. */
#include "config/parts.h"

#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- values ---------------------------------------------------------------------------------- */

static void write_string(struct ddp_text *t, const char *s)
{
    ddp_text_append(t, "\"", 1);
    for (; *s; s++) {
        static const char from[] = "\n\t\r\f\\\"", to[] = "ntrf\\\"";
        const char *escape = strchr(from, *s);
        if (escape)
            ddp_text_add(t, "\\%c", to[escape - from]);
        else if ((unsigned char)*s < 0x20 || *s == 0x7f)
            ddp_text_add(t, "\\x%02x", (unsigned)*s);
        else
            ddp_text_append(t, s, 1);
    }
    ddp_text_append(t, "\"", 1);
}

static void write_int(struct ddp_text *t, int64_t i)
{
    ddp_text_add(t, "%" PRId64 "%s", i, i < INT_MIN || i > INT_MAX ? "L" : ""); /* libconfig's 64-bit mark */
}

static void write_double(struct ddp_text *t, double v)
{
    char buf[32];
    ddp_text_add(t, "%s", ddp_double_text(v, buf));
}

/* libconfig's [ ] holds scalars of one type; everything else goes into ( ). */
static bool is_array(const struct ddp_node *list)
{
    for (const struct ddp_node *c = list->first; c; c = c->next)
        if (c->type == DDP_NODE_GROUP || c->type == DDP_NODE_LIST || c->type != list->first->type ||
            (c->type == DDP_NODE_INT && (c->i < INT_MIN || c->i > INT_MAX)))
            return false;
    return list->first != NULL;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct ddp_node *const *)a)->name, (*(const struct ddp_node *const *)b)->name);
}

static void write_node(struct ddp_text *t, const struct ddp_node *node, int indent, bool sorted);

/* On one line; sorted: by name, so that the order of keys does not matter. */
static void write_group(struct ddp_text *t, const struct ddp_node *group, bool sorted)
{
    int n = ddp_node_count(group), i = 0;
    const struct ddp_node **child = ddp_malloc((size_t)(n + 1) * sizeof(const struct ddp_node *));
    for (const struct ddp_node *c = group->first; c; c = c->next)
        child[i++] = c;
    if (sorted)
        qsort(child, (size_t)n, sizeof(const struct ddp_node *), by_name);
    ddp_text_add(t, "{ ");
    for (i = 0; i < n; i++) {
        ddp_text_add(t, "%s = ", child[i]->name);
        write_node(t, child[i], -1, sorted);
        ddp_text_add(t, "; ");
    }
    ddp_text_add(t, "}");
    free(child);
}

/* indent: column of the line that the list begins on; its elements get lines of their own. -1: all on one
 * line. */
static void write_list(struct ddp_text *t, const struct ddp_node *list, int indent, bool sorted)
{
    bool array = is_array(list), lines = !array && indent >= 0 && list->first;
    ddp_text_add(t, array ? "[" : lines ? "(" : "( ");
    for (const struct ddp_node *c = list->first; c; c = c->next) {
        if (lines)
            ddp_text_add(t, "\n%*s", indent + 4, "");
        write_node(t, c, -1, sorted);
        if (c->next)
            ddp_text_add(t, lines ? "," : ", ");
    }
    if (lines)
        ddp_text_add(t, "\n%*s", indent, "");
    ddp_text_add(t, array ? "]" : lines || !list->first ? ")" : " )");
}

static void write_node(struct ddp_text *t, const struct ddp_node *node, int indent, bool sorted)
{
    switch (node->type) {
    case DDP_NODE_GROUP:
        write_group(t, node, sorted);
        break;
    case DDP_NODE_LIST:
        write_list(t, node, indent, sorted);
        break;
    case DDP_NODE_INT:
        write_int(t, node->i);
        break;
    case DDP_NODE_FLOAT:
        write_double(t, node->f);
        break;
    case DDP_NODE_BOOL:
        ddp_text_add(t, "%s", node->b ? "true" : "false");
        break;
    case DDP_NODE_STRING:
        write_string(t, node->s);
        break;
    }
}

void ddp_value_write(struct ddp_text *t, const struct ddp_key *key, const void *conf, int indent)
{
    const char *field = (const char *)conf + key->offset;
    char choice[DDP_WHERE_SIZE];
    switch (key->type) {
    case DDP_KEY_INT:
        if (key->choices && *(const int64_t *)field < 0)
            write_string(t, ddp_choice_at(key->choices, (int)(-1 - *(const int64_t *)field), choice));
        else
            write_int(t, *(const int64_t *)field);
        break;
    case DDP_KEY_FLOAT:
        write_double(t, *(const double *)field);
        break;
    case DDP_KEY_BOOL:
        ddp_text_add(t, "%s", *(const bool *)field ? "true" : "false");
        break;
    case DDP_KEY_STRING:
        write_string(t, *(const char *const *)field);
        break;
    case DDP_KEY_CHOICE:
        write_string(t, ddp_choice_at(key->choices, *(const int *)field, choice));
        break;
    case DDP_KEY_FLOAT_LIST: {
        const struct ddp_floats *list = (const struct ddp_floats *)field;
        ddp_text_add(t, "[");
        for (int i = 0; i < list->n; i++) {
            ddp_text_add(t, "%s", i ? ", " : "");
            write_double(t, list->v[i]);
        }
        ddp_text_add(t, "]");
        break;
    }
    case DDP_KEY_STRING_LIST: {
        const struct ddp_strings *list = (const struct ddp_strings *)field;
        ddp_text_add(t, "[");
        for (int i = 0; i < list->n; i++) {
            ddp_text_add(t, "%s", i ? ", " : "");
            write_string(t, list->v[i]);
        }
        ddp_text_add(t, "]");
        break;
    }
    case DDP_KEY_NODE: {
        const struct ddp_node *node = *(const struct ddp_node *const *)field;
        if (node)
            write_node(t, node, indent, indent < 0);
        else
            ddp_text_add(t, "( )");
        break;
    }
    }
}

/* ---- text ------------------------------------------------------------------------------------ */

/* Letters of "optim" in "optim.lr"; 0 for a key without a group. */
static int group_length(const char *name)
{
    const char *dot = strchr(name, '.');
    return dot ? (int)(dot - name) : 0;
}

static void write_comment(struct ddp_text *t, const struct ddp_key *key, int indent)
{
    char allowed[DDP_WHERE_SIZE];
    ddp_text_add(t, "%*s# %s (%s)\n", indent, "", key->doc, ddp_key_allowed(key, allowed));
}

int ddp_config_dump(const struct ddp_config *cfg, bool comments, char **out, struct ddp_error *err)
{
    (void)err;
    struct ddp_text t;
    ddp_text_init(&t);
    const char *group = "";
    int length = 0; /* of the open group's name, 0: none */
    for (const struct ddp_key *key = ddp_config_keys; key->name; key++) {
        int n = group_length(key->name);
        if (n != length || strncmp(group, key->name, (size_t)n) != 0) {
            if (length)
                ddp_text_add(&t, "};\n");
            ddp_text_add(&t, "\n%.*s: {\n", n, key->name);
        }
        group = key->name;
        length = n;
        int indent = n ? 4 : 0;
        if (comments)
            write_comment(&t, key, indent);
        ddp_text_add(&t, "%*s%s = ", indent, "", key->name + (n ? n + 1 : 0));
        ddp_value_write(&t, key, cfg, indent);
        ddp_text_add(&t, ";\n");
    }
    if (length)
        ddp_text_add(&t, "};\n");
    *out = t.s;
    return 0;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *node_json(const struct ddp_node *node, int *digits);

/* The fewest digits with which jansson prints every number so far exactly. */
static json_t *double_json(double v, int *digits)
{
    char buf[40];
    for (snprintf(buf, sizeof buf, "%.*g", *digits, v); *digits < 17 && strtod(buf, NULL) != v;
         snprintf(buf, sizeof buf, "%.*g", *digits, v))
        ++*digits;
    return json_real(v);
}

static json_t *children_json(const struct ddp_node *node, int *digits)
{
    json_t *json = node->type == DDP_NODE_GROUP ? json_object() : json_array();
    for (const struct ddp_node *c = node->first; c; c = c->next) {
        json_t *value = node_json(c, digits);
        if (node->type == DDP_NODE_GROUP ? json_object_set_new(json, c->name, value)
                                         : json_array_append_new(json, value)) {
            json_decref(json);
            return NULL;
        }
    }
    return json;
}

static json_t *node_json(const struct ddp_node *node, int *digits)
{
    switch (node->type) {
    case DDP_NODE_INT:
        return json_integer(node->i);
    case DDP_NODE_FLOAT:
        return double_json(node->f, digits);
    case DDP_NODE_BOOL:
        return json_boolean(node->b);
    case DDP_NODE_STRING:
        return json_string(node->s);
    default:
        return children_json(node, digits);
    }
}

static json_t *value_json(const struct ddp_key *key, const struct ddp_config *cfg, int *digits)
{
    const char *field = (const char *)cfg + key->offset;
    char choice[DDP_WHERE_SIZE];
    json_t *list;
    switch (key->type) {
    case DDP_KEY_INT:
        if (key->choices && *(const int64_t *)field < 0)
            return json_string(ddp_choice_at(key->choices, (int)(-1 - *(const int64_t *)field), choice));
        return json_integer(*(const int64_t *)field);
    case DDP_KEY_FLOAT:
        return double_json(*(const double *)field, digits);
    case DDP_KEY_BOOL:
        return json_boolean(*(const bool *)field);
    case DDP_KEY_STRING:
        return json_string(*(const char *const *)field);
    case DDP_KEY_CHOICE:
        return json_string(ddp_choice_at(key->choices, *(const int *)field, choice));
    case DDP_KEY_FLOAT_LIST:
        list = json_array();
        for (int i = 0; i < ((const struct ddp_floats *)field)->n; i++)
            json_array_append_new(list, double_json(((const struct ddp_floats *)field)->v[i], digits));
        return list;
    case DDP_KEY_STRING_LIST:
        list = json_array();
        for (int i = 0; i < ((const struct ddp_strings *)field)->n; i++)
            json_array_append_new(list, json_string(((const struct ddp_strings *)field)->v[i]));
        return list;
    case DDP_KEY_NODE:
        break;
    }
    const struct ddp_node *node = *(const struct ddp_node *const *)field;
    return node ? node_json(node, digits) : json_array();
}

int ddp_config_dump_json(const struct ddp_config *cfg, char **out, struct ddp_error *err)
{
    int digits = 1, status = 0;
    json_t *root = json_object();
    for (const struct ddp_key *key = ddp_config_keys; key->name && status == 0; key++) {
        int n = group_length(key->name);
        json_t *at = root;
        if (n > 0) {
            char name[64];
            snprintf(name, sizeof name, "%.*s", n, key->name);
            at = json_object_get(root, name);
            if (!at) {
                json_object_set_new(root, name, json_object());
                at = json_object_get(root, name);
            }
        }
        if (json_object_set_new(at, key->name + (n ? n + 1 : 0), value_json(key, cfg, &digits)) < 0)
            status = ddp_fail(err, DDP_E_INTERNAL, "%s has no form in JSON", key->name);
    }
    char *text = status == 0 ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION((size_t)digits)) : NULL;
    if (status == 0 && !text)
        status = ddp_fail(err, DDP_E_INTERNAL, "the config has no form in JSON");
    if (text)
        *out = text;
    json_decref(root);
    return status;
}

/* ---- hash ------------------------------------------------------------------------------------ */

static bool counts(const struct ddp_key *key, const struct ddp_config *cfg)
{
    return (key->flags & DDP_KEY_RESULT) || ((key->flags & DDP_KEY_STOP) && cfg->train.early_stop > 0);
}

/* leave: keys with any of these flags are left out. */
static void hash_keys(const struct ddp_config *cfg, unsigned leave, char hex[65])
{
    struct ddp_text t;
    ddp_text_init(&t);
    for (const struct ddp_key *key = ddp_config_keys; key->name; key++) {
        if (!counts(key, cfg) || (key->flags & leave))
            continue;
        ddp_text_add(&t, "%s=", key->name);
        ddp_value_write(&t, key, cfg, -1);
        ddp_text_add(&t, "\n");
    }
    struct ddp_sha256 h;
    ddp_sha256_init(&h);
    ddp_sha256_update(&h, t.s, t.len);
    ddp_sha256_hex(&h, hex);
    ddp_text_finish(&t);
}

void ddp_config_hash(const struct ddp_config *cfg, char hex[65])
{
    hash_keys(cfg, 0, hex);
}

void ddp_config_experiment(const struct ddp_config *cfg, char hex[65])
{
    hash_keys(cfg, DDP_KEY_END, hex);
}

int ddp_config_differ(const struct ddp_config *a, const struct ddp_config *b, bool experiment,
                      ddp_config_differs_fn each, void *user)
{
    int n = 0;
    for (const struct ddp_key *key = ddp_config_keys; key->name; key++) {
        if (experiment && ((key->flags & DDP_KEY_END) || !(counts(key, a) || counts(key, b))))
            continue;
        struct ddp_text x, y;
        ddp_text_init(&x);
        ddp_text_init(&y);
        ddp_value_write(&x, key, a, -1);
        ddp_value_write(&y, key, b, -1);
        if (strcmp(x.s, y.s) != 0) {
            n++;
            if (each)
                each(user, key->name, x.s, y.s);
        }
        ddp_text_finish(&x);
        ddp_text_finish(&y);
    }
    return n;
}

int ddp_config_not_default(const struct ddp_config *cfg, ddp_config_differs_fn each, void *user)
{
    const struct ddp_node empty = {.type = DDP_NODE_GROUP};
    struct ddp_config dflt = {.arena = ddp_arena_create()};
    struct ddp_arena *arena = dflt.arena;
    ddp_keys_read(&dflt, &empty, ddp_config_keys, NULL, &dflt, NULL);
    const int n = ddp_config_differ(cfg, &dflt, false, each, user);
    ddp_arena_destroy(arena);
    return n;
}
