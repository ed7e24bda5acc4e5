/* Calls that mean something else in a simulation: the linker brings them here (--wrap, see CMakeLists.txt).
 * Those that take time owe what was measured for it; those that wait let simulated time pass; memory is
 * counted. */
#include "simulate/calls.h"

#include <malloc.h>
#include <stdio.h>

#include "simulate/world.h"

/* ---- waiting ----------------------------------------------------------------------------------- */

int __wrap_sched_yield(void)
{
    ddp_world_sleep(ddp_world_times()->poll);
    return 0;
}

int __wrap_nanosleep(const struct timespec *t, struct timespec *left)
{
    ddp_world_sleep((double)t->tv_sec + 1e-9 * (double)t->tv_nsec);
    if (left)
        *left = (struct timespec){0};
    return 0;
}

/* ---- who and where ----------------------------------------------------------------------------- */

int __wrap_gethostname(char *name, size_t size)
{
    strncpy(name, ddp_world_host(), size);
    return 0;
}

/* SMPI says that it gives no threads; a rank has none that would call it. */
int __wrap_MPI_Init_thread(int *argc, char ***argv, int wanted, int *provided)
{
    int given = 0;
    const int status = __real_MPI_Init_thread(argc, argv, wanted, &given);
    *provided = wanted;
    return status;
}

/* The one process of all ranks keeps its descriptors until the last of them ends. */
int __wrap_ddp_streams_close(const char *program, int status)
{
    (void)program;
    fflush(stdout);
    return status;
}

/* ---- what takes time --------------------------------------------------------------------------- */

void __wrap_ddp_reduce_begin(struct ddp_reduce *r)
{
    ddp_world_step();
    __real_ddp_reduce_begin(r);
}

int64_t __wrap_ddp_optim_run(struct ddp_optim *o, int stage, int64_t lo, int64_t hi, float *sum,
                             double *values)
{
    const int64_t refused = __real_ddp_optim_run(o, stage, lo, hi, sum, values);
    ddp_world_owe(ddp_world_times()->optimizer * (double)(hi - lo));
    return refused;
}

static int additions_of_share(const struct ddp_reduce *r)
{
    int n = 0;
    for (int i = 0; i < r->covers; i++)
        n += r->cover[i].combine.nadds;
    return n;
}

static void owe_additions(int each, int64_t blocks)
{
    ddp_world_owe(ddp_world_times()->add * each * (double)(blocks * DDP_BLOCK));
}

void __wrap_ddp_reduce_share(struct ddp_reduce *r, int64_t bucket)
{
    const struct ddp_reduce_bucket *b = &r->bucket[bucket];
    const int64_t left = ddp_range_size(b->share) - b->shared_blocks;
    __real_ddp_reduce_share(r, bucket);
    owe_additions(additions_of_share(r), left);
}

bool __wrap_ddp_reduce_share_some(struct ddp_reduce *r, int64_t bucket, int64_t blocks)
{
    const struct ddp_reduce_bucket *b = &r->bucket[bucket];
    const int64_t before = b->shared_blocks;
    const bool all = __real_ddp_reduce_share_some(r, bucket, blocks);
    owe_additions(additions_of_share(r), b->shared_blocks - before);
    return all;
}

void __wrap_ddp_reduce_apply_slice(struct ddp_reduce *r, const struct ddp_reduce_apply *apply, int stage,
                                   int64_t bucket)
{
    const struct ddp_reduce_bucket *b = &r->bucket[bucket];
    const int64_t left = ddp_range_size(b->mine) - b->applied_blocks;
    __real_ddp_reduce_apply_slice(r, apply, stage, bucket);
    if (stage == 0)
        owe_additions(r->combine.nadds, left);
}

bool __wrap_ddp_reduce_apply_some(struct ddp_reduce *r, const struct ddp_reduce_apply *apply, int64_t bucket,
                                  int64_t blocks)
{
    const struct ddp_reduce_bucket *b = &r->bucket[bucket];
    const int64_t before = b->applied_blocks;
    const bool all = __real_ddp_reduce_apply_some(r, apply, bucket, blocks);
    owe_additions(r->combine.nadds, b->applied_blocks - before);
    return all;
}

/* ---- the memory of a rank ---------------------------------------------------------------------- */

void *__wrap_ddp_pages_alloc(size_t bytes)
{
    ddp_world_mine()->pages += (int64_t)bytes;
    return __real_ddp_pages_alloc(bytes);
}

static void *count(void *p, int sign)
{
    struct ddp_world_counts *c = p ? ddp_world_mine() : NULL;
    if (!c)
        return p;
    c->heap += sign * (int64_t)malloc_usable_size(p);
    c->heap_most = c->heap > c->heap_most ? c->heap : c->heap_most;
    return p;
}

void *__wrap_malloc(size_t bytes)
{
    return count(__real_malloc(bytes), 1);
}

void *__wrap_calloc(size_t n, size_t bytes)
{
    return count(__real_calloc(n, bytes), 1);
}

void *__wrap_realloc(void *p, size_t bytes)
{
    count(p, -1);
    return count(__real_realloc(p, bytes), 1);
}

char *__wrap_strdup(const char *s)
{
    return count(__real_strdup(s), 1);
}

void __wrap_free(void *p)
{
    count(p, -1);
    __real_free(p);
}
