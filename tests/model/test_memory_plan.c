/* Where things lie in memory: spans that live at the same time are apart. */
#include "models.h"

#include "model/memory_plan.h"

static void assert_disjoint(const struct ddp_span *span, int n, size_t total, size_t align)
{
    for (int i = 0; i < n; i++) {
        assert_int_equal(span[i].offset % align, 0);
        assert_true(span[i].offset + span[i].bytes <= total);
        for (int j = 0; j < i; j++) {
            const struct ddp_span *a = &span[i], *b = &span[j];
            bool meet = a->life.first <= b->life.last && b->life.first <= a->life.last;
            bool lap = a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;
            assert_false(meet && lap);
        }
    }
}

static void test_memory_spans_alive_together_are_apart(void **state)
{
    (void)state;
    for (uint32_t round = 0; round < 200; round++) {
        const size_t align = round % 2 ? 64 : 256;
        struct ddp_span span[24] = {0};
        size_t sum = 0, most = 0;
        for (int i = 0; i < 24; i++) {
            struct ddp_philox4 r = ddp_philox4((uint32_t)i, round, 0, 0, 1);
            span[i].bytes = 1 + r.v[0] % 5000;
            span[i].life.first = (int)(r.v[1] % 20);
            span[i].life.last = span[i].life.first + (int)(r.v[2] % 8);
        }
        size_t total = ddp_memory_place(span, 24, align);
        for (int i = 0; i < 24; i++)
            sum += span[i].bytes;
        for (int t = 0; t < 28; t++) {
            size_t now = 0;
            for (int i = 0; i < 24; i++)
                now += span[i].life.first <= t && t <= span[i].life.last ? span[i].bytes : 0;
            most = now > most ? now : most;
        }
        assert_disjoint(span, 24, total, align);
        assert_true(total >= most && total <= most + most / 2 && total <= sum);
    }
}

/* Sizes of no device: a value takes its index and the kind, so that nothing passes by being equal. */
static size_t value_bytes(const void *ctx, int value, bool grad)
{
    (void)ctx;
    return 1000 + 300 * (size_t)value + grad;
}

static size_t saved_bytes(const void *ctx, int stage)
{
    (void)ctx;
    return stage % 2 ? 0 : 17 * (size_t)stage;
}

static size_t scratch_bytes(const void *ctx, int stage)
{
    return stage == *(const int *)ctx ? 1025 : 1;
}

static int sync_doubles(const void *ctx, int stage)
{
    (void)ctx;
    return 100 + stage;
}

static void test_memory_plan_takes_the_sizes_of_the_device(void **state)
{
    (void)state;
    struct ddp_model *m = model_layers(
        "{type = \"conv2d\", out = 4, kernel = 1}, {type = \"batch_norm\", sync = true}, {type = \"gelu\"},"
        "{type = \"flatten\"}, {type = \"linear\", out = 3}, {type = \"mse\"}",
        (struct ddp_shape){2, 4, 4}, 2, 0);
    const struct ddp_stages *p = ddp_model_stages(m);
    const int wide = 2;
    assert_int_equal(p->value[1].over, DDP_OVER_PLAIN); /* of the convolution, read by batch norm */
    for (int way = 0; way < 4; way++) {
        const bool training = way & 1, over = way > 1;
        const struct ddp_memory_form form = {value_bytes, saved_bytes, scratch_bytes, sync_doubles, over,
                                             &wide,       128};
        struct ddp_memory mem;
        ddp_memory_plan(p, training, &form, &mem);
        assert_disjoint(mem.span, mem.nspans, mem.shard_bytes, 128);
        for (int v = 0; v < p->nvalues; v++) {
            const size_t bytes = value_bytes(NULL, v, false);
            assert_int_equal(mem.span[mem.value[v]].bytes, (bytes + 127) / 128 * 128);
            assert_int_equal(mem.grad[v] >= 0, training && p->value[v].wants_grad);
            assert_int_equal(mem.grad[v] == mem.value[v], training && over && p->value[v].over);
        }
        for (int s = 0; s < p->nstages; s++)
            assert_int_equal(mem.saved[s] >= 0, saved_bytes(NULL, s) > 0);
        assert_int_equal(mem.scratch_bytes, 1152);
        assert_int_equal(mem.sync_doubles, training ? 101 : 0); /* batch_norm is stage 1 */
        assert_int_equal(mem.stats_bytes, training ? 2 * DDP_BLOCK * sizeof(float) : 0);

        /* one block: [area, stats] x 3, scratch, leaves and sum */
        char *base = NULL, *end = base + ddp_memory_bytes(&mem, 3);
        for (int i = 0; i < 3; i++) {
            char *area = ddp_memory_area(&mem, base, i);
            assert_true(
                (char *)ddp_memory_stats(&mem, area) + mem.stats_bytes ==
                (i < 2 ? ddp_memory_area(&mem, base, i + 1) : (char *)ddp_memory_scratch(&mem, base, 3)));
        }
        assert_true((char *)ddp_memory_scratch(&mem, base, 3) + mem.scratch_bytes ==
                    (char *)ddp_memory_sync(&mem, base, 3, 0));
        const char *sum = (char *)ddp_memory_sync(&mem, base, 3, 3);
        assert_true(end - sum >= (int64_t)(mem.sync_doubles * sizeof(double)) &&
                    end - sum < (int64_t)(mem.sync_doubles * sizeof(double)) + 128);
        ddp_memory_finish(&mem);
    }
    ddp_model_destroy(m);
}

static void test_memory_is_used_again(void **state)
{
    (void)state;
    for (int i = 0; i < nshipped; i++) {
        size_t bytes[2][2];
        for (int reuse = 0; reuse < 2; reuse++) {
            struct ddp_model *m =
                model_named(shipped[i].name, shipped[i].input, 5, reuse ? 0 : DDP_BUILD_NO_REUSE);
            for (int training = 0; training < 2; training++) {
                struct ddp_memory mem;
                ddp_memory_plan_cpu(ddp_model_stages(m), training, &mem);
                bytes[reuse][training] = mem.shard_bytes;
                ddp_memory_finish(&mem);
            }
            ddp_model_destroy(m);
        }
        assert_true(bytes[1][0] < bytes[1][1]);
        assert_true(bytes[1][0] <= bytes[0][0] && bytes[1][1] <= bytes[0][1]);
        if (strcmp(shipped[i].name, "resnet18") == 0)
            assert_true(3 * bytes[1][0] < bytes[0][0] && bytes[1][1] < bytes[0][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_spans_alive_together_are_apart),
        cmocka_unit_test(test_memory_plan_takes_the_sizes_of_the_device),
        cmocka_unit_test(test_memory_is_used_again),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    models_finish();
    return rc;
}
