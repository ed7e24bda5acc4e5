/* The emulator of CUDA on kernels that are right: their values in every order, and not one report. What it
 * has to find is in test_emu_faults.cpp. */
#include "ddp_device.h"
#undef memcpy
#undef memset

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>
#include <vector>

extern "C" {
#include "cmocka_all.h"
}

static struct ddp_gpu_stream *const stream = NULL;

template <class T> static T *upload(const std::vector<T> &host)
{
    T *p = (T *)emu_alloc(host.size() * sizeof(T));
    emu_copy_in(p, host.data(), host.size() * sizeof(T));
    return p;
}
template <class T> static std::vector<T> download(const T *p, size_t n)
{
    std::vector<T> host(n);
    emu_copy_out(host.data(), p, n * sizeof(T));
    return host;
}

/* ---- kernels ---- */

/* out[b] = sum of the block's elements, whole warps: shuffles in a warp, shared memory between warps. */
template <class T> DDP_KERNEL block_sum(const T *x, T *out, int n)
{
    DDP_SHARED(T, part, DDP_WARP);
    const int t = ddp_thread(), i = ddp_block() * ddp_threads() + t;
    T s = i < n ? x[i] : 0;
    for (int d = DDP_WARP / 2; d; d /= 2)
        s += ddp_shuffle_down(s, d);
    if (t % DDP_WARP == 0)
        part[t / DDP_WARP] = s;
    DDP_SYNC();
    if (t == 0) {
        for (int w = 1; w < ddp_threads() / DDP_WARP; w++)
            s += part[w];
        out[ddp_block()] = s;
    }
}

/* A tree in shared memory: barriers of the block above a warp, of the warp below. */
DDP_KERNEL tree_sum(const int *x, int *out)
{
    DDP_SHARED(int, s, 256);
    DDP_SHARED(int, twice, 1);
    const int t = ddp_thread();
    s[t] = x[ddp_block() * 256 + t];
    DDP_SYNC();
    for (int half = 128; half >= DDP_WARP; half /= 2) {
        if (t < half)
            s[t] += s[t + half];
        DDP_SYNC();
    }
    for (int half = DDP_WARP / 2; half; half /= 2) {
        if (t < half)
            s[t] += s[t + half];
        DDP_SYNC_WARP();
    }
    if (t == 0)
        twice[0] = 2 * s[0];
    DDP_SYNC();
    if (t == 255)
        out[ddp_block()] = twice[0];
}

/* In place, each element from its neighbour: all read, barrier, all write. */
template <class T> DDP_KERNEL rotate(T *x, int n)
{
    const int t = ddp_thread();
    const T v = x[(t + 1) % n];
    DDP_SYNC();
    x[t] = v;
}

static const float table[4] = {1, 2, 3, 4};

struct record {
    double a;
    int32_t index[5];
    float scale;
};

/* Eight at once, constants, a struct copied from device memory, a struct of arguments. */
template <class T> DDP_KERNEL scale8(const T *x, T *y, const record *setting, record mine, int64_t n)
{
    const int64_t i = ((int64_t)ddp_block() * ddp_threads() + ddp_thread()) * 8;
    const record r = setting[ddp_thread() % 2];
    if (i >= n)
        return;
    float v[8], w[4], u[4];
    ddp_load8(x + i, v);
    for (int j = 0; j < 8; j++)
        v[j] *= mine.scale * r.scale * table[mine.index[j % 5]];
    ddp_store8(y + i, v);
    ddp_load4(y + i, w);
    for (int j = 0; j < 4; j++)
        u[j] = w[j] + 1;
    ddp_store4(y + i, u);
}

DDP_KERNEL add_one(int *x)
{
    x[ddp_block() * ddp_threads() + ddp_thread()] += 1;
}

DDP_KERNEL who_is_last(int *out)
{
    *out = ddp_block() * ddp_threads() + ddp_thread();
}

/* ---- tests ---- */

template <class T> static void check_block_sum(int n, int threads)
{
    const int blocks = (n + threads - 1) / threads;
    std::vector<T> ones((size_t)n, 1);
    T *x = upload(ones), *out = (T *)emu_alloc((size_t)blocks * sizeof(T)), total = 0;
    DDP_LAUNCH(stream, block_sum<T>, blocks, threads, x, out, n);
    for (T s : download(out, (size_t)blocks))
        total += s;
    assert_true(total == (T)n);
    emu_free(x);
    emu_free(out);
}

static void test_sums(void **)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        emu_set_seed(seed);
        check_block_sum<float>(1000, 256);
        check_block_sum<double>(33, 32);
        check_block_sum<int>(5000, 1024);
        std::vector<int> numbers(512);
        for (int i = 0; i < 512; i++)
            numbers[(size_t)i] = i;
        int *x = upload(numbers), *out = (int *)emu_alloc(8);
        DDP_LAUNCH(stream, tree_sum, 2, 256, x, out);
        std::vector<int> sums = download(out, 2);
        assert_int_equal(sums[0], 255 * 256);
        assert_int_equal(sums[1], (255 + 512) * 256);
        emu_free(x);
        emu_free(out);
    }
    assert_int_equal(emu_faults(), 0);
}

/* Neighbours of 1, 2, 4 and 8 bytes share words: no race. */
template <class T> static void check_rotate(int n)
{
    std::vector<T> host((size_t)n);
    for (int i = 0; i < n; i++)
        host[(size_t)i] = (T)i;
    T *x = upload(host);
    DDP_LAUNCH(stream, rotate<T>, 1, n, x, n);
    std::vector<T> back = download(x, (size_t)n);
    for (int i = 0; i < n; i++)
        assert_true(back[(size_t)i] == (T)((i + 1) % n));
    emu_free(x);
}

static void test_small_types(void **)
{
    check_rotate<uint8_t>(101);
    check_rotate<uint16_t>(101);
    check_rotate<int>(101);
    check_rotate<int64_t>(101);
    assert_int_equal(emu_faults(), 0);
}

template <class T> static void check_scale8()
{
    const int64_t n = 1000;
    std::vector<T> host((size_t)n);
    for (int64_t i = 0; i < n; i++)
        host[(size_t)i] = ddp_from_float<T>((float)(i % 5));
    const record two = {0, {0}, 2}, three = {0, {0, 1, 2, 3, 0}, 3};
    T *x = upload(host), *y = (T *)emu_alloc((size_t)n * sizeof(T));
    record *setting = upload(std::vector<record>{two, two});
    DDP_LAUNCH(stream, scale8<T>, 5, 32, x, y, setting, three, n);
    std::vector<T> back = download(y, (size_t)n);
    for (int64_t i = 0; i < n; i++)
        assert_float_equal(ddp_float(back[(size_t)i]),
                           (float)(i % 5) * 6 * table[three.index[i % 8 % 5]] + (i % 8 < 4), 0);
    emu_free(x);
    emu_free(y);
    emu_free(setting);
}

static void test_wide_accesses(void **)
{
    check_scale8<float>();
    check_scale8<ddp_bf16>();
    check_scale8<ddp_f16>();
    assert_int_equal(emu_faults(), 0);
}

/* A stand-in for streams: what was captured runs later, as often as it likes, with the values of the call. */
static std::vector<struct emu_work *> queue;
static void *queued_on;
static void enqueue(void *cuda_stream, struct emu_work *work)
{
    queued_on = cuda_stream;
    queue.push_back(work);
}

static void test_deferred_launch(void **)
{
    int *x = upload(std::vector<int>(64, 0)), *argument = x;
    struct ddp_gpu_stream *const s = (struct ddp_gpu_stream *)&queue;
    emu_on_launch = enqueue;
    DDP_LAUNCH(s, add_one, 2, 32, argument);
    emu_on_launch = NULL;
    argument = NULL;
    assert_int_equal(queue.size(), 1);
    assert_ptr_equal(queued_on, s);
    assert_string_equal(emu_work_name(queue[0]), "add_one");
    assert_int_equal(emu_work_blocks(queue[0]), 2);
    assert_int_equal(emu_work_threads(queue[0]), 32);
    assert_int_equal(download(x, 64)[63], 0);
    for (int i = 0; i < 3; i++)
        emu_work_run(queue[0]);
    emu_work_free(queue[0]);
    for (int v : download(x, 64))
        assert_int_equal(v, 3);
    DDP_LAUNCH(s, add_one, 0, 32, x); /* nothing */
    assert_int_equal(download(x, 64)[0], 3);
    emu_free(x);
    assert_int_equal(emu_faults(), 0);
}

static void test_threads_of_the_host(void **)
{
    std::vector<std::thread> hosts;
    for (int h = 0; h < 4; h++)
        hosts.emplace_back([] {
            for (int i = 0; i < 50; i++)
                check_block_sum<int>(700, 128);
        });
    for (auto &h : hosts)
        h.join();
    assert_int_equal(emu_faults(), 0);
}

/* Races are reported; which thread wins depends on the seed. */
static void test_order_is_random(void **)
{
    int *out = (int *)emu_alloc(4), first = -1, different = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        emu_set_seed(seed);
        DDP_LAUNCH(stream, who_is_last, 4, 64, out);
        const int last = download(out, 1)[0];
        first = first < 0 ? last : first;
        different += last != first;
    }
    assert_true(different >= 15);
    assert_true(emu_fault_count(EMU_RACE) > 0);
    emu_clear_faults();
    emu_free(out);
}

static void test_memory(void **)
{
    char *p = (char *)emu_alloc(5000), *q = (char *)emu_alloc(1);
    void *pages;
    assert_int_equal((uintptr_t)p % 256, 0);
    assert_int_equal((unsigned char)p[4999], 0xff);
    assert_true(emu_owns(p, 5000) && emu_owns(p + 10, 4990) && !emu_owns(p + 10, 4991) &&
                !emu_owns(&pages, 1));
    assert_int_equal(emu_alloc_pages(p + 7, &pages) % (size_t)sysconf(_SC_PAGESIZE), 0);
    assert_ptr_equal(pages, p);
    assert_int_equal(emu_unwritten(p, 5000), 0);
    emu_mark_written(p, 4321);
    assert_int_equal(emu_unwritten(p + 1, 4999), 4320);
    emu_mark_written(p, 5000);
    assert_int_equal(emu_unwritten(p, 5000), -1);
    emu_poison(p + 3, 2);
    assert_int_equal(emu_unwritten(p, 5000), 3);
    assert_null(emu_alloc((size_t)1 << 40));
    emu_clear_faults(); /* p[4999]: this file is instrumented, and the host may not read it */
    emu_free(p);
    emu_free(q);
    emu_free(NULL);
    assert_false(emu_owns(p, 1));
    assert_int_equal(emu_faults(), 0);
}

/* In a child: what a whole process does. */
static int child(void (*body)(const char *path), const char *path)
{
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 2);
        body(path);
        exit(0);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    return status;
}

static void names_kernels(const char *path)
{
    setenv("DDP_EMU_KERNELS", path, 1);
    check_block_sum<float>(100, 32);
    int *x = upload(std::vector<int>(64, 0));
    DDP_LAUNCH(stream, add_one, 2, 32, x);
}
static void has_faults(const char *)
{
    int *x = (int *)emu_alloc(4);
    DDP_LAUNCH(stream, add_one, 1, 1, x);
}
static void is_fatal(const char *)
{
    setenv("DDP_EMU_FATAL", "1", 1);
    has_faults(NULL);
}

static void test_process(void **)
{
    char path[] = "/tmp/ddp_emu_kernels_XXXXXX", text[4096];
    close(mkstemp(path));
    assert_int_equal(child(names_kernels, path), 0);
    FILE *f = fopen(path, "r");
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    unlink(path);
    assert_non_null(strstr(text, "\nblock_sum<float>\n"));
    assert_non_null(strstr(text, "add_one\n"));
    int status = child(has_faults, NULL);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    status = child(is_fatal, NULL);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_small_types),
        cmocka_unit_test(test_wide_accesses),
        cmocka_unit_test(test_deferred_launch),
        cmocka_unit_test(test_threads_of_the_host),
        cmocka_unit_test(test_order_is_random),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
