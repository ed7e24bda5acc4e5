/* Grows a graph layer by layer; what nothing has read in the end goes through a linear layer into one sum. */
#include "random_graph.h"

#include <stdio.h>
#include <string.h>

#include "base/base.h"

enum { MOST = 64 };

struct node {
    char name[8];
    struct ddp_shape shape;
    bool features, used;
};

struct graph {
    struct node node[MOST]; /* 0: the data */
    int n, draws;
    uint32_t seed;
    unsigned flags;
    char text[8192];
    size_t at;
};

static int draw(struct graph *g, int below)
{
    return (int)(ddp_philox4((uint32_t)g->draws++, g->seed, 0, 0, 77).v[0] % (uint32_t)below);
}

/* A layer that reads `a` (and b >= 0); returns its node. */
static int add_layer(struct graph *g, const char *type, const char *keys, int a, int b,
                     struct ddp_shape shape, bool features)
{
    struct node *to = &g->node[g->n];
    snprintf(to->name, sizeof to->name, "n%d", g->n);
    to->shape = shape;
    to->features = features;
    g->at += (size_t)snprintf(g->text + g->at, sizeof g->text - g->at,
                              b < 0 ? "%s{type=\"%s\", name=\"%s\", input=\"%s\"%s}"
                                    : "%s{type=\"%s\", name=\"%s\", input=[\"%s\", \"%s\"]%s}",
                              g->n > 1 ? ",\n" : "", type, to->name, g->node[a].name,
                              b < 0 ? keys : g->node[b].name, keys);
    g->node[a].used = true;
    if (b >= 0)
        g->node[b].used = true;
    return g->n++;
}

static int add_same(struct graph *g, const char *type, const char *keys, int a)
{
    return add_layer(g, type, keys, a, -1, g->node[a].shape, g->node[a].features);
}

static int add_sum(struct graph *g, int a)
{
    int fits[MOST], n = 0;
    for (int i = 0; i < g->n; i++)
        if (memcmp(&g->node[i].shape, &g->node[a].shape, sizeof g->node[a].shape) == 0)
            fits[n++] = i;
    const int b = fits[draw(g, n)];
    return draw(g, 2)
               ? add_layer(g, "add", "", a, b, g->node[a].shape, g->node[a].features || g->node[b].features)
               : add_layer(g, "add", "", b, a, g->node[a].shape, g->node[a].features || g->node[b].features);
}

static int add_flatten(struct graph *g, int a)
{
    const struct ddp_shape s = g->node[a].shape;
    return add_layer(g, "flatten", "", a, -1, (struct ddp_shape){s.c * s.h * s.w, 1, 1}, true);
}

static int add_linear(struct graph *g, int a, int out)
{
    char keys[32];
    snprintf(keys, sizeof keys, ", out=%d", out);
    return add_layer(g, "linear", keys, g->node[a].features ? a : add_flatten(g, a), -1,
                     (struct ddp_shape){out, 1, 1}, true);
}

static int add_conv(struct graph *g, int a)
{
    static const int outs[] = {4, 16, 16};
    const struct ddp_shape s = g->node[a].shape;
    const int stride = 1 + (draw(g, 4) == 0), out = outs[draw(g, 3)];
    char keys[96];
    snprintf(keys, sizeof keys, ", out=%d, kernel=3, padding=1, stride=%d, bias=%s", out, stride,
             draw(g, 2) ? "true" : "false");
    return add_layer(g, "conv2d", keys, a, -1,
                     (struct ddp_shape){out, (s.h - 1) / stride + 1, (s.w - 1) / stride + 1}, false);
}

static int add_norm(struct graph *g, int a)
{
    return add_same(g, "batch_norm", g->flags & RANDOM_SYNC && draw(g, 3) == 0 ? ", sync=true" : "", a);
}

static int add_pool(struct graph *g, int a)
{
    const struct ddp_shape s = g->node[a].shape;
    const char *type = g->flags & RANDOM_SMOOTH || draw(g, 2) ? "avg_pool" : "max_pool";
    return add_layer(g, type, ", kernel=2", a, -1, (struct ddp_shape){s.c, s.h / 2, s.w / 2}, false);
}

static void grow(struct graph *g)
{
    /* mostly what came last, so that graphs are deep; an older one for a branch */
    const int a = draw(g, 3) ? g->n - 1 : draw(g, g->n);
    const struct node *from = &g->node[a];
    const bool picture = !from->features, data = a == 0;
    switch (draw(g, 10)) {
    case 0:
    case 1:
        picture ? add_conv(g, a) : add_linear(g, a, 16);
        break;
    case 2:
    case 3:
        add_norm(g, a);
        break;
    case 4:
        add_same(g, g->flags & RANDOM_SMOOTH ? "silu" : "relu", "", a);
        break;
    case 5:
        add_same(g, g->flags & RANDOM_SMOOTH || draw(g, 2) ? "gelu" : "dropout", "", a);
        break;
    case 6:
        if (picture && !data && from->shape.h > 2 && from->shape.w > 2)
            add_pool(g, a);
        break;
    case 7:
        if (!data)
            add_flatten(g, a);
        break;
    default:
        add_sum(g, a);
    }
}

const char *random_graph(uint32_t seed, unsigned flags, struct ddp_shape *input)
{
    static const struct ddp_shape shapes[] = {{3, 7, 6}, {2, 5, 4}, {1, 8, 8}};
    static struct graph graph;
    struct graph *g = &graph;
    memset(g, 0, sizeof *g);
    g->seed = seed;
    g->flags = flags;
    *input = shapes[draw(g, 3)];
    g->node[g->n++] = (struct node){.name = "data", .shape = *input, .used = true};
    if (draw(g, 8))
        add_conv(g, 0);
    else /* flattens the data by itself */
        add_layer(g, "linear", ", out=16", 0, -1, (struct ddp_shape){16, 1, 1}, true);
    for (int rounds = 3 + draw(g, 10); rounds > 0; rounds--)
        grow(g);
    const int grown = g->n;
    int sum = -1;
    for (int i = 1; i < grown; i++) {
        if (g->node[i].used)
            continue;
        const int last = add_linear(g, i, 5);
        sum = sum < 0 ? last : add_layer(g, "add", "", sum, last, g->node[last].shape, true);
    }
    add_layer(g, draw(g, 4) ? "softmax_cross_entropy" : "mse", "", sum, -1, (struct ddp_shape){0}, true);
    return g->text;
}
