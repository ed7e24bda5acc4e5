/* The list of layer groups in the config -> layers with op, name and keys. */
#include "model/graph.h"

#include <stdio.h>
#include <string.h>

static const char *const common_keys[] = {"type", "name", "input", NULL};

char *ddp_layer_where(const struct ddp_layer *l, char *buf, int size)
{
    ddp_node_place(l->node, buf, size);
    const int n = (int)strlen(buf);
    snprintf(buf + n, (size_t)(size - n), "layer '%s' (%s)", l->name, l->op->name);
    return buf;
}

bool ddp_layer_is(const struct ddp_layer *l, const char *type)
{
    return strcmp(l->op->name, type) == 0;
}

/* "FILE:LINE: model.layers[3]" for a layer that has no name yet. */
static char *node_where(const struct ddp_node *node, char *buf, int size)
{
    char path[256];
    ddp_node_place(node, buf, size);
    const int n = (int)strlen(buf);
    snprintf(buf + n, (size_t)(size - n), "%s", ddp_node_path(node, path, sizeof path));
    return buf;
}

static int count_children(const struct ddp_node *list)
{
    int n = 0;
    for (const struct ddp_node *c = list->first; c; c = c->next)
        n++;
    return n;
}

/* The op whose name is nearest to a wrong one, and all names, for the message. */
static void name_ops(const char *wrong, char *buf, size_t size)
{
    const struct ddp_op *op;
    const char *nearest = NULL;
    int best = 4; /* further away is no typo */
    size_t n = 0;
    buf[0] = '\0';
    for (int i = 0; (op = ddp_op_at(i)); i++) {
        int d = ddp_edit_distance(wrong, op->name);
        if (d < best) {
            best = d;
            nearest = op->name;
        }
        int k = n < size ? snprintf(buf + n, size - n, "%s%s", i ? ", " : "", op->name) : 0;
        n += k;
    }
    if (nearest && n < size)
        snprintf(buf + n, size - n, " (did you mean '%s'?)", nearest);
}

static bool name_is_legal(const char *s)
{
    size_t n = strlen(s);
    if (n == 0 || n > 100) /* the tensor's name, "LAYER.running_mean", has to fit in ddp_flat_tensor.name */
        return false;
    return strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == n;
}

/* A string key that is the graph's; NULL and an error when it is of another type.
 * *given tells absence apart. */
static const char *common_string(const struct ddp_node *group, const char *key, const struct ddp_node **given,
                                 struct ddp_error *err)
{
    char where[512];
    const struct ddp_node *node = *given = ddp_node_get(group, key);
    if (!node)
        return NULL;
    if (node->type == DDP_NODE_STRING)
        return node->s;
    ddp_error_add(err, DDP_E_CONFIG, "%s: wants text in quotes", node_where(node, where, sizeof where));
    return NULL;
}

/* The op of a layer; NULL: its type is not known, which is a fault unless the type may be another program's
 * own. */
static const struct ddp_op *find_op(struct ddp_model *m, const struct ddp_node *node, const char **type,
                                    struct ddp_error *err)
{
    char where[512], known[1024];
    const struct ddp_node *given;
    node_where(node, where, sizeof where);
    *type = common_string(node, "type", &given, err);
    if (!*type) {
        name_ops("", known, sizeof known);
        if (!given)
            ddp_error_add(err, DDP_E_CONFIG, "%s: has no type; known types: %s", where, known);
        return NULL;
    }
    const struct ddp_op *op = ddp_op_find(*type);
    if (op || m->open)
        return op;
    name_ops(*type, known, sizeof known);
    ddp_error_add(err, DDP_E_CONFIG,
                  "%s: unknown layer type '%s'; known types: %s (an op of one's own? --program PROGRAM)",
                  where, *type, known);
    return NULL;
}

/* Its own, or by type and number: conv2d1, conv2d2, ... */
static void name_layer(struct ddp_model *m, struct ddp_layer *l, const char *type, struct ddp_error *err)
{
    char where[512], numbered[1024];
    const struct ddp_node *given;
    int running = 1;
    node_where(l->node, where, sizeof where);
    for (const struct ddp_layer *k = m->layer; k < l; k++)
        running += k->op == l->op;
    const char *name = common_string(l->node, "name", &given, err);
    if (name && !name_is_legal(name))
        ddp_error_add(err, DDP_E_CONFIG,
                      "%s: layer name '%s': 1 to 100 letters, digits, '_', '-' and '.' are allowed", where,
                      name);
    if (!name) {
        snprintf(numbered, sizeof numbered, "%.900s%d", type ? type : "layer", running);
        name = numbered;
    }
    l->name = ddp_arena_strdup(m->arena, name);
    if (strcmp(name, "data") == 0)
        ddp_error_add(err, DDP_E_CONFIG, "%s: the name 'data' stands for the model's input, take another",
                      where);
    for (const struct ddp_layer *k = m->layer; k < l && given; k++)
        if (strcmp(k->name, l->name) == 0)
            ddp_error_add(err, DDP_E_CONFIG, "%s: the name '%s' is taken by %s; names are unique", where,
                          l->name, node_where(k->node, numbered, sizeof numbered));
}

/* "classes" in place of a number: what the data has. It is not known while only the config is looked at. */
static void fill_in_classes(const struct ddp_model *m, const struct ddp_key *keys, void *conf)
{
    for (const struct ddp_key *k = keys; k->name; k++) {
        int64_t *value = (int64_t *)((char *)conf + k->offset);
        if (k->type == DDP_KEY_INT && k->choices && strcmp(k->choices, DDP_KEY_CLASSES) == 0 && *value == -1)
            *value = m->classes > 0 ? m->classes : 1;
    }
}

static void read_layer(struct ddp_model *m, struct ddp_config *cfg, struct ddp_layer *l,
                       struct ddp_error *err)
{
    static const struct ddp_key no_keys[] = {{0}};
    const struct ddp_node *node = l->node;
    char where[512];
    const char *type = NULL;
    l->name = "";
    if (node->type != DDP_NODE_GROUP) {
        ddp_error_add(err, DDP_E_CONFIG,
                      "%s: a layer is a group in braces: {type = \"conv2d\", out = 32, ...}",
                      node_where(node, where, sizeof where));
        return;
    }
    l->op = find_op(m, node, &type, err);
    name_layer(m, l, type, err);
    if (!l->op)
        return;
    l->conf = ddp_arena_alloc(m->arena, l->op->conf_bytes + 1);
    const struct ddp_key *keys = l->op->keys ? l->op->keys : no_keys;
    ddp_keys_read(cfg, node, keys, common_keys, l->conf, err);
    fill_in_classes(m, keys, l->conf);
}

int ddp_graph_read(struct ddp_model *m, struct ddp_config *cfg, struct ddp_error *err)
{
    const struct ddp_node *list = cfg->model.layers;
    if (!list || list->type != DDP_NODE_LIST || !list->first)
        return ddp_error_add(
            err, DDP_E_CONFIG,
            "model.layers: the model has no layers; name a group of configs/model (model = \"mnist_cnn\") "
            "or write a list: layers = ({type = \"linear\", out = 10}, {type = \"softmax_cross_entropy\"})");
    int n = count_children(list);
    m->layer = ddp_arena_alloc(m->arena, n * sizeof *m->layer);
    m->nlayers = n;
    int i = 0;
    for (const struct ddp_node *node = list->first; node; node = node->next, i++) {
        m->layer[i].node = node;
        read_layer(m, cfg, &m->layer[i], err);
    }
    return err->code;
}
