/* The stand-in for NCCL: among threads and processes; wrong calls, dead ranks, graphs. */
#include <pthread.h>
#include <time.h>

#include "emu.h"
#include "forked.h"
#include "nccl.h"
#include "standin.h"

extern "C" {
#include "cmocka_all.h"
}

void *ddp_stream_cuda(struct ddp_gpu_stream *s)
{
    return s;
}

static const size_t N = 100000, BYTES = N * 4;

/* One rank: a stream, a communicator that does not block, memory. */
struct rank {
    int me, size;
    ncclComm_t comm = NULL;
    cudaStream_t s = NULL;
    float *d = NULL, *e = NULL, *h = NULL;
    ncclResult_t opened = ncclSuccess;

    rank(int r, int n, const ncclUniqueId &id, int device = -1, bool blocking = false) : me(r), size(n)
    {
        OK(cudaSetDevice(device < 0 ? r : device));
        OK(cudaStreamCreateWithPriority(&s, cudaStreamNonBlocking, 0));
        OK(cudaMalloc((void **)&d, BYTES));
        OK(cudaMalloc((void **)&e, BYTES));
        OK(cudaMallocHost((void **)&h, BYTES));
        ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
        config.blocking = blocking;
        opened = settle(ncclCommInitRankConfig(&comm, n, id, r, &config));
    }
    /* What the communicator comes to. */
    ncclResult_t settle(ncclResult_t r)
    {
        for (ncclResult_t state = ncclInProgress; r == ncclInProgress; r = state) {
            OK(ncclCommGetAsyncError(comm, &state));
            nap();
        }
        return r;
    }
    static void nap()
    {
        struct timespec t = {0, 200000};
        nanosleep(&t, NULL);
    }
    /* Until the stream is done or the communicator failed. */
    ncclResult_t wait()
    {
        for (;;) {
            ncclResult_t state;
            OK(ncclCommGetAsyncError(comm, &state));
            if (state != ncclSuccess && state != ncclInProgress)
                return state;
            const cudaError_t e_ = cudaStreamQuery(s);
            (void)cudaGetLastError();
            if (e_ != cudaErrorNotReady)
                return e_ == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
            nap();
        }
    }
    void up(float *to, float first)
    {
        for (size_t i = 0; i < N; i++)
            h[i] = first + (float)(i % 1000);
        OK(cudaMemcpyAsync(to, h, BYTES, cudaMemcpyDefault, s));
        OK(wait());
    }
    void down(const float *from)
    {
        OK(cudaMemcpyAsync(h, from, BYTES, cudaMemcpyDefault, s));
        OK(wait());
    }
    void close()
    {
        OK(settle(ncclCommFinalize(comm)));
        OK(ncclCommDestroy(comm));
    }
};

/* Ranks as processes; the status of each. */
typedef std::function<void(int rank, const ncclUniqueId &id)> body;
static std::vector<ending> processes(int n, const body &fn, const settings &env = {})
{
    ncclUniqueId id;
    OK(ncclGetUniqueId(&id));
    std::vector<ending> ends((size_t)n);
    std::vector<pthread_t> threads((size_t)n);
    struct job {
        int rank;
        const body *fn;
        const ncclUniqueId *id;
        const settings *env;
        ending *end;
    };
    std::vector<job> jobs;
    for (int r = 0; r < n; r++)
        jobs.push_back({r, &fn, &id, &env, &ends[(size_t)r]});
    for (int r = 0; r < n; r++)
        pthread_create(
            &threads[(size_t)r], NULL,
            [](void *p) -> void * {
                job *j = (job *)p;
                settings own = *j->env;
                own.push_back({"DDP_EMU_SEED", std::to_string(j->rank + 1)});
                *j->end = run_forked([j] { (*j->fn)(j->rank, *j->id); }, own);
                return NULL;
            },
            &jobs[(size_t)r]);
    for (pthread_t t : threads)
        pthread_join(t, NULL);
    return ends;
}

#define ALL_RUN(...)                                                                                         \
    do {                                                                                                     \
        auto ends_ = processes(__VA_ARGS__);                                                                 \
        for (size_t r_ = 0; r_ < ends_.size(); r_++)                                                         \
            if (ends_[r_].status != 0)                                                                       \
                fail_msg("rank %zu ended with %d: %s", r_, ends_[r_].status, ends_[r_].said.c_str());        \
    } while (0)

/* Everybody to everybody, in an order of its own. */
static void exchange(rank &k)
{
    const size_t part = N / (size_t)k.size;
    OK(ncclGroupStart());
    for (int i = 0; i < k.size; i++) {
        const int r = k.me % 2 ? i : k.size - 1 - i;
        OK(ncclSend(k.d + (size_t)r * part, part, ncclFloat32, r, k.comm, k.s));
        OK(ncclRecv(k.e + (size_t)r * part, part, ncclFloat32, r, k.comm, k.s));
    }
    OK(k.settle(ncclGroupEnd()));
}

static void everything(int me, int size, const ncclUniqueId &id)
{
    rank k(me, size, id);
    OK(k.opened);
    int n;
    OK(ncclCommCount(k.comm, &n));
    CHECK(n == size);
    k.up(k.d, (float)(1000 * (me + 1)));
    OK(cudaMemsetAsync(k.e, 0, BYTES, k.s));
    exchange(k);
    k.down(k.e);
    const size_t part = N / (size_t)size;
    for (int r = 0; r < size; r++)
        CHECK(k.h[(size_t)r * part] == (float)(1000 * (r + 1)) + (float)((size_t)me * part % 1000));
    OK(k.settle(ncclBroadcast(k.d, k.d, N, ncclFloat32, size - 1, k.comm, k.s)));
    k.down(k.d);
    CHECK(k.h[0] == (float)(1000 * size) && k.h[N - 1] == (float)(1000 * size) + (float)((N - 1) % 1000));
    k.up(k.d, (float)(1000 * (me + 1))); /* in place, then to another place */
    OK(k.settle(ncclAllGather(k.d + (size_t)me * part, k.d, part, ncclFloat32, k.comm, k.s)));
    OK(k.settle(ncclAllGather(k.d + (size_t)me * part, k.e, part, ncclFloat32, k.comm, k.s)));
    for (float *from : {k.d, k.e}) {
        k.down(from);
        for (size_t i = 0; i < part * (size_t)size; i++)
            CHECK(k.h[i] == (float)(1000 * (i / part + 1)) + (float)(i % 1000));
    }
    k.up(k.d, (float)me);
    OK(k.settle(ncclAllReduce(k.d, k.d, N, ncclFloat32, ncclSum, k.comm, k.s)));
    OK(k.settle(ncclAllReduce(k.d, k.e, 7, ncclFloat32, ncclSum, k.comm, k.s)));
    k.down(k.d);
    for (size_t i = 0; i < N; i++)
        CHECK(k.h[i] == (float)(size * (size - 1) / 2) + (float)size * (float)(i % 1000));
    k.down(k.e);
    CHECK(k.h[1] == (float)size * ((float)(size * (size - 1) / 2) + (float)size));
    k.close();
}

static void test_calls_among_processes(void **)
{
    for (int n : {1, 2, 4})
        ALL_RUN(n, [n](int r, const ncclUniqueId &id) { everything(r, n, id); });
}

static void test_calls_among_threads(void **)
{
    RUNS([] {
        static ncclUniqueId id;
        OK(ncclGetUniqueId(&id));
        pthread_t t[3];
        for (long r = 0; r < 3; r++)
            pthread_create(
                &t[r], NULL,
                [](void *p) -> void * {
                    everything((int)(long)p, 3, id);
                    return NULL;
                },
                (void *)r);
        for (pthread_t one : t)
            pthread_join(one, NULL);
    });
}

/* The sum of one order is not that of another: what the canonical reduction is for. */
static void test_all_reduce_is_not_canonical(void **)
{
    ALL_RUN(4, [](int me, const ncclUniqueId &id) {
        rank k(me, 4, id);
        for (size_t i = 0; i < N; i++)
            k.h[i] = 1.0f / (float)(i * 4 + (size_t)me + 1);
        OK(cudaMemcpyAsync(k.d, k.h, BYTES, cudaMemcpyDefault, k.s));
        OK(k.settle(ncclAllReduce(k.d, k.d, N, ncclFloat32, ncclSum, k.comm, k.s)));
        k.down(k.d);
        size_t differ = 0;
        for (size_t i = 0; i < N; i++) {
            float v[4];
            for (size_t r = 0; r < 4; r++)
                v[r] = 1.0f / (float)(i * 4 + r + 1);
            const float canonical = (v[0] + v[1]) + (v[2] + v[3]);
            CHECK(k.h[i] - canonical < 1e-6f && canonical - k.h[i] < 1e-6f);
            differ += k.h[i] != canonical;
        }
        CHECK(differ > N / 100);
        k.close();
    });
}

/* ---- calls that do not fit ---- */

static void test_mismatched_calls_are_named(void **)
{
    static const struct {
        const char *what, *says;
        void (*call)(rank &k);
    } cases[] = {
        {"count", "allReduce of 10 elements",
         [](rank &k) {
             (void)k.settle(ncclAllReduce(k.d, k.d, k.me ? 20 : 10, ncclFloat32, ncclSum, k.comm, k.s));
         }},
        {"operation", "broadcast of 10 elements",
         [](rank &k) {
             (void)k.settle(k.me ? ncclAllReduce(k.d, k.d, 10, ncclFloat32, ncclSum, k.comm, k.s)
                                 : ncclBroadcast(k.d, k.d, 10, ncclFloat32, 1, k.comm, k.s));
         }},
        {"size of a part", "allGather of 10 elements",
         [](rank &k) { (void)k.settle(ncclAllGather(k.d, k.e, k.me ? 20 : 10, ncclFloat32, k.comm, k.s)); }},
        {"type", "of type 2",
         [](rank &k) {
             (void)k.settle(
                 ncclAllReduce(k.d, k.d, 10, k.me ? ncclInt32 : ncclFloat32, ncclSum, k.comm, k.s));
         }},
        {"root", "from root 1",
         [](rank &k) { /* a root is done before the others: the next call finds it */
                       (void)k.settle(ncclBroadcast(k.d, k.d, 10, ncclFloat32, k.me, k.comm, k.s));
                       (void)k.settle(ncclAllReduce(k.d, k.d, 10, ncclFloat32, ncclSum, k.comm, k.s));
         }},
        {"order", "ranks do not make the same calls",
         [](rank &k) {
             for (int i = 0; i < 2; i++)
                 if (i == k.me)
                     (void)k.settle(ncclBroadcast(k.d, k.d, 10, ncclFloat32, 0, k.comm, k.s));
                 else
                     (void)k.settle(ncclAllReduce(k.d, k.d, 10, ncclFloat32, ncclSum, k.comm, k.s));
         }},
        {"size of a message", "send of 11 elements",
         [](rank &k) {
             (void)k.settle(k.me ? ncclSend(k.d, 11, ncclFloat32, 0, k.comm, k.s)
                                 : ncclRecv(k.d, 10, ncclFloat32, 1, k.comm, k.s));
         }},
        {"send that nobody receives", "waits without progress",
         [](rank &k) {
             const int other = 1 - k.me; /* not grouped: both wait for the other to receive */
             (void)k.settle(ncclSend(k.d, 10, ncclFloat32, other, k.comm, k.s));
             (void)k.settle(ncclRecv(k.e, 10, ncclFloat32, other, k.comm, k.s));
         }},
    };
    for (auto &c : cases) {
        auto ends = processes(2,
                              [&](int me, const ncclUniqueId &id) {
                                  rank k(me, 2, id);
                                  k.up(k.d, 1);
                                  c.call(k);
                                  CHECK(k.wait() != ncclSuccess);
                                  CHECK(cudaStreamQuery(k.s) == cudaErrorNotReady); /* until the abort */
                                  OK(ncclCommAbort(k.comm));
                                  OK(cudaStreamSynchronize(k.s));
                              },
                              {{"DDP_EMU_NCCL_TIMEOUT", "1"}});
        for (size_t r = 0; r < 2; r++)
            if (ends[r].status != 0)
                fail_msg("%s: rank %zu ended with %d: %s", c.what, r, ends[r].status, ends[r].said.c_str());
        if (!ends[0].says(c.says) && !ends[1].says(c.says))
            fail_msg("%s: %s %s", c.what, ends[0].said.c_str(), ends[1].said.c_str());
    }
}

static void test_wrong_calls_are_refused(void **)
{
    RUNS([] {
        ncclUniqueId id, none;
        ncclComm_t comm;
        ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
        config.blocking = 0;
        memset(&none, 0, sizeof none);
        OK(ncclGetUniqueId(&id));
        CHECK(ncclCommInitRankConfig(&comm, 1, none, 0, &config) == ncclInvalidArgument);
        CHECK(ncclCommInitRankConfig(&comm, 2, id, 2, &config) == ncclInvalidArgument);
        CHECK(ncclCommInitRankConfig(&comm, 2, id, 0, &config) == ncclInProgress);
        int n;
        CHECK(ncclCommCount(comm, &n) == ncclInvalidUsage); /* in progress, and stays so: nobody else comes */
        OK(ncclCommAbort(comm));
        CHECK(ncclCommAbort(comm) == ncclInvalidArgument);
        OK(ncclGetUniqueId(&id));
        rank k(0, 1, id);
        CHECK(ncclSend(k.h, 1, ncclFloat32, 0, k.comm, k.s) == ncclInvalidArgument);     /* host memory */
        CHECK(ncclSend(k.d, N + 1, ncclFloat32, 0, k.comm, k.s) == ncclInvalidArgument); /* leaves it */
        CHECK(ncclSend(k.d, 1, ncclFloat32, 1, k.comm, k.s) == ncclInvalidArgument);     /* no such rank */
        CHECK(ncclSend(k.d, 1, ncclNumTypes, 0, k.comm, k.s) == ncclInvalidArgument);
        CHECK(ncclAllReduce(k.d, k.d, 1, ncclFloat32, ncclMax, k.comm, k.s) == ncclInvalidArgument);
        CHECK(ncclGroupEnd() == ncclInvalidUsage);
        OK(ncclGroupStart());
        CHECK(ncclRecv(k.h, 1, ncclFloat32, 0, k.comm, k.s) == ncclInvalidArgument);
        CHECK(ncclGroupEnd() == ncclInvalidArgument); /* nothing of the group is done */
        CHECK(k.settle(ncclSend(k.d, 1, ncclFloat32, 0, k.comm, k.s)) == ncclSuccess);
        CHECK(k.wait() == ncclInvalidUsage); /* to itself, and not received */
        OK(ncclCommAbort(k.comm));
    });
}

static void test_dead_rank_is_noticed(void **)
{
    auto ends = processes(3, [](int me, const ncclUniqueId &id) {
        rank k(me, 3, id);
        OK(cudaMemsetAsync(k.d, 0, BYTES, k.s));
        if (me == 1) {
            usleep(300000); /* the others have opened it too, most likely */
            raise(SIGKILL);
        }
        if (k.opened == ncclSuccess)
            (void)k.settle(ncclAllReduce(k.d, k.d, N, ncclFloat32, ncclSum, k.comm, k.s));
        CHECK(k.wait() == ncclRemoteError);
        CHECK(strstr(ncclGetLastError(k.comm), "rank 1"));
        OK(ncclCommAbort(k.comm));
    });
    assert_int_equal(ends[1].status, -SIGKILL);
    for (int r : {0, 2})
        if (ends[(size_t)r].status != 0)
            fail_msg("rank %d ended with %d: %s", r, ends[(size_t)r].status, ends[(size_t)r].said.c_str());
}

static void test_opening_finds_what_does_not_fit(void **)
{
    static const struct {
        const char *what, *says;
        std::function<void(int, const ncclUniqueId &)> fn;
    } cases[] = {
        {"one device", "Duplicate GPU detected",
         [](int me, const ncclUniqueId &id) {
             CHECK(rank(me, 2, id, 0).opened == ncclInvalidUsage || me < 0);
         }},
        {"versions", "NCCL version 22705",
         [](int me, const ncclUniqueId &id) {
             if (me)
                 setenv("DDP_EMU_NCCL_VERSION", "22705", 1);
             CHECK(rank(me, 2, id).opened != ncclSuccess);
         }},
        {"sizes", "communicator of 3 ranks",
         [](int me, const ncclUniqueId &id) { CHECK(rank(me, me ? 3 : 2, id).opened != ncclSuccess); }},
        {"nobody there", "no word from rank(s) 2",
         [](int me, const ncclUniqueId &id) { CHECK(rank(me, 3, id).opened != ncclSuccess); }},
    };
    for (auto &c : cases) {
        auto ends = processes(2, c.fn, {{"DDP_EMU_NCCL_TIMEOUT", "1"}});
        if (!ends[0].says(c.says) && !ends[1].says(c.says))
            fail_msg("%s: %s %s", c.what, ends[0].said.c_str(), ends[1].said.c_str());
    }
}

static void test_one_device_is_shared_when_asked(void **)
{
    ALL_RUN(2, [](int me, const ncclUniqueId &id) {
        setenv("NCCL_HOSTID", me ? "b" : "a", 1);
        rank k(me, 2, id, 0);
        OK(k.opened);
        k.up(k.d, 1);
        OK(k.settle(ncclAllReduce(k.d, k.d, N, ncclFloat32, ncclSum, k.comm, k.s)));
        k.down(k.d);
        CHECK(k.h[1] == 4);
        k.close();
    });
}

/* ---- with streams and graphs ---- */

static cudaGraphExec_t captured(rank &k)
{
    cudaGraph_t g;
    cudaGraphExec_t x;
    OK(cudaStreamBeginCapture(k.s, cudaStreamCaptureModeThreadLocal));
    exchange(k);
    OK(k.settle(ncclAllReduce(k.e, k.d, N, ncclFloat32, ncclSum, k.comm, k.s)));
    OK(cudaStreamEndCapture(k.s, &g));
    OK(cudaGraphInstantiate(&x, g, 0));
    OK(cudaGraphDestroy(g));
    return x;
}

static void test_calls_in_a_graph(void **)
{
    ALL_RUN(2, [](int me, const ncclUniqueId &id) {
        rank k(me, 2, id);
        k.up(k.d, 1);
        OK(cudaMemsetAsync(k.e, 0, BYTES, k.s));
        cudaGraphExec_t x = captured(k);
        for (int turn = 0; turn < 3; turn++) {
            k.up(k.d, (float)(turn + me));
            OK(cudaGraphLaunch(x, k.s));
            OK(k.wait());
            k.down(k.d);
            CHECK(k.h[0] == (float)(2 * turn) && k.h[N / 2] == (float)(2 * turn + 2));
        }
        k.close();
    });
}

static void test_graph_and_call_at_once_are_refused(void **)
{
    auto ends = processes(2, [](int me, const ncclUniqueId &id) {
        rank k(me, 2, id);
        k.up(k.d, 1);
        OK(cudaMemsetAsync(k.e, 0, BYTES, k.s));
        cudaGraphExec_t x = captured(k);
        usleep(200000); /* the first to fail tells the other */
        OK(cudaGraphLaunch(x, k.s));
        CHECK(k.settle(ncclAllReduce(k.d, k.d, N, ncclFloat32, ncclSum, k.comm, k.s)) != ncclSuccess);
        OK(ncclCommAbort(k.comm));
    });
    for (const ending &e : ends)
        if (e.status != 0 || !e.says("not captured while a graph"))
            fail_msg("ended with %d: %s", e.status, e.said.c_str());
}

static void test_stream_is_not_used_in_progress(void **)
{
    int found = 0;
    for (int seed = 1; seed <= 4; seed++)
        found += run_forked(
                     [] {
                         ncclUniqueId id;
                         OK(ncclGetUniqueId(&id));
                         rank k(0, 1, id);
                         k.up(k.d, 1);
                         (void)ncclAllReduce(k.d, k.d, N, ncclFloat32, ncclSum, k.comm, k.s);
                         (void)cudaMemcpyAsync(k.h, k.d, BYTES, cudaMemcpyDefault, k.s);
                     },
                     {{"DDP_EMU_SEED", std::to_string(seed)}})
                     .says("ask ncclCommGetAsyncError() first");
    assert_true(found >= 1);
}

/* One rank waits for its stream; the other does something else for a while, its device works all the same. */
static void test_device_works_without_being_asked(void **)
{
    ALL_RUN(2,
            [](int me, const ncclUniqueId &id) {
                rank k(me, 2, id);
                k.up(k.d, 1);
                OK(k.settle(ncclAllReduce(k.d, k.d, N, ncclFloat32, ncclSum, k.comm, k.s)));
                if (me) {
                    sleep(2);
                    k.down(k.d);
                } else {
                    struct timespec a, b;
                    clock_gettime(CLOCK_MONOTONIC, &a);
                    OK(k.wait());
                    clock_gettime(CLOCK_MONOTONIC, &b);
                    CHECK(b.tv_sec - a.tv_sec < 2);
                }
                k.close();
            },
            {{"DDP_EMU_PROGRESS", "100"}});
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls_among_processes),
        cmocka_unit_test(test_calls_among_threads),
        cmocka_unit_test(test_all_reduce_is_not_canonical),
        cmocka_unit_test(test_mismatched_calls_are_named),
        cmocka_unit_test(test_wrong_calls_are_refused),
        cmocka_unit_test(test_dead_rank_is_noticed),
        cmocka_unit_test(test_opening_finds_what_does_not_fit),
        cmocka_unit_test(test_one_device_is_shared_when_asked),
        cmocka_unit_test(test_calls_in_a_graph),
        cmocka_unit_test(test_graph_and_call_at_once_are_refused),
        cmocka_unit_test(test_stream_is_not_used_in_progress),
        cmocka_unit_test(test_device_works_without_being_asked),
    };
    return cmocka_run_group_tests_name("NCCL stand-in", tests, NULL, NULL);
}
