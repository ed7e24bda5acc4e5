/* Batch norm against its definition in double: values, gradients by differences, statistics and their leaves,
 * fused add and ReLU, and statistics over several shards. */
#include "op_kit.h"

#include <math.h>

struct conf { /* as batch_norm.c reads it */
    double eps, momentum;
    bool affine, sync;
};

/* A reference layer over n samples. x holds in[0], then in[1] when add. */
struct norm {
    const struct conf *conf;
    struct ddp_shape s;
    int n;
    bool add, relu;
    const float *weight, *bias;
};

static void moments_of(const struct norm *l, const double *x, int c, double *mean, double *var)
{
    int pixels = l->s.h * l->s.w;
    *mean = *var = 0;
    for (int n = 0; n < l->n; n++)
        for (int q = 0; q < pixels; q++)
            *mean += x[((int64_t)n * l->s.c + c) * pixels + q] / (l->n * pixels);
    for (int n = 0; n < l->n; n++)
        for (int q = 0; q < pixels; q++) {
            double d = x[((int64_t)n * l->s.c + c) * pixels + q] - *mean;
            *var += d * d / (l->n * pixels);
        }
}

static void norm_of(const void *ctx, const double *x, double *y)
{
    const struct norm *l = ctx;
    int pixels = l->s.h * l->s.w;
    int64_t half = (int64_t)l->n * l->s.c * pixels;
    for (int c = 0; c < l->s.c; c++) {
        double mean, var;
        moments_of(l, x, c, &mean, &var);
        for (int n = 0; n < l->n; n++)
            for (int q = 0; q < pixels; q++) {
                int64_t i = ((int64_t)n * l->s.c + c) * pixels + q;
                double z = (x[i] - mean) / sqrt(var + l->conf->eps);
                if (l->conf->affine)
                    z = z * l->weight[c] + l->bias[c];
                if (l->add)
                    z += x[half + i];
                y[i] = l->relu && z < 0 ? 0 : z;
            }
    }
}

/* Gradients of weight and bias: linear in both, so by the values of xhat. */
static void param_grads(const struct norm *l, const double *x, const float *dout, double *dw, double *db)
{
    int pixels = l->s.h * l->s.w;
    int64_t half = (int64_t)l->n * l->s.c * pixels;
    for (int c = 0; c < l->s.c; c++) {
        double mean, var;
        moments_of(l, x, c, &mean, &var);
        dw[c] = db[c] = 0;
        for (int n = 0; n < l->n; n++)
            for (int q = 0; q < pixels; q++) {
                int64_t i = ((int64_t)n * l->s.c + c) * pixels + q;
                double xhat = (x[i] - mean) / sqrt(var + l->conf->eps);
                double z = xhat * l->weight[c] + l->bias[c] + (l->add ? x[half + i] : 0);
                double g = l->relu && z <= 0 ? 0 : dout[i];
                dw[c] += g * xhat;
                db[c] += g;
            }
    }
}

enum { WEIGHT, BIAS, MEAN, VAR, PARAMS };

struct params {
    float *v[PARAMS];
};

static struct params params_of(int c)
{
    return (struct params){{kit_random(c, 0.5f, 1.5f, 11), kit_random(c, -0.5f, 0.5f, 12),
                            kit_random(c, -1, 1, 13), kit_random(c, 0.5f, 2, 14)}};
}

static void use_params(struct kit_args *a, const struct conf *conf, const struct params *p)
{
    for (int i = 0; i < PARAMS; i++)
        a->param[i] = p->v[i];
    if (!conf->affine) {
        a->param[0] = p->v[MEAN];
        a->param[1] = p->v[VAR];
    }
}

static void free_params(struct params *p)
{
    for (int i = 0; i < PARAMS; i++)
        free(p->v[i]);
}

static void check_padding(const struct kit_result *r, int c, bool affine)
{
    for (int i = 0; i < r->nparams; i++)
        for (int k = c; k < r->c16; k++)
            assert_true((affine && i < 2 ? r->grad[i][k] : r->leaf[i][k]) == 0);
}

static const struct ddp_shape shapes[] = {{1, 4, 4},  {3, 5, 7}, {10, 1, 1}, {16, 2, 3},
                                          {20, 3, 2}, {2, 9, 9}, {1, 2, 70}};

static void test_batch_norm_forward_and_backward(void **state)
{
    (void)state;
    for (size_t s = 0; s < DDP_COUNT(shapes); s++)
        for (int fused = 0; fused < 4; fused++)
            for (int mode = 0; mode < 3; mode++) { /* 0 write, 1 accumulate, 2 not affine */
                struct conf conf = {1e-5, 0.1, mode != 2, false};
                struct kit_args a = {.op = &ddp_op_batch_norm,
                                     .conf = &conf,
                                     .in = shapes[s],
                                     .batch = 4,
                                     .n = 3,
                                     .fused = (unsigned)fused};
                bool add = fused & DDP_FUSE_ADD;
                a.nin = add ? 2 : 1;
                int64_t n = 3 * (int64_t)a.in.c * a.in.h * a.in.w, count = n / a.in.c, nx = add ? 2 * n : n;
                struct params p = params_of(a.in.c);
                struct norm l = {&conf, a.in, 3, add, fused & DDP_FUSE_RELU, p.v[WEIGHT], p.v[BIAS]};
                float *x = kit_random(2 * n, -1, 3, 1), *dout = kit_random(n, -1, 1, 2),
                      *before = kit_random(2 * n, -1, 1, 3);
                double *wide = kit_widen(x, 2 * n), *y = malloc((size_t)n * 8), *dx = malloc((size_t)nx * 8);
                double *dw = malloc((size_t)a.in.c * 8), *db = malloc((size_t)a.in.c * 8);
                norm_of(&l, wide, y);
                kit_differences(norm_of, &l, wide, nx, dout, n, dx);
                use_params(&a, &conf, &p);
                a.x[0] = x;
                a.x[1] = x + n;
                a.dout = dout;
                for (int i = 0; mode == 1 && i < a.nin; i++)
                    a.before[i] = before + i * n;
                for (int64_t i = 0; mode == 1 && i < nx; i++)
                    dx[i] += before[i];
                struct kit_result r;
                kit_run_all(&a, &r);
                kit_close_to("y", r.y, y, n, 1e-6, 1);
                kit_close_to("dx", r.dx[0], dx, n, 3e-6, 1);
                if (add)
                    kit_close_to("dadd", r.dx[1], dx + n, n, 3e-6, 1);
                if (conf.affine) {
                    param_grads(&l, wide, dout, dw, db);
                    kit_close_to("dweight", r.grad[0], dw, a.in.c, 1e-6, 1);
                    kit_close_to("dbias", r.grad[1], db, a.in.c, 1e-6, 1);
                }
                int at = conf.affine ? 2 : 0;
                for (int c = 0; c < a.in.c; c++) {
                    double mean, var, leaf[2];
                    moments_of(&l, wide, c, &mean, &var);
                    leaf[0] = (double)count * mean;
                    leaf[1] = (double)count * var * (double)count / (double)(count - 1);
                    kit_close_to("mean leaf", &r.leaf[at][c], &leaf[0], 1, 1e-6, 1);
                    kit_close_to("var leaf", &r.leaf[at + 1][c], &leaf[1], 1, 1e-6, 1);
                }
                check_padding(&r, a.in.c, conf.affine);
                kit_free(&r);
                free_params(&p);
                free(x);
                free(dout);
                free(before);
                free(wide);
                free(y);
                free(dx);
                free(dw);
                free(db);
            }
}

static void test_batch_norm_evaluates_with_running_statistics(void **state)
{
    (void)state;
    for (size_t s = 0; s < DDP_COUNT(shapes); s++)
        for (int mode = 0; mode < 4; mode++) {
            struct conf conf = {1e-3, 0.1, mode & 1, mode & 2};
            struct kit_args a = {.op = &ddp_op_batch_norm,
                                 .conf = &conf,
                                 .in = shapes[s],
                                 .batch = 4,
                                 .n = 3,
                                 .evaluate = true,
                                 .fused = DDP_FUSE_ADD | DDP_FUSE_RELU,
                                 .nin = 2};
            int pixels = a.in.h * a.in.w;
            int64_t n = 3 * (int64_t)a.in.c * pixels;
            struct params p = params_of(a.in.c);
            float *x = kit_random(2 * n, -1, 3, 1);
            double *y = malloc((size_t)n * 8);
            for (int64_t i = 0; i < n; i++) {
                int c = (int)(i / pixels % a.in.c);
                double z = (x[i] - p.v[MEAN][c]) / sqrt(p.v[VAR][c] + conf.eps);
                z = (conf.affine ? z * p.v[WEIGHT][c] + p.v[BIAS][c] : z) + x[n + i];
                y[i] = z > 0 ? z : 0;
            }
            use_params(&a, &conf, &p);
            a.x[0] = x;
            a.x[1] = x + n;
            struct kit_result r;
            kit_run_all(&a, &r);
            kit_close_to("y", r.y, y, n, 1e-6, 1);
            kit_free(&r);
            free_params(&p);
            free(x);
            free(y);
        }
}

/* A mean 10,000 times the deviation: statistics keep all digits that the input has, as the CPU's mean is two
 * floats. The device's is one. */
static void test_batch_norm_keeps_digits_at_a_large_mean(void **state)
{
    (void)state;
    kit_cpu_only();
    struct conf conf = {1e-5, 0.1, true, false};
    struct kit_args a = {.op = &ddp_op_batch_norm, .conf = &conf, .in = {3, 20, 20}, .batch = 4, .n = 4};
    int64_t n = 4 * 3 * 400;
    struct params p = params_of(3);
    float *x = kit_random(n, 9999, 10001, 1), *dout = kit_random(n, -1, 1, 2);
    double *wide = kit_widen(x, n), *y = malloc((size_t)n * 8);
    struct norm l = {&conf, a.in, 4, false, false, p.v[WEIGHT], p.v[BIAS]};
    norm_of(&l, wide, y);
    use_params(&a, &conf, &p);
    a.x[0] = x;
    a.dout = dout;
    struct kit_result r;
    kit_run_all(&a, &r);
    kit_close_to("y", r.y, y, n, 1e-6, 1);
    double dw[3], db[3];
    param_grads(&l, wide, dout, dw, db);
    kit_close_to("dweight", r.grad[0], dw, 3, 1e-6, 10);
    for (int c = 0; c < 3; c++) {
        double mean, var, leaf;
        moments_of(&l, wide, c, &mean, &var);
        leaf = 1600 * var * 1600 / 1599;
        kit_close_to("var leaf", &r.leaf[3][c], &leaf, 1, 1e-6, 0);
    }
    kit_free(&r);
    free_params(&p);
    free(x);
    free(dout);
    free(wide);
    free(y);
}

static void test_batch_norm_of_small_shards(void **state)
{
    (void)state;
    struct conf conf = {1e-5, 0.1, true, false};
    struct params p = params_of(10);
    float *x = kit_random(20, 1, 2, 1), *dout = kit_random(20, 1, 2, 2);
    for (int n = 0; n <= 2; n++) {
        struct kit_args a = {.op = &ddp_op_batch_norm,
                             .conf = &conf,
                             .in = {10, 1, 1},
                             .batch = 2,
                             .n = n,
                             .x = {x},
                             .dout = dout};
        use_params(&a, &conf, &p);
        struct kit_result r;
        kit_run_all(&a, &r);
        for (int c = 0; c < 10; c++) {
            assert_true((r.grad[1][c] != 0) == (n > 0)); /* dbias */
            assert_true((r.leaf[2][c] != 0) == (n > 0)); /* count * mean */
            assert_true((r.leaf[3][c] != 0) == (n > 1)); /* count * var: two elements at least */
            if (n == 1) {
                assert_true(r.leaf[2][c] == x[c] && r.y[c] == p.v[BIAS][c]);
                /* the device rounds the mean of dz, times weight / sqrt(eps) < 500, before it takes it off */
                assert_true(r.grad[0][c] == 0 &&
                            fabsf(r.dx[0][c]) <= (kit_on_device() ? 0x1p-24f * 1000 : 0));
            }
            if (n == 0)
                assert_true(r.grad[0][c] == 0);
        }
        check_padding(&r, 10, true);
        kit_free(&r);
    }
    free_params(&p);
    free(x);
    free(dout);
}

enum { SHARDS = 4 };

/* Shards of unequal sizes, an empty one among them, against one batch in double. */
static void run_shards(const struct ddp_shape s, unsigned fused, const struct kit_variant *v,
                       struct kit_result r[SHARDS], bool check)
{
    static const int sizes[SHARDS] = {3, 0, 1, 2};
    enum { TOTAL = 6 };
    struct conf conf = {1e-5, 0.1, true, true};
    struct params p = params_of(s.c);
    int64_t each = (int64_t)s.c * s.h * s.w, n = TOTAL * each;
    bool add = fused & DDP_FUSE_ADD;
    float *x = kit_random(2 * n, -1, 3, 1), *dout = kit_random(n, -1, 1, 2);
    struct kit k[SHARDS];
    int width = 2 * ddp_blocks(s.c) * 16;
    double *sum = calloc((size_t)width, sizeof *sum);
    for (int i = 0, from = 0; i < SHARDS; from += sizes[i++]) {
        struct kit_args a = {.op = &ddp_op_batch_norm,
                             .conf = &conf,
                             .in = s,
                             .batch = 3,
                             .n = sizes[i],
                             .fused = fused,
                             .nin = add ? 2 : 1,
                             .sync_count = TOTAL,
                             .x = {x + from * each, x + n + from * each},
                             .dout = dout + from * each};
        use_params(&a, &conf, &p);
        kit_open(&k[i], &a, v);
        assert_int_equal(k[i].plan.sync_doubles, width);
        ddp_op_batch_norm.forward_stats(&k[i].call);
        for (int j = 0; j < width; j++)
            sum[j] += k[i].sync[j];
    }
    for (int i = 0; i < SHARDS; i++) {
        memcpy(k[i].sync, sum, (size_t)width * sizeof *sum);
        kit_forward(&k[i]);
    }
    memset(sum, 0, (size_t)width * sizeof *sum);
    for (int i = 0; i < SHARDS; i++) {
        ddp_op_batch_norm.backward_stats(&k[i].call);
        for (int j = 0; j < width; j++)
            sum[j] += k[i].sync[j];
    }
    for (int i = 0; i < SHARDS; i++) {
        memcpy(k[i].sync, sum, (size_t)width * sizeof *sum);
        kit_backward(&k[i]);
        kit_close(&k[i], &r[i]);
    }
    if (check) {
        struct norm l = {&conf, s, TOTAL, add, fused & DDP_FUSE_RELU, p.v[WEIGHT], p.v[BIAS]};
        int64_t nx = add ? 2 * n : n;
        double *wide = kit_widen(x, 2 * n), *y = malloc((size_t)n * 8), *dx = malloc((size_t)nx * 8);
        double *want = malloc((size_t)s.c * 16);
        norm_of(&l, wide, y);
        kit_differences(norm_of, &l, wide, nx, dout, n, dx);
        param_grads(&l, wide, dout, want, want + s.c);
        for (int i = 0, from = 0; i < SHARDS; from += sizes[i++]) {
            kit_close_to("y", r[i].y, y + from * each, sizes[i] * each, 1e-6, 1);
            kit_close_to("dx", r[i].dx[0], dx + from * each, sizes[i] * each, 3e-6, 1);
            if (add)
                kit_close_to("dadd", r[i].dx[1], dx + n + from * each, sizes[i] * each, 3e-6, 1);
            check_padding(&r[i], s.c, true);
        }
        for (int c = 0; c < s.c; c++) {
            double mean, var;
            float dw = 0, db = 0, leaf_mean = 0, leaf_var = 0;
            int64_t count = 0;
            moments_of(&l, wide, c, &mean, &var);
            for (int i = 0; i < SHARDS; i++) {
                int64_t own = (int64_t)sizes[i] * s.h * s.w;
                dw += r[i].grad[0][c];
                db += r[i].grad[1][c];
                leaf_mean += r[i].leaf[2][c];
                leaf_var += r[i].leaf[3][c];
                count += own;
            }
            kit_close_to("dweight", &dw, &want[c], 1, 2e-6, 1);
            kit_close_to("dbias", &db, &want[s.c + c], 1, 2e-6, 1);
            leaf_mean /= (float)count;
            leaf_var /= (float)count; /* a shard of one element takes part */
            var *= (double)count / (double)(count - 1);
            kit_close_to("running mean", &leaf_mean, &mean, 1, 1e-6, 1);
            kit_close_to("running var", &leaf_var, &var, 1, 2e-6, 1);
        }
        free(wide);
        free(y);
        free(dx);
        free(want);
    }
    free_params(&p);
    free(x);
    free(dout);
    free(sum);
}

static void test_batch_norm_sync_is_one_batch(void **state)
{
    (void)state;
    kit_cpu_only();
    const char *isa[4];
    int isas = kit_isas(isa);
    for (size_t s = 0; s < DDP_COUNT(shapes); s++)
        for (unsigned fused = 0; fused < 4; fused++) {
            struct kit_result first[SHARDS], other[SHARDS];
            run_shards(shapes[s], fused, &(struct kit_variant){0}, first, true);
            for (int i = 0; i < isas; i++) {
                run_shards(shapes[s], fused, &(struct kit_variant){isa[i], i, i & 1, i > 1, i}, other, false);
                for (int k = 0; k < SHARDS; k++) {
                    assert_memory_equal(first[k].y, other[k].y, (size_t)first[k].ny * 4);
                    assert_memory_equal(first[k].dx[0], other[k].dx[0], (size_t)first[k].nx[0] * 4);
                    for (int p = 0; p < 2; p++) {
                        assert_memory_equal(first[k].grad[p], other[k].grad[p], (size_t)first[k].c16 * 4);
                        assert_memory_equal(first[k].leaf[2 + p], other[k].leaf[2 + p],
                                            (size_t)first[k].c16 * 4);
                    }
                    kit_free(&other[k]);
                }
            }
            for (int k = 0; k < SHARDS; k++)
                kit_free(&first[k]);
        }
    ddp_cpu_select(NULL, NULL);
}

/* One feature vector a shard, and a mean far from the running one: the first steps of a run. Means and
 * deviations as exact as without a shard between them. */
static void test_batch_norm_sync_far_from_the_running_mean(void **state)
{
    (void)state;
    enum { N = 8, C = 20 };
    static const float centres[] = {0, 100, 10000};
    const struct conf conf = {1e-5, 0.1, true, true};
    for (size_t t = 0; t < DDP_COUNT(centres); t++) {
        struct params p = params_of(C);
        float *x = kit_random(N * C, centres[t] - 1, centres[t] + 1, 1), *dout = kit_random(N * C, -1, 1, 2);
        double *wide = kit_widen(x, N * C), y[N * C], dx[N * C], sum[2][64] = {{0}};
        struct norm l = {&conf, {C, 1, 1}, N, false, false, p.v[WEIGHT], p.v[BIAS]};
        struct kit k[N];
        memset(p.v[MEAN], 0, C * sizeof(float));
        for (int i = 0; i < N; i++) {
            struct kit_args a = {.op = &ddp_op_batch_norm,
                                 .conf = &conf,
                                 .in = {C, 1, 1},
                                 .batch = 1,
                                 .n = 1,
                                 .sync_count = N,
                                 .x = {x + i * C},
                                 .dout = dout + i * C};
            use_params(&a, &conf, &p);
            kit_open(&k[i], &a, &(struct kit_variant){0});
            ddp_op_batch_norm.forward_stats(&k[i].call);
            for (int j = 0; j < 64; j++)
                sum[0][j] += k[i].sync[j];
        }
        for (int i = 0; i < N; i++) {
            memcpy(k[i].sync, sum[0], sizeof sum[0]);
            kit_forward(&k[i]);
            ddp_op_batch_norm.backward_stats(&k[i].call);
            for (int j = 0; j < 64; j++)
                sum[1][j] += k[i].sync[j];
        }
        norm_of(&l, wide, y);
        kit_differences(norm_of, &l, wide, N * C, dout, N * C, dx);
        double leaf[2][C] = {{0}};
        for (int i = 0; i < N; i++) {
            struct kit_result r;
            memcpy(k[i].sync, sum[1], sizeof sum[1]);
            kit_backward(&k[i]);
            kit_close(&k[i], &r);
            kit_close_to("y", r.y, y + i * C, C, 1e-6, 1);
            kit_close_to("dx", r.dx[0], dx + i * C, C, centres[t] > 1000 ? 3e-5 : 5e-6, 1);
            for (int c = 0; c < C; c++) {
                leaf[0][c] += r.leaf[2][c];
                leaf[1][c] += r.leaf[3][c];
            }
            kit_free(&r);
        }
        for (int c = 0; c < C; c++) { /* the global batch has a variance, though no shard has */
            double mean, var;
            moments_of(&l, wide, c, &mean, &var);
            const float got[2] = {(float)(leaf[0][c] / N), (float)(leaf[1][c] / N)};
            const double want[2] = {mean, var * N / (N - 1)};
            kit_close_to("running mean", got, want, 1, 1e-6, 1 + centres[t]);
            kit_close_to("running var", got + 1, want + 1, 1, 1e-6, 0);
        }
        free_params(&p);
        free(x);
        free(dout);
        free(wide);
    }
}

static void test_batch_norm_without_gradient_of_the_input(void **state)
{
    (void)state;
    struct conf conf = {1e-5, 0.1, true, false};
    struct params p = params_of(3);
    float *x = kit_random(2 * 3 * 4, -1, 1, 1), *dout = kit_random(2 * 3 * 4, -1, 1, 2);
    struct kit_args a = {
        .op = &ddp_op_batch_norm, .conf = &conf, .in = {3, 2, 2}, .batch = 2, .n = 2, .x = {x}, .dout = dout};
    use_params(&a, &conf, &p);
    struct kit_result with, without;
    kit_run_all(&a, &with);
    a.skip_din[0] = true;
    kit_run_all(&a, &without);
    for (int i = 0; i < 2; i++)
        assert_memory_equal(with.grad[i], without.grad[i], 64);
    kit_free(&with);
    kit_free(&without);
    free_params(&p);
    free(x);
    free(dout);
}

static void test_batch_norm_plan(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum ddp_param_role role;
        enum ddp_init init;
    } want[] = {
        {"weight", DDP_PARAM_TRAINED, DDP_INIT_ONE},
        {"bias", DDP_PARAM_TRAINED, DDP_INIT_ZERO},
        {"running_mean", DDP_PARAM_RUNNING_MEAN, DDP_INIT_ZERO},
        {"running_var", DDP_PARAM_RUNNING_VAR, DDP_INIT_ONE},
    };
    const struct ddp_shape in = {20, 5, 4};
    for (int affine = 0; affine < 2; affine++) {
        struct conf conf = {1e-5, 0.3, affine, affine};
        struct ddp_layer_plan plan = {0};
        assert_int_equal(ddp_op_batch_norm.plan(&conf, &in, 1, 8, &plan, NULL), 0);
        assert_int_equal(plan.nparams, affine ? 4 : 2);
        assert_int_equal(plan.sync_doubles, affine ? 64 : 0);
        assert_memory_equal(&plan.out, &in, sizeof in);
        for (int i = 0; i < plan.nparams; i++) {
            const struct ddp_param *p = &plan.params[i];
            int w = affine ? i : i + 2;
            assert_string_equal(p->name, want[w].name);
            assert_true(p->role == want[w].role && p->init == want[w].init && p->no_decay);
            assert_true(p->layout == DDP_LAYOUT_VECTOR && p->ndim == 1 && p->dims[0] == 20 && p->groups == 1);
            if (w >= 2)
                assert_true(p->momentum == 0.3);
        }
    }
    kit_expect_plan_error(&ddp_op_batch_norm, &(struct conf){0, 0.1, true, false}, &in, 1, DDP_E_CONFIG,
                          (const char *const[]){"eps is 0", NULL});
    kit_expect_plan_error(&ddp_op_batch_norm, &(struct conf){1e-5, 1.5, true, false}, &in, 1, DDP_E_CONFIG,
                          (const char *const[]){"momentum is 1.5", "0 to 1", NULL});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batch_norm_forward_and_backward),
        cmocka_unit_test(test_batch_norm_evaluates_with_running_statistics),
        cmocka_unit_test(test_batch_norm_keeps_digits_at_a_large_mean),
        cmocka_unit_test(test_batch_norm_of_small_shards),
        cmocka_unit_test(test_batch_norm_sync_is_one_batch),
        cmocka_unit_test(test_batch_norm_sync_far_from_the_running_mean),
        cmocka_unit_test(test_batch_norm_without_gradient_of_the_input),
        cmocka_unit_test(test_batch_norm_plan),
    };
    return KIT_MAIN(tests);
}
