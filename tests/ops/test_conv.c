/* conv2d against plain loops in double: direct, strided, grouped, Winograd; fixed bits; what it refuses. */
#include "conv_check.h"

/* c, h, w, k, r, s, stride, pad, groups, n */
static const struct conv_case cases[] = {
    /* first layers: one and three channels */
    {.c = 1,
     .h = 28,
     .w = 28,
     .k = 32,
     .r = 3,
     .s = 3,
     .stride = 1,
     .pad = 0,
     .groups = 1,
     .n = 2,
     .relu = true},
    {.c = 1, .h = 14, .w = 15, .k = 6, .r = 5, .s = 5, .stride = 1, .pad = 2, .groups = 1, .n = 2},
    {.c = 3,
     .h = 16,
     .w = 16,
     .k = 48,
     .r = 3,
     .s = 3,
     .stride = 1,
     .pad = 1,
     .groups = 1,
     .n = 2,
     .no_bias = true},
    {.c = 3, .h = 23, .w = 19, .k = 16, .r = 7, .s = 7, .stride = 2, .pad = 3, .groups = 1, .n = 1},
    {.c = 1, .h = 9, .w = 9, .k = 1, .r = 1, .s = 1, .stride = 1, .pad = 0, .groups = 1, .n = 1},
    /* whole blocks, rows long and short */
    {.c = 32,
     .h = 26,
     .w = 26,
     .k = 64,
     .r = 3,
     .s = 3,
     .stride = 1,
     .pad = 0,
     .groups = 1,
     .n = 1,
     .relu = true},
    {.c = 16,
     .h = 32,
     .w = 33,
     .k = 32,
     .r = 3,
     .s = 3,
     .stride = 1,
     .pad = 1,
     .groups = 1,
     .n = 1,
     .accumulate = true},
    {.c = 48,
     .h = 7,
     .w = 7,
     .k = 48,
     .r = 3,
     .s = 3,
     .stride = 1,
     .pad = 1,
     .groups = 1,
     .n = 3,
     .relu = true,
     .accumulate = true},
    {.c = 32, .h = 8, .w = 8, .k = 16, .r = 1, .s = 1, .stride = 1, .pad = 0, .groups = 1, .n = 5},
    {.c = 160,
     .h = 5,
     .w = 6,
     .k = 160,
     .r = 3,
     .s = 3,
     .stride = 1,
     .pad = 1,
     .groups = 1,
     .n = 2,
     .accumulate = true},
    /* sums so long that they are cut into parts */
    {.c = 272,
     .h = 5,
     .w = 6,
     .k = 32,
     .r = 3,
     .s = 3,
     .stride = 1,
     .pad = 1,
     .groups = 1,
     .n = 1,
     .relu = true},
    {.c = 32,
     .h = 5,
     .w = 4,
     .k = 280,
     .r = 3,
     .s = 3,
     .stride = 1,
     .pad = 1,
     .groups = 1,
     .n = 1,
     .accumulate = true},
    {.c = 280,
     .h = 3,
     .w = 3,
     .k = 272,
     .r = 3,
     .s = 3,
     .stride = 1,
     .pad = 1,
     .groups = 1,
     .n = 2,
     .relu = true},
    /* padded blocks */
    {.c = 20,
     .h = 11,
     .w = 9,
     .k = 48,
     .r = 3,
     .s = 3,
     .stride = 1,
     .pad = 1,
     .groups = 1,
     .n = 2,
     .relu = true},
    {.c = 6, .h = 14, .w = 14, .k = 16, .r = 5, .s = 5, .stride = 1, .pad = 0, .groups = 1, .n = 5},
    {.c = 20,
     .h = 12,
     .w = 12,
     .k = 50,
     .r = 5,
     .s = 5,
     .stride = 1,
     .pad = 0,
     .groups = 1,
     .n = 2,
     .accumulate = true},
    {.c = 5, .h = 6, .w = 13, .k = 3, .r = 2, .s = 2, .stride = 1, .pad = 1, .groups = 1, .n = 2},
    {.c = 48, .h = 6, .w = 5, .k = 20, .r = 1, .s = 3, .stride = 1, .pad = 1, .groups = 1, .n = 1},
    /* strides: taps of different number in each phase, phases without any, rows that nothing reads */
    {.c = 32,
     .h = 16,
     .w = 16,
     .k = 48,
     .r = 3,
     .s = 3,
     .stride = 2,
     .pad = 1,
     .groups = 1,
     .n = 2,
     .relu = true},
    {.c = 32,
     .h = 16,
     .w = 16,
     .k = 32,
     .r = 1,
     .s = 1,
     .stride = 2,
     .pad = 0,
     .groups = 1,
     .n = 2,
     .accumulate = true},
    {.c = 32, .h = 16, .w = 16, .k = 32, .r = 1, .s = 1, .stride = 2, .pad = 0, .groups = 1, .n = 2},
    {.c = 20, .h = 17, .w = 19, .k = 20, .r = 3, .s = 2, .stride = 3, .pad = 2, .groups = 1, .n = 2},
    {.c = 16, .h = 20, .w = 22, .k = 16, .r = 5, .s = 5, .stride = 3, .pad = 0, .groups = 1, .n = 1},
    {.c = 16,
     .h = 15,
     .w = 15,
     .k = 5,
     .r = 2,
     .s = 2,
     .stride = 3,
     .pad = 3,
     .groups = 1,
     .n = 1,
     .accumulate = true},
    /* small pictures: tiles across samples, taps outside skipped */
    {.c = 32,
     .h = 4,
     .w = 4,
     .k = 48,
     .r = 3,
     .s = 3,
     .stride = 1,
     .pad = 1,
     .groups = 1,
     .n = 17,
     .relu = true},
    {.c = 20,
     .h = 2,
     .w = 2,
     .k = 32,
     .r = 3,
     .s = 3,
     .stride = 1,
     .pad = 1,
     .groups = 1,
     .n = 5,
     .accumulate = true},
    {.c = 16, .h = 8, .w = 8, .k = 32, .r = 3, .s = 3, .stride = 2, .pad = 1, .groups = 1, .n = 16},
    {.c = 32, .h = 8, .w = 7, .k = 16, .r = 1, .s = 1, .stride = 2, .pad = 0, .groups = 1, .n = 5},
    {.c = 16, .h = 1, .w = 1, .k = 16, .r = 1, .s = 1, .stride = 1, .pad = 1, .groups = 1, .n = 2},
    {.c = 16,
     .h = 2,
     .w = 3,
     .k = 20,
     .r = 7,
     .s = 7,
     .stride = 2,
     .pad = 3,
     .groups = 1,
     .n = 3,
     .relu = true},
    {.c = 1, .h = 5, .w = 5, .k = 16, .r = 3, .s = 3, .stride = 1, .pad = 0, .groups = 1, .n = 15},
    {.c = 160, .h = 3, .w = 3, .k = 160, .r = 3, .s = 3, .stride = 1, .pad = 1, .groups = 1, .n = 3},
    /* groups: whole blocks, shared blocks, depthwise */
    {.c = 64,
     .h = 9,
     .w = 9,
     .k = 96,
     .r = 3,
     .s = 3,
     .stride = 1,
     .pad = 1,
     .groups = 2,
     .n = 2,
     .relu = true},
    {.c = 32, .h = 9, .w = 9, .k = 32, .r = 3, .s = 3, .stride = 1, .pad = 1, .groups = 2, .n = 2},
    {.c = 48,
     .h = 8,
     .w = 8,
     .k = 48,
     .r = 3,
     .s = 3,
     .stride = 1,
     .pad = 1,
     .groups = 48,
     .n = 2,
     .accumulate = true},
    {.c = 20, .h = 9, .w = 7, .k = 20, .r = 3, .s = 3, .stride = 2, .pad = 1, .groups = 20, .n = 2},
    {.c = 24,
     .h = 6,
     .w = 6,
     .k = 60,
     .r = 3,
     .s = 3,
     .stride = 1,
     .pad = 1,
     .groups = 3,
     .n = 2,
     .relu = true},
    {.c = 60, .h = 6, .w = 6, .k = 24, .r = 3, .s = 3, .stride = 2, .pad = 1, .groups = 3, .n = 5},
    {.c = 48, .h = 5, .w = 6, .k = 96, .r = 1, .s = 1, .stride = 1, .pad = 0, .groups = 3, .n = 1},
    {.c = 20, .h = 5, .w = 6, .k = 40, .r = 3, .s = 3, .stride = 1, .pad = 2, .groups = 20, .n = 1},
    /* Winograd: odd and even pictures, every padding, epilogues, threads over blocks of channels, denormals;
     * few tiles of many weights, with one chain and with two */
    {.c = 176,
     .h = 4,
     .w = 4,
     .k = 192,
     .r = 3,
     .s = 3,
     .stride = 1,
     .pad = 1,
     .groups = 1,
     .n = 2,
     .relu = true},
    {.c = 208,
     .h = 7,
     .w = 5,
     .k = 144,
     .r = 3,
     .s = 3,
     .stride = 1,
     .pad = 1,
     .groups = 1,
     .n = 8,
     .accumulate = true},
    {.c = 16,
     .h = 9,
     .w = 12,
     .k = 16,
     .r = 3,
     .s = 3,
     .stride = 1,
     .pad = 0,
     .groups = 1,
     .n = 5,
     .relu = true},
    {.c = 32,
     .h = 8,
     .w = 11,
     .k = 16,
     .r = 3,
     .s = 3,
     .stride = 1,
     .pad = 2,
     .groups = 1,
     .n = 7,
     .accumulate = true},
    {.c = 48,
     .h = 13,
     .w = 13,
     .k = 16,
     .r = 3,
     .s = 3,
     .stride = 1,
     .pad = 1,
     .groups = 1,
     .n = 3,
     .relu = true,
     .no_bias = true},
    {.c = 16,
     .h = 10,
     .w = 10,
     .k = 96,
     .r = 3,
     .s = 3,
     .stride = 1,
     .pad = 1,
     .groups = 1,
     .n = 2,
     .planned = 4,
     .no_bias = true},
    {.c = 32,
     .h = 7,
     .w = 3,
     .k = 32,
     .r = 3,
     .s = 3,
     .stride = 1,
     .pad = 1,
     .groups = 1,
     .n = 1,
     .no_din = true},
    {.c = 16, .h = 20, .w = 1, .k = 16, .r = 3, .s = 3, .stride = 1, .pad = 1, .groups = 1, .n = 2},
    {.c = 16,
     .h = 7,
     .w = 7,
     .k = 32,
     .r = 3,
     .s = 3,
     .stride = 1,
     .pad = 1,
     .groups = 1,
     .n = 2,
     .scale = 1e-21f},
    /* fewer samples than planned, no data gradient, denormal products */
    {.c = 16,
     .h = 6,
     .w = 6,
     .k = 20,
     .r = 3,
     .s = 3,
     .stride = 1,
     .pad = 1,
     .groups = 1,
     .n = 3,
     .planned = 5,
     .no_din = true},
    {.c = 16,
     .h = 4,
     .w = 4,
     .k = 20,
     .r = 3,
     .s = 3,
     .stride = 1,
     .pad = 1,
     .groups = 1,
     .n = 3,
     .planned = 9},
    {.c = 20,
     .h = 9,
     .w = 9,
     .k = 20,
     .r = 3,
     .s = 3,
     .stride = 2,
     .pad = 1,
     .groups = 1,
     .n = 2,
     .scale = 3e-21f,
     .relu = true},
    {.c = 20,
     .h = 4,
     .w = 4,
     .k = 20,
     .r = 3,
     .s = 3,
     .stride = 1,
     .pad = 1,
     .groups = 1,
     .n = 2,
     .scale = 1e-22f},
};

static void test_conv_matches_double_on_every_isa_and_thread_count(void **state)
{
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        const struct conv_case *c = &cases[i];
        rng = (uint32_t)i + 1;
        if (getenv("VERBOSE"))
            print_message("%d x %d x %d, %d kernels %dx%d/%d+%d, groups %d, n %d\n", c->c, c->h, c->w, c->k,
                          c->r, c->s, c->stride, c->pad, c->groups, c->n);
        layer_check_everywhere(c);
    }
}

/* Every kernel size, stride and padding that fits, on one odd picture and on a tiny one. */
static void test_conv_matches_double_over_a_grid(void **state)
{
    (void)state;
    static const int kernels[] = {1, 2, 3, 5, 7};
    for (int tiny = 0; tiny < 2; tiny++) {
        for (size_t i = 0; i < DDP_COUNT(kernels); i++) {
            for (int stride = 1; stride <= 3; stride++) {
                for (int pad = 0; pad <= 3; pad++) {
                    int r = kernels[i], h = tiny ? 3 : 11, w = tiny ? 4 : 9;
                    if (r > h + 2 * pad)
                        continue;
                    struct conv_case c = {.c = 3 + 14 * (pad & 1),
                                          .h = h,
                                          .w = w,
                                          .k = 18,
                                          .r = r,
                                          .s = r,
                                          .stride = stride,
                                          .pad = pad,
                                          .groups = 1,
                                          .n = 2,
                                          .relu = pad == 1,
                                          .accumulate = stride == 2};
                    struct layer l = layer_create(&c);
                    layer_run(&l, NULL, NULL);
                    layer_check(&l);
                    layer_destroy(&l);
                }
            }
        }
    }
}

/* Taps apart, with strides that share a factor with the distance or none, small pictures too. */
static void test_conv_dilation_matches_double(void **state)
{
    (void)state;
    for (int tiny = 0; tiny < 2; tiny++)
        for (int dilation = 2; dilation <= 4; dilation++)
            for (int stride = 1; stride <= 4; stride++)
                for (int pad = 0; pad <= 4; pad += 2) {
                    const int h = tiny ? 5 : 13, w = tiny ? 6 : 12, r = stride == 3 ? 2 : 3;
                    struct conv_case c = {.c = pad == 2 ? 32 : 5,
                                          .h = h,
                                          .w = w,
                                          .k = 18,
                                          .r = r,
                                          .s = r,
                                          .stride = stride,
                                          .pad = pad,
                                          .dilation = dilation,
                                          .groups = 1,
                                          .n = 2,
                                          .relu = pad == 2,
                                          .accumulate = stride == 2};
                    if (dilation * (r - 1) + 1 > h + 2 * pad)
                        continue;
                    if (stride == 1 && pad == 2)
                        layer_check_everywhere(&c);
                    struct layer l = layer_create(&c);
                    layer_run(&l, NULL, NULL);
                    layer_check(&l);
                    layer_destroy(&l);
                }
}

/* padding = "same" is the number that keeps the picture's size. */
static void test_conv_same_padding_keeps_the_size(void **state)
{
    (void)state;
    static const struct {
        int kernel, dilation, pad;
    } rows[] = {{1, 1, 0}, {3, 1, 1}, {5, 1, 2}, {3, 3, 3}, {2, 2, 1}, {4, 2, 3}};
    for (size_t i = 0; i < DDP_COUNT(rows); i++) {
        struct conv_case c = {.c = 6,
                              .h = 9,
                              .w = 8,
                              .k = 10,
                              .r = rows[i].kernel,
                              .s = rows[i].kernel,
                              .stride = 1,
                              .pad = DDP_CONV2D_SAME,
                              .dilation = rows[i].dilation,
                              .groups = 1,
                              .n = 2};
        struct layer same = layer_create(&c);
        assert_int_equal(ddp_conv2d_padding(same.conf), rows[i].pad);
        assert_int_equal(same.plan.out.h, 9);
        assert_int_equal(same.plan.out.w, 8);
        layer_run(&same, NULL, NULL);
        layer_check(&same);
        layer_destroy(&same);
    }
}

static void test_conv_of_no_samples_has_zero_gradients(void **state)
{
    (void)state;
    struct conv_case c = {.c = 16,
                          .h = 6,
                          .w = 6,
                          .k = 20,
                          .r = 3,
                          .s = 3,
                          .stride = 1,
                          .pad = 1,
                          .groups = 1,
                          .n = 0,
                          .planned = 4};
    struct layer l = layer_create(&c);
    layer_run(&l, NULL, NULL);
    for (int64_t i = 0; i < l.nwf; i++)
        assert_true(l.dw_flat[i] == 0);
    for (int64_t i = 0; i < l.nbf; i++)
        assert_true(l.db_flat[i] == 0);
    layer_destroy(&l);
}

/* What is not finite reaches the outputs that read it, through a fused ReLU too, and no padded channel. */
static void test_conv_lets_bad_values_through(void **state)
{
    (void)state;
    static const struct {
        int channels, size, reach; /* columns of outputs that the first pixel may spoil */
    } rows[] = {{20, 9, 2}, {20, 4, 2}, {16, 9, DDP_WINO_TILE}};
    for (size_t i = 0; i < DDP_COUNT(rows); i++) {
        struct conv_case c = {.c = rows[i].channels,
                              .h = rows[i].size,
                              .w = rows[i].size,
                              .k = rows[i].channels,
                              .r = 3,
                              .s = 3,
                              .stride = 1,
                              .pad = 1,
                              .groups = 1,
                              .n = 2,
                              .relu = true};
        struct layer l = layer_create(&c);
        int hw = c.h * c.w;
        l.x[(c.c - 1) * hw + 0] = NAN;           /* image 0, last channel, corner */
        l.x[(c.c + 1) * hw + hw - 1] = INFINITY; /* image 1 */
        l.g[0] = NAN;
        layer_run(&l, NULL, NULL); /* asserts that padding is zero */
        for (int k = 0; k < c.k; k++) {
            assert_true(isnan(l.out[k * hw]));
            assert_true(isnan(l.out[k * hw + c.w + 1]));
            assert_false(isnan(l.out[k * hw + rows[i].reach]));
            float far = l.out[(c.k + k) * hw + hw - 1];
            assert_true(!isfinite(far) || far == 0); /* by the sign of the weight, then ReLU */
        }
        assert_true(isnan(l.din[0]));
        assert_false(isnan(l.din[rows[i].reach + 1]));
        assert_true(isnan(l.dw[4]));
        assert_true(isnan(l.db[0]));
        assert_false(isnan(l.db[1]));
        layer_destroy(&l);
    }
}

static void test_conv_plans_pytorch_parameters(void **state)
{
    (void)state;
    struct conv_case c = {
        .c = 32, .h = 8, .w = 10, .k = 64, .r = 3, .s = 5, .stride = 2, .pad = 1, .groups = 4, .n = 1};
    struct layer l = layer_create(&c);
    const struct ddp_layer_plan *p = &l.plan;
    assert_int_equal(p->out.c, 64);
    assert_int_equal(p->out.h, 4);
    assert_int_equal(p->out.w, 4);
    assert_int_equal(p->nparams, 2);
    assert_string_equal(p->params[0].name, "weight");
    const int64_t want[] = {64, 8, 3, 5};
    assert_memory_equal(p->params[0].dims, want, sizeof want);
    double bound = 1 / sqrt(8.0 * 15);
    assert_true(fabs(p->params[0].gain * sqrt(3 / p->params[0].fan_in) - bound) < 1e-15);
    assert_true(p->params[0].fan_out == 64.0 * 15);
    assert_string_equal(p->params[1].name, "bias");
    assert_int_equal(p->params[1].init, DDP_INIT_UNIFORM);
    assert_true(fabs(p->params[1].gain - bound) < 1e-15);
    assert_true(p->params[1].no_decay && !p->params[0].no_decay);
    assert_true(p->flops == 2.0 * 64 * 8 * 15 * 16);
    layer_destroy(&l);

    static const struct {
        int init;
        enum ddp_init kind;
        double gain;
    } inits[] = {{1, DDP_INIT_KAIMING_NORMAL, 1.4142135623730951},
                 {2, DDP_INIT_KAIMING_UNIFORM, 1.4142135623730951},
                 {3, DDP_INIT_XAVIER_UNIFORM, 1},
                 {4, DDP_INIT_XAVIER_NORMAL, 1}};
    const struct ddp_op *op = &ddp_op_conv2d;
    for (size_t i = 0; i < DDP_COUNT(inits); i++) {
        void *conf = conf_of(op, &c);
        struct ddp_layer_plan q = {0};
        conf_set(op, conf, "init", inits[i].init);
        assert_int_equal(op->plan(conf, &(struct ddp_shape){32, 8, 10}, 1, 1, &q, NULL), 0);
        assert_int_equal(q.params[0].init, inits[i].kind);
        assert_true(q.params[0].gain == inits[i].gain);
        assert_int_equal(q.params[1].init, DDP_INIT_UNIFORM);
        free(conf);
    }
}

static void test_conv_asks_for_the_halo_it_reads(void **state)
{
    (void)state;
    static const struct {
        int h, kernel, stride, pad, in_halo, dout_halo;
    } rows[] = {{26, 3, 1, 0, 0, 2}, {32, 3, 1, 1, 1, 1}, {32, 3, 2, 1, 1, 1}, {32, 1, 2, 0, 0, 0},
                {12, 5, 1, 2, 2, 2}, {9, 1, 1, 1, 1, 0},  {4, 3, 2, 1, 0, 0},  {27, 3, 1, 0, 0, 2},
                {33, 3, 1, 1, 1, 1}, {9, 3, 1, 2, 2, 0}};
    for (size_t i = 0; i < DDP_COUNT(rows); i++) {
        struct conv_case c = {.c = 16,
                              .h = rows[i].h,
                              .w = rows[i].h,
                              .k = 16,
                              .r = rows[i].kernel,
                              .s = rows[i].kernel,
                              .stride = rows[i].stride,
                              .pad = rows[i].pad,
                              .groups = 1,
                              .n = 1};
        struct layer l = layer_create(&c);
        assert_int_equal(l.plan.in_halo, rows[i].in_halo);
        assert_int_equal(l.plan.dout_halo, rows[i].dout_halo);
        layer_destroy(&l);
    }
}

static void test_conv_takes_winograd_by_shape(void **state)
{
    (void)state;
    static const struct {
        struct conv_case c;
        bool wino;
    } rows[] = {
        {{.c = 16, .h = 8, .w = 8, .k = 16, .r = 3, .s = 3, .stride = 1, .pad = 1, .groups = 1, .n = 1},
         true},
        {{.c = 16, .h = 8, .w = 8, .k = 16, .r = 3, .s = 3, .stride = 1, .pad = 3, .groups = 1, .n = 1},
         false},
        {{.c = 16, .h = 8, .w = 8, .k = 16, .r = 3, .s = 3, .stride = 2, .pad = 1, .groups = 1, .n = 1},
         false},
        {{.c = 16, .h = 8, .w = 8, .k = 16, .r = 3, .s = 2, .stride = 1, .pad = 1, .groups = 1, .n = 1},
         false},
        {{.c = 16, .h = 8, .w = 8, .k = 16, .r = 5, .s = 3, .stride = 1, .pad = 1, .groups = 1, .n = 1},
         false},
        {{.c = 16, .h = 8, .w = 8, .k = 20, .r = 3, .s = 3, .stride = 1, .pad = 1, .groups = 1, .n = 1},
         false},
        {{.c = 3, .h = 8, .w = 8, .k = 16, .r = 3, .s = 3, .stride = 1, .pad = 1, .groups = 1, .n = 1},
         false},
        {{.c = 32, .h = 8, .w = 8, .k = 32, .r = 3, .s = 3, .stride = 1, .pad = 1, .groups = 2, .n = 1},
         false},
        {{.c = 16, .h = 4, .w = 3, .k = 16, .r = 3, .s = 3, .stride = 1, .pad = 1, .groups = 1, .n = 1},
         false},
        {{.c = 16, .h = 5, .w = 4, .k = 16, .r = 3, .s = 3, .stride = 1, .pad = 1, .groups = 1, .n = 1},
         true},
    };
    for (size_t i = 0; i < DDP_COUNT(rows); i++) {
        struct layer l = layer_create(&rows[i].c);
        if (layer_is_wino(&l) != rows[i].wino)
            fail_msg("row %d", (int)i);
        assert_int_equal(l.plan.algorithm && strstr(l.plan.algorithm, "Winograd"), rows[i].wino);
        if (rows[i].wino) { /* 36 products for 16 outputs, edge tiles whole */
            const int h = (l.plan.out.h + 3) / 4, w = (l.plan.out.w + 3) / 4;
            assert_true(l.plan.done == 2.0 * 16 * 16 * 36 * h * w);
            assert_true(l.plan.done < l.plan.flops);
        }
        layer_destroy(&l);
    }
}

/* 4x4 with a border: a corner sees 4 of 9 taps, an edge 6, the middle all. */
static void test_conv_counts_the_taps_that_are_done(void **state)
{
    (void)state;
    const struct conv_case c = {
        .c = 17, .h = 4, .w = 4, .k = 16, .r = 3, .s = 3, .stride = 1, .pad = 1, .groups = 1, .n = 1};
    struct layer l = layer_create(&c);
    assert_non_null(l.plan.algorithm);
    assert_true(l.plan.done == 2.0 * 17 * 16 * (4 * 4 + 8 * 6 + 4 * 9));
    assert_true(l.plan.flops == 2.0 * 17 * 16 * 16 * 9);
    layer_destroy(&l);
}

static void test_conv_rejects_shapes_that_do_not_fit(void **state)
{
    (void)state;
    static const struct {
        struct conv_case c;
        const char *text;
    } rows[] = {
        {{.c = 3, .h = 8, .w = 8, .k = 16, .r = 3, .s = 3, .stride = 1, .groups = 2}, "groups = 2"},
        {{.c = 4, .h = 8, .w = 8, .k = 15, .r = 3, .s = 3, .stride = 1, .groups = 2}, "groups = 2"},
        {{.c = 3, .h = 4, .w = 8, .k = 16, .r = 7, .s = 7, .stride = 1, .pad = 1, .groups = 1}, "7x7"},
        {{.c = 3, .h = 8, .w = 4, .k = 16, .r = 3, .s = 5, .stride = 1, .groups = 1}, "3x8x4"},
        {{.c = 3, .h = 8, .w = 8, .k = 16, .r = 3, .s = 3, .stride = 1, .dilation = 4, .groups = 1}, "9x9"},
        {{.c = 3, .h = 8, .w = 8, .k = 16, .r = 2, .s = 2, .stride = 1, .pad = -1, .groups = 1}, "same"},
        {{.c = 3, .h = 8, .w = 8, .k = 16, .r = 3, .s = 3, .stride = 2, .pad = -1, .groups = 1}, "stride 2"},
        {{.c = 3, .h = 8, .w = 8, .k = 16, .r = 3, .s = 5, .stride = 1, .pad = -1, .groups = 1}, "3x5"},
    };
    const struct ddp_op *op = &ddp_op_conv2d;
    for (size_t i = 0; i < DDP_COUNT(rows); i++) {
        const struct conv_case *c = &rows[i].c;
        void *conf = conf_of(op, c);
        struct ddp_layer_plan p = {0};
        struct ddp_error err;
        assert_int_equal(op->plan(conf, &(struct ddp_shape){c->c, c->h, c->w}, 1, 1, &p, &err), DDP_E_SHAPE);
        if (!strstr(err.text, rows[i].text))
            fail_msg("'%s' is not in: %s", rows[i].text, err.text);
        free(conf);
    }
}

/* The bits themselves: the same from every compiler and machine. A change here changes every run's results;
 * it belongs into the CHANGELOG. */
static void test_conv_bits_are_those_of_the_last_release(void **state)
{
    (void)state;
    static const struct {
        struct conv_case c;
        uint32_t hash;
    } rows[] = {
        {{.c = 20,
          .h = 13,
          .w = 12,
          .k = 24,
          .r = 3,
          .s = 3,
          .stride = 1,
          .pad = 1,
          .groups = 1,
          .n = 3,
          .relu = true},
         0x3bbe8576},
        {{.c = 32,
          .h = 9,
          .w = 9,
          .k = 16,
          .r = 3,
          .s = 3,
          .stride = 2,
          .pad = 1,
          .groups = 1,
          .n = 4,
          .accumulate = true},
         0x91c131d7},
        {{.c = 32,
          .h = 11,
          .w = 14,
          .k = 48,
          .r = 3,
          .s = 3,
          .stride = 1,
          .pad = 1,
          .groups = 1,
          .n = 3,
          .relu = true,
          .accumulate = true},
         0x96a073d9},
        {{.c = 48,
          .h = 2,
          .w = 3,
          .k = 10,
          .r = 1,
          .s = 1,
          .stride = 1,
          .groups = 1,
          .n = 20,
          .linear = true},
         0xbbedc7bc},
    };
    for (size_t i = 0; i < DDP_COUNT(rows); i++) {
        rng = 1;
        struct layer l = layer_create(&rows[i].c);
        layer_run(&l, NULL, NULL);
        const float *parts[] = {l.out, l.din, l.dw, l.db};
        const int64_t sizes[] = {l.no, l.nx, l.nw, rows[i].c.k};
        uint32_t hash = 2166136261u;
        for (size_t p = 0; p < DDP_COUNT(parts); p++) {
            for (int64_t j = 0; j < sizes[p]; j++) {
                uint32_t word;
                memcpy(&word, &parts[p][j], sizeof word);
                hash = (hash ^ word) * 16777619u;
            }
        }
        if (hash != rows[i].hash)
            fail_msg("row %d: hash is 0x%08x, was 0x%08x", (int)i, hash, rows[i].hash);
        layer_destroy(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conv_matches_double_on_every_isa_and_thread_count),
        cmocka_unit_test(test_conv_matches_double_over_a_grid),
        cmocka_unit_test(test_conv_dilation_matches_double),
        cmocka_unit_test(test_conv_same_padding_keeps_the_size),
        cmocka_unit_test(test_conv_of_no_samples_has_zero_gradients),
        cmocka_unit_test(test_conv_lets_bad_values_through),
        cmocka_unit_test(test_conv_bits_are_those_of_the_last_release),
        cmocka_unit_test(test_conv_plans_pytorch_parameters),
        cmocka_unit_test(test_conv_asks_for_the_halo_it_reads),
        cmocka_unit_test(test_conv_takes_winograd_by_shape),
        cmocka_unit_test(test_conv_counts_the_taps_that_are_done),
        cmocka_unit_test(test_conv_rejects_shapes_that_do_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
