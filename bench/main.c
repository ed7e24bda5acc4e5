/* ddp-bench: measurements of single parts of the framework. */
#include <stdlib.h>

#include "base/base.h"
#include "bench.h"
#include "bench/allreduce/allreduce.h"

// clang-format off
static const struct ddp_command commands[] = {
    {&bench_ops_manual, bench_ops},
    {&bench_gpu_manual, bench_gpu},
    {&bench_step_manual, bench_step},
    {&bench_scaling_manual, bench_scaling},
    {&bench_loader_manual, bench_loader},
    {&bench_startup_manual, bench_startup},
    {&bench_allreduce_manual, bench_allreduce},
    {&bench_repro_manual, bench_repro},
    {0},
};
// clang-format on

static const struct ddp_option options[] = {DDP_COMMON_OPTIONS, {0}};
static const char *const usage[] = {"COMMAND [options]", NULL};

static const struct ddp_manual_section sections[] = {
    {"Environment", "DDP_ISA\tinstruction set of the CPU kernels: scalar, avx2, avx512 or neon", true},
    {"See also", "ddp-launch(1)", true},
    {0},
};

static const struct ddp_manual manual = {
    .name = "ddp-bench",
    .summary = "measurements of single parts of the framework",
    .usage = usage,
    .about = "",
    .options = options,
    .sections = sections,
    .commands = commands,
};

int main(int argc, char **argv)
{
    struct bench_reduce_task task;
    const char *rank = getenv(BENCH_RANK_VARIABLE);
    ddp_streams_open();
    if (rank && bench_reduce_task_parse(rank, &task)) /* a measurement has started us */
        return ddp_streams_close("ddp-bench", bench_reduce_rank(&task, argc, argv));
    return ddp_streams_close("ddp-bench", ddp_command_run(&manual, NULL, argc, argv));
}
