/* Who reads whom: names of inputs -> producers, and the rules that hold for the whole graph. */
#include "model/graph.h"

#include <string.h>

static const char *producer_name(const struct ddp_model *m, int in)
{
    return in == DDP_DATA ? "data" : m->layer[in].name;
}

/* Layer before `self` with this name; -2: none. */
static int find_earlier(const struct ddp_model *m, const char *name, int self)
{
    if (strcmp(name, "data") == 0)
        return DDP_DATA;
    for (int i = 0; i < self; i++)
        if (strcmp(m->layer[i].name, name) == 0)
            return i;
    return -2;
}

static void unknown_input(const struct ddp_model *m, const char *name, int self, struct ddp_error *err)
{
    char where[512];
    if (ddp_error_is_full(err))
        return;
    ddp_layer_where(&m->layer[self], where, sizeof where);
    for (int i = self; i < m->nlayers; i++)
        if (strcmp(m->layer[i].name, name) == 0) {
            ddp_error_add(err, DDP_E_CONFIG, "%s: input '%s' %s; a layer reads only layers written before it",
                          where, name, i == self ? "is the layer itself" : "comes later in the list");
            return;
        }
    const char *nearest = "data";
    int best = ddp_edit_distance(name, nearest);
    for (int i = 0; i < self; i++) {
        int d = ddp_edit_distance(name, m->layer[i].name);
        if (d < best) {
            best = d;
            nearest = m->layer[i].name;
        }
    }
    ddp_error_add(err, DDP_E_CONFIG, "%s: no layer is called '%s'; the nearest name before it is '%s'", where,
                  name, nearest);
}

/* The names in `input = "a"` or `input = ["a", "b"]`; -1 and an error when it is something else. */
static int input_names(const struct ddp_layer *l, const struct ddp_node *input,
                       const char *names[DDP_OP_MAX_IN], struct ddp_error *err)
{
    char where[512];
    int n = 0;
    bool good = true;
    if (input->type == DDP_NODE_STRING) {
        names[n++] = input->s;
    } else if (input->type == DDP_NODE_LIST) {
        for (const struct ddp_node *c = input->first; c; c = c->next, n++) {
            good = good && c->type == DDP_NODE_STRING;
            if (n < DDP_OP_MAX_IN)
                names[n] = c->type == DDP_NODE_STRING ? c->s : "";
        }
    } else {
        good = false;
    }
    ddp_layer_where(l, where, sizeof where);
    if (!good)
        return ddp_error_add(err, DDP_E_CONFIG, "%s: input wants the name of a layer or a list of names",
                             where),
               -1;
    if (n != l->op->nin)
        return ddp_error_add(err, DDP_E_CONFIG, "%s: wants %d input%s, got %d", where, l->op->nin,
                             l->op->nin == 1 ? "" : "s", n),
               -1;
    return n;
}

static void connect_layer(struct ddp_model *m, int i, struct ddp_error *err)
{
    struct ddp_layer *l = &m->layer[i];
    const struct ddp_node *input = ddp_node_get(l->node, "input");
    const char *names[DDP_OP_MAX_IN] = {"", ""};
    char where[512];
    if (!l->op)
        return; /* nobody knows how many inputs it has */
    l->nin = l->op->nin;
    if (!input) {
        l->in[0] = i - 1; /* DDP_DATA for the first */
        if (l->nin > 1) {
            ddp_error_add(err, DDP_E_CONFIG, "%s: wants %d inputs by name: input = [\"%s\", \"...\"]",
                          ddp_layer_where(l, where, sizeof where), l->nin, producer_name(m, i - 1));
            return;
        }
    } else if (input_names(l, input, names, err) < 0) {
        return;
    } else {
        for (int k = 0; k < l->nin && k < DDP_OP_MAX_IN; k++) {
            l->in[k] = find_earlier(m, names[k], i);
            if (l->in[k] < DDP_DATA) {
                unknown_input(m, names[k], i, err);
                l->in[k] = DDP_DATA;
            }
        }
    }
    for (int k = 0; k < l->nin; k++) {
        if (l->in[k] == DDP_DATA)
            continue;
        struct ddp_layer *p = &m->layer[l->in[k]];
        p->consumers++;
        if (p->op && p->op->is_loss)
            ddp_error_add(err, DDP_E_CONFIG, "%s: reads the loss '%s'; a loss is the end of the model",
                          ddp_layer_where(l, where, sizeof where), p->name);
    }
}

/* What the graph as a whole must be. */
static void check_ends(const struct ddp_model *m, struct ddp_error *err)
{
    char where[512];
    for (int i = 0; i < m->nlayers; i++) {
        const struct ddp_layer *l = &m->layer[i];
        ddp_layer_where(l, where, sizeof where);
        if (l->op->is_loss && i < m->nlayers - 1)
            ddp_error_add(err, DDP_E_CONFIG,
                          "%s: a model has one loss, its last layer; layer '%s' comes after it", where,
                          m->layer[i + 1].name);
        else if (!l->op->is_loss && i == m->nlayers - 1)
            ddp_error_add(err, DDP_E_CONFIG,
                          "%s: the last layer must be a loss: add {type = \"softmax_cross_entropy\"}", where);
        else if (!l->op->is_loss && l->consumers == 0)
            ddp_error_add(err, DDP_E_CONFIG,
                          "%s: no layer reads it; name it as input of another or remove it", where);
    }
}

int ddp_graph_connect(struct ddp_model *m, struct ddp_error *err)
{
    bool known = true;
    for (int i = 0; i < m->nlayers; i++) {
        known = known && m->layer[i].op;
        connect_layer(m, i, err);
    }
    /* only now: a wrong name would also leave a layer unused, and one fault should give one line */
    if (!err->code && known)
        check_ends(m, err);
    return err->code;
}
