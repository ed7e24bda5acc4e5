/* Mixup: parts that are Beta distributed, partners from the whole set, and batches as the formula says. */
#include "data_testing.h"
#include "ops/ops.h"

static const uint64_t seed = 77;

static int by_size(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

/* The distribution function of Beta(a, a), by the midpoint rule in u = x^a, whose density has no pole. */
static double beta_below(double a, double x)
{
    enum { STEPS = 4000 };
    double sum = 0, all = 0;
    for (int k = 0; k < STEPS; k++) { /* the half below 1/2, which has as much as the other */
        const double u = (k + 0.5) / STEPS * pow(0.5, a), v = pow(u, 1 / a), f = pow(1 - v, a - 1);
        all += f;
        sum += v < (x < 0.5 ? x : 1 - x) ? f : 0;
    }
    return x < 0.5 ? 0.5 * sum / all : 1 - 0.5 * sum / all;
}

/* Kolmogorov and Smirnov's distance: beyond 1.95 / sqrt(n) once in a thousand; the numbers are fixed. */
static void test_parts_are_beta_distributed(void **state)
{
    (void)state;
    enum { N = 4000 };
    static const double alphas[] = {0.1, 0.2, 0.4, 1, 2.5, 30};
    for (size_t k = 0; k < DDP_COUNT(alphas); k++) {
        static float own[N];
        int64_t partner;
        double worst = 0;
        for (int i = 0; i < N; i++) {
            ddp_mixup_draw(alphas[k], 10, seed, 1, i, &partner, &own[i]);
            assert_true(own[i] >= 0 && own[i] <= 1);
        }
        qsort(own, N, sizeof *own, by_size);
        for (int i = 20; i < N; i += 40) /* near 1 floats stand too far apart for small alphas */
            if (own[i] <= 0.5f || alphas[k] >= 1)
                worst = fmax(worst, fabs(beta_below(alphas[k], (double)own[i]) - (i + 0.5) / N));
        int below = 0;
        for (int i = 0; i < N; i++)
            below += own[i] < 0.5f;
        assert_in_range(below, N / 2 - 120, N / 2 + 120);
        if (worst > 1.95 / sqrt(N))
            fail_msg("alpha %g: off by %.4f", alphas[k], worst);
    }
}

static void test_partners_are_any_and_follow_from_seed_epoch_and_index(void **state)
{
    (void)state;
    int seen[7] = {0}, same = 0;
    for (int64_t i = 0; i < 7000; i++) {
        int64_t a, b;
        float own[2];
        ddp_mixup_draw(0.4, 7, seed, 3, i, &a, &own[0]);
        ddp_mixup_draw(0.4, 7, seed, 3, i, &b, &own[1]);
        assert_true(a == b && own[0] == own[1] && a >= 0 && a < 7);
        seen[a]++;
        ddp_mixup_draw(0.4, 7, seed + (i % 2 == 0), 3 + i % 2, i, &b, &own[1]);
        same += own[0] == own[1];
    }
    for (int i = 0; i < 7; i++)
        assert_in_range(seen[i], 880, 1120); /* 1,000 expected, deviation 29 */
    assert_true(same < 100);
    float own;
    int64_t partner;
    double sum = 0; /* an end: numbers too small for a double on the way */
    for (int64_t i = 0; i < 100; i++) {
        ddp_mixup_draw(0.001, 7, seed, 0, i, &partner, &own);
        sum += own < 1e-6 || own > 1 - 1e-6;
    }
    assert_true(sum > 90);
}

/* A batch against its definition, at any number of threads, whichever shards a rank has. */
static void test_loader_mixes_as_the_formula_says(void **state)
{
    (void)state;
    enum { COUNT = 37, PIXELS = 28 * 28 };
    static float mine[PIXELS], theirs[PIXELS];
    static uint8_t bytes[PIXELS];
    struct ddp_error err = {0};
    struct ddp_config cfg = basic_config("digits", "");
    struct ddp_dataset *ds;
    struct ddp_augment a;
    cfg.data.train_count = COUNT, cfg.data.test_count = 1;
    cfg.data.shuffle = cfg.data.flip = true;
    cfg.data.mixup = 0.4;
    cfg.data.rotate = 20;
    assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TRAIN, &ds, &err), 0);
    ddp_augment_init(&a, &cfg, &ds->info, true);
    void *scratch = malloc(ddp_alter_scratch(&a.alter, ds->info.shape));
    for (int workers = 0; workers <= 3; workers += 3) {
        const struct ddp_loader_conf conf = {.batch = 8,
                                             .shards = 4,
                                             .first_shard = 1,
                                             .last_shard = 3,
                                             .seed = seed,
                                             .train = true,
                                             .workers = workers,
                                             .prefetch = 2};
        struct ddp_loader *l;
        assert_int_equal(ddp_loader_create(&cfg, ds, &conf, &l, &err), 0);
        for (int k = 0; k < 9; k++) {
            const struct ddp_batch *b;
            assert_int_equal(ddp_loader_next(l, &b, &err), 0);
            for (int s = 0; s < b->nshards; s++)
                for (int i = 0; i < b->shard[s].n; i++) {
                    const struct ddp_shard *shard = &b->shard[s];
                    const struct ddp_mixed *m = &shard->mixed[i];
                    int64_t index[2] = {shard->sample[i]};
                    float own, *to[2] = {mine, theirs};
                    int32_t label[2];
                    ddp_mixup_draw(0.4, COUNT, seed, b->epoch, index[0], &index[1], &own);
                    for (int j = 0; j < 2; j++) {
                        assert_int_equal(ddp_dataset_get(ds, index[j], bytes, &label[j], &err), 0);
                        ddp_alter_apply(&a.alter, ds->info.shape, bytes, seed, b->epoch, index[j], scratch);
                        ddp_augment_apply(&a, ds->info.shape, bytes, seed, b->epoch, index[j], to[j]);
                    }
                    assert_null(shard->label);
                    assert_true(m->label == label[0] && m->other == label[1] && m->own == own);
                    for (int p = 0; p < PIXELS; p++) {
                        volatile float first = own * mine[p], second = (1.0f - own) * theirs[p];
                        assert_true(shard->pixels[i * PIXELS + p] == first + second);
                    }
                }
        }
        ddp_loader_destroy(l);
    }
    free(scratch);
    ddp_dataset_close(ds);
}

/* Evaluation has labels as they are. */
static void test_evaluation_does_not_mix(void **state)
{
    (void)state;
    struct ddp_error err = {0};
    struct ddp_config cfg = basic_config("digits", "");
    struct ddp_dataset *ds;
    struct ddp_loader *l;
    const struct ddp_batch *b;
    cfg.data.train_count = 20, cfg.data.test_count = 9;
    cfg.data.mixup = 1;
    assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TEST, &ds, &err), 0);
    const struct ddp_loader_conf conf = {.batch = 9, .shards = 1, .last_shard = 1};
    assert_int_equal(ddp_loader_create(&cfg, ds, &conf, &l, &err), 0);
    assert_int_equal(ddp_loader_next(l, &b, &err), 0);
    assert_true(b->shard[0].n == 9 && b->shard[0].label && !b->shard[0].mixed);
    ddp_loader_destroy(l);
    ddp_dataset_close(ds);
}

static void test_mixup_wants_pictures_of_classes(void **state)
{
    (void)state;
    struct ddp_error err = {0};
    struct ddp_config cfg = basic_config("friedman", "");
    struct ddp_dataset *ds;
    cfg.data.train_count = cfg.data.test_count = 9;
    cfg.data.mixup = 1;
    assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TRAIN, &ds, &err), DDP_E_CONFIG);
    assert_non_null(strstr(err.text, "data.mixup is for pictures, which this data is not"));
    const struct ddp_dataset_info info = {.shape = {1, 2, 2}, .targets = 3};
    assert_int_equal(ddp_augment_check(&cfg, &info, &err), DDP_E_CONFIG);
    assert_non_null(strstr(err.text, "data.mixup is for classes, this data has real targets"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts_are_beta_distributed),
        cmocka_unit_test(test_partners_are_any_and_follow_from_seed_epoch_and_index),
        cmocka_unit_test(test_loader_mixes_as_the_formula_says),
        cmocka_unit_test(test_evaluation_does_not_mix),
        cmocka_unit_test(test_mixup_wants_pictures_of_classes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
