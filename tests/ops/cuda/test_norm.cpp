/* Batch norm against its equations in double, on the values that the device saw. */
#include "kernel_kit.h"
#include "ops/norm/norm_kernels.h"

struct problem {
    int batch, n, h, w, c; /* c: real channels */
    bool affine, relu, add, accumulate;
    float centre, width;  /* of x */
    bool two = false;     /* parts of the gradient */
    bool alias = false;   /* dother is dout */
    bool reads_y = false; /* backward is given y though nothing was added */
    float small = 0;      /* weight and bias times this; 0: 1 */
};

static const struct problem problems[] = {
    {3, 3, 5, 4, 1, true, false, false, false, 0, 1},
    {4, 3, 7, 6, 17, true, true, false, false, 0.5f, 1},
    {4, 1, 16, 17, 8, true, true, true, true, 0,
     2}, /* a chunk of real and padding pixels, one of padding only */
    {6, 5, 16, 16, 24, false, false, true, false, -1, 1},
    {2, 2, 1, 1, 300, true, true, true, false, 0, 1}, /* several tiles */
    {5, 0, 4, 4, 17, true, true, true, true, 0, 1},   /* an empty shard */
    {5, 0, 4, 4, 17, true, true, true, false, 0, 1},
    {1, 1, 1, 1, 8, true, false, false, false, 0, 1},    /* one element: no unbiased variance */
    {3, 2, 75, 75, 2, true, true, false, false, 0, 1},   /* more chunks than threads that add them */
    {4, 4, 20, 20, 3, true, true, false, true, 1000, 1}, /* a large mean */
    {4, 3, 7, 6, 17, true, true, false, false, 0, 1, true, false, false, 0}, /* the gradient in two parts */
    {3, 2, 9, 16, 9, true, true, true, false, 0, 1, true, true, false, 0},   /* and left in its place */
    {4, 2, 16, 17, 8, true, true, true, true, 0, 1, true, false, false, 0},
    {3, 3, 5, 4, 20, true, false, false, false, 0, 1, true, false, false, 0},
    {3, 2, 5, 4, 20, true, true, true, false, 0, 1, false, true, false, 0},
    {3, 3, 5, 4, 8, true, false, true, false, 0, 1, false, true, false, 0},
    {5, 0, 4, 4, 17, true, true, true, false, 0, 1, true, true, false, 0},
};

/* Whether backward leaves dz over dout. */
static bool leaves_dz(const struct problem *p)
{
    return p->two || (p->relu && (p->add || p->reads_y));
}

static const float eps = 1e-5f;

static int padded(int c)
{
    return (c + 7) / 8 * 8;
}

/* A [c] vector as the flat space holds it: zeros behind. */
static Floats vector_of(int c, float lo, float hi, uint32_t id)
{
    Floats v = random_floats(DDP_GPU_F32, c, lo, hi, id);
    v.resize((size_t)padded(c), 0.0f);
    return v;
}

/* What goes in, plain order, and the device's memory for one run. */
struct inputs {
    enum ddp_gpu_type t;
    const struct problem *p;
    struct ddp_shape s;
    int c;
    Floats x, other, dout, more, before, before_other, weight, bias, running_mean, running_var;
    inputs(enum ddp_gpu_type type, const struct problem *problem)
        : t(type), p(problem), s{problem->c, problem->h, problem->w}, c(padded(problem->c))
    {
        const int64_t count = (int64_t)p->n * p->c * p->h * p->w;
        x = random_floats(t, count, p->centre - p->width, p->centre + p->width, 1);
        other = random_floats(t, count, -1, 1, 2);
        dout = random_floats(t, count, -1, 1, 3);
        more = random_floats(t, count, -1, 1, 10);
        before = random_floats(t, count, -1, 1, 4);
        before_other = random_floats(t, count, -1, 1, 5);
        weight = vector_of(p->c, 0.5f, 1.5f, 6);
        bias = vector_of(p->c, -0.5f, 0.5f, 7);
        for (Floats *v : {&weight, &bias})
            for (float &f : *v)
                f *= p->small > 0 ? p->small : 1;
        running_mean = vector_of(p->c, p->centre - 0.1f, p->centre + 0.1f, 8);
        running_var = vector_of(p->c, 0.5f, 2, 9);
    }
    Device device(const Floats &v, float garbage) const
    {
        return Device(t, to_device_order(v, p->n, p->batch, s, c, garbage));
    }
    Device fresh() const { return Device((size_t)p->batch * p->h * p->w * c * ddp_gpu_type_bytes(t)); }
    Floats plain(const Device &d, bool zeros) const
    {
        return to_plain_order(d.floats(t), p->n, p->batch, s, c, zeros);
    }
    double channel_sum(const Floats &v, int channel, double (*f)(double, double), double arg) const
    {
        double sum = 0;
        const int hw = p->h * p->w;
        for (int i = 0; i < p->n; i++)
            for (int q = 0; q < hw; q++)
                sum += f((double)v[((size_t)i * p->c + channel) * hw + q], arg);
        return sum;
    }
    int channel_of(size_t i) const { return (int)(i / (size_t)(p->h * p->w) % (size_t)p->c); }
    int64_t elements() const { return (int64_t)p->n * p->h * p->w; }
};

static double itself(double v, double)
{
    return v;
}
static double square(double v, double about)
{
    return (v - about) * (v - about);
}

struct outputs {
    Floats mean, inv_std, leaf_mean, leaf_var, y, dz, dother, din, dweight, dbias;
};

/* What the exchange makes of equal shards. */
static void multiply(const Device &sums, int copies)
{
    Bytes all = sums.bytes();
    double *v = (double *)(void *)all.data();
    for (size_t i = 0; i < all.size() / sizeof *v; i++)
        v[i] *= copies;
    emu_copy_in(sums.get(), v, all.size());
}

/* `total` samples in the global batch, of which the shard is part; 0: no synchronisation. The exchange adds
 * the sums of shards that are all like this one. */
static Bytes run(const struct inputs *in, int copies, float garbage, struct outputs *o)
{
    const struct problem *p = in->p;
    const size_t bytes = (size_t)in->c * 4;
    struct ddp_gpu_step host_step = {};
    host_step.count = (int64_t)p->n * copies;
    Device n = Device::of((int32_t)p->n), step = Device::of(host_step), x = in->device(in->x, garbage),
           other = in->device(in->other, garbage), y = in->fresh(), weight(DDP_GPU_F32, in->weight),
           bias(DDP_GPU_F32, in->bias), running_mean(DDP_GPU_F32, in->running_mean),
           running_var(DDP_GPU_F32, in->running_var), mean(bytes), inv_std(bytes), leaf_mean(bytes),
           leaf_var(bytes), partial((size_t)ddp_gpu_partials((int64_t)p->batch * p->h * p->w, in->c) * 4),
           sync(4 * bytes);
    struct ddp_gpu_norm_args a = {};
    a.type = in->t;
    a.n = n.as<int32_t>();
    a.batch = p->batch;
    a.hw = p->h * p->w;
    a.c = in->c;
    a.eps = eps;
    a.x = x.get();
    a.weight = p->affine ? weight.as<float>() : NULL;
    a.bias = p->affine ? bias.as<float>() : NULL;
    a.running_mean = running_mean.as<float>();
    a.running_var = running_var.as<float>();
    a.mean = mean.as<float>();
    a.inv_std = inv_std.as<float>();
    a.partial = partial.as<float>();
    a.leaf_mean = leaf_mean.as<float>();
    a.leaf_var = leaf_var.as<float>();
    a.sync = copies ? sync.as<double>() : NULL;
    a.step = step.as<struct ddp_gpu_step>();
    a.other = p->add ? other.get() : NULL;
    a.relu = p->relu;
    a.y = y.get();
    ddp_cuda_norm_kernels.norm_stats(stream, &a);
    if (copies) {
        multiply(sync, copies);
        ddp_cuda_norm_kernels.norm_sync_apply(stream, &a);
    }
    ddp_cuda_norm_kernels.norm_forward(stream, &a);

    Device dout = in->device(in->dout, garbage), more = in->device(in->more, garbage),
           dother = p->accumulate ? in->device(in->before_other, 0) : in->fresh(),
           din = p->accumulate ? in->device(in->before, 0) : in->fresh(), dweight(bytes), dbias(bytes);
    struct ddp_gpu_norm_grad_args b = {};
    b.type = in->t;
    b.n = a.n;
    b.batch = a.batch;
    b.hw = a.hw;
    b.c = a.c;
    b.x = a.x;
    b.relu = p->relu;
    b.y = p->relu && (p->add || p->reads_y) ? a.y : NULL;
    b.weight = a.weight;
    b.bias = a.bias;
    b.mean = a.mean;
    b.inv_std = a.inv_std;
    b.dout = dout.get();
    b.more = p->two ? more.get() : NULL;
    b.dother = p->alias ? dout.get() : p->add ? dother.get() : NULL;
    b.accumulate_other = p->accumulate;
    b.dweight = dweight.as<float>();
    b.dbias = dbias.as<float>();
    b.partial = a.partial;
    b.step = a.step;
    b.din = din.get();
    b.accumulate = p->accumulate;
    b.sync = a.sync;
    ddp_cuda_norm_kernels.norm_grad_stats(stream, &b);
    if (copies)
        multiply(sync, copies);
    ddp_cuda_norm_kernels.norm_grad(stream, &b);
    o->mean = mean.floats(), o->inv_std = inv_std.floats();
    o->leaf_mean = leaf_mean.floats(), o->leaf_var = leaf_var.floats();
    o->y = in->plain(y, true), o->dz = in->plain(dout, leaves_dz(p)), o->din = in->plain(din, true);
    o->dweight = dweight.floats(), o->dbias = dbias.floats();
    Bytes all;
    for (const Device *d : {&mean, &inv_std, &leaf_mean, &leaf_var, &y, &din, &dweight, &dbias})
        append(all, d->bytes());
    append_real(all, dout.bytes(), leaves_dz(p) ? p->batch : p->n, p->batch);
    if (p->add && !p->alias) {
        o->dother = in->plain(dother, true);
        append(all, dother.bytes());
    }
    return all;
}

/* Padding lanes of vectors: zero, except inv_std, which nobody looks at there. */
static void expect_zero_lanes(const Floats &v, int c)
{
    for (size_t i = (size_t)c; i < v.size(); i++)
        assert_true(v[i] == 0);
}

static void check(const struct inputs *in, int copies, const struct outputs *o)
{
    const struct problem *p = in->p;
    const double count = (double)in->elements(), total = count * (copies ? copies : 1), e = 0x1p-24;
    std::vector<double> mean(p->c), std_(p->c), noise(p->c), sum_dz(p->c), sum_dzx(p->c), abs_dzx(p->c);
    Floats all_dz(in->x.size());
    for (int c = 0; c < p->c; c++) {
        mean[c] = count > 0 ? in->channel_sum(in->x, c, itself, 0) / count : 0;
        const double m2 = in->channel_sum(in->x, c, square, mean[c]), var = count > 0 ? m2 / count : 0;
        std_[c] = count > 0 ? sqrt(var + (double)eps) : 1;
        /* A mean kept as one float costs digits of xhat when it is large. noise: error of xhat, over
         * 1 + |xhat|. How far off the running mean is makes no difference. */
        noise[c] = 16 * e * (1 + 1 / std_[c] + 1 / (std_[c] * std_[c])) + e * fabs(p->centre) / std_[c];
        expect_near("mean", DDP_GPU_F32, o->mean[c], mean[c], 16 * e * p->width);
        expect_near("inv_std", DDP_GPU_F32, o->inv_std[c], count > 0 ? 1 / std_[c] : 0,
                    16 * e / std_[c] * (1 + 1 / (std_[c] * std_[c])));
        expect_near("leaf_mean", DDP_GPU_F32, o->leaf_mean[c], count * mean[c], count * 16 * e * p->width);
        expect_near("leaf_var", DDP_GPU_F32, o->leaf_var[c],
                    total < 2 ? 0 : count * var * total / (total - 1), count * 32 * e * p->width * p->width);
    }
    expect_zero_lanes(o->mean, p->c);
    expect_zero_lanes(o->leaf_mean, p->c);
    expect_zero_lanes(o->leaf_var, p->c);
    expect_zero_lanes(o->dweight, p->c);
    expect_zero_lanes(o->dbias, p->c);
    for (size_t i = 0; i < in->x.size(); i++) {
        const int c = in->channel_of(i);
        const double xhat = (in->x[i] - mean[c]) / std_[c], weight = p->affine ? in->weight[c] : 1;
        double y = weight * xhat + (p->affine ? in->bias[c] : 0) + (p->add ? in->other[i] : 0);
        const double slack = 2 * noise[c] * (1 + fabs(xhat)) + 4 * e;
        expect_near("y", in->t, o->y[i], p->relu && y < 0 ? 0 : y, slack);
        const float whole = p->two ? rounded(in->t, in->dout[i] + in->more[i]) : in->dout[i],
                    dz = p->relu && !(o->y[i] > 0) ? 0 : whole;
        all_dz[i] = dz;
        assert_true(o->dz[i] == (leaves_dz(p) ? dz : in->dout[i]));
        if (p->add && !p->alias)
            assert_true(o->dother[i] == rounded(in->t, p->accumulate ? in->before_other[i] + dz : dz));
        sum_dz[c] += dz;
        sum_dzx[c] += dz * xhat;
        abs_dzx[c] += fabs(dz) * (1 + fabs(xhat));
    }
    for (int c = 0; c < p->c; c++) {
        expect_near("dbias", DDP_GPU_F32, o->dbias[c], sum_dz[c], e * 40 * sqrt(count));
        expect_near("dweight", DDP_GPU_F32, o->dweight[c], sum_dzx[c], 2 * noise[c] * (1 + abs_dzx[c]));
    }
    for (size_t i = 0; i < in->x.size(); i++) {
        const int c = in->channel_of(i);
        const double xhat = (in->x[i] - mean[c]) / std_[c], scale = (p->affine ? in->weight[c] : 1) / std_[c];
        const double d = scale * (all_dz[i] - sum_dz[c] / count - xhat * sum_dzx[c] / count);
        const double slack = scale * 4 * noise[c] * (2 + xhat * xhat) * (1 + abs_dzx[c] / count) + e;
        expect_near("din", in->t, o->din[i], d + (p->accumulate ? in->before[i] : 0), slack);
    }
}

static void test_training(void **)
{
    for (enum ddp_gpu_type t : all_types)
        for (const struct problem &p : problems) {
            if (t != DDP_GPU_F32 && (p.centre > 100 || p.h > 70))
                continue; /* 16-bit values would all be the same; time */
            const struct inputs in(t, &p);
            struct outputs o;
            expect_same_bits([&](float garbage) { return run(&in, 0, garbage, &o); });
            check(&in, 0, &o);
        }
}

/* The mask that is made again from x is the one of what forward stored, though the smallest positive values
 * are stored as 0. */
static void test_mask_is_that_of_the_output(void **)
{
    for (enum ddp_gpu_type t : all_types)
        for (float small : {1.0f, 5e-9f, 1e-41f}) {
            struct problem p = {3,     2,     16, 17,    20,    true,  true, false,
                                false, 0.25f, 1,  false, false, false, small};
            const struct inputs in(t, &p);
            struct outputs made, read;
            run(&in, 0, 0, &made);
            p.reads_y = true;
            run(&in, 0, 0, &read);
            assert_true(made.din == read.din && made.dweight == read.dweight && made.dbias == read.dbias);
            const bool vanish = (t == DDP_GPU_F16 && small < 1) || (t == DDP_GPU_BF16 && small < 1e-40f);
            for (float y : made.y)
                assert_true(!vanish || y == 0);
            for (int c = 0; c < p.c; c++)
                assert_true((made.dbias[c] == 0) == vanish);
        }
    assert_int_equal(emu_faults(), 0);
}

/* A gradient in two parts is what their sum would be, had it been stored. */
static void test_two_parts_are_their_sum(void **)
{
    for (enum ddp_gpu_type t : all_types)
        for (bool add : {false, true}) {
            struct problem p = {3, 2, 16, 17, 20, true, true, add, false, 0.25f, 1, true, false, false, 0};
            struct inputs in(t, &p);
            struct outputs two, one;
            run(&in, 0, 0, &two);
            for (size_t i = 0; i < in.dout.size(); i++)
                in.dout[i] = rounded(t, in.dout[i] + in.more[i]);
            p.two = false;
            run(&in, 0, 0, &one);
            assert_true(two.din == one.din && two.dweight == one.dweight && two.dbias == one.dbias);
        }
    assert_int_equal(emu_faults(), 0);
}

/* Three shards with the same samples: statistics are those of one, but for the unbiased factor. */
static void test_synchronised(void **)
{
    for (enum ddp_gpu_type t : all_types)
        for (const struct problem &p : problems) {
            if (p.n == 0 || (t != DDP_GPU_F32 && p.centre > 100) || p.h > 70)
                continue;
            struct inputs in(t, &p);
            struct outputs o;
            if (p.centre > 100) /* as at the start of a run: a thousand deviations off */
                in.running_mean.assign(in.running_mean.size(), 0.0f);
            expect_same_bits([&](float garbage) { return run(&in, 3, garbage, &o); });
            check(&in, 3, &o);
        }
}

/* An empty shard takes part with zeros and gets the others' statistics. */
static void test_empty_shard_takes_part(void **)
{
    const struct problem p = {4, 0, 3, 3, 5, true, true, false, false, 0, 1};
    const struct inputs in(DDP_GPU_F32, &p);
    struct ddp_gpu_step host_step = {};
    host_step.count = 2;
    const double sums[] = {9,  9,  9,  9,  9,  0, 0, 0,
                           36, 36, 36, 36, 36, 0, 0, 0}; /* of 18 elements: off 0.5, square 2 */
    Device n = Device::of((int32_t)0), step = Device::of(host_step), x = in.device(in.x, 3), sync(128),
           running_mean(DDP_GPU_F32, in.running_mean), mean(32), inv_std(32), leaf_mean(32), leaf_var(32),
           partial((size_t)ddp_gpu_partials(36, 8) * 4);
    struct ddp_gpu_norm_args a = {};
    a.type = DDP_GPU_F32, a.n = n.as<int32_t>(), a.batch = 4, a.hw = 9, a.c = 8, a.eps = eps, a.x = x.get();
    a.running_mean = running_mean.as<float>(), a.mean = mean.as<float>(), a.inv_std = inv_std.as<float>();
    a.partial = partial.as<float>(), a.leaf_mean = leaf_mean.as<float>(), a.leaf_var = leaf_var.as<float>();
    a.sync = sync.as<double>(), a.step = step.as<struct ddp_gpu_step>();
    ddp_cuda_norm_kernels.norm_stats(stream, &a);
    for (float v : sync.floats())
        assert_true(v == 0);
    emu_copy_in(sync.get(), sums, sizeof sums);
    ddp_cuda_norm_kernels.norm_sync_apply(stream, &a);
    for (int c = 0; c < 5; c++) {
        expect_near("mean", DDP_GPU_F32, mean.floats()[c], in.running_mean[c] + 0.5, 0);
        expect_near("inv_std", DDP_GPU_F32, inv_std.floats()[c], 1 / sqrt(1.75 + (double)eps), 0);
        assert_true(leaf_mean.floats()[c] == 0 && leaf_var.floats()[c] == 0);
    }
    assert_int_equal(emu_faults(), 0);
}

static void test_evaluation(void **)
{
    for (enum ddp_gpu_type t : all_types)
        for (const struct problem &p : problems) {
            if (p.h > 70)
                continue;
            const struct inputs in(t, &p);
            Floats got;
            expect_same_bits([&](float) {
                Device n = Device::of((int32_t)p.n), x = in.device(in.x, 0), other = in.device(in.other, 0),
                       weight(DDP_GPU_F32, in.weight), bias(DDP_GPU_F32, in.bias),
                       running_mean(DDP_GPU_F32, in.running_mean), running_var(DDP_GPU_F32, in.running_var);
                struct ddp_gpu_norm_args a = {};
                a.type = t, a.n = n.as<int32_t>(), a.batch = p.batch, a.hw = p.h * p.w, a.c = in.c,
                a.eps = eps;
                a.weight = p.affine ? weight.as<float>() : NULL, a.bias = p.affine ? bias.as<float>() : NULL;
                a.running_mean = running_mean.as<float>(), a.running_var = running_var.as<float>();
                a.x = x.get(), a.y = x.get(); /* in place */
                a.other = p.add ? other.get() : NULL, a.relu = p.relu;
                ddp_cuda_norm_kernels.norm_eval(stream, &a);
                got = in.plain(x, false);
                return x.bytes();
            });
            for (size_t i = 0; i < got.size(); i++) {
                const int c = in.channel_of(i);
                const double xhat =
                    (in.x[i] - in.running_mean[c]) / sqrt((double)in.running_var[c] + (double)eps);
                const double y =
                    (p.affine ? in.weight[c] * xhat + in.bias[c] : xhat) + (p.add ? in.other[i] : 0);
                expect_near("y", t, got[i], p.relu && y < 0 ? 0 : y, 0x1p-24 * 16 * (1 + fabs(xhat)));
            }
        }
}

static void test_nan_reaches_the_output(void **)
{
    const struct problem p = {2, 2, 4, 4, 8, true, true, false, false, 0, 1};
    struct inputs in(DDP_GPU_F32, &p);
    in.x[16 * 3 + 5] = NAN; /* sample 0, channel 3 */
    struct outputs o;
    run(&in, 0, 0, &o);
    for (int c = 0; c < 8; c++)
        assert_true((o.mean[c] != o.mean[c]) == (c == 3));
    for (int q = 0; q < 16; q++)
        assert_true(o.y[16 * 3 + q] != o.y[16 * 3 + q]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_training),
        cmocka_unit_test(test_mask_is_that_of_the_output),
        cmocka_unit_test(test_two_parts_are_their_sum),
        cmocka_unit_test(test_synchronised),
        cmocka_unit_test(test_empty_shard_takes_part),
        cmocka_unit_test(test_evaluation),
        cmocka_unit_test(test_nan_reaches_the_output),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
