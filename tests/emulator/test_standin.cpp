/* The stand-in for the CUDA runtime: does it enforce what it says, and find what it is for? */
#include "dialect/ddp_device.h"

#include "emu.h"
#include "forked.h"
#include "standin.h"

extern "C" {
#include "cmocka_all.h"
}

/* What the plug-in's runtime.c gives to launchers. */
void *ddp_stream_cuda(struct ddp_gpu_stream *s)
{
    return s;
}
bool ddp_stream_works(const struct ddp_gpu_stream *)
{
    return true;
}
void ddp_stream_launched(struct ddp_gpu_stream *, const char *) {}

static const size_t N = 1000, BYTES = N * 4;

DDP_KERNEL add_one(float *p, int n)
{
    const int i = ddp_block() * ddp_threads() + ddp_thread();
    if (i < n)
        p[i] += 1.0f;
}

static cudaStream_t stream()
{
    cudaStream_t s;
    OK(cudaStreamCreateWithPriority(&s, cudaStreamNonBlocking, 0));
    return s;
}
static cudaEvent_t event()
{
    cudaEvent_t e;
    OK(cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
    return e;
}
static float *memory()
{
    void *p;
    OK(cudaMalloc(&p, BYTES));
    return (float *)p;
}
static float *host_memory()
{
    void *p;
    OK(cudaMallocHost(&p, BYTES));
    return (float *)p;
}
static void wait_for(cudaStream_t s)
{
    cudaError_t e;
    while ((e = cudaStreamQuery(s)) == cudaErrorNotReady)
        ;
    OK(e);
    (void)cudaGetLastError();
}
static void one_more(cudaStream_t s, float *p)
{
    DDP_LAUNCH((struct ddp_gpu_stream *)s, add_one, 4, 256, p, (int)N);
}

/* Up, plus one, down. */
static void copies_and_kernel()
{
    cudaStream_t s = stream();
    float *d = memory(), *h = host_memory(), *back = host_memory();
    for (size_t i = 0; i < N; i++)
        h[i] = (float)i;
    OK(cudaMemcpyAsync(d, h, BYTES, cudaMemcpyDefault, s));
    one_more(s, d);
    OK(cudaMemcpyAsync(back, d, BYTES, cudaMemcpyDefault, s));
    CHECK(back[0] != back[0]); /* it belongs to the copy now */
    wait_for(s);
    for (size_t i = 0; i < N; i++)
        CHECK(back[i] == (float)i + 1);
    OK(cudaFree(d));
    OK(cudaFreeHost(h));
    OK(cudaStreamDestroy(s));
}

static void test_work_runs_in_order(void **)
{
    for (const char *seed : {"1", "2", "3"})
        RUNS(copies_and_kernel, {{"DDP_EMU_SEED", seed}});
}

/* A producer on one stream, a consumer on another. */
static void two_streams(bool with_event)
{
    cudaStream_t a = stream(), b = stream();
    cudaEvent_t e = event();
    float *d = memory(), *back = host_memory();
    OK(cudaMemsetAsync(d, 0, BYTES, a));
    one_more(a, d);
    OK(cudaEventRecord(e, a));
    if (with_event)
        OK(cudaStreamWaitEvent(b, e, 0));
    OK(cudaMemcpyAsync(back, d, BYTES, cudaMemcpyDeviceToHost, b));
    wait_for(b);
    wait_for(a);
    if (back[N - 1] != 1.0f)
        _exit(7);
}

static void test_dropped_wait_is_found(void **)
{
    int found = 0;
    for (int seed = 1; seed <= 8; seed++) {
        RUNS([] { two_streams(true); }, {{"DDP_EMU_SEED", std::to_string(seed)}});
        found += run_forked([] { two_streams(false); }, {{"DDP_EMU_SEED", std::to_string(seed)}}).status == 7;
    }
    assert_true(found >= 4);
}

static void test_staging_slot_reused_too_early_is_found(void **)
{
    int found = 0;
    for (int seed = 1; seed <= 4; seed++)
        found += run_forked(
                     [] {
                         cudaStream_t s = stream();
                         float *d = memory(), *h = host_memory(), *back = host_memory();
                         h[0] = 1;
                         OK(cudaMemcpyAsync(d, h, BYTES, cudaMemcpyDefault, s));
                         (void)cudaStreamQuery(s);
                         h[0] = 2; /* not yet */
                         OK(cudaMemcpyAsync(back, d, BYTES, cudaMemcpyDefault, s));
                         wait_for(s);
                         if (back[0] != 1)
                             _exit(7);
                     },
                     {{"DDP_EMU_SEED", std::to_string(seed)}})
                     .status == 7;
    assert_true(found >= 1);
}

static void test_wrong_touch_ends_the_process(void **)
{
    static const struct {
        const char *what, *says;
        std::function<void()> fn;
    } cases[] = {
        {"host reads device memory", "the host touches memory of device 0",
         [] { CHECK(*(volatile float *)memory() == 0); }},
        {"host writes device memory", "byte 40 of 4000", [] { memory()[10] = 1; }},
        {"host writes freed memory", "touches freed memory",
         [] {
             float *d = memory();
             OK(cudaFree(d));
             d[0] = 1;
         }},
        {"host touches freed pinned memory", "freed pinned memory",
         [] {
             float *h = host_memory();
             OK(cudaFreeHost(h));
             h[0] = 1;
         }},
        {"kernel writes freed memory", "work on a stream touches freed memory",
         [] {
             cudaStream_t s = stream();
             float *d = memory();
             OK(cudaFree(d));
             one_more(s, d);
             wait_for(s);
         }},
    };
    for (auto &c : cases) {
        const ending e = run_forked(c.fn);
        if (e.status != -SIGSEGV || !e.says(c.says))
            fail_msg("%s: ended with %d: %s", c.what, e.status, e.said.c_str());
    }
}

/* A call, what it must give, and what must be said. */
static void expect(cudaError_t is, cudaError_t want)
{
    if (is != want) {
        fprintf(stderr, "gives %d, not %d\n", (int)is, (int)want);
        _exit(97);
    }
    (void)cudaGetLastError();
}

static void test_memory_rules(void **)
{
    RUNS(
        [] {
            cudaStream_t s = stream();
            float *d = memory(), *h = host_memory(), pageable[4] = {0};
            void *p;
            expect(cudaMemcpyAsync(d, pageable, 16, cudaMemcpyDefault, s), cudaErrorInvalidValue);
            expect(cudaMemcpyAsync(pageable, d, 16, cudaMemcpyDeviceToHost, s), cudaErrorInvalidValue);
            expect(cudaMemcpyAsync(d, h, BYTES + 1, cudaMemcpyDefault, s), cudaErrorInvalidValue);
            expect(cudaMemcpyAsync(d + 1, h, BYTES, cudaMemcpyDefault, s), cudaErrorInvalidValue);
            expect(cudaMemcpyAsync(d, h, 4, cudaMemcpyDeviceToDevice, s), cudaErrorInvalidValue);
            expect(cudaMemsetAsync(h, 0, 4, s), cudaErrorInvalidValue);
            expect(cudaMemcpy(d, pageable, 16, cudaMemcpyHostToDevice), cudaSuccess);
            expect(cudaMemset(d, 0, BYTES), cudaSuccess);
            expect(cudaDeviceSynchronize(), cudaSuccess);
            expect(cudaMalloc(&p, (size_t)8 << 20), cudaErrorMemoryAllocation);
            expect(cudaFree(d + 1), cudaErrorInvalidValue);
            expect(cudaFree(d), cudaSuccess);
            expect(cudaFree(d), cudaErrorInvalidValue);
            expect(cudaMemsetAsync(d, 0, 4, s), cudaErrorInvalidValue);
            size_t free, total;
            OK(cudaMemGetInfo(&free, &total));
            CHECK(total == 4 << 20 && free == total);
        },
        {{"DDP_EMU_MEMORY", "4194304"}});
}

static void test_legacy_stream_orders_blocking_ones(void **)
{
    for (int seed = 1; seed <= 4; seed++)
        RUNS(
            [] {
                cudaStream_t s;
                OK(cudaStreamCreate(&s));
                float *d = memory(), back[N];
                OK(cudaMemset(d, 0, BYTES));
                one_more(s, d);
                OK(cudaMemcpy(back, d, BYTES, cudaMemcpyDeviceToHost));
                CHECK(back[N - 1] == 1.0f);
            },
            {{"DDP_EMU_SEED", std::to_string(seed)}});
}

/* ---- capture ---- */

static void begin(cudaStream_t s)
{
    OK(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal));
}

static void test_unsafe_calls_break_a_capture(void **)
{
    static void *p;
    static const struct {
        const char *what;
        cudaError_t (*call)(cudaStream_t s, cudaStream_t other, cudaEvent_t e);
        cudaError_t gives;
    } cases[] = {
        {"malloc", [](cudaStream_t, cudaStream_t, cudaEvent_t) { return cudaMalloc(&p, 4); },
         cudaErrorStreamCaptureUnsupported},
        {"free", [](cudaStream_t, cudaStream_t, cudaEvent_t) { return cudaFree(p); },
         cudaErrorStreamCaptureUnsupported},
        {"host alloc", [](cudaStream_t, cudaStream_t, cudaEvent_t) { return cudaMallocHost(&p, 4); },
         cudaErrorStreamCaptureUnsupported},
        {"query", [](cudaStream_t s, cudaStream_t, cudaEvent_t) { return cudaStreamQuery(s); },
         cudaErrorStreamCaptureUnsupported},
        {"query of another", [](cudaStream_t, cudaStream_t o, cudaEvent_t) { return cudaStreamQuery(o); },
         cudaErrorStreamCaptureUnsupported},
        {"synchronize", [](cudaStream_t s, cudaStream_t, cudaEvent_t) { return cudaStreamSynchronize(s); },
         cudaErrorStreamCaptureUnsupported},
        {"device synchronize",
         [](cudaStream_t, cudaStream_t, cudaEvent_t) { return cudaDeviceSynchronize(); },
         cudaErrorStreamCaptureUnsupported},
        {"event query", [](cudaStream_t, cudaStream_t, cudaEvent_t e) { return cudaEventQuery(e); },
         cudaErrorStreamCaptureUnsupported},
        {"query of a captured event",
         [](cudaStream_t s, cudaStream_t, cudaEvent_t e) {
             OK(cudaEventRecord(e, s));
             return cudaEventQuery(e);
         },
         cudaErrorCapturedEvent},
        {"event from outside",
         [](cudaStream_t s, cudaStream_t o, cudaEvent_t e) {
             OK(cudaEventRecord(e, o));
             return cudaStreamWaitEvent(s, e, 0);
         },
         cudaErrorStreamCaptureIsolation},
        {"event of another capture",
         [](cudaStream_t s, cudaStream_t o, cudaEvent_t e) {
             begin(o);
             OK(cudaEventRecord(e, o));
             return cudaStreamWaitEvent(s, e, 0);
         },
         cudaErrorStreamCaptureMerge},
    };
    for (auto &c : cases) {
        const ending e = run_forked([&] {
            cudaStream_t s = stream(), other = stream();
            cudaEvent_t v = event();
            OK(cudaMalloc(&p, 4));
            begin(s);
            expect(c.call(s, other, v), c.gives);
            cudaStreamCaptureStatus status;
            OK(cudaStreamIsCapturing(s, &status));
            CHECK(status == cudaStreamCaptureStatusInvalidated);
            cudaGraph_t g;
            expect(cudaStreamEndCapture(s, &g), cudaErrorStreamCaptureInvalidated);
            CHECK(g == NULL);
        });
        if (e.status != 0)
            fail_msg("%s: ended with %d: %s", c.what, e.status, e.said.c_str());
    }
}

static void test_capture_must_be_joined(void **)
{
    RUNS([] {
        cudaStream_t a = stream(), b = stream();
        cudaEvent_t fork = event(), join = event();
        float *d = memory();
        cudaGraph_t g;
        for (bool joined : {false, true}) {
            begin(a);
            OK(cudaEventRecord(fork, a));
            OK(cudaStreamWaitEvent(b, fork, 0));
            one_more(b, d);
            if (joined) {
                OK(cudaEventRecord(join, b));
                OK(cudaStreamWaitEvent(a, join, 0));
            } else {
                cudaGraph_t none;
                expect(cudaStreamEndCapture(b, &none), cudaErrorStreamCaptureUnmatched);
            }
            expect(cudaStreamEndCapture(a, &g), joined ? cudaSuccess : cudaErrorStreamCaptureInvalidated);
        }
        begin(a);
        OK(cudaEventRecord(fork, a));
        OK(cudaStreamWaitEvent(b, fork, 0));
        one_more(b, d);
        expect(cudaStreamEndCapture(a, &g), cudaErrorStreamCaptureUnjoined);
        expect(cudaStreamEndCapture(a, &g), cudaErrorIllegalState);
        expect(cudaStreamWaitEvent(a, fork, 0), cudaErrorCapturedEvent); /* its capture is over */
        expect(cudaStreamBeginCapture(NULL, cudaStreamCaptureModeThreadLocal),
               cudaErrorStreamCaptureUnsupported);
        cudaStream_t blocking;
        OK(cudaStreamCreate(&blocking));
        begin(blocking);
        expect(cudaMemsetAsync(d, 0, 4, NULL), cudaErrorStreamCaptureImplicit);
    });
}

/* Two branches that add to d and to e, joined, then a copy of both; replayed on other contents. */
static void replay()
{
    cudaStream_t a = stream(), b = stream();
    cudaEvent_t fork = event(), join = event();
    float *d = memory(), *e = memory(), *h = host_memory(), *back = host_memory();
    int launches = 0;
    begin(a);
    OK(cudaMemcpyAsync(d, h, BYTES, cudaMemcpyDefault, a));
    OK(cudaEventRecord(fork, a));
    OK(cudaStreamWaitEvent(b, fork, 0));
    OK(cudaMemcpyAsync(e, d, BYTES, cudaMemcpyDefault, b));
    one_more(b, e);
    one_more(b, e);
    OK(cudaEventRecord(join, b));
    OK(cudaStreamWaitEvent(a, join, 0));
    one_more(a, d);
    OK(cudaMemcpyAsync(back, d, 4, cudaMemcpyDefault, a));
    OK(cudaMemcpyAsync(back + 1, e, 4, cudaMemcpyDefault, a));
    OK(emu_enqueue_named(a, "count", false, [&] { launches++; }));
    cudaGraph_t g;
    cudaGraphExec_t x;
    OK(cudaStreamEndCapture(a, &g));
    size_t nodes = 0;
    OK(cudaGraphGetNodes(g, NULL, &nodes));
    CHECK(nodes == 8);
    OK(cudaGraphInstantiate(&x, g, 0));
    OK(cudaGraphDestroy(g));
    wait_for(a); /* nothing ran */
    CHECK(launches == 0);
    for (int turn = 0; turn < 5; turn++) {
        h[0] = (float)turn;
        OK(cudaGraphLaunch(x, a));
        wait_for(a);
        CHECK(back[0] == (float)turn + 1 && back[1] == (float)turn + 2 && launches == turn + 1);
    }
    /* in two streams at once: one after the other all the same */
    OK(cudaGraphLaunch(x, a));
    OK(cudaGraphLaunch(x, b));
    OK(cudaGraphExecDestroy(x)); /* under way */
    wait_for(b);
    CHECK(launches == 7);
    expect(cudaGraphLaunch(x, a), cudaErrorInvalidValue);
}

static void test_graph_replays(void **)
{
    for (int seed = 1; seed <= 6; seed++)
        RUNS(replay, {{"DDP_EMU_SEED", std::to_string(seed)}});
}

static void test_what_a_capture_may_not_hold(void **)
{
    RUNS([] {
        cudaStream_t s = stream(), other = stream();
        cudaEvent_t never = event(), v = event();
        float *d = memory();
        cudaGraph_t g;
        cudaGraphExec_t x;
        begin(s);
        OK(cudaStreamWaitEvent(s, never, 0)); /* as if it had been recorded and were over */
        OK(cudaMemsetAsync(d, 0, BYTES, s));
        one_more(other, d); /* another stream is none of its business */
        OK(cudaStreamEndCapture(s, &g));
        OK(cudaGraphInstantiate(&x, g, 0));
        begin(other);
        expect(cudaGraphLaunch(x, other), cudaErrorNotSupported);
        expect(cudaStreamEndCapture(other, &g), cudaErrorStreamCaptureInvalidated);
        OK(cudaEventRecord(v, s));
        OK(cudaEventDestroy(v));
        expect(cudaEventQuery(v), cudaErrorInvalidResourceHandle);
        OK(cudaStreamDestroy(other)); /* its work is done all the same */
        expect(cudaStreamQuery(other), cudaErrorInvalidResourceHandle);
        expect(cudaMemsetAsync(d, 0, 4, other), cudaErrorInvalidResourceHandle);
        OK(cudaDeviceSynchronize());
        OK(cudaDeviceReset());
        expect(cudaStreamQuery(s), cudaErrorInvalidResourceHandle);
        expect(cudaFree(d), cudaErrorInvalidValue);
        OK(cudaMemsetAsync(memory(), 0, 4, stream())); /* and it goes on */
    });
}

/* ---- bad devices ---- */

static void test_driver(void **)
{
    static const struct {
        const char *driver;
        int version;
        cudaError_t count;
    } cases[] = {{"0", 0, cudaErrorInsufficientDriver},
                 {"old", 11040, cudaErrorInsufficientDriver},
                 {"13010", 13010, cudaSuccess}};
    for (auto &c : cases)
        RUNS(
            [&] {
                int n, v;
                expect(cudaGetDeviceCount(&n), c.count);
                expect(cudaDriverGetVersion(&v), cudaSuccess);
                CHECK(v == c.version);
                expect(cudaSetDevice(0), c.count);
            },
            {{"DDP_EMU_DRIVER", c.driver}});
    RUNS(
        [] {
            int n = -1;
            expect(cudaGetDeviceCount(&n), cudaErrorNoDevice);
            CHECK(n == 0);
        },
        {{"DDP_EMU_DEVICES", "0"}});
}

static void test_devices(void **)
{
    RUNS(
        [] {
            int n, back;
            OK(cudaGetDeviceCount(&n));
            CHECK(n == 2);
            struct cudaDeviceProp p[2];
            char pci[2][20];
            for (int i = 0; i < 2; i++) {
                OK(cudaGetDeviceProperties(&p[i], i));
                OK(cudaDeviceGetPCIBusId(pci[i], 20, i));
                OK(cudaDeviceGetByPCIBusId(&back, pci[i]));
                CHECK(back == i);
            }
            CHECK(p[0].major == 7 && p[0].minor == 5 && strcmp(p[0].name, "Test GPU") == 0);
            CHECK(memcmp(p[0].uuid.bytes, p[1].uuid.bytes, 16) != 0 && strcmp(pci[0], "0000:13:00.0") == 0);
            expect(cudaSetDevice(2), cudaErrorInvalidDevice);
        },
        {{"CUDA_VISIBLE_DEVICES", "3,1,9,0"}, {"DDP_EMU_CC", "7.5"}, {"DDP_EMU_NAME", "Test GPU"}});
}

static void test_lost_device_stays_lost(void **)
{
    RUNS(
        [] {
            cudaStream_t s = stream();
            float *d = memory();
            OK(cudaMemsetAsync(d, 0, BYTES, s));
            for (int i = 0; i < 5; i++)
                one_more(s, d);
            OK(cudaGetLastError());
            cudaError_t e;
            while ((e = cudaStreamQuery(s)) == cudaErrorNotReady)
                ;
            CHECK(e == cudaErrorLaunchFailure);
            CHECK(cudaGetLastError() == cudaErrorLaunchFailure &&
                  cudaGetLastError() == cudaErrorLaunchFailure);
            CHECK(cudaMemsetAsync(d, 0, 4, s) == cudaErrorLaunchFailure &&
                  cudaFree(d) == cudaErrorLaunchFailure);
            CHECK(cudaStreamSynchronize(s) == cudaErrorLaunchFailure);
        },
        {{"DDP_EMU_LOST_AT", "3"}});
}

static void test_not_ready_is_remembered(void **)
{
    RUNS([] {
        cudaStream_t s = stream();
        float *d = memory();
        bool seen = false;
        for (int i = 0; i < 100 && !seen; i++) {
            OK(cudaMemsetAsync(d, 0, 4, s));
            seen = cudaStreamQuery(s) == cudaErrorNotReady;
        }
        CHECK(seen && cudaGetLastError() == cudaErrorNotReady && cudaGetLastError() == cudaSuccess);
    });
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_work_runs_in_order),
        cmocka_unit_test(test_dropped_wait_is_found),
        cmocka_unit_test(test_staging_slot_reused_too_early_is_found),
        cmocka_unit_test(test_wrong_touch_ends_the_process),
        cmocka_unit_test(test_memory_rules),
        cmocka_unit_test(test_legacy_stream_orders_blocking_ones),
        cmocka_unit_test(test_unsafe_calls_break_a_capture),
        cmocka_unit_test(test_capture_must_be_joined),
        cmocka_unit_test(test_graph_replays),
        cmocka_unit_test(test_what_a_capture_may_not_hold),
        cmocka_unit_test(test_driver),
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_lost_device_stays_lost),
        cmocka_unit_test(test_not_ready_is_remembered),
    };
    return cmocka_run_group_tests_name("cuda stand-in", tests, NULL, NULL);
}
