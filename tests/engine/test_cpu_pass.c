/* Running a model on the CPU: gradients, bits that must not depend on how it is run, empty and short shards,
 * synchronised batch norm, evaluation, the search for values that are not finite. */
#include "model/random_graph.h"
#include "passes.h"

#include <math.h>

#define CE "{type = \"softmax_cross_entropy\", name = \"loss\"}"

/* Everything at once: fused and lone activations, a residual with a second reader, pooling, dropout on
 * pictures and features, a flatten that copies (6 channels) or costs nothing (16). */
#define NET(C, ACT, POOL)                                                                                    \
    "{type = \"conv2d\", name = \"c1\", out = " C ", kernel = 3, padding = 1},"                              \
    "{type = \"batch_norm\", name = \"b1\"}, {type = \"" ACT "\", name = \"r1\"},"                           \
    "{type = \"conv2d\", name = \"c2\", out = " C ", kernel = 3, padding = 1, bias = false},"                \
    "{type = \"batch_norm\", name = \"b2\"},"                                                                \
    "{type = \"add\", name = \"a\", input = [\"b2\", \"r1\"]}, {type = \"" ACT "\", name = \"r2\"},"         \
    "{type = \"dropout\", name = \"d1\", p = 0.25}, {type = \"conv2d\", name = \"c3\", out = " C             \
    ", kernel = 3, stride = 2},"                                                                             \
    "{type = \"silu\"}, {type = \"" POOL "\", kernel = 2}, {type = \"dropout\", name = \"d2\", p = 0.25},"   \
    "{type = \"flatten\"}, {type = \"linear\", name = \"f1\", out = 20}, {type = \"" ACT                     \
    "\", name = \"r3\"},"                                                                                    \
    "{type = \"linear\", name = \"f2\", out = 5}, {type = \"softmax_cross_entropy\", name = \"loss\", "      \
    "label_smoothing = 0.1}"
#define TINY(C) NET(C, "relu", "max_pool")

/* Two residual blocks whose branches differ, so that batch norms compete for the add, and strides that leave
 * odd sides. */
#define BRANCHES                                                                                             \
    "{type = \"conv2d\", name = \"c0\", out = 16, kernel = 3, padding = 1, bias = false}, {type = "          \
    "\"batch_norm\", name = \"b0\"},"                                                                        \
    "{type = \"relu\", name = \"r0\"},"                                                                      \
    "{type = \"conv2d\", name = \"c1\", out = 24, kernel = 3, padding = 1, stride = 2}, {type = "            \
    "\"batch_norm\", name = \"b1\"},"                                                                        \
    "{type = \"conv2d\", name = \"s1\", out = 24, kernel = 1, stride = 2, input = \"r0\"}, {type = "         \
    "\"batch_norm\", name = \"t1\"},"                                                                        \
    "{type = \"add\", name = \"a1\", input = [\"b1\", \"t1\"]}, {type = \"relu\", name = \"r1\"},"           \
    "{type = \"conv2d\", name = \"c2\", out = 24, kernel = 3, padding = 1, groups = 3}, {type = "            \
    "\"batch_norm\", name = \"b2\"},"                                                                        \
    "{type = \"add\", name = \"a2\", input = [\"r1\", \"b2\"]},"                                             \
    "{type = \"avg_pool\", kernel = 2}, {type = \"conv2d\", name = \"c3\", out = 16, kernel = 3, padding = " \
    "1},"                                                                                                    \
    "{type = \"relu\", name = \"r3\"}, {type = \"global_avg_pool\"}, {type = \"flatten\"},"                  \
    "{type = \"linear\", name = \"f\", out = 5}, " CE

/* Convolutions that take a max_pool along, with ReLU and without, of even and odd sides, whose windows fit
 * the tiles' and do not, with features and pictures behind. */
#define POOLS                                                                                                \
    "{type = \"conv2d\", name = \"c0\", out = 16, kernel = 3, padding = 1},"                                 \
    "{type = \"conv2d\", name = \"c1\", out = 32, kernel = 3, padding = 1}, {type = \"relu\"},"              \
    "{type = \"max_pool\", kernel = 2},"                                                                     \
    "{type = \"conv2d\", name = \"c2\", out = 16, kernel = 3, padding = 2, bias = false},"                   \
    "{type = \"max_pool\", kernel = 2, stride = 2},"                                                         \
    "{type = \"conv2d\", name = \"c3\", out = 16, kernel = 3}, {type = \"relu\"},"                           \
    "{type = \"max_pool\", kernel = 2}, {type = \"dropout\", name = \"d\", p = 0.25}, {type = \"flatten\"}," \
    "{type = \"linear\", name = \"f\", out = 5}, " CE

static const struct {
    const char *layers;
    struct ddp_shape input;
} nets[] = {
    {POOLS, {2, 23, 27}},
    {TINY("6"), {3, 11, 11}},
    {TINY("16"), {1, 12, 12}},
    {BRANCHES, {3, 9, 10}},
    {NET("6", "gelu", "avg_pool"), {2, 10, 11}},
    {"{type = \"flatten\"}, {type = \"relu\"}, {type = \"linear\", name = \"f\", out = 4}, {type = \"mse\"}",
     {2, 3, 3}},
};
enum { NETS = sizeof nets / sizeof nets[0] };

static const float *tensor(const struct pass *p, const float *flat, const char *name)
{
    for (int i = 0; i < p->m->flat.ntensors; i++)
        if (strcmp(p->m->flat.tensor[i].name, name) == 0)
            return flat + p->m->flat.tensor[i].offset;
    fail_msg("no tensor %s", name);
    return NULL;
}

/* Same bits of loss, right answers and every tensor of every leaf; the layouts may differ in the order of
 * tensors. */
static void assert_same_pass(const struct pass *a, const struct pass *b, const char *what)
{
    for (int i = 0; i < a->nshards; i++) {
        if (memcmp(&a->loss[i], &b->loss[i], sizeof(float)) != 0)
            fail_msg("%s: loss of shard %d: %.9g and %.9g", what, i, a->loss[i], b->loss[i]);
        assert_int_equal(a->correct[i], b->correct[i]);
        for (int k = 0; k < a->m->flat.ntensors; k++) {
            const struct ddp_flat_tensor *t = &a->m->flat.tensor[k];
            if (memcmp(a->leaf[i] + t->offset, tensor(b, b->leaf[i], t->name), t->size * sizeof(float)) != 0)
                fail_msg("%s: leaf %d differs in %s", what, i, t->name);
        }
    }
}

/* ---- gradients ---- */

/* Of all shards; a synchronised model has them in memory together. */
static double total_loss(struct pass *p, struct ddp_cpu_pass *cpu)
{
    struct ddp_error err = {0};
    const int together = cpu->conf.resident;
    double sum = 0;
    int64_t count = 0;
    for (int i = 0; i < p->nshards; i++)
        count += p->shard[i].n;
    for (int i = 0; i < p->nshards; i += together) {
        float loss[MAX_SHARDS];
        int64_t correct[MAX_SHARDS];
        assert_int_equal(
            ddp_cpu_pass_forward(cpu, p->params, &p->shard[i], together, 3, count, loss, correct, &err), 0);
        for (int k = 0; k < together; k++)
            sum += loss[k];
    }
    return sum;
}

/* Along a random direction d in tensor k: (L(p + hd) - L(p - hd)) / 2h. */
static double quotient(struct pass *p, struct ddp_cpu_pass *cpu, const struct ddp_flat_tensor *t,
                       const float *d)
{
    float *w = p->params + t->offset, *old = malloc(t->size * sizeof *old);
    double square = 0, got = 0;
    memcpy(old, w, t->size * sizeof *w);
    for (int64_t j = 0; j < t->size; j++)
        square += (double)w[j] * w[j];
    const double h = square > 0 ? 0.01 * sqrt(square / ddp_layout_plain_size(&t->param)) : 0.002;
    for (int side = -1; side <= 1; side += 2) {
        for (int64_t j = 0; j < t->size; j++)
            w[j] = old[j] + (float)(side * h) * d[j];
        got += side * total_loss(p, cpu);
    }
    memcpy(w, old, t->size * sizeof *w);
    free(old);
    return got / (2 * h);
}

/* The gradient of every tensor against difference quotients, to within `part` of its norm. */
static void assert_gradient(const char *what, const struct ddp_model *m, double part)
{
    struct pass *p = pass_create(m, 2, (int[]){6, 5});
    struct ddp_error err = {0};
    struct ddp_cpu_pass *cpu;
    int shards = 2;
    const int resident = ddp_model_needs_sync(m) ? 2 : 1;
    const struct ddp_cpu_pass_conf conf = {
        .training = true, .resident = resident, .seed = 5, .sync = sum_leaves, .sync_ctx = &shards};
    assert_int_equal(ddp_cpu_pass_create(m, &conf, &cpu, &err), 0);
    pass_run(p, resident, NULL);
    for (int k = 0; k < m->flat.ntrained; k++) {
        const struct ddp_flat_tensor *t = &m->flat.tensor[k];
        const int64_t n = ddp_layout_plain_size(&t->param);
        float *plain = malloc(n * sizeof *plain), *d = malloc(t->size * sizeof *d);
        double want = 0, norm = 0;
        for (int64_t j = 0; j < n; j++)
            plain[j] = random_uniform((uint32_t)j, (uint32_t)(1000 + k));
        ddp_layout_pack(&t->param, plain, d);
        for (int64_t j = 0; j < t->size; j++) {
            double g = (double)p->leaf[0][t->offset + j] + p->leaf[1][t->offset + j];
            want += d[j] * g;
            norm += g * g;
        }
        const double got = quotient(p, cpu, t, d), margin = part * sqrt(norm) + 2e-3;
        if (!(fabs(got - want) <= margin))
            fail_msg("%s, %s: gradient %g, difference quotient %g, margin %g", what, t->name, want, got,
                     margin);
        free(plain);
        free(d);
    }
    ddp_cpu_pass_destroy(cpu);
    pass_destroy(p);
}

/* Where ReLU and max pooling are, the quotient jumps by whoever crosses zero between the two points: those
 * nets get a wider margin. */
static void test_cpu_pass_gradient_is_that_of_the_loss(void **state)
{
    (void)state;
    for (int net = 0; net < NETS; net++) {
        struct ddp_model *m = model_layers(nets[net].layers, nets[net].input, 6, 0);
        char what[32];
        snprintf(what, sizeof what, "net %d", net);
        assert_gradient(what, m, strstr(nets[net].layers, "relu") ? 0.1 : 0.005);
        ddp_model_destroy(m);
    }
}

static void test_cpu_pass_gradient_of_what_is_read_twice(void **state)
{
    (void)state;
    for (int i = 0; i < nread_twice; i++)
        for (unsigned flags = 0; flags <= DDP_BUILD_NO_FUSE; flags += DDP_BUILD_NO_FUSE) {
            struct ddp_model *m = model_layers(read_twice[i].layers, read_twice[i].input, 6, flags);
            assert_gradient(read_twice[i].layers, m, strstr(read_twice[i].layers, "relu") ? 0.1 : 0.01);
            ddp_model_destroy(m);
        }
}

static void test_cpu_pass_gradient_of_random_graphs(void **state)
{
    (void)state;
    for (uint32_t seed = 0; seed < 150; seed++) {
        struct ddp_shape input;
        const char *layers = random_graph(seed, RANDOM_SMOOTH | RANDOM_SYNC, &input);
        struct ddp_model *m = model_layers(layers, input, 6, 0);
        char what[8192];
        snprintf(what, sizeof what, "graph %u:\n%s\n", seed, layers);
        assert_gradient(what, m, 0.02);
        ddp_model_destroy(m);
        models_finish();
    }
}

static void test_cpu_pass_bits_do_not_depend_on_the_plan(void **state)
{
    (void)state;
    static const unsigned flags[] = {DDP_BUILD_NO_FUSE, DDP_BUILD_NO_ALIAS, DDP_BUILD_NO_REUSE,
                                     DDP_BUILD_NO_OVER,
                                     DDP_BUILD_NO_FUSE | DDP_BUILD_NO_ALIAS | DDP_BUILD_NO_REUSE};
    for (int net = 0; net <= NETS; net++) {
        struct ddp_model *m = net < NETS ? model_layers(nets[net].layers, nets[net].input, 4, 0)
                                         : model_named("resnet8", (struct ddp_shape){3, 18, 18}, 4, 0);
        struct pass *p = pass_create(m, 2, (int[]){4, 3});
        pass_run(p, 1, NULL);
        for (size_t f = 0; f < DDP_COUNT(flags); f++) {
            struct ddp_model *other =
                net < NETS ? model_layers(nets[net].layers, nets[net].input, 4, flags[f])
                           : model_named("resnet8", (struct ddp_shape){3, 18, 18}, 4, flags[f]);
            struct pass *q = pass_create(other, 2, (int[]){4, 3});
            char what[64];
            snprintf(what, sizeof what, "net %d, flags %u", net, flags[f]);
            pass_run(q, 1, NULL);
            assert_same_pass(p, q, what);
            pass_destroy(q);
            ddp_model_destroy(other);
        }
        pass_destroy(p);
        ddp_model_destroy(m);
    }
}

static void test_cpu_pass_bits_do_not_depend_on_residents_or_threads(void **state)
{
    (void)state;
    struct ddp_error err = {0};
    for (int net = 0; net < NETS; net++) {
        struct ddp_model *m = model_layers(nets[net].layers, nets[net].input, 4, 0);
        struct pass *p = pass_create(m, 4, (int[]){4, 2, 0, 3});
        struct pass *q = pass_create(m, 4, (int[]){4, 2, 0, 3});
        struct ddp_pool *pool;
        pass_run(p, 1, NULL);
        for (int resident = 2; resident <= 4; resident++) {
            pass_run(q, resident, NULL);
            assert_same_pass(p, q, "residents");
        }
        assert_int_equal(ddp_pool_create(2, NULL, 0, &pool, &err), 0);
        pass_run(q, 1, pool);
        assert_same_pass(p, q, "threads");
        ddp_pool_destroy(pool);
        pass_destroy(p);
        pass_destroy(q);
        ddp_model_destroy(m);
    }
}

/* Nothing is read that was not written before in the same pass: with all memory but zero borders full of nan,
 * the bits stay. */
static void poison(struct ddp_cpu_pass *cpu)
{
    struct ddp_cpu_resident *r = &cpu->res[0];
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < cpu->mem.nspans; i++) {
            const struct ddp_span *s = &cpu->mem.span[i];
            if (s->kind == DDP_SPAN_VALUE && cpu->plan->value[s->index].stage == DDP_DATA)
                continue;
            if (pass == 0) {
                memset(r->area + s->offset, 0xff, s->bytes);
                continue;
            }
            const struct ddp_tensor t = s->kind == DDP_SPAN_VALUE  ? r->value[s->index]
                                        : s->kind == DDP_SPAN_GRAD ? r->grad[s->index]
                                                                   : (struct ddp_tensor){0};
            for (int n = 0; t.halo && !cpu->dirty[i] && n < cpu->plan->batch; n++)
                for (int b = 0; b < ddp_blocks(t.c); b++)
                    for (int y = -t.halo; y < t.h + t.halo; y++)
                        for (int x = -t.halo; x < t.w + t.halo; x++)
                            if (y < 0 || y >= t.h || x < 0 || x >= t.w)
                                memset(ddp_at(&t, n, b, y, x), 0, DDP_CBLOCK * sizeof(float));
        }
    memset(cpu->scratch, 0xff, cpu->mem.scratch_bytes);
}

static void test_cpu_pass_reads_only_what_it_wrote(void **state)
{
    (void)state;
    struct ddp_error err = {0};
    for (int net = 0; net < NETS; net++) {
        struct ddp_model *m = model_layers(nets[net].layers, nets[net].input, 4, 0);
        struct pass *p = pass_create(m, 2, (int[]){4, 3}), *q = pass_create(m, 2, (int[]){4, 3});
        struct ddp_cpu_pass *cpu;
        pass_run(p, 1, NULL);
        assert_int_equal(
            ddp_cpu_pass_create(m, &(struct ddp_cpu_pass_conf){.training = true, .resident = 1, .seed = 5},
                                &cpu, &err),
            0);
        for (int i = 0; i < 2; i++) {
            poison(cpu);
            assert_int_equal(ddp_cpu_pass_forward(cpu, q->params, &q->shard[i], 1, 3, 7, &q->loss[i],
                                                  &q->correct[i], &err),
                             0);
            assert_int_equal(ddp_cpu_pass_backward(cpu, q->params, &q->leaf[i], 1, NULL, NULL, &err), 0);
        }
        assert_same_pass(p, q, "poisoned");
        ddp_cpu_pass_destroy(cpu);
        float loss[2][2], plain[2][4 * 5];
        int64_t correct;
        for (int k = 0; k < 2; k++) {
            assert_int_equal(
                ddp_cpu_pass_create(m, &(struct ddp_cpu_pass_conf){.resident = 1, .seed = 5}, &cpu, &err), 0);
            if (k)
                poison(cpu);
            for (int i = 0; i < 2; i++)
                assert_int_equal(
                    ddp_cpu_pass_forward(cpu, q->params, &q->shard[i], 1, 3, 7, &loss[k][i], &correct, &err),
                    0);
            memset(plain[k], 0, sizeof plain[k]);
            ddp_cpu_pass_output(cpu, 0, plain[k]);
            ddp_cpu_pass_destroy(cpu);
        }
        assert_memory_equal(loss[0], loss[1], sizeof loss[0]);
        assert_memory_equal(plain[0], plain[1], sizeof plain[0]);
        pass_destroy(p);
        pass_destroy(q);
        ddp_model_destroy(m);
    }
}

/* ---- shards ---- */

static void test_cpu_pass_writes_and_reports_every_block_once(void **state)
{
    (void)state;
    for (int net = 0; net < NETS; net++) {
        struct ddp_model *m = model_layers(nets[net].layers, nets[net].input, 4, 0);
        struct pass *p = pass_create(m, 3, (int[]){4, 0, 1});
        pass_run(p, 1, NULL); /* leaves start full of nan */
        for (int i = 0; i < 3; i++) {
            for (int64_t b = 0; b < m->flat.metrics / DDP_BLOCK; b++)
                assert_int_equal(p->reported[b * MAX_SHARDS + i], 1);
            for (int64_t k = 0; k < m->flat.metrics; k++) {
                assert_true(isfinite(p->leaf[i][k]));
                if (ddp_flat_find(&m->flat, k) < 0 || i == 1)
                    assert_true(p->leaf[i][k] == 0);
            }
        }
        assert_true(p->loss[0] > 0 && p->loss[1] == 0 && p->correct[1] == 0 && p->loss[2] > 0);
        pass_destroy(p);
        ddp_model_destroy(m);
    }
}

/* A shard of 2 in memory planned for 2 and for 6 gives the same, also after a full one. */
static void test_cpu_pass_takes_short_shards(void **state)
{
    (void)state;
    for (int net = 0; net < NETS; net++) {
        struct ddp_model *m = model_layers(nets[net].layers, nets[net].input, 2, 0);
        struct ddp_model *wide = model_layers(nets[net].layers, nets[net].input, 6, 0);
        struct pass *p = pass_create(m, 1, (int[]){2}), *q = pass_create(wide, 2, (int[]){2, 6});
        struct shard_pair {
            float loss;
            int64_t correct;
        } r;
        struct ddp_cpu_pass *cpu;
        struct ddp_error err = {0};
        pass_run(p, 1, NULL);
        assert_int_equal(
            ddp_cpu_pass_create(wide, &(struct ddp_cpu_pass_conf){.training = true, .resident = 1, .seed = 5},
                                &cpu, &err),
            0);
        for (int i = 1; i >= 0; i--) {
            assert_int_equal(
                ddp_cpu_pass_forward(cpu, q->params, &q->shard[i], 1, 3, 8, &r.loss, &r.correct, &err), 0);
            assert_int_equal(ddp_cpu_pass_backward(cpu, q->params, &q->leaf[i], 1, NULL, NULL, &err), 0);
            q->loss[i] = r.loss;
            q->correct[i] = r.correct;
        }
        assert_same_pass(p, q, "short");
        ddp_cpu_pass_destroy(cpu);
        pass_destroy(p);
        pass_destroy(q);
        ddp_model_destroy(m);
        ddp_model_destroy(wide);
    }
}

static void test_cpu_pass_steady_state_allocates_nothing(void **state)
{
    (void)state;
    struct ddp_error err = {0};
    struct ddp_model *m = model_layers(nets[0].layers, nets[0].input, 4, 0);
    struct pass *p = pass_create(m, 1, (int[]){4});
    struct ddp_cpu_pass *cpu;
    long before = ddp_alloc_count();
    assert_int_equal(
        ddp_cpu_pass_create(m, &(struct ddp_cpu_pass_conf){.training = true, .resident = 1}, &cpu, &err), 0);
    assert_true(ddp_alloc_count() > before);
    before = ddp_alloc_count();
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ddp_cpu_pass_forward(cpu, p->params, p->shard, 1, i, 4, p->loss, p->correct, &err),
                         0);
        assert_int_equal(ddp_cpu_pass_backward(cpu, p->params, p->leaf, 1, NULL, NULL, &err), 0);
    }
    assert_int_equal(ddp_alloc_count(), before);
    ddp_cpu_pass_destroy(cpu);
    pass_destroy(p);
    ddp_model_destroy(m);
}

/* ---- synchronised batch norm ---- */

#define SYNCED(sync)                                                                                         \
    "{type = \"conv2d\", name = \"c1\", out = 8, kernel = 3, padding = 1}, {type = \"batch_norm\", name = "  \
    "\"b1\"" sync "},"                                                                                       \
    "{type = \"relu\"}, {type = \"conv2d\", name = \"c2\", out = 8, kernel = 3, padding = 1},"               \
    "{type = \"batch_norm\", name = \"b2\"" sync                                                             \
    "}, {type = \"add\", input = [\"b2\", \"relu1\"]}, {type = \"relu\"},"                                   \
    "{type = \"global_avg_pool\"}, {type = \"flatten\"}, {type = \"linear\", name = \"f\", out = 5}, " CE

/* The same 6 samples as shards of 4, 0 and 2, synchronised, and as one shard: equal but for rounding. */
static void test_cpu_pass_sync_equals_one_shard(void **state)
{
    (void)state;
    struct ddp_model *many = model_layers(SYNCED(", sync = true"), (struct ddp_shape){2, 6, 6}, 4, 0);
    struct ddp_model *one = model_layers(SYNCED(""), (struct ddp_shape){2, 6, 6}, 6, 0);
    struct pass *p = pass_create(many, 3, (int[]){4, 0, 2}), *q = pass_create(one, 1, (int[]){6});
    assert_true(ddp_model_needs_sync(many));
    assert_false(ddp_model_needs_sync(one));
    pass_run(p, 3, NULL);
    pass_run(q, 1, NULL);
    assert_float_equal(p->loss[0] + p->loss[1] + p->loss[2], q->loss[0], 1e-4);
    assert_int_equal(p->correct[0] + p->correct[1] + p->correct[2], q->correct[0]);
    for (int k = 0; k < one->flat.ntensors; k++) {
        const struct ddp_flat_tensor *t = &one->flat.tensor[k];
        double scale = 0;
        for (int64_t j = 0; j < t->size; j++)
            scale = fmax(scale, fabs(q->leaf[0][t->offset + j]));
        for (int64_t j = t->offset; j < t->offset + t->size; j++) {
            double got = (double)p->leaf[0][j] + p->leaf[1][j] + p->leaf[2][j];
            if (fabs(got - q->leaf[0][j]) > 1e-4 * scale + 1e-4)
                fail_msg("%s[%lld]: %g synchronised, %g as one", t->name, (long long)(j - t->offset), got,
                         q->leaf[0][j]);
        }
    }
    for (int64_t b = 0; b < many->flat.metrics / DDP_BLOCK; b++)
        for (int i = 0; i < 3; i++)
            assert_int_equal(p->reported[b * MAX_SHARDS + i], 1);
    /* negative control: without synchronisation the shards differ from the whole */
    struct ddp_model *split = model_layers(SYNCED(""), (struct ddp_shape){2, 6, 6}, 4, 0);
    struct pass *r = pass_create(split, 3, (int[]){4, 0, 2});
    pass_run(r, 3, NULL);
    assert_true(fabs(r->loss[0] + r->loss[2] - q->loss[0]) > 1e-3);
    pass_destroy(r);
    pass_destroy(p);
    pass_destroy(q);
    ddp_model_destroy(split);
    ddp_model_destroy(many);
    ddp_model_destroy(one);
}

/* Shards of one sample, of none, and of two: the global batch decides whether its variance counts. */
static void test_cpu_pass_sync_variance_of_single_values(void **state)
{
    (void)state;
    static const int sizes[][3] = {{1, 1, 1}, {0, 0, 2}, {1, 0, 1}, {0, 0, 1}};
    const struct ddp_shape input = {5, 1, 1};
    for (size_t k = 0; k < DDP_COUNT(sizes); k++) {
        struct ddp_model *m =
            model_layers("{type=\"flatten\"}, {type=\"batch_norm\", sync=true, momentum=0.5},"
                         "{type=\"linear\", out=3}, {type=\"softmax_cross_entropy\"}",
                         input, 2, 0);
        struct pass *p = pass_create(m, 3, sizes[k]);
        const struct ddp_flat *f = &m->flat;
        const int64_t count = sizes[k][0] + sizes[k][1] + sizes[k][2];
        pass_run(p, 3, NULL);
        for (int64_t i = f->stats; i < f->metrics; i++)
            p->leaf[0][i] += p->leaf[1][i] + p->leaf[2][i];
        ddp_model_apply_stats(m, count, 3, f->stats, f->metrics, p->leaf[0] + f->stats, p->params);
        const struct ddp_flat_tensor *var = &f->tensor[f->ntensors - 1];
        assert_true(var->param.role == DDP_PARAM_RUNNING_VAR);
        for (int c = 0; c < input.c; c++) {
            double mean = 0, square = 0;
            for (int pass = 0; pass < 2; pass++)
                for (int s = 0; s < 3; s++)
                    for (int n = 0; n < sizes[k][s]; n++) {
                        const double x = p->shard[s].pixels[n * input.c + c];
                        if (pass == 0)
                            mean += x / (double)count;
                        else
                            square += (x - mean) * (x - mean);
                    }
            const double want = count < 2 ? 1 : 0.5 + 0.5 * square / (double)(count - 1);
            assert_true(fabs(p->params[var->offset + c] - want) < 1e-6);
        }
        pass_destroy(p);
        ddp_model_destroy(m);
        models_finish();
    }
}

static int refuse_sync(void *ctx, int width, const double *leaves, double *out, struct ddp_error *err)
{
    (void)ctx, (void)width, (void)leaves, (void)out;
    return ddp_fail(err, DDP_E_COMM, "rank 3 is gone");
}

static void test_cpu_pass_passes_on_a_failed_sync(void **state)
{
    (void)state;
    struct ddp_error err = {0};
    struct ddp_model *m = model_layers(SYNCED(", sync = true"), (struct ddp_shape){2, 6, 6}, 4, 0);
    struct pass *p = pass_create(m, 1, (int[]){4});
    struct ddp_cpu_pass *cpu = NULL;
    struct ddp_cpu_pass_conf conf = {.training = true, .resident = 1};
    assert_int_equal(ddp_cpu_pass_create(m, &conf, &cpu, &err), DDP_E_USAGE);
    assert_null(cpu);
    conf.sync = refuse_sync;
    err = (struct ddp_error){0};
    assert_int_equal(ddp_cpu_pass_create(m, &conf, &cpu, &err), 0);
    assert_int_equal(ddp_cpu_pass_forward(cpu, p->params, p->shard, 1, 0, 4, p->loss, p->correct, &err),
                     DDP_E_COMM);
    assert_non_null(strstr(err.text, "'b1'"));
    assert_non_null(strstr(err.text, "rank 3 is gone"));
    ddp_cpu_pass_destroy(cpu);
    pass_destroy(p);
    ddp_model_destroy(m);
}

/* ---- evaluation and mistakes ---- */

/* Without training there is no dropout (epochs do not matter) and batch norm uses the running statistics (a
 * sample does not matter to another). */
static void test_cpu_pass_evaluates_each_sample_alone(void **state)
{
    (void)state;
    struct ddp_error err = {0};
    struct ddp_model *m = model_layers(TINY("6"), (struct ddp_shape){3, 11, 11}, 4, 0);
    struct pass *p = pass_create(m, 1, (int[]){4});
    struct ddp_cpu_pass *cpu, *t;
    float whole, again, sum = 0, loss, out[4 * 5], single[5];
    int64_t correct, right = 0, all;
    assert_int_equal(ddp_cpu_pass_create(m, &(struct ddp_cpu_pass_conf){.resident = 1}, &cpu, &err), 0);
    assert_int_equal(ddp_cpu_pass_forward(cpu, p->params, p->shard, 1, 0, 4, &whole, &all, &err), 0);
    ddp_cpu_pass_output(cpu, 0, out);
    assert_int_equal(ddp_cpu_pass_forward(cpu, p->params, p->shard, 1, 9, 4, &again, &correct, &err), 0);
    assert_float_equal(whole, again, 0);
    for (int k = 0; k < 4; k++) {
        struct ddp_shard s = {.n = 1,
                              .pixels = p->shard[0].pixels + k * 363,
                              .label = p->shard[0].label + k,
                              .sample = p->shard[0].sample + k};
        int best = 0;
        assert_int_equal(ddp_cpu_pass_forward(cpu, p->params, &s, 1, 0, 1, &loss, &correct, &err), 0);
        ddp_cpu_pass_output(cpu, 0, single);
        assert_memory_equal(single, out + 5 * k, sizeof single);
        for (int c = 1; c < 5; c++)
            best = single[c] > single[best] ? c : best;
        assert_int_equal(correct, best == s.label[0]);
        sum += loss;
        right += correct;
    }
    assert_float_equal(sum, whole, 1e-5);
    assert_int_equal(right, all);
    /* negative control: in training epochs do matter */
    assert_int_equal(
        ddp_cpu_pass_create(m, &(struct ddp_cpu_pass_conf){.training = true, .resident = 1}, &t, &err), 0);
    assert_int_equal(ddp_cpu_pass_forward(t, p->params, p->shard, 1, 0, 4, &whole, &correct, &err), 0);
    assert_int_equal(ddp_cpu_pass_forward(t, p->params, p->shard, 1, 9, 4, &again, &correct, &err), 0);
    assert_true(whole != again);
    ddp_cpu_pass_destroy(t);
    ddp_cpu_pass_destroy(cpu);
    pass_destroy(p);
    ddp_model_destroy(m);
}

static void test_cpu_pass_says_its_bytes(void **state)
{
    (void)state;
    for (int net = 0; net < NETS; net++) {
        struct ddp_model *m = model_layers(nets[net].layers, nets[net].input, 5, 0);
        struct ddp_error err = {0};
        for (int training = 0; training < 2; training++) {
            struct ddp_cpu_pass *cpu;
            const struct ddp_cpu_pass_conf conf = {.training = training, .resident = 2};
            assert_int_equal(ddp_cpu_pass_create(m, &conf, &cpu, &err), 0);
            assert_int_equal(ddp_cpu_pass_bytes(m, 2, training), cpu->bytes);
            assert_true(cpu->bytes >= 2 * cpu->mem.shard_bytes);
            ddp_cpu_pass_destroy(cpu);
        }
        ddp_model_destroy(m);
    }
}

/* Losses and leaves of training, an evaluation in between, training: with pages of their own, or in turn on
 * the same. */
static void train_and_evaluate(const struct ddp_model *m, struct pass *p, struct ddp_cpu_pages *pages,
                               float loss[3], float **leaf)
{
    struct ddp_cpu_pass_conf conf = {.pages = pages, .training = true, .resident = 2, .seed = 5};
    struct ddp_cpu_pass *train, *eval;
    struct ddp_error err = {0};
    assert_int_equal(ddp_cpu_pass_create(m, &conf, &train, &err), 0);
    conf.training = false;
    conf.resident = 1;
    assert_int_equal(ddp_cpu_pass_create(m, &conf, &eval, &err), 0);
    for (int i = 0; i < 3; i++) {
        struct ddp_cpu_pass *cpu = i == 1 ? eval : train;
        assert_int_equal(
            ddp_cpu_pass_forward(cpu, p->params, p->shard, i == 1 ? 1 : 2, 0, 5, p->loss, p->correct, &err),
            0);
        loss[i] = p->loss[0];
        if (i != 1)
            assert_int_equal(ddp_cpu_pass_backward(cpu, p->params, leaf, 2, NULL, NULL, &err), 0);
    }
    ddp_cpu_pass_destroy(eval);
    ddp_cpu_pass_destroy(train);
}

static void test_cpu_pass_takes_turns_in_pages(void **state)
{
    (void)state;
    for (int net = 0; net < NETS; net++) {
        struct ddp_model *m = model_layers(nets[net].layers, nets[net].input, 3, 0);
        if (ddp_model_needs_sync(m)) {
            ddp_model_destroy(m);
            continue;
        }
        struct pass *p = pass_create(m, 2, (int[]){3, 2});
        struct ddp_error err = {0};
        struct ddp_cpu_pages pages;
        struct ddp_cpu_pass *none = NULL;
        const size_t bytes = (size_t)m->flat.total * sizeof(float);
        float own[3], shared[3], *want[2], *got[2];
        for (int i = 0; i < 2; i++) {
            want[i] = ddp_pages_alloc(bytes);
            got[i] = ddp_pages_alloc(bytes);
        }
        assert_int_equal(ddp_cpu_pages_init(&pages, ddp_cpu_pass_bytes(m, 2, true), &err), 0);
        train_and_evaluate(m, p, NULL, own, want);
        train_and_evaluate(m, p, &pages, shared, got);
        train_and_evaluate(m, p, &pages, shared, got); /* what others have left there is no matter */
        assert_memory_equal(own, shared, sizeof own);
        for (int i = 0; i < 2; i++) {
            assert_memory_equal(want[i], got[i], bytes);
            ddp_pages_free(want[i], bytes);
            ddp_pages_free(got[i], bytes);
        }
        pages.bytes--;
        const struct ddp_cpu_pass_conf large = {.pages = &pages, .training = true, .resident = 2};
        assert_int_equal(ddp_cpu_pass_create(m, &large, &none, &err), DDP_E_USAGE);
        assert_null(none);
        pages.bytes++;
        ddp_cpu_pages_finish(&pages);
        pass_destroy(p);
        ddp_model_destroy(m);
    }
}

static int dirty_borders(const struct ddp_model *m, size_t *shard_bytes)
{
    struct ddp_cpu_pass *cpu;
    struct ddp_error err = {0};
    int dirty = 0;
    assert_int_equal(ddp_cpu_pass_create(m, &(struct ddp_cpu_pass_conf){.resident = 1}, &cpu, &err), 0);
    for (int i = 0; i < cpu->mem.nspans; i++)
        dirty += cpu->dirty[i];
    *shard_bytes = cpu->mem.shard_bytes;
    ddp_cpu_pass_destroy(cpu);
    return dirty;
}

static void test_cpu_pass_tells_dirty_borders(void **state)
{
    (void)state;
    struct ddp_model *m = model_named("resnet18", (struct ddp_shape){3, 32, 32}, 2, 0);
    struct ddp_model *own = model_named("resnet18", (struct ddp_shape){3, 32, 32}, 2, DDP_BUILD_NO_REUSE);
    size_t shared, apart;
    assert_true(dirty_borders(m, &shared) > 0);
    assert_int_equal(dirty_borders(own, &apart), 0);
    assert_true(apart > 3 * shared);
    ddp_model_destroy(own);
    ddp_model_destroy(m);
}

static void test_cpu_pass_refuses_wrong_calls(void **state)
{
    (void)state;
    struct ddp_error err = {0};
    struct ddp_model *m = model_layers(nets[4].layers, nets[4].input, 2, 0);
    struct pass *p = pass_create(m, 2, (int[]){2, 3});
    struct ddp_cpu_pass *cpu = NULL;
    assert_int_equal(ddp_cpu_pass_create(m, &(struct ddp_cpu_pass_conf){.resident = 0}, &cpu, &err),
                     DDP_E_USAGE);
    assert_null(cpu);
    assert_int_equal(ddp_cpu_pass_create(m, &(struct ddp_cpu_pass_conf){.resident = 1}, &cpu, &err), 0);
    assert_int_equal(ddp_cpu_pass_forward(cpu, p->params, p->shard, 2, 0, 4, p->loss, p->correct, &err),
                     DDP_E_USAGE);
    assert_int_equal(ddp_cpu_pass_forward(cpu, p->params, p->shard + 1, 1, 0, 3, p->loss, p->correct, &err),
                     DDP_E_USAGE);
    assert_int_equal(ddp_cpu_pass_forward(cpu, p->params, p->shard, 1, 0, 2, p->loss, p->correct, &err), 0);
    assert_int_equal(ddp_cpu_pass_backward(cpu, p->params, p->leaf, 1, NULL, NULL, &err), DDP_E_USAGE);
    assert_int_equal(ddp_cpu_pass_forward(cpu, p->params + 1, p->shard, 1, 0, 2, p->loss, p->correct, &err),
                     DDP_E_USAGE);
    ddp_cpu_pass_destroy(cpu);
    ddp_cpu_pass_destroy(NULL);
    ddp_model_destroy(NULL);
    pass_destroy(p);
    ddp_model_destroy(m);
}

static void test_find_bad_names_the_first(void **state)
{
    (void)state;
    static const struct {
        const char *tensor; /* whose first element becomes value; NULL: a pixel does */
        float value;
        const char *says;
    } cases[] = {
        {NULL, NAN, "input 'data' at [n=1, c=2, y=3, x=4] is nan"},
        {NULL, INFINITY, "input 'data' at [n=1, c=2, y=3, x=4] is inf"},
        {"c2.weight", -INFINITY, "parameter 'c2.weight' holds -inf (1 of 324 elements are not finite)"},
        {"f1.bias", NAN, "parameter 'f1.bias' holds nan"},
        {"c2.weight", 3e38f, "output of layer '"},
        {"b1.weight", 1, "every parameter and output is finite"},
    };
    struct ddp_error err = {0};
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_model *m = model_layers(TINY("6"), (struct ddp_shape){3, 11, 11}, 2, 0);
        struct pass *p = pass_create(m, 1, (int[]){2});
        struct ddp_cpu_pass *cpu;
        char text[256];
        if (cases[i].tensor)
            *(float *)tensor(p, p->params, cases[i].tensor) = cases[i].value;
        else
            ((float *)p->shard[0].pixels)[((1 * 3 + 2) * 11 + 3) * 11 + 4] = cases[i].value;
        if (cases[i].value == 3e38f)
            *(float *)tensor(p, p->params, "b1.bias") = 1e3f;
        assert_int_equal(
            ddp_cpu_pass_create(m, &(struct ddp_cpu_pass_conf){.training = true, .resident = 1}, &cpu, &err),
            0);
        assert_int_equal(ddp_cpu_pass_forward(cpu, p->params, p->shard, 1, 0, 2, p->loss, p->correct, &err),
                         0);
        ddp_cpu_pass_find_bad(cpu, p->params, 0, text, sizeof text); /* before backward reuses their bytes */
        if (!strstr(text, cases[i].says))
            fail_msg("case %zu: %s, wanted %s", i, text, cases[i].says);
        ddp_cpu_pass_destroy(cpu);
        pass_destroy(p);
        ddp_model_destroy(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cpu_pass_gradient_is_that_of_the_loss),
        cmocka_unit_test(test_cpu_pass_gradient_of_what_is_read_twice),
        cmocka_unit_test(test_cpu_pass_gradient_of_random_graphs),
        cmocka_unit_test(test_cpu_pass_bits_do_not_depend_on_the_plan),
        cmocka_unit_test(test_cpu_pass_bits_do_not_depend_on_residents_or_threads),
        cmocka_unit_test(test_cpu_pass_reads_only_what_it_wrote),
        cmocka_unit_test(test_cpu_pass_writes_and_reports_every_block_once),
        cmocka_unit_test(test_cpu_pass_takes_short_shards),
        cmocka_unit_test(test_cpu_pass_steady_state_allocates_nothing),
        cmocka_unit_test(test_cpu_pass_sync_equals_one_shard),
        cmocka_unit_test(test_cpu_pass_sync_variance_of_single_values),
        cmocka_unit_test(test_cpu_pass_passes_on_a_failed_sync),
        cmocka_unit_test(test_cpu_pass_evaluates_each_sample_alone),
        cmocka_unit_test(test_cpu_pass_says_its_bytes),
        cmocka_unit_test(test_cpu_pass_takes_turns_in_pages),
        cmocka_unit_test(test_cpu_pass_tells_dirty_borders),
        cmocka_unit_test(test_cpu_pass_refuses_wrong_calls),
        cmocka_unit_test(test_find_bad_names_the_first),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    models_finish();
    return rc;
}
