/* A rank's pulse: what it is doing at this moment, in a page of memory that the agent of its host reads
 * (launcher/pulses.h). It tells a rank that never arrives from those that wait for it, and a slow one from
 * those that it holds up, on every transport.
 *
 *   phase   reading data, forward, .. : where in the run it is
 *   wait    beside it: for other ranks (in which bucket, ..), or for its device; 0: it works by itself
 *   steps   the last few: how long each took, and how much of that was waiting, data, and work beside steps
 *
 * Written by the rank's training thread alone with plain stores, no lock, no system call; torn reads are
 * noticed by the reader. Without a launcher, or in a thread that is no rank's process, every call does
 * nothing but tell the time. */
#ifndef DDP_BASE_PULSE_H
#define DDP_BASE_PULSE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* What a rank does: name (for tests and records), and in words, up to the number of a step. */
#define DDP_PHASES(X)                                                                                        \
    X(START, "start", "starting", "")                                                                        \
    X(OPEN, "open", "opening its data sets", "")                                                             \
    X(SETUP, "setup", "setting up", "")                                                                      \
    X(DATA, "data", "reading data", " for step ")                                                            \
    X(FORWARD, "forward", "in the forward pass", " of step ")                                                \
    X(BACKWARD, "backward", "in the backward pass", " of step ")                                             \
    X(UPDATE, "update", "in the reduction and update", " of step ")                                          \
    X(RECORD, "record", "writing records", " after step ")                                                   \
    X(HOOK, "hook", "in the user's on_step hook", " after step ")                                            \
    X(EVALUATION, "evaluation", "evaluating", " after step ")                                                \
    X(EVAL_DATA, "eval-data", "reading data to evaluate", " after step ")                                    \
    X(SAVE, "save", "saving a checkpoint", " after step ")                                                   \
    X(OWN, "own", "in the program's own code", "")                                                           \
    X(LEAVE, "leave", "leaving the job", "")

#define DDP_PHASE_NUMBER(NAME, name, words, step) DDP_PHASE_##NAME,
enum ddp_phase { DDP_PHASES(DDP_PHASE_NUMBER) DDP_PHASE_COUNT };

enum ddp_pulse_wait {
    DDP_WAIT_NONE,
    DDP_WAIT_BUCKET,     /* for all ranks' part of bucket `which` */
    DDP_WAIT_STEP,       /* for all ranks to end the step */
    DDP_WAIT_STATISTICS, /* for the sums of a synchronised layer */
    DDP_WAIT_MEETING,    /* for all ranks to come to a barrier, an agreement, the start and end of MPI, .. */
    DDP_WAIT_MESSAGE,    /* for another rank's messages */
    DDP_WAIT_DEVICE,     /* for its GPU, which may wait for other ranks' */
    DDP_WAIT_COUNT,
};

enum { DDP_PULSE_FORMAT = 2, DDP_PULSE_STEPS = 32 };

struct ddp_pulse_step {               /* seconds; `wall` from the end of the step before */
    int64_t step;                     /* from 1 */
    double wall, waited, data, aside; /* aside: records, hooks, evaluation, checkpoints */
};

struct ddp_pulse { /* as the agent reads it */
    enum ddp_phase phase;
    enum ddp_pulse_wait wait;
    int64_t which, step;             /* of the wait; the step in hand or, behind it, the last: 0 none yet */
    int64_t beats;                   /* grows with each change of any of these */
    int shards;                      /* of the batch, that are this rank's: its share of the work */
    double longest[DDP_PHASE_COUNT]; /* seconds that it has lately been in a phase, without waits */
    int64_t steps;                   /* so many are done; the last of them: */
    struct ddp_pulse_step recent[DDP_PULSE_STEPS]; /* [i]: the (i + k * that many)-th */
};

struct ddp_pulse_page; /* the same, shared */

/* ---- the rank's side ---- */

/* Make the page of this process. Returns a descriptor of it, the caller's to close, for whoever reads it; -1:
 * the system has none to give, and there is no pulse. */
int ddp_pulse_open(void);
/* What comes now; a wait is over. */
void ddp_pulse_phase(enum ddp_phase phase);
/* Step `step` (from 1) is in hand: reading its data. */
void ddp_pulse_step(int64_t step);
/* It is done on all ranks: they come from here at the same time. */
void ddp_pulse_step_done(void);
void ddp_pulse_shards(int shards);
/* Around a wait for others: begin returns ddp_now(), end takes it and returns the seconds since. Waits nest:
 * the outermost is shown. */
double ddp_pulse_wait_begin(enum ddp_pulse_wait wait, int64_t which);
double ddp_pulse_wait_end(double begun);

/* ---- the reader's side ---- */

/* Map a descriptor that a rank has handed over; it stays the caller's. NULL: it is no such page. */
const struct ddp_pulse_page *ddp_pulse_map(int fd);
void ddp_pulse_unmap(const struct ddp_pulse_page *page); /* NULL is fine */
void ddp_pulse_read(const struct ddp_pulse_page *page, struct ddp_pulse *out);

/* "reading data for step 57". buf as snprintf; returns buf. */
const char *ddp_phase_text(enum ddp_phase phase, int64_t step, char *buf, int size);
/* "in bucket 2 of step 57"; "" for none. */
const char *ddp_wait_text(enum ddp_pulse_wait wait, int64_t which, int64_t step, char *buf, int size);

#endif
