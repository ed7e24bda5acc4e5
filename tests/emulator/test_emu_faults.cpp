/* What the emulator of CUDA has to find: each planted fault is caught in every order of threads that is
 * tried, and the same kernel without it reports nothing. */
#include "ddp_device.h"
#undef memcpy
#undef memset

#include <stdio.h>
#include <stdlib.h>

#include <functional>
#include <vector>

extern "C" {
#include "cmocka_all.h"
}

static struct ddp_gpu_stream *const stream = NULL;

enum { THREADS = 64, BLOCKS = 4, N = THREADS * BLOCKS };

/* FAULT 0 is right. */

template <int FAULT> DDP_KERNEL missing_sync(const float *x, float *y)
{
    DDP_SHARED(float, s, THREADS);
    const int t = ddp_thread(), first = ddp_block() * THREADS;
    s[t] = x[first + t];
    if (FAULT != 1)
        DDP_SYNC();
    float v = s[THREADS - 1 - t];
    if (FAULT != 2)
        DDP_SYNC(); /* before others write what this thread reads */
    s[t] = v;
    y[first + t] = s[t];
}

template <int FAULT> DDP_KERNEL missing_sync_warp(const float *x, float *y)
{
    DDP_SHARED(float, s, THREADS);
    const int t = ddp_thread(), first = ddp_block() * THREADS;
    float v = x[first + t];
    s[t] = v;
    if (FAULT == 1)
        v += ddp_shuffle_down(v, 1); /* orders no memory */
    else if (FAULT != 2)
        DDP_SYNC_WARP();
    if (FAULT == 3) /* warps wait each for itself */
        y[first + t] = s[t ^ DDP_WARP] + 0 * v;
    else
        y[first + t] = s[t ^ 1] + 0 * v;
}

template <int FAULT> DDP_KERNEL off_by_one(const float *x, float *y, int n)
{
    const int i = ddp_block() * ddp_threads() + ddp_thread();
    if (i < n + (FAULT == 1))
        y[i] = 1;
    if (i < n + (FAULT == 2) && i >= (FAULT == 2))
        y[i] = x[FAULT == 2 ? i - 1 + 1 : i];
    if (FAULT == 3 && i == 0)
        y[-1] = 1;
    DDP_SHARED(float, s, THREADS);
    s[ddp_thread() + (FAULT == 4)] = 1;
}

template <int FAULT> DDP_KERNEL diverged(float *y)
{
    const int t = ddp_thread();
    if (FAULT == 1 && t == 5)
        return;
    if (FAULT == 2) {
        if (t < 40)
            DDP_SYNC();
    } else if (FAULT == 3) {
        if (t % 2)
            DDP_SYNC();
        else
            DDP_SYNC();
    } else
        DDP_SYNC();
    if (FAULT == 4) {
        if (t != 33)
            DDP_SYNC_WARP();
    } else if (FAULT == 5) {
        if (t % 2)
            DDP_SYNC_WARP();
        else
            DDP_SYNC_WARP();
    }
    float v = (float)t;
    if (FAULT != 6 || t % DDP_WARP < 16)
        v = ddp_shuffle_down(v, 1);
    y[ddp_block() * ddp_threads() + t] = v;
}

template <int FAULT> DDP_KERNEL racy_sum(const float *x, float *out)
{
    const int t = ddp_thread(), i = ddp_block() * ddp_threads() + t;
    if (FAULT == 1)
        out[ddp_block()] += x[i];
    else if (FAULT == 2) {
        if (t == 0)
            out[0] += x[i];
    } else if (t == 0)
        out[ddp_block()] += x[i];
}

/* In place: reads what others write. */
template <int FAULT> DDP_KERNEL shift(float *x)
{
    const int i = ddp_block() * ddp_threads() + ddp_thread();
    if (FAULT == 1) /* across threads */
        x[i] = x[i ^ 1] + 1;
    else if (FAULT == 2) { /* across blocks, never in one */
        const float v = x[(i + THREADS) % N];
        DDP_SYNC();
        x[i] = v;
    } else
        x[i] += 1;
}

/* One block after others have read: the last of many readers is not the only one. */
template <int FAULT> DDP_KERNEL all_read_one_writes(float *x, float *y)
{
    const int t = ddp_thread();
    y[ddp_block() * ddp_threads() + t] = x[0];
    if (FAULT == 1 && t == 0 && ddp_block() == 0)
        x[0] = 1;
    if (FAULT == 2) {
        DDP_SYNC();
        if (t == 9 && ddp_block() == 2)
            x[0] = 1;
    }
}

/* Bytes of one word; FAULT: two threads on one byte. */
template <int FAULT> DDP_KERNEL bytes(uint8_t *x)
{
    const int i = ddp_block() * ddp_threads() + ddp_thread();
    x[FAULT && i == 7 ? 6 : i] = (uint8_t)i;
}

template <int FAULT> DDP_KERNEL unwritten_shared(float *y)
{
    DDP_SHARED(float, s, THREADS);
    const int t = ddp_thread();
    if (!FAULT || t != 13)
        s[t] = 1;
    DDP_SYNC();
    y[ddp_block() * ddp_threads() + t] = s[t ^ 1];
}

DDP_KERNEL copy(const float *x, float *y, int n)
{
    const int i = ddp_block() * ddp_threads() + ddp_thread();
    if (i < n)
        y[i] = x[i];
}

template <class T> DDP_KERNEL load8_at(const T *x, T *y, int offset)
{
    float v[8];
    ddp_load8(x + offset, v);
    ddp_store8(y + (ddp_block() * ddp_threads() + ddp_thread()) * 8, v);
}

DDP_KERNEL load_at(const char *x, int *y)
{
    y[ddp_thread()] = *(const int *)x;
}

static int counter;
DDP_KERNEL count_in_global()
{
    counter++;
}

DDP_KERNEL large_shared(float *y, int)
{
    DDP_SHARED(float, a, 8 << 10);
    DDP_SHARED(float, b, (4 << 10) + 1);
    a[0] = b[0] = 1;
    y[0] = a[0];
}

/* ---- memory for them ---- */

static float *x, *y;

static int setup(void **)
{
    emu_clear_faults();
    x = (float *)emu_alloc(N * 4);
    y = (float *)emu_alloc(N * 4);
    return 0;
}
static int teardown(void **)
{
    emu_free(x);
    emu_free(y);
    return 0;
}

/* Run it in 10 orders; every time it must have exactly faults of the kind (none: EMU_FAULTS). */
static void expect_at(int line, enum emu_fault kind, const char *kernel, const std::function<void()> &run)
{
    const std::vector<float> numbers(N, 2);
    for (uint64_t seed = 1; seed <= 10; seed++) {
        emu_set_seed(seed);
        emu_copy_in(x, numbers.data(), N * 4);
        emu_copy_in(y, numbers.data(), N * 4);
        run();
        const long n = emu_faults(), of_kind = kind == EMU_FAULTS ? 0 : emu_fault_count(kind);
        if (n != of_kind || (kind == EMU_FAULTS) != (n == 0) || (n && !strstr(emu_last_fault(), kernel)))
            fail_msg("line %d, seed %d: %ld faults, %ld of kind %d; last: %s", line, (int)seed, n, of_kind,
                     kind, emu_last_fault());
        emu_clear_faults();
    }
}
#define EXPECT(kind, kernel, ...)                                                                            \
    expect_at(__LINE__, kind, #kernel, [&] { DDP_LAUNCH(stream, kernel, BLOCKS, THREADS, __VA_ARGS__); })

static void test_races(void **)
{
    EXPECT(EMU_FAULTS, missing_sync<0>, x, y);
    expect_at(__LINE__, EMU_FAULTS, "", [] {});
    EXPECT(EMU_RACE, missing_sync<2>, x, y);
    EXPECT(EMU_FAULTS, missing_sync_warp<0>, x, y);
    EXPECT(EMU_FAULTS, shift<0>, x);
    EXPECT(EMU_RACE, shift<1>, x);
    EXPECT(EMU_RACE_BLOCKS, shift<2>, x);
    EXPECT(EMU_FAULTS, racy_sum<0>, x, y);
    EXPECT(EMU_RACE_BLOCKS, racy_sum<2>, x, y);
    EXPECT(EMU_FAULTS, all_read_one_writes<0>, x, y);
    EXPECT(EMU_RACE_BLOCKS, all_read_one_writes<2>, x, y);
    EXPECT(EMU_FAULTS, bytes<0>, (uint8_t *)y);
    EXPECT(EMU_RACE, bytes<1>, (uint8_t *)y);
}

/* Where the fault has a second face in some orders. */
static void both(enum emu_fault kind, const std::function<void()> &run)
{
    const std::vector<float> numbers(N, 2);
    for (uint64_t seed = 1; seed <= 10; seed++) {
        emu_set_seed(seed);
        emu_copy_in(x, numbers.data(), N * 4);
        emu_copy_in(y, numbers.data(), N * 4);
        run();
        assert_true(emu_fault_count(kind) > 0);
        emu_clear_faults();
    }
}

static void test_races_that_show_more(void **)
{
    both(EMU_RACE, [] { DDP_LAUNCH(stream, missing_sync<1>, BLOCKS, THREADS, x, y); });
    both(EMU_RACE, [] { DDP_LAUNCH(stream, missing_sync_warp<1>, BLOCKS, THREADS, x, y); });
    both(EMU_RACE, [] { DDP_LAUNCH(stream, missing_sync_warp<2>, BLOCKS, THREADS, x, y); });
    both(EMU_RACE, [] { DDP_LAUNCH(stream, missing_sync_warp<3>, BLOCKS, THREADS, x, y); });
    both(EMU_RACE, [] { DDP_LAUNCH(stream, racy_sum<1>, BLOCKS, THREADS, x, y); });
    both(EMU_RACE, [] { DDP_LAUNCH(stream, all_read_one_writes<1>, BLOCKS, THREADS, x, y); });
}

static void test_bounds(void **)
{
    EXPECT(EMU_FAULTS, off_by_one<0>, x, y, N);
    EXPECT(EMU_FAULTS, off_by_one<0>, x, y, N - 3);
    expect_at(__LINE__, EMU_BOUNDS, "off_by_one<1>",
              [] { DDP_LAUNCH(stream, off_by_one<1>, BLOCKS + 1, THREADS, x, y, N); });
    expect_at(__LINE__, EMU_BOUNDS, "off_by_one<2>",
              [] { DDP_LAUNCH(stream, off_by_one<2>, BLOCKS + 1, THREADS, x, y, N); });
    EXPECT(EMU_BOUNDS, off_by_one<3>, x, y, N);
    EXPECT(EMU_BOUNDS, off_by_one<4>, x, y, N);
    /* freed, NULL, the host's heap, a variable of the program */
    float *gone = (float *)emu_alloc(N * 4);
    std::vector<float> heap(N, 1.0f);
    emu_free(gone);
    EXPECT(EMU_BOUNDS, copy, gone, y, N);
    EXPECT(EMU_BOUNDS, copy, x, gone, N);
    EXPECT(EMU_BOUNDS, copy, (const float *)NULL, y, N);
    EXPECT(EMU_BOUNDS, copy, heap.data(), y, N);
    EXPECT(EMU_BOUNDS, copy, x, heap.data(), N);
    expect_at(__LINE__, EMU_BOUNDS, "count_in_global",
              [] { emu_launch(NULL, "count", count_in_global, 1, 1); });
    assert_int_equal(counter, 0);
}

static void test_alignment(void **)
{
    EXPECT(EMU_FAULTS, load8_at<float>, x, (float *)emu_alloc(N * 32), 8);
    EXPECT(EMU_ALIGNMENT, load8_at<float>, x, y, 4);
    EXPECT(EMU_ALIGNMENT, load8_at<ddp_bf16>, (ddp_bf16 *)x, (ddp_bf16 *)y, 4);
    EXPECT(EMU_ALIGNMENT, load_at, (const char *)x + 2, (int *)y);
}

static void test_diverged(void **)
{
    EXPECT(EMU_FAULTS, diverged<0>, y);
    EXPECT(EMU_DIVERGED, diverged<1>, y);
    EXPECT(EMU_DIVERGED, diverged<2>, y);
    EXPECT(EMU_DIVERGED, diverged<3>, y);
    EXPECT(EMU_DIVERGED, diverged<4>, y);
    EXPECT(EMU_DIVERGED, diverged<5>, y);
    EXPECT(EMU_DIVERGED, diverged<6>, y);
    expect_at(__LINE__, EMU_DIVERGED, "diverged<0>", [] { DDP_LAUNCH(stream, diverged<0>, 1, 40, y); });
    EXPECT(EMU_FAULTS, diverged<0>, y); /* the threads that hung are gone */
}

static void test_unwritten(void **)
{
    EXPECT(EMU_FAULTS, unwritten_shared<0>, y);
    EXPECT(EMU_UNWRITTEN, unwritten_shared<1>, y);
    float *fresh = (float *)emu_alloc(N * 4), host[N];
    EXPECT(EMU_UNWRITTEN, copy, (emu_poison(fresh, N * 4), fresh), y, N);
    /* the tail that one kernel leaves is read by the next, or by the host */
    expect_at(__LINE__, EMU_UNWRITTEN, "copy", [&] {
        emu_poison(fresh, N * 4);
        DDP_LAUNCH(stream, copy, BLOCKS, THREADS, x, fresh, N - 1);
        assert_int_equal(emu_faults(), 0);
        DDP_LAUNCH(stream, copy, BLOCKS, THREADS, fresh, y, N);
    });
    expect_at(__LINE__, EMU_UNWRITTEN, "the host", [&] {
        emu_poison(fresh, N * 4);
        DDP_LAUNCH(stream, copy, BLOCKS, THREADS, x, fresh, N - 1);
        emu_copy_out(host, fresh, (N - 1) * 4);
        assert_int_equal(emu_faults(), 0);
        emu_copy_out(host, fresh, N * 4);
    });
    emu_free(fresh);
}

static void test_launch(void **)
{
    expect_at(__LINE__, EMU_LAUNCH, "1025", [] { DDP_LAUNCH(stream, copy, 1, 1025, x, y, N); });
    expect_at(__LINE__, EMU_LAUNCH, "copy", [] { DDP_LAUNCH(stream, copy, 1, 0, x, y, N); });
    expect_at(__LINE__, EMU_LAUNCH, "copy", [] { DDP_LAUNCH(stream, copy, (int64_t)1 << 31, 1, x, y, N); });
    EXPECT(EMU_LAUNCH, large_shared, y, 0);
}

/* This file is instrumented like a .cu file: its host side may not touch device memory. */
static void test_host(void **)
{
    const volatile float *device = x;
    float v[2] = {device[3], 0};
    assert_int_equal(emu_fault_count(EMU_HOST), 1);
    emu_clear_faults();
    emu_copy_in(x + N - 1, v, 8);
    assert_int_equal(emu_fault_count(EMU_BOUNDS), 1);
    emu_clear_faults();
    emu_free(v);
    assert_int_equal(emu_fault_count(EMU_BOUNDS), 1);
    emu_clear_faults();
}

/* One line says it all. */
static void test_report(void **)
{
    DDP_LAUNCH(stream, copy, BLOCKS + 1, THREADS, x, y, N + 5);
    const char *line = emu_last_fault();
    assert_non_null(strstr(line, "out of bounds: kernel copy, block 4, thread "));
    assert_non_null(strstr(line, " bytes behind the end of device memory of 1024 bytes"));
    if (system("command -v addr2line >/dev/null") == 0)
        assert_non_null(strstr(line, "[test_emu_faults.cpp:"));
    emu_clear_faults();
    assert_string_equal(emu_last_fault(), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_races, setup, teardown),
        cmocka_unit_test_setup_teardown(test_races_that_show_more, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_alignment, setup, teardown),
        cmocka_unit_test_setup_teardown(test_diverged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unwritten, setup, teardown),
        cmocka_unit_test_setup_teardown(test_launch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_host, setup, teardown),
        cmocka_unit_test_setup_teardown(test_report, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
