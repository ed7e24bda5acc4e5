/* What a rank measures, as text that travels in its environment. */
#include <stdio.h>

#include "bench/allreduce/allreduce.h"

#define FORM                                                                                                 \
    "allreduce first=%ld last=%ld factor=%ld rounds=%ld bucket=%ld fast=%ld copied=%ld device=%ld "          \
    "threads=%ld"

const char *bench_reduce_task_text(const struct bench_reduce_task *t, char buf[BENCH_TASK_TEXT])
{
    snprintf(buf, BENCH_TASK_TEXT, FORM, t->first, t->last, t->factor, t->rounds, t->bucket, t->fast,
             t->copied, t->device, t->threads);
    return buf;
}

bool bench_reduce_task_parse(const char *text, struct bench_reduce_task *out)
{
    struct bench_reduce_task t;
    if (sscanf(text, FORM, &t.first, &t.last, &t.factor, &t.rounds, &t.bucket, &t.fast, &t.copied, &t.device,
               &t.threads) != 9 ||
        t.first < 4 || t.last < t.first || t.factor < 2 || t.rounds < 1 || t.bucket < 1 || t.threads < 0 ||
        t.threads > 1024)
        return false;
    *out = t;
    return true;
}
