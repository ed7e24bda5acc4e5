/* The commands of ddp-runs. Each takes its own argument list (argv[0] is the command's name) and returns an
 * exit code. */
#ifndef DDP_RUNS_H
#define DDP_RUNS_H

#include "past.h"
#include "grid.h"

/* What all of them end with. */
enum { DDP_RUNS_SAME = 0, DDP_RUNS_DIFFER = 1 };

int ddp_runs_list_main(int argc, char **argv);
int ddp_runs_show_main(int argc, char **argv);
int ddp_runs_diff_main(int argc, char **argv);
int ddp_runs_verify_main(int argc, char **argv);
int ddp_runs_reproduce_main(int argc, char **argv);
int ddp_runs_bisect_main(int argc, char **argv);
int ddp_runs_mark_main(int argc, char **argv);
int ddp_runs_gc_main(int argc, char **argv);
extern const struct ddp_manual ddp_runs_list_manual, ddp_runs_show_manual, ddp_runs_diff_manual,
    ddp_runs_verify_manual, ddp_runs_reproduce_manual, ddp_runs_bisect_manual, ddp_runs_mark_manual,
    ddp_runs_gc_manual;

/* Two runs of a command line, in this order. */
struct ddp_runs_pair {
    struct ddp_past a, b; /* whole */
};
/* flags[id] is set for each option of that id, below nflags. False: *code is what to end with. */
bool ddp_runs_pair_read(int argc, char **argv, const struct ddp_manual *m, bool *flags, int nflags,
                        struct ddp_runs_pair *out, int *code);
void ddp_runs_pair_finish(struct ddp_runs_pair *p);

/* A verdict on standard output, and the exit code that belongs to it. */
struct ddp_verdict;
void ddp_verdict_print(const struct ddp_verdict *v);
int ddp_verdict_exit(const struct ddp_verdict *v);

#endif
