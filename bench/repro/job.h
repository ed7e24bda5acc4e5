/* A program that is run to its end, or to its death. */
#ifndef DDP_BENCH_REPRO_JOB_H
#define DDP_BENCH_REPRO_JOB_H

#include <sys/types.h>

#include "launcher/words.h"

struct repro_job {
    const struct ddp_words *argv, *env; /* as ddp_spawn takes them */
    double limit_s;                     /* then it is killed */
    /* NULL, or the process to kill once it is time: called every millisecond or so; 0: not yet. */
    pid_t (*victim)(void *user);
    void *user;
};

struct repro_ended {
    int status;        /* as waitpid has it */
    bool killed, late; /* its victim was; its time was over */
    struct ddp_text out, err;
    double seconds, cpu_s; /* of it and all that it has waited for */
};

/* Finish *out in any case. */
int repro_job_run(const struct repro_job *job, struct repro_ended *out, struct ddp_error *err);
void repro_ended_finish(struct repro_ended *e);
/* What follows the last line's "NAME: " of its output, "" where there is none. size: of buf. */
const char *repro_job_says(const struct repro_ended *e, const char *name, char *buf, int size);
/* How it ended, where that was not with status 0: "exit code 4: ..". Returns buf. */
const char *repro_job_why(const struct repro_ended *e, char *buf, int size);

#endif
