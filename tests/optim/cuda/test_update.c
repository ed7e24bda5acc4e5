/* The update on the device against src/optim: the same sums and settings give the same bits in fp32. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"

#include "optim/update_kernels.h"
#include "emu.h"
#include "optim/private.h"
#include "optim/problem.h"
#include "reduce/tree.h"

enum { COUNT = 37, STEPS = 3 };

/* The problem's arrays on the device. */
struct device {
    struct ddp_gpu_update_args args;
    struct ddp_gpu_between_args between;
    struct ddp_gpu_step *step;
    float *sum, *average;
    const float **node; /* [1] */
    int32_t *merges;
};

static void *device_of(const void *host, size_t bytes)
{
    void *p = emu_alloc(bytes);
    assert_non_null(p);
    emu_copy_in(p, host, bytes);
    return p;
}

static void *zeros(size_t bytes)
{
    void *host = ddp_calloc(1, bytes), *p = device_of(host, bytes);
    free(host);
    return p;
}

static void write_settings(struct device *d, const struct problem *p)
{
    struct ddp_gpu_setting s[TENSORS];
    for (int i = 0; i < TENSORS; i++) {
        const struct ddp_flat_tensor *t = &p->tensor[i];
        int64_t end = i + 1 < TENSORS ? p->tensor[i + 1].offset : TRAINED;
        s[i] = (struct ddp_gpu_setting){.lr_scale = p->optim->setting[i].lr_scale,
                                        .weight_decay = p->optim->setting[i].weight_decay,
                                        .trust = p->optim->setting[i].trust,
                                        .adapt = p->optim->setting[i].adapt,
                                        .first_block = (int32_t)(t->offset / DDP_BLOCK),
                                        .blocks = (int32_t)((end - t->offset) / DDP_BLOCK),
                                        .end = t->offset + (t->size + 7) / 8 * 8};
    }
    emu_copy_in(d->between.setting, s, sizeof s);
}

static void device_start(struct device *d, struct problem *p, enum ddp_gpu_type type)
{
    const size_t bytes = TOTAL * sizeof(float);
    memset(d, 0, sizeof *d);
    int32_t one = 0;
    d->sum = zeros(bytes);
    d->node = device_of(&d->sum, sizeof d->sum);
    d->merges = device_of(&one, sizeof one);
    d->step = zeros(sizeof *d->step);
    struct ddp_gpu_setting *setting = zeros(TENSORS * sizeof *setting);
    const struct ddp_optim_plan *plan = &p->optim->plan;
    double *values = zeros(BLOCKS * DDP_VALUES * sizeof(double));
    double *factor = plan->pass[0].factor ? zeros(2 * sizeof(double)) : NULL;
    d->args = (struct ddp_gpu_update_args){
        .hi = TRAINED,
        .nodes = {1, d->node, d->merges},
        .sum = d->sum,
        .step = d->step,
        .factor = factor,
        .hyper = p->optim->hyper,
        .setting = setting,
        .tensor = device_of(p->optim->tensor, BLOCKS * sizeof(int32_t)),
        .params = device_of(p->params, bytes),
        .type = type,
        .weights = type == DDP_GPU_F32 ? NULL : zeros(TOTAL * 2),
        .values = values,
        .layout = plan->values,
    };
    for (int i = 0; i < plan->narrays; i++)
        if (plan->array[i] != DDP_OPTIM_AVERAGE)
            d->args.state[plan->array[i]] = zeros(bytes);
    d->average = plan->average ? device_of(p->params, bytes) : NULL;
    d->args.blend = plan->blend;
    d->between = (struct ddp_gpu_between_args){.values = values,
                                               .layout = plan->values,
                                               .blocks = BLOCKS,
                                               .step = d->step,
                                               .hyper = p->optim->hyper,
                                               .clip_norm = p->cfg.optim.clip_norm,
                                               .setting = setting,
                                               .ntensors = TENSORS,
                                               .factor = factor};
    write_settings(d, p);
}

static void device_finish(struct device *d)
{
    struct ddp_gpu_update_args *a = &d->args;
    for (int i = 0; i < DDP_OPTIM_ARRAYS; i++)
        emu_free(a->state[i]);
    emu_free(d->average), emu_free(a->params), emu_free(a->weights), emu_free(a->values);
    emu_free(d->between.setting), emu_free(d->between.factor), emu_free((void *)(uintptr_t)a->tensor);
    emu_free(d->sum), emu_free(d->step), emu_free(d->node), emu_free(d->merges);
}

static void device_begin(struct device *d, const struct problem *p, int64_t step, const float *sum)
{
    struct ddp_gpu_step s = {.step = step,
                             .count = COUNT,
                             .lr = p->optim->lr,
                             .bias1 = p->optim->bias1,
                             .bias2 = p->optim->bias2,
                             .first = step == 0};
    emu_copy_in(d->step, &s, sizeof s);
    emu_copy_in(d->sum, sum, TOTAL * sizeof *sum);
}

/* A stage of the optimizer's list over a range. */
static void device_run(const struct problem *p, const struct ddp_optim_pass *pass,
                       struct ddp_gpu_update_args a)
{
    const struct ddp_gpu_optim *kind = ddp_cuda_update_kernels.kind[p->cfg.optim.type];
    ddp_gpu_update *kernel = pass->stage >= 0 ? kind->stage[pass->stage] : NULL;
    a.leaves = pass->leaves;
    (kernel ? kernel : ddp_cuda_update_kernels.norms)(NULL, &a);
}

static void device_between(const struct problem *p, const struct ddp_optim_pass *pass,
                           struct ddp_gpu_between_args b)
{
    const struct ddp_gpu_optim *kind = ddp_cuda_update_kernels.kind[p->cfg.optim.type];
    b.decide = pass->factor;
    (pass->trust ? kind->trust : ddp_cuda_update_kernels.between)(NULL, &b);
}

/* The CPU's values of a stage for the device's, after seeing that the device's own are near them. */
static void take_values(struct device *d, const struct problem *p)
{
    double own[BLOCKS * DDP_VALUES];
    const int n = BLOCKS * p->optim->plan.values.stride;
    emu_copy_out(own, d->args.values, (size_t)n * sizeof *own);
    for (int i = 0; i < n; i++)
        assert_float_equal(own[i], p->values[i], 1e-5 * p->values[i]);
    emu_copy_in(d->args.values, p->values, (size_t)n * sizeof *own);
}

/* One step of both, the device's cut in two. */
static void both_step(struct device *d, struct problem *p, int64_t step)
{
    struct ddp_optim *o = p->optim;
    const struct ddp_optim_plan *plan = &o->plan;
    ddp_optim_begin(o, step, COUNT);
    problem_gradient(p, step);
    memset(p->values, 0, BLOCKS * DDP_VALUES * sizeof *p->values);
    device_begin(d, p, step, p->sum);
    emu_copy_in(d->args.values, p->values, BLOCKS * DDP_VALUES * sizeof *p->values);
    struct ddp_gpu_update_args part[2] = {d->args, d->args};
    part[0].hi = part[1].lo = 3 * DDP_BLOCK;
    part[1].sum += part[1].lo;

    for (int stage = 0; stage < plan->npasses; stage++) {
        const struct ddp_optim_pass *pass = &plan->pass[stage];
        for (int i = 0; i < 2; i++) {
            const float *in = part[i].sum;
            emu_copy_in(d->node, &in, sizeof in);
            part[i].nodes.n = stage == 0;
            part[i].average = stage + 1 == plan->npasses ? d->average : NULL;
            device_run(p, pass, part[i]);
        }
        ddp_optim_run(o, stage, 0, TRAINED, p->sum, p->values);
        if (stage + 1 == plan->npasses)
            break;
        take_values(d, p);
        device_between(p, pass, d->between);
        ddp_optim_between(o, stage, p->values, TOTAL / DDP_BLOCK);
        if (pass->factor) {
            double factor[2];
            emu_copy_out(factor, d->between.factor, sizeof factor);
            assert_true(factor[0] == o->factor);
            assert_true(factor[1] == o->norm);
        }
    }
    struct ddp_gpu_setting setting[TENSORS];
    emu_copy_out(setting, d->between.setting, sizeof setting);
    for (int i = 0; i < TENSORS; i++)
        assert_true(setting[i].trust == o->setting[i].trust);
}

static void same_bits(const char *what, const float *device, const float *host)
{
    static float got[TOTAL];
    emu_copy_out(got, device, sizeof got);
    for (int64_t i = 0; i < TRAINED; i++)
        if (memcmp(&got[i], &host[i], sizeof *got) != 0)
            fail_msg("%s: element %lld is %.9g, on the CPU %.9g", what, (long long)i, got[i], host[i]);
}

struct spec {
    const char *what;
    int64_t type;
    double momentum, dampening, weight_decay, clip_norm;
    bool nesterov, groups, centered;
};

static const struct spec specs[] = {
    {"sgd", DDP_OPTIM_SGD, 0, 0, 0, 0, false, false, false},
    {"sgd, decay, groups", DDP_OPTIM_SGD, 0, 0, 0.01, 0, false, true, false},
    {"sgd, momentum", DDP_OPTIM_SGD, 0.9, 0, 0.01, 0, false, false, false},
    {"sgd, dampening", DDP_OPTIM_SGD, 0.9, 0.3, 0.01, 0, false, true, false},
    {"sgd, nesterov", DDP_OPTIM_SGD, 0.9, 0, 0.01, 0, true, true, false},
    {"sgd, clipped", DDP_OPTIM_SGD, 0.9, 0, 0.01, 0.5, true, true, false},
    {"sgd, hardly clipped", DDP_OPTIM_SGD, 0.9, 0, 0.01, 1e6, false, false, false},
    {"adamw", DDP_OPTIM_ADAMW, 0, 0, 0.01, 0, false, false, false},
    {"adamw, clipped", DDP_OPTIM_ADAMW, 0, 0, 0.01, 0.5, false, true, false},
    {"adam", DDP_OPTIM_ADAM, 0, 0, 0.01, 0, false, true, false},
    {"adam, clipped", DDP_OPTIM_ADAM, 0, 0, 0.01, 0.5, false, false, false},
    {"rmsprop", DDP_OPTIM_RMSPROP, 0, 0, 0.01, 0, false, true, false},
    {"rmsprop, momentum, clipped", DDP_OPTIM_RMSPROP, 0.9, 0, 0.01, 0.5, false, false, false},
    {"rmsprop, centered", DDP_OPTIM_RMSPROP, 0, 0, 0.01, 0, false, false, true},
    {"rmsprop, all of it", DDP_OPTIM_RMSPROP, 0.9, 0, 0.01, 0.5, false, true, true},
    {"lars", DDP_OPTIM_LARS, 0, 0, 0.01, 0, false, false, false},
    {"lars, nesterov", DDP_OPTIM_LARS, 0.9, 0, 0.01, 0, true, true, false},
    {"lars, clipped", DDP_OPTIM_LARS, 0.9, 0.2, 0.01, 0.5, false, true, false},
    {"lamb", DDP_OPTIM_LAMB, 0, 0, 0.01, 0, false, true, false},
    {"lamb, clipped", DDP_OPTIM_LAMB, 0, 0, 0.01, 0.5, false, false, false},
};
enum { SPECS = sizeof specs / sizeof *specs };

static void start(struct problem *p, struct device *d, const struct spec *s, enum ddp_gpu_type type)
{
    problem_init(p);
    p->cfg.optim.type = s->type;
    p->cfg.optim.momentum = s->momentum;
    p->cfg.optim.dampening = s->dampening;
    p->cfg.optim.weight_decay = s->weight_decay;
    p->cfg.optim.clip_norm = s->clip_norm;
    p->cfg.optim.nesterov = s->nesterov;
    p->cfg.optim.centered = s->centered;
    p->cfg.optim.ema = s->groups ? 0.9 : 0;
    problem_start(p);
    ddp_optim_average_copy(p->optim, 0, TOTAL);
    if (s->groups) {
        p->optim->setting[1].lr_scale = 0.3;
        p->optim->setting[2].weight_decay = 0.2;
    }
    device_start(d, p, type);
}

static void test_update_has_the_cpus_bits(void **state)
{
    (void)state;
    for (int k = 0; k < SPECS; k++) {
        struct problem p;
        struct device d;
        start(&p, &d, &specs[k], DDP_GPU_F32);
        for (int step = 0; step < STEPS; step++) {
            emu_set_seed((uint64_t)(100 * k + step + 1));
            both_step(&d, &p, step);
            same_bits(specs[k].what, d.args.params, p.params);
            for (int i = 0; i < DDP_OPTIM_ARRAYS; i++)
                if (d.args.state[i])
                    same_bits(specs[k].what, d.args.state[i], p.optim->array[i]);
            if (d.average)
                same_bits(specs[k].what, d.average, ddp_optim_average(p.optim));
        }
        assert_int_equal(emu_faults(), 0);
        device_finish(&d);
        problem_finish(&p);
    }
}

/* What lies behind a tensor in its last block is never touched, whatever the sum says there. */
static void test_update_leaves_the_padding(void **state)
{
    (void)state;
    static float got[TOTAL];
    static uint16_t weights[TOTAL];
    for (int k = 0; k < SPECS; k++) {
        struct problem p;
        struct device d;
        start(&p, &d, &specs[k], DDP_GPU_BF16);
        struct ddp_gpu_update_args a = d.args;
        const struct ddp_optim_plan *plan = &p.optim->plan;
        double one[2] = {1, 0};
        ddp_optim_begin(p.optim, 0, COUNT);
        problem_gradient(&p, 0);
        for (int64_t i = 0; i < TRAINED; i++)
            if (ddp_flat_find(&p.flat, i) < 0)
                p.sum[i] = NAN;
        device_begin(&d, &p, 0, p.sum);
        if (a.factor)
            emu_copy_in(d.between.factor, one, sizeof one);
        for (int stage = 0; stage < plan->npasses; stage++) {
            a.nodes.n = stage == 0;
            device_run(&p, &plan->pass[stage], a);
        }
        emu_copy_out(weights, a.weights, sizeof weights);
        const float *arrays[1 + DDP_OPTIM_ARRAYS] = {a.params};
        memcpy(arrays + 1, a.state, sizeof a.state);
        for (int j = 0; j < 1 + DDP_OPTIM_ARRAYS; j++) {
            if (!arrays[j])
                continue;
            emu_copy_out(got, arrays[j], sizeof got);
            for (int64_t i = 0; i < TRAINED; i++) {
                bool inside = ddp_flat_find(&p.flat, i) >= 0;
                assert_true(inside || got[i] == 0);
                uint32_t bits;
                memcpy(&bits, &got[i], sizeof bits);
                if (j == 0)
                    assert_int_equal(weights[i], (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16));
            }
        }
        double v[BLOCKS * DDP_VALUES];
        emu_copy_out(v, a.values, sizeof v);
        for (int b = 0; b < BLOCKS * plan->values.stride; b++)
            assert_true(isfinite(v[b]));
        assert_int_equal(emu_faults(), 0);
        device_finish(&d);
        problem_finish(&p);
    }
}

/* Any order of threads and blocks: the same values, factors and parameters. */
static void test_update_does_not_depend_on_order(void **state)
{
    (void)state;
    static float got[TOTAL], want[TOTAL];
    double v[2][BLOCKS * DDP_VALUES];
    const struct spec *lars = &specs[11];
    for (int seed = 1; seed <= 8; seed++) {
        struct problem p;
        struct device d;
        start(&p, &d, lars, DDP_GPU_F32);
        emu_set_seed((uint64_t)seed);
        ddp_optim_begin(p.optim, 0, COUNT);
        problem_gradient(&p, 0);
        device_begin(&d, &p, 0, p.sum);
        device_run(&p, &p.optim->plan.pass[0], d.args);
        device_between(&p, &p.optim->plan.pass[0], d.between);
        d.args.nodes.n = 0;
        device_run(&p, &p.optim->plan.pass[1], d.args);
        emu_copy_out(seed == 1 ? want : got, d.args.params, sizeof got);
        emu_copy_out(v[seed > 1], d.args.values, sizeof v[0]);
        if (seed > 1) {
            assert_memory_equal(got, want, sizeof got);
            assert_memory_equal(v[0], v[1], sizeof v[0]);
        }
        assert_int_equal(emu_faults(), 0);
        device_finish(&d);
        problem_finish(&p);
    }
}

/* Between over many blocks: the canonical tree over block numbers, to the bit. */
static void test_between_adds_blocks_by_the_canonical_tree(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 2, 3, 5, 31, 33, 255, 256, 257, 1000, 1025};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        const int64_t n = sizes[k];
        double *v = ddp_calloc((size_t)n * 4, sizeof *v), factor[2];
        for (int64_t i = 0; i < 4 * n; i++)
            v[i] = ddp_uniform(ddp_philox4((uint32_t)i, 0, 0, 3, 7).v[0]) * (i % 5 ? 1e-9 : 1e9);
        struct ddp_gpu_step step = {.count = 10};
        struct ddp_gpu_setting s[2] = {{.adapt = 1, .blocks = (int32_t)n, .trust = 1},
                                       {.adapt = 1, .first_block = (int32_t)(n / 2), .trust = 1}};
        s[1].blocks = (int32_t)n - s[1].first_block;
        struct ddp_gpu_between_args a = {.values = device_of(v, (size_t)n * 4 * sizeof *v),
                                         .layout = {4, {0, 1, 2, 3}},
                                         .blocks = n,
                                         .step = device_of(&step, sizeof step),
                                         .decide = true,
                                         .clip_norm = 1e-3,
                                         .setting = device_of(s, sizeof s),
                                         .ntensors = 2,
                                         .factor = zeros(sizeof factor)};
        ddp_cuda_lamb.trust(NULL, &a);
        emu_copy_out(factor, a.factor, sizeof factor);
        emu_copy_out(s, a.setting, sizeof s);
        double norm = sqrt(ddp_optim_tree(v, 4, 0, n)) / 10;
        assert_true(factor[1] == norm);
        assert_true(factor[0] == 1e-3 / (norm + 1e-6));
        for (int i = 0; i < 2; i++)
            assert_true(s[i].trust == sqrt(ddp_optim_tree(v + 1, 4, s[i].first_block, n)) /
                                          sqrt(ddp_optim_tree(v + 2, 4, s[i].first_block, n)));
        assert_int_equal(emu_faults(), 0);
        emu_free((void *)(uintptr_t)a.values), emu_free((void *)(uintptr_t)a.step);
        emu_free(a.setting), emu_free(a.factor);
        free(v);
    }
}

/* Leaves of S shards as the nodes of N ranks, elements over three blocks. */
static void test_norms_sum_by_the_canonical_tree(void **state)
{
    (void)state;
    enum { MOST = 16, SIZE = 3 * DDP_BLOCK };
    static float leaf[MOST * SIZE], work[MOST * SIZE], want[SIZE], got[SIZE];
    for (int64_t i = 0; i < MOST * SIZE; i++)
        leaf[i] = ddp_uniform(ddp_philox4((uint32_t)i, 0, 0, 1, 7).v[0]) * (i % 7 ? 1 : 1000);
    struct ddp_gpu_setting s = {.lr_scale = 1, .trust = 1, .blocks = 3, .end = SIZE};
    struct ddp_gpu_step step = {.count = 1, .lr = 1, .first = 1};
    int32_t tensor[3] = {0, 0, 0};
    struct ddp_gpu_update_args a = {.hi = SIZE,
                                    .step = device_of(&step, sizeof step),
                                    .setting = device_of(&s, sizeof s),
                                    .tensor = device_of(tensor, sizeof tensor),
                                    .params = zeros(sizeof got),
                                    .sum = emu_alloc(sizeof got),
                                    .values = zeros(3 * 4 * sizeof(double))};
    for (int shards = 1; shards <= MOST; shards++) {
        memcpy(work, leaf, (size_t)shards * sizeof got);
        ddp_tree_sum_float(shards, SIZE, work, want);
        for (int ranks = 1; ranks <= shards; ranks++) {
            const float *node[MOST];
            int32_t merges[MOST];
            int n = 0;
            for (int r = 0; r < ranks; r++) {
                struct ddp_tree_node nodes[DDP_TREE_MAX_NODES], before[DDP_TREE_MAX_NODES];
                int k = ddp_tree_cover(shards, ddp_tree_first_shard(shards, ranks, r),
                                       ddp_tree_first_shard(shards, ranks, r + 1), nodes);
                for (int i = 0; i < k; i++, n++) {
                    int under = nodes[i].hi - nodes[i].lo;
                    memcpy(work, leaf + (int64_t)nodes[i].lo * SIZE, (size_t)under * sizeof got);
                    ddp_tree_sum_float(under, SIZE, work, got);
                    node[n] = device_of(got, sizeof got);
                    merges[n] = ddp_tree_cover(shards, 0, nodes[i].lo, before) + 1 -
                                ddp_tree_cover(shards, 0, nodes[i].hi, before);
                }
            }
            a.nodes =
                (struct ddp_gpu_nodes){n, device_of(node, sizeof node), device_of(merges, sizeof merges)};
            ddp_cuda_norms(NULL, &a);
            emu_copy_out(got, a.sum, sizeof got);
            if (memcmp(got, want, sizeof got) != 0)
                fail_msg("%d shards on %d ranks: another sum", shards, ranks);
            emu_copy_in(a.params, memset(got, 0, sizeof got), sizeof got);
            ddp_cuda_sgd.stage[0](NULL, &a);
            emu_copy_out(got, a.params, sizeof got);
            for (int i = 0; i < SIZE; i++)
                assert_true(got[i] == -want[i]);
            for (int i = 0; i < n; i++)
                emu_free((void *)(uintptr_t)node[i]);
            emu_free((void *)(uintptr_t)a.nodes.node), emu_free((void *)(uintptr_t)a.nodes.merges);
        }
    }
    assert_int_equal(emu_faults(), 0);
    emu_free(a.params), emu_free(a.sum), emu_free(a.values);
    emu_free((void *)(uintptr_t)a.step), emu_free((void *)(uintptr_t)a.setting);
    emu_free((void *)(uintptr_t)a.tensor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_update_has_the_cpus_bits),
        cmocka_unit_test(test_update_leaves_the_padding),
        cmocka_unit_test(test_update_does_not_depend_on_order),
        cmocka_unit_test(test_between_adds_blocks_by_the_canonical_tree),
        cmocka_unit_test(test_norms_sum_by_the_canonical_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
