/* A rank that comes late to every step, as ddp-launch tells rank 0 of it for the records. */
#ifndef DDP_BASE_SLOW_H
#define DDP_BASE_SLOW_H

#include <stdbool.h>
#include <stdint.h>

enum { DDP_SLOW_TEXT = 512 };

struct ddp_slow_rank {
    int rank;
    int64_t from, to; /* steps, from 1 */
    double late;      /* seconds a step that the others wait for it, in the middle */
    double lost;      /* seconds in all */
    bool over;        /* it is slow no more */
    char host[64], cause[160];
};

/* As text that travels. buf: [DDP_SLOW_TEXT]. */
void ddp_slow_format(const struct ddp_slow_rank *s, char *buf);
bool ddp_slow_parse(const char *text, struct ddp_slow_rank *out);

#endif
