/* ddp-bench allreduce: an all-reduce of N ranks over a list of sizes, by our transports and by others.
 *
 *   allreduce.c   the command line, rounds over all ways
 *   tell.c        what was found, as tables
 *   ways.c        the ways of summing that are compared, and the commands that start their ranks
 *   rank.c        one rank of ours: what is measured
 *   rank_device.c one rank on a GPU: NCCL by itself
 *   sums.c        what both have in common
 *   task.c        what it is told
 *
 * Ranks of ours are this program again, started by ddp-launch, by mpirun, or as threads of one process;
 * DDP_BENCH_RANK tells them what to do (struct bench_reduce_task). Rank 0 of each way prints rows,
 * "row BYTES WRONG SECONDS ..", as peers/mpi_allreduce.c does. */
#ifndef DDP_BENCH_ALLREDUCE_H
#define DDP_BENCH_ALLREDUCE_H

#include "bench/report.h"
#include "bench/run.h"
#include "comm/comm.h"

/* What a rank measures. Bytes are of floats, 4 each. */
struct bench_reduce_task {
    long first, last, factor; /* bytes */
    long rounds;
    long bucket;  /* bytes */
    long fast;    /* 1: reduce.mode = "fast" */
    long copied;  /* 1: each rank copies the sums to memory of its own */
    long device;  /* 1: NCCL, on the rank's GPU */
    long threads; /* 0: this process is one of the ranks that a launcher started; else all are its threads */
};

#define BENCH_RANK_VARIABLE "DDP_BENCH_RANK"
enum { BENCH_TASK_TEXT = 256 };
/* "allreduce first=1024 ..": returns buf; and back, false: it is no such text. */
const char *bench_reduce_task_text(const struct bench_reduce_task *t, char buf[BENCH_TASK_TEXT]);
bool bench_reduce_task_parse(const char *text, struct bench_reduce_task *out);

/* An exit status. argv: as the launcher gave it. */
int bench_reduce_rank(const struct bench_reduce_task *task, int argc, char **argv);

/* Collective, rows by rank 0. gpu: its UUID as the launcher planned it; NULL: by local rank. */
int bench_reduce_device(struct ddp_comm *comm, const struct bench_reduce_task *task, const char *gpu,
                        struct ddp_error *err);

/* What all ranks measure with: whole numbers within +-125, whose sums of 100,000 ranks are exact in fp32. */
static inline float bench_reduce_input(int64_t i, int rank)
{
    return (float)((i * 7 + rank * 13) % 251 - 125);
}
int64_t bench_reduce_wrong(const float *sum, int64_t count, int ranks); /* elements that are not the sum */
/* The largest of all ranks' values. Collective. */
int bench_reduce_largest(struct ddp_comm *c, double *value, struct ddp_error *err);
int bench_reduce_calls(double once); /* of a round, by the seconds of one */

/* ---- ways ---- */

struct bench_reduce_job { /* what all ways are given */
    long ranks;
    const char *hosts; /* NULL: this one */
    struct bench_reduce_task task;
    char folder[PATH_MAX]; /* holds allreduce.cfg */
};

struct bench_reduce_way {
    const char *name, *what; /* "node"; in words */
    bool ours, local;        /* local: on one host only */
    bool copied;
    bool device;       /* on GPUs, by ranks of this program */
    bool fast, trains; /* trains: so the ranks of a run sum, unless told otherwise */
    /* Builds the command; DDP_E_RESOURCE: this machine has no such thing, err says what lacks. */
    int (*command)(const struct bench_reduce_way *way, const struct bench_reduce_job *job,
                   struct bench_words *words, struct bench_reduce_task *task, struct ddp_error *err);
    const char *setting; /* of MPI, "coll_han_priority" to be 100; NULL: none */
};
extern const struct bench_reduce_way bench_reduce_ways[];
extern const int bench_reduce_nways;

/* ---- what was found ---- */

enum { BENCH_REDUCE_SIZES = 40, BENCH_REDUCE_WAYS = 16 };

struct bench_reduce_found { /* of one way and size: seconds of a call, in each round of each run */
    double *seconds;
    int n;
    double wrong;
};

struct bench_reduce_sweep {
    long ranks, rounds; /* rounds: of all runs of a way together */
    int nsizes;
    long bytes[BENCH_REDUCE_SIZES];
    struct bench_reduce_found found[BENCH_REDUCE_WAYS][BENCH_REDUCE_SIZES];
    char lacks[BENCH_REDUCE_WAYS][512]; /* why there is nothing of a way; "": there is */
};
void bench_reduce_tell(const struct bench_reduce_sweep *w, struct bench_report *r);

#endif
