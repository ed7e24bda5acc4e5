/* Ranks that come late to every step, by what agents see of them (sample.h). Pure: it makes no system call
 * and reads no clock.
 *
 * The reduction makes steps equally long on all ranks; what differs is how much of a step a rank is busy, and
 * how much it waits for the others:
 *
 *     rank 0   |#####|.............|      # busy: data, passes, records, ..     . waits
 *     rank 1   |##################.|      late by the difference
 *
 *     late(r) = busy(r) - median over the other ranks k of busy(k) * max(1, shards(r) / shards(k))
 *
 * All are durations, medians over the steps between two looks: hosts have clocks of their own. A rank is
 * late in a step when late(r) is over 5 ms and a tenth of the step, at least 0.7 of the latest one's, and
 * still is when the time is taken off in which it was ready and had no core, beyond what others had of that:
 * whose turn it is on crowded cores is chance. It is slow, and named, after
 *
 *     8 such steps, where each is held up by three tenths or more
 *     30 such steps and 10 s, where it is less
 *     30 steps and 30 s with the time without a core: its cores are shared with something else
 *
 * and no more, once as many steps in which it is not late, counted twice, have used that up again. */
#ifndef DDP_LAUNCHER_SLOW_H
#define DDP_LAUNCHER_SLOW_H

#include "base/slow.h"
#include "launcher/sample.h"

struct ddp_pace { /* of one rank */
    bool left, blind;
    struct ddp_sample s;      /* the last with new steps .. */
    int fresh;                /* .. and how many there are since the round before */
    double span, ran, queued; /* seconds since then */

    struct { /* evidence that it is slow, used up by steps in which it is not late */
        double blatant, steps, seconds, crowded, crowded_s;
    } late;
    double n;                                  /* steps that the sums are over: all since it was first late */
    double lateness, data, aside, idle, queue; /* beyond what the others have of it, seconds */
    int mhz, mhz_others;
    bool named;
    struct ddp_slow_rank word; /* what there is to say of it .. */
    struct ddp_slow_rank past; /* .. and of the times before; to 0: there was none */
};

struct ddp_slow {
    int ranks;
    struct ddp_pace *rank;
    double *work; /* [ranks] */
    bool due;     /* a round was judged: words may be due */
    int next;     /* the rank whose is */
};

enum ddp_slow_says { DDP_SLOW_NOTHING, DDP_SLOW_NAMES, DDP_SLOW_GOES_ON, DDP_SLOW_RELIEVED };

void ddp_slow_init(struct ddp_slow *w, int ranks);
void ddp_slow_finish(struct ddp_slow *w);
/* A look at a rank; NULL: there is no pulse to look at. */
void ddp_slow_take(struct ddp_slow *w, int rank, const struct ddp_sample *s);
void ddp_slow_left(struct ddp_slow *w, int rank);
/* Call until it says nothing. *out, borrowed until the next call: of which rank; its host is not set.
 * GOES_ON: newer numbers of one that was named. */
enum ddp_slow_says ddp_slow_judge(struct ddp_slow *w, const struct ddp_slow_rank **out);
/* All times that a rank was slow, for the end of a job; false: it never was. */
bool ddp_slow_total(const struct ddp_slow *w, int rank, struct ddp_slow_rank *out);

/* "comes 50 ms late to each step since step 3, of 52 ms, .." behind "rank R on HOST ". buf as snprintf. */
void ddp_slow_text(const struct ddp_slow_rank *s, enum ddp_slow_says says, char *buf, int size);

#endif
