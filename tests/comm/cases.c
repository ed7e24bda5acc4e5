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
            CHECK(c, seen[r] == (c->node_of[r] == c->node ? round : 0));
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

/* Zeroed, page-aligned, one memory of each node, several at a time, larger than a container's /dev/shm
 * (and untouched). */
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
    for (size_t i = 0; i < small; i++) /* of other nodes nothing is seen */
        CHECK(c, words[i] == (c->node_of[i % (size_t)c->size] == c->node ? (int)i + 1 : 0));
    for (int r = 0; r < c->size; r++)
        CHECK(c, ((char *)b)[large - 1 - (size_t)r] == (c->node_of[r] == c->node));
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
    CHECK(c, c->local_rank == 0 || strncmp(err.text, "rank 0: ", 8) == 0);
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
    if (c->at[c->node_of[c->size - 1]].size == 1)
        return 0; /* the last rank is alone on its node */
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
            CHECK_OK(c, ddp_comm_allreduce_begin(c, buf + f * MOST, (size_t)n, &request[f], &err), &err);
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
            CHECK(c, seen[r] == (c->node_of[r] == c->node ? i : 0));
        CHECK(c, ddp_barrier_wait(b, c, &mine));
        CHECK(c, mine == 2 * (uint32_t)i);
    }
    ddp_comm_shared_free(c, base, bytes);
    return 0;
}

/* ---- who the ranks are ---- */

/* What every rank says of itself fits together, and with what it says of the others. */
static int world(struct ddp_comm *c, void *ctx)
{
    (void)ctx;
    struct ddp_error err = {0};
    struct who {
        int rank, node, nodes, local_rank, local_size, lane, lanes;
    } mine = {c->rank, c->node, c->nodes, c->local_rank, c->local_size, c->lane, c->lanes};
    struct who *all = malloc((size_t)c->size * sizeof *all);
    CHECK_OK(c, ddp_comm_allgather(c, &mine, all, sizeof mine, &err), &err);
    int smallest = c->size, members = 0;
    for (int n = 0; n < c->nodes; n++) {
        smallest = c->at[n].size < smallest ? c->at[n].size : smallest;
        members += c->at[n].size;
        CHECK(c, c->node_of[c->at[n].first] == n);
        CHECK(c, n == 0 || c->at[n].first > c->at[n - 1].first); /* by lowest rank */
    }
    CHECK(c, members == c->size && c->lanes == smallest);
    for (int r = 0; r < c->size; r++) {
        int before = 0;
        for (int o = 0; o < r; o++)
            before += c->node_of[o] == c->node_of[r];
        CHECK(c, all[r].rank == r && all[r].nodes == c->nodes && all[r].lanes == c->lanes);
        CHECK(c, all[r].node == c->node_of[r] && all[r].local_size == c->at[c->node_of[r]].size);
        CHECK(c, all[r].local_rank == before && all[r].lane == before % c->lanes);
    }
    for (int n = 0; n < c->nodes; n++) {
        const struct who *peer = &all[c->lane_rank[n]];
        CHECK(c, peer->node == n && peer->lane == c->lane && peer->local_rank == c->lane);
    }
    CHECK(c, c->rank_at[c->seat] == c->rank && c->rank_at[0] == 0);
    for (int seat = 1; seat < c->size; seat++) {
        const struct who *before = &all[c->rank_at[seat - 1]], *its = &all[c->rank_at[seat]];
        CHECK(c, its->node == before->node ? its->local_rank == before->local_rank + 1
                                           : its->node == before->node + 1 && its->local_rank == 0);
    }
    free(all);
    return 0;
}

/* ---- messages ---- */

static unsigned char letter(int from, int to, int number, size_t i)
{
    return (unsigned char)mix(
        (uint32_t)(i + 1000003u * (size_t)from + 10007u * (size_t)to + 101u * (size_t)number));
}

/* Between all pairs at once, of all sizes, again and again; receives first, sends first, mixed. */
static int exchange_all(struct ddp_comm *c, void *ctx)
{
    (void)ctx;
    static const size_t sizes[] = {0, 1, 7, 4096, 70001};
    enum { SIZES = DDP_COUNT(sizes), ROUNDS = 3 };
    struct ddp_error err = {0};
    const int peers = c->size - 1, n = 2 * peers * SIZES;
    struct ddp_message *list = calloc((size_t)n + 1, sizeof *list);
    int *number = calloc((size_t)n + 1, sizeof *number), used = 0;
    for (int way = 0; way < 2; way++) /* my receives first on even ranks, my sends on odd ones */
        for (int s = 0; s < SIZES; s++)
            for (int k = 1; k <= peers; k++) {
                list[used] = (struct ddp_message){.peer = (c->rank + k) % c->size,
                                                  .send = way == c->rank % 2,
                                                  .buffer = malloc(sizes[s] + 1),
                                                  .bytes = sizes[s]};
                number[used++] = s;
            }
    struct ddp_exchange *x = NULL;
    CHECK_OK(c, ddp_exchange_create(c, list, n, 5, &x, &err), &err);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < n; i++)
            for (size_t b = 0; b <= list[i].bytes; b++)
                ((unsigned char *)list[i].buffer)[b] =
                    list[i].send && b < list[i].bytes ? letter(c->rank, list[i].peer, number[i] + round, b)
                                                      : 0xdd;
        CHECK_OK(c, ddp_exchange_begin(x, &err), &err);
        bool done = false;
        for (int polls = 0; round == 1 && !done; polls++) {
            CHECK_OK(c, ddp_exchange_poll(x, &done, &err), &err);
            if (polls > 1000)
                usleep(100);
        }
        CHECK_OK(c, ddp_exchange_finish(x, &err), &err);
        CHECK_OK(c, ddp_exchange_poll(x, &done, &err), &err);
        CHECK(c, done);
        for (int i = 0; i < n; i++) {
            const unsigned char *got = list[i].buffer;
            for (size_t b = 0; b < list[i].bytes && !list[i].send; b++)
                CHECK(c, got[b] == letter(list[i].peer, c->rank, number[i] + round, b));
            CHECK(c, got[list[i].bytes] == 0xdd);
        }
    }
    ddp_exchange_destroy(x);
    for (int i = 0; i < n; i++)
        free(list[i].buffer);
    free(list);
    free(number);
    return 0;
}

/* Many in flight, posted ahead by who receives, finished backwards: messages are matched by the order of
 * begins under each tag, whatever is asked for first. */
static int exchange_order(struct ddp_comm *c, void *ctx)
{
    (void)ctx;
    enum { FLIGHTS = 40, EACH = 3 };
    struct ddp_error err = {0};
    struct ddp_exchange *x[FLIGHTS];
    int value[FLIGHTS][EACH];
    const int peer = c->rank ^ 1;
    if (peer >= c->size)
        return 0; /* the last of an odd number */
    const bool sender = c->rank % 2 == 0;
    for (int f = 0; f < FLIGHTS; f++) {
        struct ddp_message list[EACH];
        for (int i = 0; i < EACH; i++) {
            value[f][i] = sender ? 100 * f + i : -1;
            list[i] = (struct ddp_message){peer, sender, &value[f][i], sizeof value[f][i]};
        }
        CHECK_OK(c, ddp_exchange_create(c, list, EACH, f % 2, &x[f], &err), &err);
    }
    /* tags: the even first or all in turn; within a tag in order, on both sides */
    for (int f = 0; f < FLIGHTS; f++) {
        const int at = sender ? f : f < FLIGHTS / 2 ? 2 * f : 2 * (f - FLIGHTS / 2) + 1;
        CHECK_OK(c, ddp_exchange_begin(x[at], &err), &err);
    }
    for (int f = FLIGHTS - 1; f >= 0; f--) {
        CHECK_OK(c, ddp_exchange_finish(x[f], &err), &err);
        for (int i = 0; i < EACH; i++)
            CHECK(c, value[f][i] == 100 * f + i);
        ddp_exchange_destroy(x[f]);
    }
    return 0;
}

/* Along the lane, where nodes are: what a reduction between nodes does. */
static int exchange_lane(struct ddp_comm *c, void *ctx)
{
    (void)ctx;
    struct ddp_error err = {0};
    struct ddp_message *list = calloc(2 * (size_t)c->nodes, sizeof *list);
    int *got = calloc((size_t)c->nodes, sizeof *got), mine = 7 + c->rank, n = 0;
    const bool in_lane =
        c->lane_rank[c->node] == c->rank; /* nodes of more ranks than lanes have others, too */
    for (int m = 0; m < c->nodes && in_lane; m++) {
        if (m == c->node)
            continue;
        list[n++] = (struct ddp_message){c->lane_rank[m], true, &mine, sizeof mine};
        list[n++] = (struct ddp_message){c->lane_rank[m], false, &got[m], sizeof got[m]};
    }
    struct ddp_exchange *x = NULL;
    CHECK_OK(c, ddp_exchange_create(c, list, n, 0, &x, &err), &err);
    CHECK_OK(c, ddp_exchange_begin(x, &err), &err);
    CHECK_OK(c, ddp_exchange_finish(x, &err), &err);
    for (int m = 0; m < c->nodes && in_lane; m++)
        CHECK(c, m == c->node || got[m] == 7 + c->lane_rank[m]);
    ddp_exchange_destroy(x);
    free(list);
    free(got);
    return 0;
}

/* Another size than expected, shorter and longer: the receiver says so, the sender is through, and the
 * comm goes on. */
static int exchange_sizes_differ(struct ddp_comm *c, void *ctx)
{
    (void)ctx;
    struct ddp_error err = {0};
    char buffer[64] = "";
    for (int k = 0; k < 2 && c->size > 1; k++) {
        const size_t sent = k == 0 ? 8 : 32;
        if (c->rank < 2) {
            const struct ddp_message m = {1 - c->rank, c->rank == 0, buffer, c->rank == 0 ? sent : 16};
            struct ddp_exchange *x = NULL;
            CHECK_OK(c, ddp_exchange_create(c, &m, 1, 9, &x, &err), &err);
            CHECK_OK(c, ddp_exchange_begin(x, &err), &err);
            const int code = ddp_exchange_finish(x, &err);
            CHECK(c, code == (c->rank == 0 ? 0 : DDP_E_COMM));
            if (c->rank == 1) {
                CHECK(c, strstr(err.text, "rank 0 sent") != NULL && strstr(err.text, "16") != NULL);
                CHECK(c, ddp_exchange_begin(x, &err) == DDP_E_USAGE); /* good for destroy alone */
                CHECK(c, strstr(err.text, "has failed") != NULL);
            }
            ddp_exchange_destroy(x);
        }
        CHECK_OK(c, ddp_comm_barrier(c, &err), &err);
    }
    return 0;
}

static int exchange_rules(struct ddp_comm *c, void *ctx)
{
    (void)ctx;
    struct ddp_error err = {0};
    struct ddp_exchange *x = NULL;
    bool done = false;
    int v = 0;
    const int other = (c->rank + 1) % c->size;
    const struct {
        struct ddp_message m;
        int n, tag;
        const char *says;
    } bad[] = {
        {{c->rank, true, &v, sizeof v}, 1, 0, "no other"},
        {{-1, true, &v, sizeof v}, 1, 0, "to rank -1"},
        {{c->size, false, &v, sizeof v}, 1, 0, "from rank"},
        {{other, true, &v, sizeof v}, -1, 0, "-1 messages"},
        {{other, true, &v, sizeof v}, 0, -1, "tag -1"},
        {{other, true, &v, sizeof v}, 0, DDP_EXCHANGE_TAGS, "tag 32768"},
        {{other, true, NULL, 4}, c->size > 1, c->size > 1 ? 0 : -1, c->size > 1 ? "null pointer" : "tag"},
    };
    for (size_t i = 0; i < DDP_COUNT(bad); i++) {
        CHECK(c, ddp_exchange_create(c, &bad[i].m, bad[i].n, bad[i].tag, &x, &err) == DDP_E_USAGE);
        CHECK(c, strstr(err.text, bad[i].says) != NULL && x == NULL);
    }
    CHECK(c, ddp_exchange_create(NULL, NULL, 0, 0, &x, &err) == DDP_E_USAGE);
    CHECK(c, ddp_exchange_create(c, NULL, 1, 0, &x, &err) == DDP_E_USAGE);
    CHECK(c, ddp_exchange_begin(NULL, &err) == DDP_E_USAGE && ddp_exchange_finish(NULL, &err) == DDP_E_USAGE);

    /* the order of calls, on one that has nothing to wait for */
    CHECK_OK(c, ddp_exchange_create(c, NULL, 0, 0, &x, &err), &err);
    CHECK(c, ddp_exchange_poll(x, &done, &err) == DDP_E_USAGE && !done);
    CHECK(c, ddp_exchange_finish(x, &err) == DDP_E_USAGE);
    CHECK(c, strstr(err.text, "not begun") != NULL);
    CHECK_OK(c, ddp_exchange_begin(x, &err), &err);
    CHECK(c, ddp_exchange_begin(x, &err) == DDP_E_USAGE);
    CHECK(c, strstr(err.text, "in flight") != NULL);
    CHECK_OK(c, ddp_exchange_poll(x, &done, &err), &err);
    CHECK(c, done);
    CHECK_OK(c, ddp_exchange_begin(x, &err), &err);
    CHECK_OK(c, ddp_exchange_finish(x, &err), &err);
    ddp_exchange_destroy(x);
    ddp_exchange_destroy(NULL);
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
    CHECK(c, ddp_comm_allreduce_begin(c, NULL, 4, &request, &err) == DDP_E_USAGE);
    CHECK(c, ddp_comm_allreduce_end(c, NULL, &err) == DDP_E_USAGE);
    if (c->size > 1) {
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
    {"world", world},
    {"exchange_all", exchange_all},
    {"exchange_order", exchange_order},
    {"exchange_lane", exchange_lane},
    {"exchange_sizes_differ", exchange_sizes_differ},
    {"exchange_rules", exchange_rules},
    {"bad_arguments", bad_arguments},
};
const int comm_ncases = (int)DDP_COUNT(comm_cases);
