/* Whole runs on ranks that are threads of this process: what mpirun does not let a sanitizer see. */
#include "cmocka_all.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/train.h"

static char dir[64];

struct rank {
    struct ddp_comm *comm;
    struct ddp_config *cfg;
    int threads, status;
    struct ddp_hooks hooks;
    struct ddp_result result;
    struct ddp_error err;
};

static bool stop_hook(void *user, const struct ddp_step_info *info)
{
    (void)user;
    return info->step == 5;
}

static void *run_rank(void *arg)
{
    struct rank *r = arg;
    struct ddp_train_options opt = {
        .cfg = r->cfg, .comm = r->comm, .threads = r->threads, .started = ddp_now(), .hooks = r->hooks};
    r->status = ddp_train_run(&opt, &r->result, &r->err);
    return NULL;
}

/* Train on n ranks; the result of rank 0. */
static struct ddp_result train_hooked(int n, int threads, struct ddp_hooks hooks, const char *const *more,
                                      int nmore)
{
    enum { MAX = 8 };
    struct ddp_comm *comm[MAX];
    struct rank rank[MAX];
    pthread_t thread[MAX];
    struct ddp_error err = {0};
    char runs[128];
    snprintf(runs, sizeof runs, "run.dir=%s/runs", dir);
    const char *overrides[24] = {runs,
                                 "model=linear",
                                 "data.train_count=200",
                                 "data.test_count=40",
                                 "train.batch=24",
                                 "train.epochs=1",
                                 "log.level=error",
                                 "log.progress=false",
                                 "optim.lr=0.01"};
    int k = 9;
    for (int i = 0; i < nmore; i++)
        overrides[k++] = more[i];
    struct ddp_config_options opt = {
        .overrides = overrides, .noverrides = k, .configs_dir = DDP_TEST_CONFIGS};
    assert_int_equal(ddp_comm_threads_create(n, comm, &err), 0);
    for (int i = 0; i < n; i++) {
        rank[i] = (struct rank){.comm = comm[i], .threads = threads, .hooks = hooks};
        if (ddp_config_load(&opt, &rank[i].cfg, &err))
            fail_msg("%s", err.text);
        pthread_create(&thread[i], NULL, run_rank, &rank[i]);
    }
    for (int i = 0; i < n; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < n; i++) {
        if (rank[i].status)
            fail_msg("rank %d: %s", i, rank[i].err.text);
        ddp_comm_destroy(comm[i]);
        ddp_config_destroy(rank[i].cfg);
    }
    return rank[0].result;
}

static struct ddp_result train(int n, int threads, const char *const *more, int nmore)
{
    return train_hooked(n, threads, (struct ddp_hooks){0}, more, nmore);
}

static void test_train_gives_the_same_weights_at_any_number_of_ranks(void **s)
{
    (void)s;
    struct ddp_result one = train(1, 1, NULL, 0);
    assert_int_equal(strlen(one.weights_hash), 64);
    assert_int_equal(one.steps, 9); /* 200 samples in batches of 24, the last one short */
    assert_int_equal(one.eval_count, 40);
    static const struct {
        int ranks, threads;
    } rows[] = {{1, 2}, {2, 1}, {3, 1}, {5, 2}, {8, 1}};
    for (size_t i = 0; i < DDP_COUNT(rows); i++) {
        struct ddp_result r = train(rows[i].ranks, rows[i].threads, NULL, 0);
        assert_string_equal(r.weights_hash, one.weights_hash);
        assert_true(r.eval_loss == one.eval_loss);
        assert_true(r.eval_accuracy == one.eval_accuracy);
        assert_int_equal(r.ranks, rows[i].ranks);
    }
}

static void test_train_optimizers_with_norms_too(void **s)
{
    (void)s;
    static const char *const optims[][3] = {{"optim=adamw", "optim.clip_norm=0.5", "model=mlp"},
                                            {"optim=lars", "optim.clip_norm=0.1", "train.accumulate=2"},
                                            {"optim=lamb", "optim.weight_decay=0.01", "train.early_stop=1"}};
    for (size_t i = 0; i < DDP_COUNT(optims); i++) {
        struct ddp_result a = train(1, 1, optims[i], 3), b = train(3, 1, optims[i], 3);
        assert_string_equal(a.weights_hash, b.weights_hash);
    }
}

static void test_train_hook_ends_the_run(void **s)
{
    (void)s;
    struct ddp_result r = train_hooked(2, 1, (struct ddp_hooks){stop_hook, NULL}, NULL, 0);
    assert_int_equal(r.steps, 5);
    assert_int_equal(r.eval_count, 40);
}

/* Counts what steps allocate: between the second and the eighth nothing else is due. */
static bool count_hook(void *user, const struct ddp_step_info *info)
{
    long *count = user;
    if (info->step == 2)
        *count = ddp_alloc_count();
    if (info->step == 8)
        *count = ddp_alloc_count() - *count;
    return false;
}

static void test_train_steps_allocate_nothing(void **s)
{
    (void)s;
    static const char *const few[] = {"log.every_steps=1000", "data.workers=0"};
    long count = -1;
    train_hooked(2, 2, (struct ddp_hooks){count_hook, &count}, few, 2);
    assert_int_equal(count, 0);
}

int main(void)
{
    snprintf(dir, sizeof dir, "/tmp/ddp-test-XXXXXX");
    if (!mkdtemp(dir))
        return 1;
    ddp_log_terminal(DDP_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_train_gives_the_same_weights_at_any_number_of_ranks),
        cmocka_unit_test(test_train_optimizers_with_norms_too),
        cmocka_unit_test(test_train_hook_ends_the_run),
        cmocka_unit_test(test_train_steps_allocate_nothing),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    ddp_dir_remove(dir, NULL);
    return failed;
}
