/* A rank's notes of its steps, and how the lead gets those of all. */
#include "train/times.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { MOST_SENT = 65536 }; /* notes of all ranks together: 1,000 steps of 65 ranks, 64 of 1,024 */

/* ---- how long threads were kept from running ---- */

/* Seconds that this thread could have run and had no CPU; nan where the system does not tell. */
static void read_delay(void *ctx, int task)
{
    double *out = ctx, ran = NAN, delayed = NAN;
    char *text;
    size_t bytes;
    if (ddp_file_read("/proc/thread-self/schedstat", 0, &text, &bytes, NULL) == 0) {
        if (sscanf(text, "%lf %lf", &ran, &delayed) != 2)
            delayed = NAN;
        free(text);
    }
    out[task] = delayed * 1e-9;
}

/* Of the rank's threads the one that was kept most: it holds up the others. */
static double delay_of(struct ddp_pool *pool, double *begin, bool ends)
{
    double now[DDP_TIMES_THREADS], most = 0;
    int n = pool ? ddp_pool_threads(pool) : 1;
    n = n < DDP_TIMES_THREADS ? n : DDP_TIMES_THREADS;
    ddp_parallel(pool, n, read_delay, ends ? now : begin);
    for (int i = 0; i < n && ends; i++)
        most = now[i] - begin[i] > most || isnan(now[i]) ? now[i] - begin[i] : most;
    return most;
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

void ddp_train_times_begin(struct ddp_train_times *t, struct ddp_pool *pool)
{
    t->steps = 0;
    delay_of(pool, t->delayed, false);
    t->cpu = cpu_seconds();
}

/* ---- steps ---- */

void ddp_train_times_add(struct ddp_train_times *t, double wall)
{
    struct ddp_step_time *s = &t->ring[t->steps++ % DDP_TIMES_MOST];
    double known = 0;
    for (int p = 0; p < DDP_TIME_REST; p++) {
        s->part[p] = (float)t->now[p];
        known += t->now[p];
    }
    s->part[DDP_TIME_REST] = (float)(wall - known);
    memset(t->now, 0, sizeof t->now);
}

/* The last n, oldest first. */
static void unroll(const struct ddp_train_times *t, int n, struct ddp_step_time *out)
{
    for (int i = 0; i < n; i++)
        out[i] = t->ring[(t->steps - n + i) % DDP_TIMES_MOST];
}

/* ---- all ranks ---- */

static struct ddp_rank_time about_me(struct ddp_train_times *t, struct ddp_pool *pool)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    const double steps = t->steps > 0 ? (double)t->steps : 1;
    return (struct ddp_rank_time){.delayed = delay_of(pool, t->delayed, true) / steps,
                                  .cpu = (cpu_seconds() - t->cpu) / steps,
                                  .rss_mb = (double)u.ru_maxrss / 1024.0 * 1.048576};
}

int ddp_train_times_gather(struct ddp_train_times *t, struct ddp_pool *pool, struct ddp_comm *comm,
                           struct ddp_time_summary *out, struct ddp_error *err)
{
    int64_t n = t->steps < DDP_TIMES_MOST ? t->steps : DDP_TIMES_MOST;
    n = n * comm->size <= MOST_SENT ? n : MOST_SENT / comm->size;
    const size_t ranks = (size_t)comm->size, steps = (size_t)n;
    struct ddp_step_time *mine = ddp_calloc(steps + 1, sizeof *mine),
                         *all = ddp_calloc(ranks * steps + 1, sizeof *all);
    struct ddp_rank_time *rank = ddp_calloc(ranks, sizeof *rank);
    const struct ddp_rank_time me = about_me(t, pool);
    *out = (struct ddp_time_summary){0};
    unroll(t, (int)n, mine);
    int status = ddp_comm_allgather(comm, &me, rank, sizeof me, err);
    if (status == 0)
        status = ddp_comm_allgather(comm, mine, all, steps * sizeof *mine, err);
    if (status == 0 && comm->rank == 0) {
        out->rank = rank;
        ddp_times_summarize(all, comm->size, (int)n, out);
        rank = NULL;
    }
    free(rank);
    free(mine);
    free(all);
    return status;
}
