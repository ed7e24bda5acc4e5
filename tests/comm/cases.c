/* The cases of the conformance suite: barriers, sharing, agreement, broadcast, sums, aborts. */
#include "comm/cases.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint32_t mix(uint32_t x)
{
    x = (x ^ x >> 16) * 0x7feb352du;
    return (x ^ x >> 15) * 0x846ca68bu;
}

static int barrier(struct ddp_comm *c, void *ctx)
{
    (void)ctx;
    struct ddp_error err = {0};
    int *seen = NULL;
    void *base = NULL;
    CHECK_OK(c, ddp_comm_shared_alloc(c, 4096, &base, &err), &err);
    seen = base;
    for (int round = 1; round <= 20; round++) {
        seen[c->rank] = round;
        CHECK_OK(c, ddp_comm_barrier(c, &err), &err);
        for (int r = 0; r < c->size; r++)
            CHECK(c, seen[r] == round);
        CHECK_OK(c, ddp_comm_barrier(c, &err), &err);
    }
    ddp_comm_shared_free(c, base, 4096);
    return 0;
}

/* Sizes around the staging areas of transports; every root. */
static int bcast(struct ddp_comm *c, void *ctx)
{
    (void)ctx;
    static const size_t sizes[] = {0, 1, 7, 16383, 16384, 16385, 100000};
    struct ddp_error err = {0};
    unsigned char *buf = malloc(100001);
    for (size_t s = 0; s < DDP_COUNT(sizes); s++) {
        for (int root = 0; root < c->size; root++) {
            size_t n = sizes[s];
            for (size_t i = 0; i <= n; i++)
                buf[i] = c->rank == root ? (unsigned char)mix((uint32_t)(i + s + (size_t)root)) : 0xee;
            buf[n] = 0xdd;
            CHECK_OK(c, ddp_comm_bcast(c, buf, n, root, &err), &err);
            for (size_t i = 0; i < n; i++)
                CHECK(c, buf[i] == (unsigned char)mix((uint32_t)(i + s + (size_t)root)));
            CHECK(c, buf[n] == 0xdd);
        }
    }
    free(buf);
    return 0;
}

static int allgather(struct ddp_comm *c, void *ctx)
{
    (void)ctx;
    static const size_t sizes[] = {0, 1, 4, 16384, 16385, 40000};
    struct ddp_error err = {0};
    unsigned char *in = malloc(40000), *out = malloc(40000 * (size_t)c->size + 1);
    for (size_t s = 0; s < DDP_COUNT(sizes); s++) {
        size_t n = sizes[s];
        for (size_t i = 0; i < n; i++)
            in[i] = (unsigned char)mix((uint32_t)(i * 31 + (size_t)c->rank));
        out[n * (size_t)c->size] = 0xdd;
        CHECK_OK(c, ddp_comm_allgather(c, in, out, n, &err), &err);
        for (int r = 0; r < c->size; r++)
            for (size_t i = 0; i < n; i++)
                CHECK(c, out[(size_t)r * n + i] == (unsigned char)mix((uint32_t)(i * 31 + (size_t)r)));
        CHECK(c, out[n * (size_t)c->size] == 0xdd);
    }
    free(in);
    free(out);
    return 0;
}

/* Zeroed, page-aligned, one memory, several at a time, larger than a container's /dev/shm (and untouched). */
static int shared_alloc(struct ddp_comm *c, void *ctx)
{
    (void)ctx;
    const size_t small = 10000, large = (size_t)256 << 20;
    struct ddp_error err = {0};
    void *a = NULL, *b = NULL;
    CHECK_OK(c, ddp_comm_shared_alloc(c, small * sizeof(int), &a, &err), &err);
    CHECK_OK(c, ddp_comm_shared_alloc(c, large, &b, &err), &err);
    CHECK(c, (uintptr_t)a % 4096 == 0 && (uintptr_t)b % 4096 == 0);
    int *words = a;
    for (size_t i = 0; i < small; i++)
        CHECK(c, words[i] == 0);
    CHECK_OK(c, ddp_comm_barrier(c, &err), &err);
    for (size_t i = (size_t)c->rank; i < small; i += (size_t)c->size)
        words[i] = (int)i + 1;
    ((char *)b)[large - 1 - (size_t)c->rank] = 1;
    CHECK_OK(c, ddp_comm_barrier(c, &err), &err);
    for (size_t i = 0; i < small; i++)
        CHECK(c, words[i] == (int)i + 1);
    for (int r = 0; r < c->size; r++)
        CHECK(c, ((char *)b)[large - 1 - (size_t)r] == 1);
    CHECK_OK(c, ddp_comm_barrier(c, &err), &err);
    ddp_comm_shared_free(c, a, small * sizeof(int));
    ddp_comm_shared_free(c, b, large);
    return 0;
}

/* More than the machine has: refused on all ranks, with both sizes, and the comm still works. */
static int shared_alloc_refused(struct ddp_comm *c, void *ctx)
{
    (void)ctx;
    struct ddp_error err = {0};
    void *base = (void *)&err;
    CHECK(c, ddp_comm_shared_alloc(c, (size_t)1 << 50, &base, &err) == DDP_E_RESOURCE);
    CHECK(c, base == (void *)&err);
    CHECK(c, strstr(err.text, "are needed") != NULL && strstr(err.text, "are available") != NULL);
    CHECK(c, c->rank == 0 || strncmp(err.text, "rank 0: ", 8) == 0);
    CHECK(c, ddp_comm_shared_alloc(c, 0, &base, &err) == DDP_E_USAGE);
    CHECK_OK(c, ddp_comm_barrier(c, &err), &err);
    return 0;
}

/* Ranks that ask for different sizes must all hear of it, and none may hang. */
static int shared_alloc_disagreeing(struct ddp_comm *c, void *ctx)
{
    (void)ctx;
    struct ddp_error err = {0};
    void *base = NULL;
    if (c->size == 1)
        return 0;
    CHECK(c, ddp_comm_shared_alloc(c, c->rank == c->size - 1 ? 8192 : 4096, &base, &err) == DDP_E_COMM);
    CHECK(c, base == NULL);
    CHECK(c, strstr(err.text, "4096") != NULL && strstr(err.text, "8192") != NULL);
    CHECK_OK(c, ddp_comm_shared_alloc(c, 4096, &base, &err), &err);
    ddp_comm_shared_free(c, base, 4096);
    return 0;
}

/* Whole numbers: exact in any order. Several in flight, ended in turn, slots used again. */
static int allreduce(struct ddp_comm *c, void *ctx)
{
    (void)ctx;
    enum { FLIGHTS = 10, MOST = 9000 };
    struct ddp_error err = {0};
    float *buf = malloc(sizeof(float) * FLIGHTS * MOST);
    int total = c->size * (c->size + 1) / 2;
    for (int round = 0; round < 3; round++) {
        void *request[FLIGHTS];
        for (int f = 0; f < FLIGHTS; f++) {
            int n = f == 0 ? MOST : 1 + 17 * f;
            for (int i = 0; i < n; i++)
                buf[f * MOST + i] = (float)((c->rank + 1) * (i % 100 + f + round));
            CHECK_OK(
                c,
                ddp_comm_allreduce_begin(c, buf + f * MOST, (size_t)n, DDP_MEM_HOST, NULL, &request[f], &err),
                &err);
        }
        for (int f = 0; f < FLIGHTS; f++) {
            int n = f == 0 ? MOST : 1 + 17 * f;
            CHECK_OK(c, ddp_comm_allreduce_end(c, request[f], &err), &err);
            for (int i = 0; i < n; i++)
                CHECK(c, buf[f * MOST + i] == (float)(total * (i % 100 + f + round)));
        }
    }
    free(buf);
    return 0;
}

/* Nobody failed; one rank failed (each in turn); two failed; a code without text; then all is well again. */
static int agree(struct ddp_comm *c, void *ctx)
{
    (void)ctx;
    struct ddp_error err = {0};
    CHECK(c, ddp_comm_agree(c, 0, &err) == 0 && err.code == 0);
    for (int bad = 0; bad < c->size; bad++) {
        int code = c->rank == bad ? ddp_fail(&err, DDP_E_DATA, "file %d is missing", bad) : 0;
        char want[64];
        snprintf(want, sizeof want, c->rank == bad ? "file %d is missing" : "rank %d: file %d is missing",
                 bad, bad);
        CHECK(c, ddp_comm_agree(c, code, &err) == DDP_E_DATA);
        CHECK(c, err.code == DDP_E_DATA && strcmp(err.text, want) == 0);
        memset(&err, 0, sizeof err);
    }
    if (c->size > 1) {
        int code = 0;
        if (c->rank == 0)
            code = ddp_fail(&err, DDP_E_IO, "first");
        if (c->rank == c->size - 1)
            code = ddp_fail(&err, DDP_E_CONFIG, "last");
        CHECK(c, ddp_comm_agree(c, code, &err) == DDP_E_IO && err.code == DDP_E_IO);
        const char *want = c->rank == 0 ? "first" : c->rank == c->size - 1 ? "last" : "rank 0: first";
        CHECK(c, strcmp(err.text, want) == 0);
        CHECK(c,
              ddp_comm_agree(c, c->rank == 1 ? DDP_E_SHAPE : 0, c->rank == 1 ? NULL : &err) == DDP_E_SHAPE);
        CHECK(c, c->rank == 1 || strcmp(err.text, "rank 1: shape") == 0);
    }
    memset(&err, 0, sizeof err);
    CHECK(c, ddp_comm_agree(c, 0, NULL) == 0);
    return 0;
}

/* The barrier of the hot path: nobody passes early, round after round. */
static int futex_barrier(struct ddp_comm *c, void *ctx)
{
    (void)ctx;
    struct ddp_error err = {0};
    void *base = NULL;
    size_t bytes = sizeof(struct ddp_barrier) + (size_t)c->size * sizeof(int);
    CHECK_OK(c, ddp_comm_shared_alloc(c, bytes, &base, &err), &err);
    struct ddp_barrier *b = base;
    int *seen = (int *)(b + 1);
    uint32_t mine = 0;
    for (int i = 1; i <= 100; i++) {
        seen[c->rank] = i;
        CHECK(c, ddp_barrier_wait(b, c, &mine));
        for (int r = 0; r < c->size; r++)
            CHECK(c, seen[r] == i);
        CHECK(c, ddp_barrier_wait(b, c, &mine));
        CHECK(c, mine == 2 * (uint32_t)i);
    }
    ddp_comm_shared_free(c, base, bytes);
    return 0;
}

static int bad_arguments(struct ddp_comm *c, void *ctx)
{
    (void)ctx;
    struct ddp_error err = {0};
    int x = 0;
    void *request = NULL;
    CHECK(c, ddp_comm_barrier(NULL, &err) == DDP_E_USAGE);
    CHECK(c, ddp_comm_agree(NULL, 0, &err) == DDP_E_USAGE);
    CHECK(c, ddp_comm_bcast(c, NULL, 4, 0, &err) == DDP_E_USAGE);
    CHECK(c, ddp_comm_bcast(c, &x, 4, -1, &err) == DDP_E_USAGE);
    CHECK(c, ddp_comm_bcast(c, &x, 4, c->size, &err) == DDP_E_USAGE);
    CHECK(c, strstr(err.text, "root") != NULL);
    CHECK(c, ddp_comm_allgather(c, NULL, &x, 4, &err) == DDP_E_USAGE);
    CHECK(c, ddp_comm_allgather(c, &x, NULL, 4, &err) == DDP_E_USAGE);
    CHECK(c, ddp_comm_shared_alloc(c, 4, NULL, &err) == DDP_E_USAGE);
    CHECK(c, ddp_comm_allreduce_begin(c, NULL, 4, DDP_MEM_HOST, NULL, &request, &err) == DDP_E_USAGE);
    CHECK(c, ddp_comm_allreduce_end(c, NULL, &err) == DDP_E_USAGE);
    if (c->size > 1) {
        float f = 0;
        CHECK(c, ddp_comm_allreduce_begin(c, &f, 1, DDP_MEM_CUDA, NULL, &request, &err) == DDP_E_USAGE);
        CHECK(c, ddp_comm_allreduce_end(c, (void *)(uintptr_t)1000, &err) == DDP_E_USAGE);
    }
    ddp_comm_shared_free(c, NULL, 4);
    ddp_comm_destroy(NULL);
    CHECK_OK(c, ddp_comm_barrier(c, &err), &err);
    return 0;
}

const struct comm_case comm_cases[] = {
    {"barrier", barrier},
    {"bcast", bcast},
    {"allgather", allgather},
    {"shared_alloc", shared_alloc},
    {"shared_alloc_refused", shared_alloc_refused},
    {"shared_alloc_disagreeing", shared_alloc_disagreeing},
    {"allreduce", allreduce},
    {"agree", agree},
    {"futex_barrier", futex_barrier},
    {"bad_arguments", bad_arguments},
};
const int comm_ncases = (int)DDP_COUNT(comm_cases);
