/* Programs that a measurement starts (ddp-launch, mpirun), one after the other, and the folder that they
 * write to. One at a time: a request to stop us is passed on to the one that runs, and the folder goes. */
#ifndef DDP_BENCH_RUN_H
#define DDP_BENCH_RUN_H

#include <limits.h>
#include <stdbool.h>

#include "base/base.h"

/* A command line that grows. Zeroed to begin with. */
enum { BENCH_WORDS = 512 };
struct bench_words {
    int n;
    char *w[BENCH_WORDS + 1]; /* ends with NULL */
};
void bench_words_add(struct bench_words *words, const char *fmt, ...) DDP_PRINTF(2, 3);
void bench_words_finish(struct bench_words *words);

/* A program of ours: it lies beside this one. DDP_E_RESOURCE: there is none. */
int bench_program_find(const char *name, char path[PATH_MAX], struct ddp_error *err);
/* Whether a program of that name is on PATH. */
bool bench_program_on_path(const char *name);

struct bench_run {
    double wall_s;     /* from the fork to the end */
    double cpu_s;      /* of it and all its children that it has waited for */
    char *out, *words; /* what it wrote to standard output, to standard error */
};
/* Start it with `env` ("NAME=value", ends with NULL; NULL: none) beside our own environment, and wait. It is
 * killed, with its process group, after limit_s. DDP_E_COMM: it failed, or took too long; the reason is its
 * last words. DDP_E_USAGE: it ended with the status of wrong usage. DDP_E_STOPPED: we were asked to stop.
 * finish `out` in any case. */
int bench_run(const struct bench_words *command, const char *const *env, double limit_s,
              struct bench_run *out, struct ddp_error *err);
void bench_run_finish(struct bench_run *run);

/* A new folder in `in`; removed with all that is in it. */
int bench_folder_make(const char *in, char path[PATH_MAX], struct ddp_error *err);
void bench_folder_remove(const char *path);

#endif
