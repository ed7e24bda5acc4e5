/* The ways of summing that are compared, and the commands that start their ranks. */
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/allreduce/allreduce.h"
#include "device/device.h"

/* ---- ours: this program again ---------------------------------------------------------------- */

static int find_self(char path[PATH_MAX], struct ddp_error *err)
{
    const ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);
    path[n > 0 ? n : 0] = '\0';
    return n > 0 ? 0 : ddp_fail(err, DDP_E_RESOURCE, "/proc is not there: ddp-bench needs it mounted");
}

static int as_threads(const struct bench_reduce_way *way, const struct bench_reduce_job *job,
                      struct bench_words *words, struct bench_reduce_task *task, struct ddp_error *err)
{
    char self[PATH_MAX];
    (void)way;
    const int status = find_self(self, err);
    task->threads = job->ranks;
    bench_words_add(words, "%s", self);
    return status;
}

static int by_launch(const struct bench_reduce_way *way, const struct bench_reduce_job *job,
                     struct bench_words *words, struct bench_reduce_task *task, struct ddp_error *err)
{
    char launch[PATH_MAX], self[PATH_MAX];
    (void)task;
    int status = bench_program_find("ddp-launch", launch, err);
    if (status == 0)
        status = find_self(self, err);
    if (status)
        return status;
    bench_words_add(words, "%s", launch);
    bench_words_add(words, "-n");
    bench_words_add(words, "%ld", job->ranks);
    if (way->setting) {
        if (!bench_program_on_path("mpirun"))
            return ddp_fail(err, DDP_E_RESOURCE, "no mpirun on PATH");
        bench_words_add(words, "--starter");
        bench_words_add(words, "%s", way->setting);
    }
    if (job->hosts) {
        bench_words_add(words, "-H");
        bench_words_add(words, "%s", job->hosts);
    }
    bench_words_add(words, "--program");
    bench_words_add(words, "%s", self);
    bench_words_add(words, "%s/allreduce.cfg", job->folder);
    bench_words_add(words, "train.shards=%ld", job->ranks);
    bench_words_add(words, "train.batch=%ld", job->ranks);
    bench_words_add(words, "run.dir=%s/runs", job->folder);
    return 0;
}

/* NCCL on the GPUs that training would take, a rank on each. */
static int by_launch_on_gpus(const struct bench_reduce_way *way, const struct bench_reduce_job *job,
                             struct bench_words *words, struct bench_reduce_task *task, struct ddp_error *err)
{
    const struct ddp_gpu_api *api = NULL;
    int gpus = 0;
    if (!ddp_gpu_likely())
        return ddp_fail(err, DDP_E_RESOURCE, "no GPU: the plug-in or NVIDIA's driver is not there");
    int status = ddp_gpu_api_open(&api, err);
    if (status == 0)
        status = api->count(&gpus, err);
    if (status == 0 && !job->hosts && gpus < job->ranks)
        status = ddp_fail(err, DDP_E_RESOURCE, "%ld ranks on %d GPU%s: each wants its own", job->ranks, gpus,
                          ddp_plural(gpus));
    task->device = 1;
    if (status == 0)
        status = by_launch(way, job, words, task, err);
    if (status == 0)
        bench_words_add(words, "device=cuda");
    return status;
}

/* ---- MPI by itself --------------------------------------------------------------------------- */

static void add_mca(struct bench_words *words, const char *name, const char *value)
{
    bench_words_add(words, "--mca");
    bench_words_add(words, "%s", name);
    bench_words_add(words, "%s", value);
}

static int by_mpirun(const struct bench_reduce_way *way, const struct bench_reduce_job *job,
                     struct bench_words *words, struct bench_reduce_task *task, struct ddp_error *err)
{
    char peer[PATH_MAX];
    cpu_set_t cpus;
    const bool crowded =
        !job->hosts && (sched_getaffinity(0, sizeof cpus, &cpus) != 0 || CPU_COUNT(&cpus) < job->ranks);
    if (!bench_program_on_path("mpirun"))
        return ddp_fail(err, DDP_E_RESOURCE, "no mpirun on PATH");
    if (bench_program_find("ddp-bench-mpi", peer, err) != 0)
        return ddp_fail(err, DDP_E_RESOURCE,
                        "ddp-bench-mpi is not beside ddp-bench: it is built where MPI is");
    bench_words_add(words, "mpirun");
    bench_words_add(words, "-np");
    bench_words_add(words, "%ld", job->ranks);
    bench_words_add(words, "--host");
    if (job->hosts)
        bench_words_add(words, "%s", job->hosts);
    else
        bench_words_add(words, "localhost:%ld", job->ranks);
    bench_words_add(words, "--bind-to");
    bench_words_add(words, "%s", crowded || job->hosts ? "none" : "core");
    if (crowded) /* as it does itself where it knows */
        add_mca(words, "mpi_yield_when_idle", "1");
    if (way->setting)
        add_mca(words, way->setting, "100");
    bench_words_add(words, "%s", peer);
    bench_words_add(words, "%ld", task->first);
    bench_words_add(words, "%ld", task->last);
    bench_words_add(words, "%ld", task->factor);
    bench_words_add(words, "%ld", task->rounds);
    return 0;
}

/* ---- all of them ----------------------------------------------------------------------------- */

const struct bench_reduce_way bench_reduce_ways[] = {
    {"node", "processes of one host in shared memory", .ours = true, .local = true, .trains = true,
     .command = by_launch},
    {"node-copied", "the same, the sums copied out by each", .ours = true, .local = true, .copied = true,
     .command = by_launch},
    {"node-fast", "the same, fast", .ours = true, .local = true, .fast = true, .command = by_launch},
    {"threads", "threads of one process", .ours = true, .local = true, .command = as_threads},
    {"threads-fast", "the same, fast", .ours = true, .local = true, .fast = true, .command = as_threads},
    {"mpi", "ranks that mpirun starts", .ours = true, .trains = true, .command = by_launch,
     .setting = "mpirun"},
    {"mpi-fast", "the same, fast", .ours = true, .fast = true, .command = by_launch, .setting = "mpirun"},
    {"NCCL", "ncclAllReduce on GPUs, float sums in place", .device = true, .command = by_launch_on_gpus},
    {"MPI", "MPI_Allreduce, a program of MPI alone", .command = by_mpirun},
    {"MPI-han", "the same with coll/han first", .command = by_mpirun, .setting = "coll_han_priority"},
    {"MPI-sm", "with coll/sm", .local = true, .command = by_mpirun, .setting = "coll_sm_priority"},
    {"MPI-adapt", "with coll/adapt", .command = by_mpirun, .setting = "coll_adapt_priority"},
};
const int bench_reduce_nways = (int)DDP_COUNT(bench_reduce_ways);
_Static_assert(DDP_COUNT(bench_reduce_ways) <= BENCH_REDUCE_WAYS, "BENCH_REDUCE_WAYS is too small");
