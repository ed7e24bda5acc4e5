/* One pass of one layer between two calls that a profiler can see: tests/system/test_instructions.py counts
 * what is executed in counted(). Usage: count_kernels LAYER forward|backward */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "ops/builtin.h"
#include "ops/ops.h"

struct count_layer {
    const char *name;
    const struct ddp_op *op;
    struct ddp_shape in;
    int n;
    unsigned fused;
    struct {
        const char *key;
        int64_t value;
    } set[4];
};

static const struct count_layer layers[] = {
    {"conv_tiles",
     &ddp_op_conv2d,
     {32, 14, 14},
     4,
     DDP_FUSE_RELU,
     {{"out", 64}, {"kernel", 3}, {"padding", 1}}},
    {"conv_strided",
     &ddp_op_conv2d,
     {32, 14, 14},
     4,
     DDP_FUSE_RELU,
     {{"out", 64}, {"kernel", 3}, {"padding", 1}, {"stride", 2}}},
    {"conv_first", &ddp_op_conv2d, {1, 28, 28}, 4, DDP_FUSE_RELU, {{"out", 32}, {"kernel", 3}}},
    {"linear", &ddp_op_linear, {64, 4, 4}, 16, DDP_FUSE_RELU, {{"out", 128}}},
    {"batch_norm", &ddp_op_batch_norm, {32, 14, 14}, 4, DDP_FUSE_RELU, {{NULL, 0}}},
    {"max_pool", &ddp_op_max_pool, {32, 14, 14}, 4, 0, {{"kernel", 2}}},
};

/* Memory of this program lives until it ends. */
static float *floats(int64_t n)
{
    float *p = ddp_pages_alloc((size_t)(n + 16) * sizeof *p);
    for (int64_t i = 0; p && i < n; i++)
        p[i] = (float)(i * 2654435761u % 1000) * 1e-3f - 0.4f;
    return p ? p : (float *)abort;
}

static void *conf_of(const struct count_layer *l)
{
    char *conf = ddp_calloc(1, l->op->conf_bytes);
    for (const struct ddp_key *k = l->op->keys; k->name; k++) {
        int64_t whole = k->dflt ? strtoll(k->dflt, NULL, 10) : 0;
        const double real = k->dflt ? strtod(k->dflt, NULL) : 0;
        const bool yes = k->dflt && !strcmp(k->dflt, "true");
        for (int i = 0; i < 4 && l->set[i].key; i++)
            whole = !strcmp(k->name, l->set[i].key) ? l->set[i].value : whole;
        if (k->type == DDP_KEY_INT)
            memcpy(conf + k->offset, &whole, sizeof whole);
        else if (k->type == DDP_KEY_FLOAT)
            memcpy(conf + k->offset, &real, sizeof real);
        else if (k->type == DDP_KEY_BOOL)
            memcpy(conf + k->offset, &yes, sizeof yes);
    }
    return conf;
}

static struct ddp_tensor tensor(const struct ddp_layer_plan *p, int n, struct ddp_shape s, int halo)
{
    struct ddp_tensor t;
    int64_t lead = 0;
    const int64_t size =
        p->features ? ddp_tensor_features(&t, n, s) : ddp_tensor_pictures(&t, n, s, halo, &lead);
    t.p = floats(size) + lead;
    return t;
}

/* The two calls. */
__attribute__((noinline)) void counted(void (*pass)(const struct ddp_op_call *),
                                       const struct ddp_op_call *call);
void counted(void (*pass)(const struct ddp_op_call *), const struct ddp_op_call *call)
{
    pass(call);
    __asm__ volatile("" ::: "memory"); /* so that it is no jump into pass() */
}

static int run(const struct count_layer *l, bool back)
{
    struct ddp_layer_plan plan = {0};
    struct ddp_error err = {0};
    void *conf = conf_of(l);
    if (l->op->plan(conf, &l->in, 1, l->n, &plan, &err) != 0) {
        fprintf(stderr, "count_kernels: %s: %s\n", l->name, err.text);
        return 2;
    }
    struct ddp_tensor in = tensor(&plan, l->n, l->in, plan.in_halo), din = tensor(&plan, l->n, l->in, 0),
                      out = tensor(&plan, l->n, plan.out, 0),
                      dout = tensor(&plan, l->n, plan.out, plan.dout_halo);
    struct ddp_op_call call = {.conf = conf,
                               .plan = &plan,
                               .fused = l->fused,
                               .training = true,
                               .nin = 1,
                               .in = {&in},
                               .out = &out,
                               .dout = &dout,
                               .din = {&din},
                               .saved = floats((int64_t)(plan.saved_bytes / sizeof(float)) + 16),
                               .scratch = floats((int64_t)(plan.scratch_bytes / sizeof(float)) + 16)};
    for (int i = 0; i < plan.nparams; i++) {
        call.param[i] = floats(ddp_layout_size(&plan.params[i]));
        call.grad[i] = floats(ddp_layout_size(&plan.params[i]));
    }
    if (back) {
        l->op->forward(&call);
        counted(l->op->backward, &call);
    } else {
        counted(l->op->forward, &call);
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct ddp_error err;
    if (argc != 3 || ddp_cpu_select(NULL, &err) != 0) {
        fprintf(stderr, "usage: count_kernels LAYER forward|backward\n");
        return 2;
    }
    for (size_t i = 0; i < DDP_COUNT(layers); i++)
        if (!strcmp(layers[i].name, argv[1]))
            return run(&layers[i], !strcmp(argv[2], "backward"));
    fprintf(stderr, "count_kernels: no layer %s\n", argv[1]);
    return 2;
}
