/* The loader: the same batches whatever the number of threads, in order, without end, errors where they
 * belong. */
#include "data_testing.h"

#include <stdatomic.h>
#include <time.h>

enum { SIDE = 3, PIXELS = SIDE * SIDE };

/* Sample i: pixels test_byte(i, ..), label i % 5. Sample `bad` is damaged; every get takes `delay_us`. */
/* atomic: the tests change them while workers fetch */
static _Atomic int64_t bad_sample = -1, wrong_label = -1;
static atomic_int delay_us;
static atomic_int gets, in_get, most_in_get;
static int64_t sample_count = 53;

static int fake_open(const struct ddp_dataset_conf *conf, enum ddp_split split, void **out,
                     struct ddp_error *err)
{
    (void)conf, (void)split, (void)err;
    *out = (void *)&bad_sample;
    return 0;
}
static void fake_info(const void *ds, struct ddp_dataset_info *info)
{
    (void)ds;
    *info = (struct ddp_dataset_info){
        .count = sample_count, .shape = {1, SIDE, SIDE}, .classes = 5, .mean = {0.5}, .std = {0.25}};
}
static int fake_get(const void *ds, int64_t index, uint8_t *pixels, int32_t *label, struct ddp_error *err)
{
    (void)ds;
    atomic_fetch_add(&gets, 1);
    int now = atomic_fetch_add(&in_get, 1) + 1;
    if (now > most_in_get)
        most_in_get = now;
    if (delay_us)
        nanosleep(&(struct timespec){0, delay_us * 1000L}, NULL);
    atomic_fetch_sub(&in_get, 1);
    if (index == bad_sample)
        return ddp_fail(err, DDP_E_DATA, "file.bin: record %lld is damaged", (long long)index);
    for (uint32_t i = 0; i < PIXELS; i++)
        pixels[i] = test_byte((uint32_t)index, i);
    *label = index == wrong_label ? 5 : (int32_t)(index % 5);
    return 0;
}
static int fake_digest(const void *ds, char hex[65], struct ddp_error *err)
{
    (void)ds, (void)err;
    hex[0] = '\0';
    return 0;
}
static void fake_close(void *ds)
{
    (void)ds;
}
static const struct ddp_dataset_ops fake_ops = {.name = "fake",
                                                .doc = "for the test",
                                                .open = fake_open,
                                                .info = fake_info,
                                                .get = fake_get,
                                                .digest = fake_digest,
                                                .close = fake_close};

static struct ddp_config config(void)
{
    struct ddp_config cfg = basic_config("fake", "");
    cfg.data.crop_padding = 1;
    cfg.data.flip = true;
    cfg.data.rotate = 90;
    cfg.data.brightness = 0.5;
    return cfg;
}

/* Sample's bytes as they are, or as training has them before they are cropped. */
static void bytes_of(int64_t sample, bool train, uint64_t seed, int64_t epoch, uint8_t bytes[PIXELS])
{
    static float scratch[1024];
    const struct ddp_config cfg = config();
    struct ddp_alter a;
    for (uint32_t p = 0; p < PIXELS; p++)
        bytes[p] = test_byte((uint32_t)sample, p);
    ddp_alter_init(&a, &cfg);
    assert_true(ddp_alter_scratch(&a, (struct ddp_shape){1, SIDE, SIDE}) <= sizeof scratch);
    if (train)
        ddp_alter_apply(&a, (struct ddp_shape){1, SIDE, SIDE}, bytes, seed, epoch, sample, scratch);
}

static struct ddp_dataset *open_fake(int64_t count)
{
    struct ddp_config cfg = config();
    struct ddp_error err = {0};
    struct ddp_dataset *ds;
    sample_count = count;
    assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TRAIN, &ds, &err), 0);
    return ds;
}

static struct ddp_loader *make(struct ddp_dataset *ds, struct ddp_loader_conf conf)
{
    struct ddp_config cfg = config();
    struct ddp_error err = {0};
    struct ddp_loader *l;
    assert_int_equal(ddp_loader_create(&cfg, ds, &conf, &l, &err), 0);
    return l;
}

static const struct ddp_loader_conf usual = {.batch = 8,
                                             .shards = 4,
                                             .first_shard = 1,
                                             .last_shard = 3,
                                             .seed = 9,
                                             .train = true,
                                             .workers = 0,
                                             .prefetch = 3};

/* Everything a batch says, hashed. */
static void hash_batch(struct ddp_sha256 *sha, const struct ddp_batch *b)
{
    int64_t head[4] = {b->epoch, b->index, b->count, b->nshards};
    ddp_sha256_update(sha, head, sizeof head);
    for (int i = 0; i < b->nshards; i++) {
        const struct ddp_shard *s = &b->shard[i];
        ddp_sha256_update(sha, &s->n, sizeof s->n);
        ddp_sha256_update(sha, s->pixels, (size_t)s->n * PIXELS * sizeof(float));
        ddp_sha256_update(sha, s->label, (size_t)s->n * sizeof *s->label);
        ddp_sha256_update(sha, s->sample, (size_t)s->n * sizeof *s->sample);
    }
}

/* Check a batch against the plain definition. */
static void check_batch(const struct ddp_dataset *ds, const struct ddp_loader_conf *conf,
                        const struct ddp_batch *b)
{
    struct ddp_config cfg = config();
    struct ddp_augment a;
    ddp_augment_init(&a, &cfg, &ds->info, conf->train);
    int64_t count = ds->info.count, *perm = malloc((size_t)count * sizeof *perm);
    ddp_order_epoch(conf->seed, b->epoch, count, conf->train, perm);
    assert_int_equal(b->nshards, conf->last_shard - conf->first_shard);
    int64_t left = count - b->index * conf->batch;
    assert_int_equal(b->count, left < conf->batch ? left : conf->batch);
    for (int i = 0; i < b->nshards; i++) {
        int64_t begin, end;
        ddp_order_shard(count, conf->batch, b->index, conf->shards, conf->first_shard + i, &begin, &end);
        assert_int_equal(b->shard[i].n, end - begin);
        for (int k = 0; k < b->shard[i].n; k++) {
            uint8_t bytes[PIXELS];
            float want[PIXELS];
            int64_t sample = perm[begin + k];
            bytes_of(sample, conf->train, conf->seed, b->epoch, bytes);
            ddp_augment_apply(&a, ds->info.shape, bytes, conf->seed, b->epoch, sample, want);
            assert_int_equal(b->shard[i].sample[k], sample);
            assert_int_equal(b->shard[i].label[k], sample % 5);
            assert_memory_equal(b->shard[i].pixels + k * PIXELS, want, sizeof want);
        }
    }
    free(perm);
}

static void test_loader_delivers_what_order_and_augment_define(void **state)
{
    (void)state;
    static const struct {
        int64_t count, batch;
        int shards, first, last;
        bool train;
    } table[] = {{53, 8, 4, 0, 4, true},   {53, 8, 4, 1, 3, true}, {5, 8, 3, 0, 3, true},
                 {64, 16, 8, 7, 8, false}, {1, 1, 1, 0, 1, true},  {3, 64, 8, 2, 6, true},
                 {17, 1, 1, 0, 1, false},  {20, 8, 4, 2, 2, true}};
    for (size_t i = 0; i < DDP_COUNT(table); i++)
        for (int workers = 0; workers <= 3; workers += 1) {
            struct ddp_dataset *ds = open_fake(table[i].count);
            struct ddp_loader_conf conf = {.batch = table[i].batch,
                                           .shards = table[i].shards,
                                           .first_shard = table[i].first,
                                           .last_shard = table[i].last,
                                           .seed = 4,
                                           .train = table[i].train,
                                           .workers = workers,
                                           .prefetch = 2};
            struct ddp_loader *l = make(ds, conf);
            struct ddp_error err = {0};
            int64_t batches = ddp_loader_batches(l);
            assert_int_equal(batches, ddp_order_batches(table[i].count, table[i].batch));
            for (int64_t k = 0; k < 3 * batches; k++) {
                const struct ddp_batch *b;
                assert_int_equal(ddp_loader_next(l, &b, &err), 0);
                assert_int_equal(b->epoch, k / batches);
                assert_int_equal(b->index, k % batches);
                check_batch(ds, &conf, b);
            }
            ddp_loader_destroy(l);
            ddp_dataset_close(ds);
        }
}

static void test_loader_leaves_pictures_to_a_device(void **state)
{
    (void)state;
    struct ddp_dataset *ds = open_fake(21);
    struct ddp_loader_conf conf = usual;
    struct ddp_loader *floats = make(ds, conf);
    conf.form = DDP_LOADER_BYTES;
    struct ddp_loader *bytes = make(ds, conf);
    conf.form = DDP_LOADER_INDICES;
    struct ddp_loader *indices = make(ds, conf);
    for (int b = 0; b < 7; b++) {
        const struct ddp_batch *f, *y, *i;
        assert_int_equal(ddp_loader_next(floats, &f, NULL), 0);
        assert_int_equal(ddp_loader_next(bytes, &y, NULL), 0);
        const int before = gets;
        assert_int_equal(ddp_loader_next(indices, &i, NULL), 0);
        assert_int_equal(gets, before);
        for (int s = 0; s < 2; s++) {
            const int n = f->shard[s].n;
            assert_true(y->shard[s].n == n && i->shard[s].n == n);
            assert_null(y->shard[s].pixels);
            assert_null(i->shard[s].bytes);
            assert_memory_equal(f->shard[s].sample, y->shard[s].sample, (size_t)n * 8);
            assert_memory_equal(f->shard[s].sample, i->shard[s].sample, (size_t)n * 8);
            assert_memory_equal(f->shard[s].label, y->shard[s].label, (size_t)n * 4);
            for (int k = 0; k < n; k++) {
                uint8_t want[PIXELS];
                bytes_of(y->shard[s].sample[k], true, conf.seed, y->epoch, want);
                assert_memory_equal(y->shard[s].bytes + k * PIXELS, want, PIXELS);
            }
        }
    }
    ddp_loader_destroy(floats);
    ddp_loader_destroy(bytes);
    ddp_loader_destroy(indices);
    ddp_dataset_close(ds);
}

static void test_loader_gives_the_same_bytes_at_any_number_of_threads(void **state)
{
    (void)state;
    char first[65] = "", hex[65];
    for (int workers = 0; workers <= 4; workers++)
        for (int prefetch = 0; prefetch <= 5; prefetch += 5) {
            struct ddp_dataset *ds = open_fake(53);
            struct ddp_loader_conf conf = usual;
            conf.workers = workers;
            conf.prefetch = prefetch;
            struct ddp_loader *l = make(ds, conf);
            struct ddp_error err = {0};
            struct ddp_sha256 sha;
            ddp_sha256_init(&sha);
            for (int k = 0; k < 40; k++) {
                const struct ddp_batch *b;
                assert_int_equal(ddp_loader_next(l, &b, &err), 0);
                hash_batch(&sha, b);
            }
            ddp_sha256_hex(&sha, hex);
            if (!first[0])
                memcpy(first, hex, sizeof first);
            assert_string_equal(hex, first);
            ddp_loader_destroy(l);
            ddp_dataset_close(ds);
        }
}

static void test_seek_equals_playing_through(void **state)
{
    (void)state;
    enum { N = 30 };
    char played[N][65], hex[65];
    for (int workers = 0; workers <= 3; workers += 3) {
        struct ddp_dataset *ds = open_fake(53);
        struct ddp_loader_conf conf = usual;
        conf.workers = workers;
        struct ddp_loader *l = make(ds, conf);
        struct ddp_error err = {0};
        const struct ddp_batch *b;
        for (int k = 0; k < N; k++) {
            struct ddp_sha256 sha;
            ddp_sha256_init(&sha);
            assert_int_equal(ddp_loader_next(l, &b, &err), 0);
            hash_batch(&sha, b);
            ddp_sha256_hex(&sha, played[k]);
        }
        int64_t per_epoch = ddp_loader_batches(l);
        static const int to[] = {0, 13, 6, 7, 20, 0, 26};
        for (size_t i = 0; i < DDP_COUNT(to); i++) {
            assert_int_equal(ddp_loader_seek(l, to[i] / per_epoch, to[i] % per_epoch, &err), 0);
            for (int k = to[i]; k < to[i] + 4; k++) {
                struct ddp_sha256 sha;
                ddp_sha256_init(&sha);
                assert_int_equal(ddp_loader_next(l, &b, &err), 0);
                hash_batch(&sha, b);
                ddp_sha256_hex(&sha, hex);
                assert_string_equal(hex, played[k]);
            }
        }
        assert_int_equal(ddp_loader_seek(l, 0, per_epoch, &err), DDP_E_USAGE);
        assert_int_equal(ddp_loader_seek(l, -1, 0, &err), DDP_E_USAGE);
        assert_int_equal(ddp_loader_seek(l, 0, -1, &err), DDP_E_USAGE);
        assert_int_equal(ddp_loader_seek(l, 0, per_epoch - 1, &err), 0);
        ddp_loader_destroy(l);
        ddp_dataset_close(ds);
    }
}

static void test_batch_stays_valid_until_the_next_call(void **state)
{
    (void)state;
    struct ddp_dataset *ds = open_fake(53);
    struct ddp_loader_conf conf = usual;
    conf.workers = 2;
    conf.prefetch = 1;
    struct ddp_loader *l = make(ds, conf);
    struct ddp_error err = {0};
    for (int k = 0; k < 20; k++) {
        const struct ddp_batch *b;
        assert_int_equal(ddp_loader_next(l, &b, &err), 0);
        nanosleep(&(struct timespec){0, 1000000}, NULL); /* workers run into the bound meanwhile */
        check_batch(ds, &conf, b);
    }
    ddp_loader_destroy(l);
    ddp_dataset_close(ds);
}

static void test_prefetch_is_bounded(void **state)
{
    (void)state;
    struct ddp_dataset *ds = open_fake(800);
    struct ddp_loader_conf conf = {
        .batch = 8, .shards = 1, .last_shard = 1, .seed = 1, .train = true, .workers = 3, .prefetch = 4};
    atomic_store(&gets, 0);
    struct ddp_loader *l = make(ds, conf);
    struct ddp_error err = {0};
    const struct ddp_batch *b;
    for (int wait = 0; wait < 400 && gets < 40; wait++)
        nanosleep(&(struct timespec){0, 5000000}, NULL);
    nanosleep(&(struct timespec){0, 20000000}, NULL);
    assert_int_equal(gets, 40); /* prefetch + 1 slots, none in use yet */
    for (int k = 1; k <= 3; k++) {
        assert_int_equal(ddp_loader_next(l, &b, &err), 0);
        for (int wait = 0; wait < 400 && gets < 40 + 8 * (k - 1); wait++)
            nanosleep(&(struct timespec){0, 5000000}, NULL);
        nanosleep(&(struct timespec){0, 10000000}, NULL);
        assert_int_equal(gets, 40 + 8 * (k - 1)); /* the one in use is no free slot */
    }
    ddp_loader_destroy(l);
    ddp_dataset_close(ds);
}

static void test_error_comes_at_its_batch_and_stays(void **state)
{
    (void)state;
    for (int workers = 0; workers <= 3; workers++)
        for (int kind = 0; kind < 2; kind++) {
            struct ddp_dataset *ds = open_fake(53);
            struct ddp_loader_conf conf = {
                .batch = 8, .shards = 2, .last_shard = 2, .seed = 9, .workers = workers, .prefetch = 3};
            struct ddp_loader *l = make(ds, conf); /* not train: sample i is in batch i / 8 */
            atomic_store(kind ? &wrong_label : &bad_sample, 29);
            struct ddp_error err = {0};
            const struct ddp_batch *b;
            assert_int_equal(ddp_loader_seek(l, 0, 0, &err), 0);
            for (int k = 0; k < 3; k++)
                assert_int_equal(ddp_loader_next(l, &b, &err), 0);
            for (int again = 0; again < 3; again++) {
                assert_int_equal(ddp_loader_next(l, &b, &err), DDP_E_DATA);
                assert_contains(err.text, "epoch 0, batch 3: sample 29: ");
                assert_contains(err.text, kind ? "label 5 is out of range; allowed are 0..4"
                                               : "file.bin: record 29 is damaged");
            }
            bad_sample = wrong_label = -1;
            assert_int_equal(ddp_loader_seek(l, 0, 3, &err), 0);
            assert_int_equal(ddp_loader_next(l, &b, &err), 0);
            assert_int_equal(b->index, 3);
            ddp_loader_destroy(l);
            ddp_dataset_close(ds);
        }
}

static void test_other_ranks_samples_are_not_read(void **state)
{
    (void)state;
    struct ddp_dataset *ds = open_fake(16);
    struct ddp_loader_conf conf = {.batch = 16, .shards = 4, .first_shard = 1, .last_shard = 2, .seed = 1};
    struct ddp_loader *l = make(ds, conf);
    struct ddp_error err = {0};
    const struct ddp_batch *b;
    bad_sample = 8; /* of shard 2 */
    atomic_store(&gets, 0);
    assert_int_equal(ddp_loader_next(l, &b, &err), 0);
    assert_int_equal(gets, 4);
    bad_sample = -1;
    ddp_loader_destroy(l);
    ddp_dataset_close(ds);
}

static void test_workers_fetch_at_the_same_time(void **state)
{
    (void)state;
    struct ddp_dataset *ds = open_fake(400);
    struct ddp_loader_conf conf = {
        .batch = 4, .shards = 1, .last_shard = 1, .seed = 1, .workers = 3, .prefetch = 6};
    double begin = ddp_now();
    delay_us = 300;
    atomic_store(&most_in_get, 0);
    struct ddp_loader *l = make(ds, conf);
    struct ddp_error err = {0};
    const struct ddp_batch *b;
    for (int k = 0; k < 40; k++)
        assert_int_equal(ddp_loader_next(l, &b, &err), 0);
    double waited = ddp_loader_waited(l);
    assert_true(waited > 0.0 && waited <= ddp_now() - begin);
    assert_true(ddp_loader_waited(l) == 0.0);
    delay_us = 0;
    assert_in_range(most_in_get, 2, 3);
    ddp_loader_destroy(l);
    ddp_dataset_close(ds);
}

static void test_destroy_does_not_wait_for_a_batch(void **state)
{
    (void)state;
    struct ddp_dataset *ds = open_fake(5000);
    struct ddp_loader_conf conf = {
        .batch = 5000, .shards = 1, .last_shard = 1, .seed = 1, .workers = 2, .prefetch = 2};
    delay_us = 2000; /* 10 s for a batch */
    struct ddp_loader *l = make(ds, conf);
    struct ddp_error err = {0};
    nanosleep(&(struct timespec){0, 10000000}, NULL);
    double start = ddp_now();
    assert_int_equal(ddp_loader_seek(l, 0, 0, &err), 0);
    ddp_loader_destroy(l);
    assert_true(ddp_now() - start < 1.0);
    delay_us = 0;
    ddp_dataset_close(ds);
    ddp_loader_destroy(NULL);
}

static void test_steady_state_allocates_nothing(void **state)
{
    (void)state;
    for (int workers = 0; workers <= 2; workers++) {
        struct ddp_dataset *ds = open_fake(53);
        struct ddp_loader_conf conf = usual;
        conf.workers = workers;
        struct ddp_loader *l = make(ds, conf);
        struct ddp_error err = {0};
        const struct ddp_batch *b;
        assert_int_equal(ddp_loader_next(l, &b, &err), 0);
        long before = ddp_alloc_count();
        for (int k = 0; k < 50; k++) /* several epochs */
            assert_int_equal(ddp_loader_next(l, &b, &err), 0);
        assert_int_equal(ddp_alloc_count(), before);
        /* each slot holds its pixels at least */
        assert_true(ddp_loader_bytes(l) >= (size_t)(workers ? 4 : 1) * 4 * PIXELS * sizeof(float));
        ddp_loader_destroy(l);
        ddp_dataset_close(ds);
    }
}

static void test_create_refuses_nonsense(void **state)
{
    (void)state;
    struct ddp_dataset *ds = open_fake(53);
    struct ddp_config cfg = config();
    for (int i = 0; i < 8; i++) {
        struct ddp_loader_conf conf = usual;
        struct ddp_error err = {0};
        struct ddp_loader *l;
        if (i == 0)
            conf.batch = 0;
        if (i == 1)
            conf.shards = 0;
        if (i == 2)
            conf.first_shard = -1;
        if (i == 3)
            conf.last_shard = 5;
        if (i == 4)
            conf.first_shard = 4;
        if (i == 5)
            conf.workers = -1;
        if (i == 6)
            conf.prefetch = -1;
        int rc = ddp_loader_create(&cfg, ds, &conf, &l, &err);
        assert_int_equal(rc, i == 7 ? 0 : DDP_E_USAGE);
        if (!rc)
            ddp_loader_destroy(l);
    }
    ddp_dataset_close(ds);
}

int main(void)
{
    struct ddp_error err = {0};
    if (ddp_dataset_register(&fake_ops, &err))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loader_delivers_what_order_and_augment_define),
        cmocka_unit_test(test_loader_leaves_pictures_to_a_device),
        cmocka_unit_test(test_loader_gives_the_same_bytes_at_any_number_of_threads),
        cmocka_unit_test(test_seek_equals_playing_through),
        cmocka_unit_test(test_batch_stays_valid_until_the_next_call),
        cmocka_unit_test(test_prefetch_is_bounded),
        cmocka_unit_test(test_error_comes_at_its_batch_and_stays),
        cmocka_unit_test(test_other_ranks_samples_are_not_read),
        cmocka_unit_test(test_workers_fetch_at_the_same_time),
        cmocka_unit_test(test_destroy_does_not_wait_for_a_batch),
        cmocka_unit_test(test_steady_state_allocates_nothing),
        cmocka_unit_test(test_create_refuses_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
