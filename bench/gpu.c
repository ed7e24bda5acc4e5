/* ddp-bench gpu: how much of the memory's bandwidth our kernels use, and what a launch costs. The yardstick
 * is a copy from device memory to device memory. */
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "bench.h"
#include "bench/report.h"
#include "gpu_bench.h"

enum { SKIP = 77 };

static const char *const type_names[] = {[DDP_GPU_F32] = "fp32", [DDP_GPU_BF16] = "bf16"};

/* ---- the tables ---- */

static int measure_case(struct bench *b, const struct bench_case *c, enum ddp_gpu_type type, const char *name,
                        struct ddp_error *err)
{
    struct bench_timing t = {0};
    int code = bench_place_fill(b, type, err);
    if (!code && c->prepare)
        c->prepare(&b->p);
    if (!code)
        code = bench_time_kernel(b, c->enqueue, &t, err);
    if (code)
        return ddp_error_prefix(err, "%s %s", name, type_names[type]);
    const double bytes = bench_case_bytes(c, &b->p), rate = bytes / t.s;
    if (b->copy_rate == 0)
        b->copy_rate = rate;
    const double percent = 100 * rate / b->copy_rate;
    bench_row(b->kernels, BENCH_TEXT(name), BENCH_TEXT(type_names[type]), BENCH_NUMBER(bytes),
              BENCH_NUMBER(bytes * 1e-6), BENCH_NUMBER(t.s * 1e6), BENCH_NUMBER(rate * 1e-9),
              BENCH_NUMBER(percent), BENCH_TEXT(percent < 80 ? "<" : ""), BENCH_NUMBER(100 * t.spread));
    b->worst = t.spread > b->worst ? t.spread : b->worst;
    return 0;
}

static bool wanted(const struct bench *b, const char *name)
{
    return strstr(name, b->o.only) != NULL;
}

static int measure_kernels(struct bench *b, struct ddp_error *err)
{
    int code = 0;
    for (int i = 0; i < bench_cases_count && !code; i++) {
        const struct bench_case *c = &bench_cases[i];
        if (i > 0 && !wanted(b, c->name))
            continue;
        if (c->bf16 && b->info.bf16)
            code = measure_case(b, c, DDP_GPU_BF16, c->name, err);
        if (c->f32 && !code)
            code = measure_case(b, c, DDP_GPU_F32, c->name, err);
    }
    return code ? code : measure_case(b, &bench_cases[0], DDP_GPU_F32, "copy at the end", err);
}

static const struct {
    const char *name;
    int in_graph;
} launches[] = {{"launch of a kernel", 0}, {"launch of a graph of 1", 1}, {"launch of a graph of 100", 100}};

static int measure_launches(struct bench *b, struct ddp_error *err)
{
    for (size_t i = 0; i < DDP_COUNT(launches); i++) {
        struct bench_timing t = {0};
        if (!wanted(b, launches[i].name))
            continue;
        const int code = bench_time_launch(b, launches[i].in_graph, &t, err),
                  kernels = launches[i].in_graph ? launches[i].in_graph : 1;
        if (code)
            return ddp_error_prefix(err, "%s", launches[i].name);
        bench_row(b->launches, BENCH_TEXT(launches[i].name), BENCH_NUMBER(kernels), BENCH_NUMBER(t.s * 1e6),
                  BENCH_NUMBER(1 / t.s), BENCH_NUMBER(t.s * 1e6 / kernels), BENCH_NUMBER(100 * t.spread));
    }
    return 0;
}

/* ---- the command ---- */

enum { SIZE = 1, CHANNELS, ONLY, ROUNDS, DEVICE };

// clang-format off
static const struct ddp_option option_list[] = {
    {"--size", NULL, "MB", SIZE,
     "One tensor, in 2^20 bytes (256); a few times the device's cache, or that is measured."},
    {"--channels", NULL, "C", CHANNELS, "Of activations, a multiple of 8 (64)."},
    {"--only", NULL, "TEXT", ONLY, "Only rows whose name contains it, and the copy."},
    {"--rounds", NULL, "N", ROUNDS, "The median of which is taken (7)."},
    {"--device", NULL, "N", DEVICE, "That GPU (0), and an error if it is not there."},
    BENCH_REPORT_OPTIONS,
    DDP_COMMON_OPTIONS,
    {0},
};
// clang-format on

static const char *const usage[] = {"[options]", NULL};

static const struct ddp_manual_section sections[] = {
    {"Exit codes",
     "0\tmeasured\n"
     "2\twrong usage\n"
     "3\ttoo little memory, or no GPU of the number that --device names\n"
     "4\tthe GPU failed\n"
     "77\tthere is no plug-in (DDP_CUDA_PLUGIN names one) or no GPU, and none was asked for",
     false},
    {0},
};

const struct ddp_manual bench_gpu_manual = {
    .name = "ddp-bench gpu",
    .summary = "GB/s of the CUDA kernels against a copy, and the cost of launches",
    .usage = usage,
    .about = "GB/s of our CUDA kernels, in percent of those of a copy within the device's memory ('<': below "
             "80 %), "
             "and the cost of launches. MB and GB are powers of ten, counted as the bytes that have to be "
             "read and "
             "written once; +-%: longest less shortest round.",
    .options = option_list,
    .sections = sections,
};

static bool take_int(const char *text, int64_t least, int64_t most, int64_t *out)
{
    return text && ddp_parse_int(text, out) && *out >= least && *out <= most;
}

static bool apply(int id, const char *value, struct bench_options *o)
{
    switch (id) {
    case SIZE:
        return take_int(value, 1, 1 << 14, &o->size_mb);
    case CHANNELS:
        return take_int(value, 8, 8192, &o->channels) && o->channels % 8 == 0;
    case ROUNDS:
        return take_int(value, 1, BENCH_ROUNDS_MOST, &o->rounds);
    case DEVICE:
        return o->named = take_int(value, 0, 1 << 10, &o->device);
    case ONLY:
        o->only = value;
        return true;
    default:
        return id == DDP_OPTION_END || bench_outputs_take(&o->outputs, id, value);
    }
}

/* An exit status, or -1: go on. */
static int parse(int argc, char **argv, struct bench_options *o)
{
    struct ddp_option_walk walk = {argc, argv, 1, false};
    struct ddp_error err = {0};
    const char *value;
    for (int id = DDP_OPTION_WORD; id != DDP_OPTION_END;) {
        if (ddp_option_next(&walk, &bench_gpu_manual, &id, &value, &err) != 0) {
            ddp_say("ddp-bench gpu", "%s", err.text);
            return DDP_EXIT_USAGE;
        }
        if (ddp_manual_answer(&bench_gpu_manual, id))
            return DDP_EXIT_OK;
        if (!apply(id, value, o)) {
            ddp_say("ddp-bench gpu", "%s is no value that is allowed here; --help tells which are", value);
            return DDP_EXIT_USAGE;
        }
    }
    for (int i = 0; i < bench_cases_count; i++)
        if (strstr(bench_cases[i].name, o->only))
            return -1;
    for (size_t i = 0; i < DDP_COUNT(launches); i++)
        if (strstr(launches[i].name, o->only))
            return -1;
    ddp_say("ddp-bench gpu", "no row's name contains '%s'", o->only);
    return DDP_EXIT_USAGE;
}

static int fails(const struct ddp_error *err)
{
    fprintf(stderr, "ddp-bench gpu: %s\n", err->text);
    return ddp_error_exit(err->code);
}

static const struct bench_column kernel_columns[] = {
    {"name", "kernel", NULL},     {"type", "type", NULL}, {"bytes", NULL, "%.0f"},
    {"mb", "MB", "%.1f"},         {"us", "us", "%.1f"},   {"gb_s", "GB/s", "%.1f"},
    {"percent", "%copy", "%.1f"}, {"slow", "", NULL},     {"spread_percent", "+-%", "%.1f"},
};
static const struct bench_column launch_columns[] = {
    {"name", "launch", NULL},
    {"kernels", "kernels", "%.0f"},
    {"us", "us", "%.2f"},
    {"per_second", "a second", "%.0f"},
    {"us_a_kernel", "us a kernel", "%.2f"},
    {"spread_percent", "+-%", "%.1f"},
};
static const struct bench_plot plot = {.kind = BENCH_BARS,
                                       .title = "Kernels of the GPU, in percent of a copy",
                                       .x = "type",
                                       .x_title = "row of the table, by type",
                                       .y_title = "percent of the copy's GB/s",
                                       .parts = {"percent"}};

static void tell_device(struct bench *b, struct bench_report *r)
{
    struct ddp_gpu_versions v;
    char text[256];
    b->api->versions(&v);
    snprintf(text, sizeof text, "%s, %d SMs, %.1f GB, driver %d, runtime %d", b->info.name, b->info.sms,
             (double)b->info.memory * 1e-9, v.driver, v.runtime);
    bench_fact_text(r, "device", text, "GPU");
    bench_fact_number(r, "tensor_bytes", (double)b->tensor_bytes, "tensors", "%.0f bytes");
    bench_fact_number(r, "channels", b->p.c, "channels", "%.0f");
    bench_fact_number(r, "rounds", (double)b->o.rounds, "rounds", "%.0f");
}

static int measure(struct bench *b, struct bench_report *r, struct ddp_error *err)
{
    int code = bench_place_make(b, err);
    if (code)
        return code;
    tell_device(b, r);
    b->kernels = bench_report_table(r, "kernels", NULL, kernel_columns, DDP_COUNT(kernel_columns));
    b->launches = bench_report_table(r, "launches", NULL, launch_columns, DDP_COUNT(launch_columns));
    bench_report_plot(r, b->kernels, &plot);
    code = measure_kernels(b, err);
    if (!code)
        code = measure_launches(b, err);
    bench_warn_spread(r, "the kernel that moves most", b->worst, 0.2);
    return code ? code : bench_report_finish(r, err);
}

int bench_gpu(int argc, char **argv)
{
    struct bench b = {.o = {.size_mb = 256, .channels = 64, .rounds = 7, .only = ""}};
    struct ddp_error err = {0};
    int n = 0, status = parse(argc, argv, &b.o);
    if (status >= 0)
        return status;
    if (ddp_gpu_api_open(&b.api, &err) || b.api->count(&n, &err)) {
        if (b.o.named)
            return fails(&err);
        printf("skipped: %s\n", err.text);
        return SKIP;
    }
    if (b.o.device >= n) {
        ddp_fail(&err, DDP_E_RESOURCE, "--device %lld: there are %d, numbered from 0", (long long)b.o.device,
                 n);
        return fails(&err);
    }
    if (b.api->info((int)b.o.device, &b.info, &err) || b.api->open((int)b.o.device, &b.gpu, &err))
        return fails(&err);
    struct bench_report *r = bench_report_create(bench_gpu_manual.name, argc, argv, &b.o.outputs);
    status = bench_report_begin(r, &err);
    if (!status)
        status = measure(&b, r, &err);
    bench_report_destroy(r);
    b.api->close(b.gpu);
    return status ? fails(&err) : DDP_EXIT_OK;
}
