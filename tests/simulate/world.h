/* The simulated world: what all simulated ranks share, once in the process that simulates them (SMPI runs the
 * ranks of a job as fibers of one process, each with variables of its own; this is a library, of which there
 * is one).
 *
 * Its clock is SimGrid's. A rank that computes owes its time first (ddp_world_owe) and pays before it
 * meets anybody (ddp_world_pay, on a core of its simulated host that others may want as well). A rank that
 * waits for a word in shared memory (base/wait.h) sleeps until another adds to it. */
#ifndef DDP_TEST_SIMULATE_WORLD_H
#define DDP_TEST_SIMULATE_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Measured times, of the environment variable SIMULATE_TIMES: "forward=1e-4 backward=2e-4 ..". Seconds. */
struct ddp_world_times {
    double data, rest;        /* of a rank and step */
    double forward, backward; /* of a sample */
    double optimizer;         /* of an element and stage */
    double add;               /* of an element of a sum */
    double wake;              /* from an addition to a word until who waits for it goes on */
    double poll;              /* between two looks of a rank that waits for messages */
};
const struct ddp_world_times *ddp_world_times(void);

/* ---- time ---- */

void ddp_world_owe(double seconds);
/* Now, and what is owed. */
void ddp_world_compute(double seconds);
void ddp_world_pay(void);
/* Pays, then lets others have the core. */
void ddp_world_sleep(double seconds);
/* Of the simulated host that this rank runs on. */
const char *ddp_world_host(void);

/* ---- memory of a node ---- */

/* The `turn`-th piece (from 0) of this rank's host: zeros, the same for all of its ranks, not there before it
 * is written. NULL: no addresses are left. */
void *ddp_world_share(size_t bytes, int turn);
/* By each rank that has it. */
void ddp_world_unshare(void *base, size_t bytes);

/* ---- what is counted of each rank ---- */

struct ddp_world_counts {
    int64_t sent, sent_bytes, received; /* messages of exchanges */
    int64_t looks;                      /* at messages */
    int64_t waits;                      /* for words */
    int64_t heap, heap_most;            /* bytes */
    int64_t pages;                      /* bytes that were mapped: activations */
    int64_t shared;                     /* bytes of this host's pieces */
    double now;
};
struct ddp_world_counts *ddp_world_mine(void);
/* A step begins. */
void ddp_world_step(void);
/* By each rank at its end; the last one of `ranks` writes what came out of it, as JSON, to the file that
 * SIMULATE_REPORT names. */
void ddp_world_report(int ranks);

#endif
