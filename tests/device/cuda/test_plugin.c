/* The plug-in on the stand-ins, through its table alone, as the library uses it: memory, copies, a kernel, a
 * graph, an exchange between two processes, a device that is lost. Each case has a process of its own. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cmocka_all.h"
#include "device/kernels.h"
#include "reduce/flat_kernels.h"

enum { N = 5000, BYTES = N * 4 };

#define CHECK(x)                                                                                             \
    do {                                                                                                     \
        if (!(x)) {                                                                                          \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #x);                            \
            _exit(1);                                                                                        \
        }                                                                                                    \
    } while (0)
#define OK(call)                                                                                             \
    do {                                                                                                     \
        if ((call) != 0) {                                                                                   \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, err.text);                                    \
            _exit(1);                                                                                        \
        }                                                                                                    \
    } while (0)

static const struct ddp_gpu_api *api;
static struct ddp_error err;
static struct ddp_gpu *gpu;

static void open_plugin(void)
{
    void *so = dlopen(PLUGIN, RTLD_NOW | RTLD_LOCAL);
    if (!so) {
        fprintf(stderr, "%s\n", dlerror());
        _exit(1);
    }
    ddp_gpu_entry_fn entry;
    *(void **)&entry = dlsym(so, DDP_GPU_ENTRY);
    CHECK(entry && !dlsym(so, "cudaMalloc") && !dlsym(so, "emu_alloc"));
    api = entry();
    CHECK(api && api->version == DDP_GPU_API_VERSION);
}

static void open_device(int device)
{
    open_plugin();
    OK(api->open(device, &gpu, &err));
}

static float *device_memory(void)
{
    void *p;
    OK(api->alloc(gpu, BYTES, &p, &err));
    CHECK(((uintptr_t)p & (DDP_GPU_ALIGN - 1)) == 0);
    return p;
}
static float *pinned_memory(void)
{
    void *p;
    OK(api->alloc_pinned(gpu, BYTES, &p, &err));
    return p;
}
static struct ddp_gpu_stream *stream(bool high)
{
    struct ddp_gpu_stream *s;
    OK(api->stream_create(gpu, high, &s, &err));
    return s;
}
static struct ddp_gpu_event *event(void)
{
    struct ddp_gpu_event *e;
    OK(api->event_create(gpu, &e, &err));
    return e;
}
static void wait_for(struct ddp_gpu_stream *s)
{
    while (!api->idle(s)) {
        struct timespec nap = {.tv_nsec = 20000};
        nanosleep(&nap, NULL);
    }
}
static void add(struct ddp_gpu_stream *s, float *a, const float *b)
{
    const struct ddp_gpu_range_args args = {.count = N, .a = a, .b = b};
    api->kernels->flat->add_range(s, &args);
}

static int run(void (*fn)(void), const char *name, const char *value)
{
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        alarm(30);
        if (name)
            setenv(name, value, 1);
        fn();
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/* ---- cases ---- */

static void copies_and_kernel(void)
{
    open_device(1);
    struct ddp_gpu_stream *up = stream(false), *s = stream(true);
    struct ddp_gpu_event *there = event();
    float *a = device_memory(), *b = device_memory(), *h = pinned_memory(), *back = pinned_memory();
    for (int i = 0; i < N; i++)
        h[i] = (float)i;
    api->copy(up, a, h, BYTES);
    api->record(there, up);
    api->wait(s, there);
    add(s, b, a); /* b is zero at first */
    add(s, b, a);
    api->copy(s, back, b, BYTES);
    wait_for(s);
    OK(api->check(gpu, &err));
    for (int i = 0; i < N; i++)
        CHECK(back[i] == (float)(2 * i));
    CHECK(api->reached(there) && api->idle(up));
    api->release(gpu, a);
    api->release_pinned(gpu, h);
    api->event_destroy(there);
    api->stream_destroy(up);
    api->close(gpu);
}

static void graph(void)
{
    open_device(0);
    struct ddp_gpu_stream *s = stream(true), *side = stream(false);
    struct ddp_gpu_event *fork_ = event(), *join = event();
    float *a = device_memory(), *b = device_memory(), *c = device_memory(), *h = pinned_memory();
    struct ddp_gpu_graph *g = NULL;
    add(s, a, b); /* once before the capture, as with NCCL and cuDNN */
    wait_for(s);
    api->capture_begin(s);
    api->copy(s, a, h, BYTES);
    api->record(fork_, s);
    api->wait(side, fork_);
    add(side, c, a);
    api->record(join, side);
    api->zero(s, b, BYTES);
    add(s, b, a);
    api->wait(s, join);
    add(s, b, c);
    OK(api->capture_end(s, &g, &err));
    float *back = pinned_memory();
    for (int turn = 1; turn <= 4; turn++) {
        for (int i = 0; i < N; i++)
            h[i] = 1;
        api->launch(s, g);
        api->copy(s, back, b, BYTES);
        wait_for(s);
        CHECK(back[0] == (float)(1 + turn) && back[N - 1] == (float)(1 + turn));
    }
    OK(api->check(gpu, &err));
    api->graph_destroy(g);
}

static char id[DDP_GPU_ID_BYTES];

static void exchange(int me)
{
    open_device(me);
    struct ddp_gpu_stream *s = stream(true);
    float *a = device_memory(), *b = device_memory(), *h = pinned_memory();
    struct ddp_gpu_comm *c = NULL;
    struct ddp_gpu_graph *g = NULL;
    OK(api->comm_open(gpu, id, me, 2, DDP_GPU_SHARE_NOT, 20, &c, &err));
    for (int turn = 0; turn < 3; turn++) {
        for (int i = 0; i < N; i++)
            h[i] = (float)(10 * me + turn);
        api->copy(s, a, h, BYTES);
        wait_for(s);
        if (turn == 1)
            api->capture_begin(s);
        if (turn < 2) {
            api->group_begin(c);
            api->send(c, s, a, N, 1 - me);
            api->recv(c, s, b, N, 1 - me);
            api->group_end(c);
            add(s, a, b);
            api->bcast(c, s, b, N, 0);
            api->allreduce(c, s, b, N);
        }
        if (turn == 1)
            OK(api->capture_end(s, &g, &err));
        if (turn > 0)
            api->launch(s, g);
        api->copy(s, h, a, BYTES);
        wait_for(s);
        CHECK(h[0] == (float)(10 + 2 * turn));
        api->copy(s, h, b, BYTES);
        wait_for(s);
        CHECK(h[0] == (float)(2 * (10 + turn))); /* rank 0 received 10 + turn, and sent it to both */
        OK(api->comm_check(c, &err));
        OK(api->check(gpu, &err));
    }
    api->graph_destroy(g);
    api->comm_close(c, false);
}

static void exchange_0(void)
{
    exchange(0);
}
static void exchange_1(void)
{
    exchange(1);
}
static void both_ranks(void)
{
    open_plugin();
    OK(api->comm_id(id, &err));
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        setenv("DDP_EMU_SEED", "9", 1);
        exchange_1();
        _exit(0);
    }
    exchange_0();
    int status = 0;
    waitpid(child, &status, 0);
    CHECK(status == 0);
}

static void lost(void)
{
    open_device(0);
    struct ddp_gpu_stream *s = stream(true);
    float *a = device_memory(), *b = device_memory();
    for (int i = 0; i < 3; i++)
        add(s, a, b);
    wait_for(s);
    CHECK(api->check(gpu, &err) == DDP_E_DEVICE && strstr(err.text, "unspecified launch failure"));
    add(s, a, b); /* does nothing */
    CHECK(api->idle(s) && api->check(gpu, &err) == DDP_E_DEVICE);
}

static void no_driver(void)
{
    int n = 0;
    open_plugin();
    CHECK(api->count(&n, &err) == DDP_E_RESOURCE && strstr(err.text, "no NVIDIA driver"));
    struct ddp_gpu_versions v;
    api->versions(&v);
    CHECK(v.driver == 0 && v.nccl > 0);
}

static void old_driver(void)
{
    int n = 0;
    open_plugin();
    CHECK(api->count(&n, &err) == DDP_E_RESOURCE && strstr(err.text, "too old"));
}

static void no_bf16(void)
{
    struct ddp_gpu_info i;
    open_plugin();
    OK(api->info(0, &i, &err));
    CHECK(!i.bf16 && i.major == 7 && i.minor == 5);
}

static void little_memory(void)
{
    open_device(0);
    void *p;
    CHECK(api->alloc(gpu, 2 << 20, &p, &err) == DDP_E_RESOURCE && strstr(err.text, "out of memory"));
    size_t free, total;
    OK(api->memory(gpu, &free, &total, &err));
    CHECK(total == 1 << 20);
}

static void test_plugin_does_what_its_table_says(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        void (*fn)(void);
        const char *name, *value;
    } cases[] = {
        {"copies and a kernel", copies_and_kernel, NULL, NULL},
        {"copies and a kernel", copies_and_kernel, "DDP_EMU_SEED", "2"},
        {"a graph", graph, NULL, NULL},
        {"a graph", graph, "DDP_EMU_SEED", "2"},
        {"a graph", graph, "DDP_EMU_SEED", "3"},
        {"two ranks", both_ranks, NULL, NULL},
        {"a lost device", lost, "DDP_EMU_LOST_AT", "2"},
        {"no driver", no_driver, "DDP_EMU_DRIVER", "0"},
        {"an old driver", old_driver, "DDP_EMU_DRIVER", "old"},
        {"no bf16", no_bf16, "DDP_EMU_CC", "7.5"},
        {"little memory", little_memory, "DDP_EMU_MEMORY", "1048576"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const int status = run(cases[i].fn, cases[i].name, cases[i].value);
        if (status != 0)
            fail_msg("%s (%s): ended with %d", cases[i].what, cases[i].value ? cases[i].value : "", status);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_plugin_does_what_its_table_says)};
    return cmocka_run_group_tests_name("plug-in on the stand-ins", tests, NULL, NULL);
}
