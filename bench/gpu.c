/* ddp-bench gpu: how much of the memory's bandwidth our kernels use, and what a launch costs. The yardstick
 * is a copy from device memory to device memory. */
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "bench.h"
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
    if (!b->o.json) {
        printf("%-26s %-4s %8.1f %10.1f %8.1f %6.1f %c %6.1f\n", name, type_names[type], bytes * 1e-6,
               t.s * 1e6, rate * 1e-9, percent, percent < 80 ? '<' : ' ', 100 * t.spread);
        fflush(stdout);
    }
    return json_array_append_new(b->kernels, json_pack("{s:s, s:s, s:I, s:f, s:f, s:f, s:f}", "name", name,
                                                       "type", type_names[type], "bytes", (json_int_t)bytes,
                                                       "us", t.s * 1e6, "gb_s", rate * 1e-9, "percent",
                                                       percent, "spread_percent", 100 * t.spread))
               ? ddp_fail(err, DDP_E_RESOURCE, "no memory")
               : 0;
}

static bool wanted(const struct bench *b, const char *name)
{
    return strstr(name, b->o.only) != NULL;
}

static int measure_kernels(struct bench *b, struct ddp_error *err)
{
    int code = 0;
    if (!b->o.json)
        printf("%-26s %-4s %8s %10s %8s %6s   %6s\n", "kernel", "type", "MB", "us", "GB/s", "%copy", "+-%");
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
        if (!b->o.json)
            printf("%-26s %10.2f us, %8.0f a second, %6.2f us a kernel\n", launches[i].name, t.s * 1e6,
                   1 / t.s, t.s * 1e6 / kernels);
        if (json_array_append_new(b->launches,
                                  json_pack("{s:s, s:i, s:f, s:f, s:f}", "name", launches[i].name, "kernels",
                                            kernels, "us", t.s * 1e6, "per_second", 1 / t.s, "spread_percent",
                                            100 * t.spread)))
            return ddp_fail(err, DDP_E_RESOURCE, "no memory");
    }
    return 0;
}

/* ---- the command ---- */

enum { SIZE = 1, CHANNELS, ONLY, ROUNDS, DEVICE, JSON };

// clang-format off
static const struct ddp_option option_list[] = {
    {"--size", NULL, "MB", SIZE,
     "One tensor, in 2^20 bytes (256); a few times the device's cache, or that is measured."},
    {"--channels", NULL, "C", CHANNELS, "Of activations, a multiple of 8 (64)."},
    {"--only", NULL, "TEXT", ONLY, "Only rows whose name contains it, and the copy."},
    {"--rounds", NULL, "N", ROUNDS, "The median of which is taken (7)."},
    {"--device", NULL, "N", DEVICE, "That GPU (0), and an error if it is not there."},
    {"--json", NULL, NULL, JSON, "One line of JSON in place of the table."},
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
    case JSON:
        o->json = true;
        return true;
    default:
        return id == DDP_OPTION_END;
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

static int measure(struct bench *b, struct ddp_error *err)
{
    struct ddp_gpu_versions v;
    int code = bench_place_make(b, err);
    if (code)
        return code;
    b->api->versions(&v);
    if (!b->o.json)
        printf("%s, %d SMs, %.1f GB, driver %d, runtime %d; tensors of %.1f MB, %d channels, %lld rounds\n",
               b->info.name, b->info.sms, (double)b->info.memory * 1e-9, v.driver, v.runtime,
               (double)b->tensor_bytes * 1e-6, b->p.c, (long long)b->o.rounds);
    code = measure_kernels(b, err);
    if (!code)
        code = measure_launches(b, err);
    if (code || !b->o.json)
        return code;
    json_t *all =
        json_pack("{s:{s:s, s:i, s:I, s:i, s:i}, s:I, s:i, s:I, s:O, s:O}", "device", "name", b->info.name,
                  "sms", b->info.sms, "memory", (json_int_t)b->info.memory, "driver", v.driver, "runtime",
                  v.runtime, "tensor_bytes", (json_int_t)b->tensor_bytes, "channels", b->p.c, "rounds",
                  (json_int_t)b->o.rounds, "kernels", b->kernels, "launches", b->launches);
    if (!all || json_dumpf(all, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6)))
        code = ddp_fail(err, DDP_E_IO, "the result cannot be written as JSON");
    puts("");
    json_decref(all);
    return code;
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
    b.kernels = json_array();
    b.launches = json_array();
    status = measure(&b, &err) ? fails(&err) : DDP_EXIT_OK;
    json_decref(b.kernels);
    json_decref(b.launches);
    b.api->close(b.gpu);
    return status;
}
