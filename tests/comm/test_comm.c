/* The conformance suite over the transports. Plain: self, threads and processes with several numbers of
 * ranks, with cmocka. As `test_comm world` under mpirun: over the ranks that were started. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/cases.h"
#include "comm/transport.h"

static void test_self_conforms(void **state)
{
    (void)state;
    struct ddp_comm *c = NULL;
    assert_int_equal(ddp_comm_self_create(&c, NULL), 0);
    assert_int_equal(c->rank, 0);
    assert_int_equal(c->size, 1);
    for (int i = 0; i < comm_ncases; i++)
        assert_int_equal(comm_cases[i].body(c, NULL), 0);
    ddp_comm_abort(c, 1);
    ddp_comm_destroy(c);
}

static void test_threads_conform(void **state)
{
    (void)state;
    static const int ranks[] = {1, 2, 3, 5, 8};
    for (size_t n = 0; n < DDP_COUNT(ranks); n++)
        for (int i = 0; i < comm_ncases; i++)
            assert_int_equal(ranks_run(ranks[n], comm_cases[i].body, NULL), 0);
}

/* Nodes of one size and of several, in blocks, in turn, and as they come. */
static const struct cut {
    int n, node[8];
} cuts[] = {
    {2, {0, 1}},
    {4, {0, 0, 1, 1}},
    {4, {0, 1, 0, 1}},
    {5, {7, 7, 7, 2, 2}},
    {6, {0, 1, 1, 1, 0, 2}},
    {8, {0, 0, 0, 0, 1, 1, 1, 1}},
    {3, {-1, -1, -1}},
    {8, {3, 1, 2, 1, 3, 2, 1, 0}},
};

static void test_pseudo_nodes_conform(void **state)
{
    (void)state;
    for (size_t k = 0; k < DDP_COUNT(cuts); k++)
        for (int i = 0; i < comm_ncases; i++)
            assert_int_equal(ranks_run_on(cuts[k].n, cuts[k].node, comm_cases[i].body, NULL), 0);
}

/* Processes start slowly: all cases one after the other, on one comm. */
static int all_cases(struct ddp_comm *c, void *ctx)
{
    (void)ctx;
    for (int i = 0; i < comm_ncases; i++) {
        const int line = comm_cases[i].body(c, NULL);
        if (line != 0)
            return line;
    }
    return 0;
}

static void test_processes_conform(void **state)
{
    (void)state;
    static const int ranks[] = {1, 2, 3, 8};
    for (size_t n = 0; n < DDP_COUNT(ranks); n++)
        assert_int_equal(ranks_run_forked(ranks[n], NULL, all_cases, NULL), 0);
    for (size_t k = 0; k < DDP_COUNT(cuts); k += 2)
        assert_int_equal(ranks_run_forked(cuts[k].n, cuts[k].node, all_cases, NULL), 0);
}

/* Pages of a segment that all have freed go back to the system, though the file lives on. */
static int frees_pages(struct ddp_comm *c, int memory)
{
    enum { BYTES = 4 << 20, ROUNDS = 20 };
    struct ddp_error err = {0};
    for (int i = 0; i < ROUNDS; i++) {
        void *base = NULL;
        CHECK_OK(c, ddp_comm_shared_alloc(c, BYTES, &base, &err), &err);
        CHECK(c, ((char *)base)[BYTES - 1] == 0);
        if (c->rank == 0)
            memset(base, 1, BYTES - 1); /* the others look at the last one */
        CHECK_OK(c, ddp_comm_barrier(c, &err), &err);
        ddp_comm_shared_free(c, base, BYTES);
    }
    struct stat st;
    CHECK_OK(c, ddp_comm_barrier(c, &err), &err);
    CHECK(c, fstat(memory, &st) == 0 && st.st_blocks * 512 < 2 * BYTES && st.st_size > ROUNDS * (off_t)BYTES);
    return 0;
}

static int find_memory(struct ddp_comm *c, void *ctx)
{
    (void)ctx;
    char path[64], name[64];
    int memory = -1;
    for (int fd = 3; fd < 256 && memory < 0; fd++) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        const ssize_t n = readlink(path, name, sizeof name - 1);
        if (n > 0 && strncmp(name, "/memfd:ranks", 12) == 0)
            memory = fd;
    }
    CHECK(c, memory >= 0);
    return frees_pages(c, memory);
}

static void test_processes_give_pages_back(void **state)
{
    (void)state;
    assert_int_equal(ranks_run_forked(3, NULL, find_memory, NULL), 0);
}

/* Whoever waits in any collective sleeps: rank 0 may be writing a checkpoint for seconds. */
static int waits_asleep(struct ddp_comm *c, void *ctx)
{
    (void)ctx;
    struct ddp_error err = {0};
    struct rusage before, after;
    char all[8], one = 1;
    getrusage(RUSAGE_SELF, &before);
    for (int round = 0; round < 3; round++) {
        if (c->rank == 0)
            usleep(200000);
        if (round == 0)
            CHECK_OK(c, ddp_comm_barrier(c, &err), &err);
        else if (round == 1)
            CHECK_OK(c, ddp_comm_bcast(c, &one, 1, 0, &err), &err);
        else
            CHECK_OK(c, ddp_comm_allgather(c, &one, all, 1, &err), &err);
    }
    getrusage(RUSAGE_SELF, &after);
    const double used = (double)(after.ru_utime.tv_sec + after.ru_stime.tv_sec - before.ru_utime.tv_sec -
                                 before.ru_stime.tv_sec) +
                        (double)(after.ru_utime.tv_usec + after.ru_stime.tv_usec - before.ru_utime.tv_usec -
                                 before.ru_stime.tv_usec) /
                            1e6;
    CHECK(c, used < 0.1);
    return 0;
}

static void test_processes_wait_asleep(void **state)
{
    (void)state;
    assert_int_equal(ranks_run_forked(4, NULL, waits_asleep, NULL), 0);
}

static void test_processes_reject_counts(void **state)
{
    (void)state;
    static const struct {
        int rank, size;
    } table[] = {{0, 0}, {-1, 2}, {2, 2}, {0, 1 << 20}};
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct ddp_error err = {0};
        struct ddp_comm *c = NULL;
        const int fd = dup(0);
        assert_int_equal(ddp_comm_node_create(fd, table[i].rank, table[i].size, &c, &err), DDP_E_USAGE);
        assert_null(c);
        assert_int_equal(close(fd), -1); /* it was taken */
    }
}

/* The numbers themselves, once: unequal nodes, out of order. */
static void test_cut_numbers_nodes_and_lanes(void **state)
{
    (void)state;
    static const int node[6] = {9, 4, 4, 4, 9, 4};
    static const struct {
        int node, local_rank, local_size, lane, lane_rank[2];
    } want[6] = {
        {0, 0, 2, 0, {0, 1}}, {1, 0, 4, 0, {0, 1}}, {1, 1, 4, 1, {4, 2}},
        {1, 2, 4, 0, {0, 1}}, {0, 1, 2, 1, {4, 2}}, {1, 3, 4, 1, {4, 2}},
    };
    struct ddp_comm *c[6];
    assert_int_equal(ddp_comm_threads_create_nodes(6, node, c, NULL), 0);
    for (int r = 0; r < 6; r++) {
        assert_int_equal(c[r]->nodes, 2);
        assert_int_equal(c[r]->lanes, 2);
        assert_int_equal(c[r]->node, want[r].node);
        assert_int_equal(c[r]->local_rank, want[r].local_rank);
        assert_int_equal(c[r]->local_size, want[r].local_size);
        assert_int_equal(c[r]->lane, want[r].lane);
        for (int n = 0; n < 2; n++)
            assert_int_equal(c[r]->lane_rank[n], want[r].lane_rank[n]);
        ddp_comm_destroy(c[r]);
    }
}

static void test_threads_reject_counts(void **state)
{
    (void)state;
    struct ddp_error err = {0};
    struct ddp_comm *c[1];
    assert_int_equal(ddp_comm_threads_create(0, c, &err), DDP_E_USAGE);
    assert_int_equal(ddp_comm_threads_create(-3, c, &err), DDP_E_USAGE);
    assert_int_equal(ddp_comm_threads_create(2000, c, &err), DDP_E_USAGE);
    assert_non_null(strstr(err.text, "2000"));
}

/* The last rank gives up while the others wait, in one of the ways to wait. */
enum way {
    IN_BARRIER,
    IN_BCAST,
    IN_ALLGATHER,
    IN_SHARED_ALLOC,
    IN_ALLREDUCE,
    IN_AGREE,
    IN_EXCHANGE,
    IN_POLL,
    IN_FUTEX,
    WAYS
};

static int aborted(struct ddp_comm *c, void *ctx)
{
    enum way way = *(enum way *)ctx;
    struct ddp_error err = {0};
    static char buf[8][100000];
    static float sum[8][100];
    static char all[8][800000];
    void *base = NULL, *request = NULL;
    uint32_t round = 0;
    bool done = false;
    struct ddp_exchange *x = NULL;
    const struct ddp_message to_last[2] = {{c->size - 1, true, buf[c->rank], 100},
                                           {c->size - 1, false, all[c->rank], 100}};
    CHECK_OK(c, ddp_comm_shared_alloc(c, sizeof(struct ddp_barrier), &base, &err), &err);
    if (c->rank == c->size - 1) {
        usleep(20000);
        ddp_comm_abort(c, 4);
        return 0;
    }
    double from = ddp_now();
    int code = 0;
    switch (way) {
    case IN_BARRIER:
        code = ddp_comm_barrier(c, &err);
        break;
    case IN_BCAST:
        code = ddp_comm_bcast(c, buf[c->rank], sizeof buf[0], c->size - 1, &err);
        break;
    case IN_ALLGATHER:
        code = ddp_comm_allgather(c, buf[c->rank], all[c->rank], sizeof buf[0], &err);
        break;
    case IN_SHARED_ALLOC:
        code = ddp_comm_shared_alloc(c, 4096, &base, &err);
        break;
    case IN_ALLREDUCE:
        code = ddp_comm_allreduce_begin(c, sum[c->rank], 100, &request, &err);
        if (code == 0)
            code = ddp_comm_allreduce_end(c, request, &err);
        break;
    case IN_AGREE:
        code = ddp_comm_agree(c, 0, &err);
        break;
    case IN_EXCHANGE:
    case IN_POLL:
        CHECK_OK(c, ddp_exchange_create(c, to_last, 2, 0, &x, &err), &err);
        CHECK_OK(c, ddp_exchange_begin(x, &err), &err);
        while (way == IN_POLL && code == 0 && !done) {
            code = ddp_exchange_poll(x, &done, &err);
            usleep(100);
        }
        if (way == IN_EXCHANGE)
            code = ddp_exchange_finish(x, &err);
        ddp_exchange_destroy(x); /* in flight */
        break;
    default:
        code = ddp_barrier_wait(base, c, &round) ? 0 : ddp_fail(&err, DDP_E_COMM, "ended");
    }
    CHECK(c, code == DDP_E_COMM && strstr(err.text, "ended") != NULL);
    CHECK(c, ddp_now() - from < 1.0);
    /* an error of one's own is not lost because the others are gone */
    CHECK(c, ddp_comm_agree(c, ddp_fail(&err, DDP_E_DATA, "mine"), &err) == DDP_E_DATA);
    CHECK(c, strcmp(err.text, "mine") == 0);
    return 0;
}

static void test_processes_abort_ends_waits(void **state)
{
    (void)state;
    for (enum way way = 0; way < WAYS; way++)
        assert_int_equal(ranks_run_forked(4, NULL, aborted, &way), 0);
}

static void test_threads_abort_ends_waits(void **state)
{
    (void)state;
    for (int n = 2; n <= 5; n += 3)
        for (enum way way = 0; way < WAYS; way++)
            assert_int_equal(ranks_run(n, aborted, &way), 0);
}

/* ---- the table that a transport fills in ---- */

static int no_barrier(void *self, struct ddp_error *err)
{
    return self == err;
}
static int no_bcast(void *self, void *b, size_t n, int r, struct ddp_error *e)
{
    return self == e && b != NULL && n > 0 && r > 0;
}
static int no_allgather(void *self, const void *in, void *out, size_t n, struct ddp_error *e)
{
    return self == e && in == out && n > 0;
}
static int no_shared_alloc(void *self, size_t n, void **out, struct ddp_error *e)
{
    return self == e && n > 0 && *out != NULL;
}
static void no_shared_free(void *self, void *base, size_t n)
{
    (void)self, (void)base, (void)n;
}
static int no_begin(void *self, float *b, size_t n, void **r, struct ddp_error *e)
{
    return self == e && b != NULL && n > 0 && *r != NULL;
}
static int no_end(void *self, void *r, struct ddp_error *e)
{
    return self == e && r != NULL;
}
static int no_x_create(void *self, const struct ddp_message *l, int n, int t, void **x, struct ddp_error *e)
{
    return self == e && l != NULL && n > t && *x != NULL;
}
static int no_x_begin(void *self, void *x, struct ddp_error *e)
{
    return self == e && x != NULL;
}
static int no_x_test(void *self, void *x, bool wait, bool *done, struct ddp_error *e)
{
    return self == e && x != NULL && wait && *done;
}
static void no_x_destroy(void *self, void *x)
{
    (void)self, (void)x;
}
static void no_abort(void *self, int status)
{
    (void)self, (void)status;
}
static void no_destroy(void *self)
{
    *(int *)self += 1;
}

static const struct ddp_comm_ops full = {
    .name = "full",
    .caps = DDP_COMM_ALLREDUCE | DDP_COMM_MESSAGES,
    .barrier = no_barrier,
    .bcast = no_bcast,
    .allgather = no_allgather,
    .shared_alloc = no_shared_alloc,
    .shared_free = no_shared_free,
    .allreduce_begin = no_begin,
    .allreduce_end = no_end,
    .exchange_create = no_x_create,
    .exchange_begin = no_x_begin,
    .exchange_test = no_x_test,
    .exchange_destroy = no_x_destroy,
    .abort = no_abort,
    .destroy = no_destroy,
};

static void test_wrap_checks_table(void **state)
{
    (void)state;
    struct ddp_error err = {0};
    struct ddp_comm *c = NULL;
    int destroyed = 0;
    for (int hole = 0; hole < 14; hole++) {
        struct ddp_comm_ops t = full;
        const char *missing = NULL;
        switch (hole) {
        case 0:
            t.name = NULL, missing = "name";
            break;
        case 1:
            t.barrier = NULL, missing = "barrier";
            break;
        case 2:
            t.bcast = NULL, missing = "bcast";
            break;
        case 3:
            t.allgather = NULL, missing = "allgather";
            break;
        case 4:
            t.abort = NULL, missing = "abort";
            break;
        case 5:
            t.destroy = NULL, missing = "destroy";
            break;
        case 6:
            t.shared_alloc = NULL, missing = "shared_alloc";
            break;
        case 7:
            t.shared_free = NULL, missing = "shared_free";
            break;
        case 8:
            t.allreduce_begin = NULL, missing = "allreduce_begin";
            break;
        case 9:
            t.allreduce_end = NULL, missing = "allreduce_end";
            break;
        case 10:
            t.exchange_create = NULL, missing = "exchange_create";
            break;
        case 11:
            t.exchange_begin = NULL, missing = "exchange_begin";
            break;
        case 12:
            t.exchange_test = NULL, missing = "exchange_test";
            break;
        default:
            t.exchange_destroy = NULL, missing = "exchange_destroy";
        }
        assert_int_equal(ddp_comm_wrap(&t, &destroyed, 0, 1, &c, &err), DDP_E_USAGE);
        assert_non_null(strstr(err.text, missing));
    }
    assert_int_equal(ddp_comm_wrap(&full, &destroyed, 2, 2, &c, &err), DDP_E_USAGE);
    assert_int_equal(ddp_comm_wrap(&full, &destroyed, -1, 2, &c, &err), DDP_E_USAGE);
    assert_int_equal(ddp_comm_wrap(&full, &destroyed, 0, 0, &c, &err), DDP_E_USAGE);
    assert_null(c);
}

/* Optional members may be missing when their capability is not promised; the calls then say so. */
static void test_wrap_without_capabilities(void **state)
{
    (void)state;
    struct ddp_error err = {0};
    struct ddp_comm *c = NULL;
    int destroyed = 0;
    float f = 0;
    void *p = NULL;
    struct ddp_comm_ops t = full;
    t.caps = 0;
    t.allreduce_begin = NULL;
    t.allreduce_end = NULL;
    t.exchange_create = NULL;
    t.exchange_begin = NULL;
    t.exchange_test = NULL;
    t.exchange_destroy = NULL;
    assert_int_equal(ddp_comm_wrap(&t, &destroyed, 0, 2, &c, &err), 0);
    struct ddp_exchange *x = NULL;
    const struct ddp_message m = {1, true, &f, sizeof f};
    assert_int_equal(ddp_exchange_create(c, &m, 1, 0, &x, &err), DDP_E_COMM);
    assert_non_null(strstr(err.text, "no messages"));
    assert_int_equal(ddp_comm_allreduce_begin(c, &f, 1, &p, &err), DDP_E_COMM);
    assert_int_equal(ddp_comm_allreduce_end(c, &f, &err), DDP_E_COMM);
    ddp_comm_destroy(c);
    assert_int_equal(destroyed, 1);
}

static int run_world(int argc, char **argv)
{
    struct ddp_error err = {0};
    struct ddp_comm *c = NULL;
    if (ddp_comm_world_create(&argc, &argv, &c, &err) != 0) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    const char *size = getenv("OMPI_COMM_WORLD_SIZE");
    if (size != NULL && c->size != atoi(size))
        return ranks_fail(c, __FILE__, __LINE__, "size", size);
    for (int i = 0; i < comm_ncases; i++) {
        if (comm_cases[i].body(c, NULL) != 0)
            return 1;
        if (c->rank == 0)
            printf("%s: %s on %d ranks: ok\n", c->ops->name, comm_cases[i].name, c->size);
    }
    ddp_comm_destroy(c);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "world") == 0)
        return run_world(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_self_conforms),
        cmocka_unit_test(test_threads_conform),
        cmocka_unit_test(test_processes_conform),
        cmocka_unit_test(test_processes_give_pages_back),
        cmocka_unit_test(test_processes_wait_asleep),
        cmocka_unit_test(test_processes_reject_counts),
        cmocka_unit_test(test_processes_abort_ends_waits),
        cmocka_unit_test(test_pseudo_nodes_conform),
        cmocka_unit_test(test_cut_numbers_nodes_and_lanes),
        cmocka_unit_test(test_threads_reject_counts),
        cmocka_unit_test(test_threads_abort_ends_waits),
        cmocka_unit_test(test_wrap_checks_table),
        cmocka_unit_test(test_wrap_without_capabilities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
