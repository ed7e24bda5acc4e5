/* The commands of ddp-runs. Each takes its own argument list (argv[0] is the command's name) and returns an
 * exit code. */
#ifndef DDP_RUNS_H
#define DDP_RUNS_H

#include "past.h"
#include "table.h"

/* What all of them end with. */
enum { DDP_RUNS_SAME = 0, DDP_RUNS_DIFFER = 1 };

int ddp_runs_list_main(int argc, char **argv);
int ddp_runs_show_main(int argc, char **argv);
int ddp_runs_gc_main(int argc, char **argv);
int ddp_runs_mark_main(int argc, char **argv);
extern const struct ddp_manual ddp_runs_list_manual, ddp_runs_show_manual, ddp_runs_gc_manual,
    ddp_runs_mark_manual;

/* Print "ddp-runs: TEXT" to stderr and return the exit code that belongs to err. */
static inline int ddp_runs_report(const struct ddp_error *err)
{
    ddp_say("ddp-runs", "%s", err->text);
    return ddp_error_exit(err->code);
}

/* The same of wrong usage, with where to read on. */
#define ddp_runs_usage(manual, fmt, ...)                                                                     \
    (ddp_say((manual)->name, fmt " (%s --help tells more)", __VA_ARGS__, (manual)->name), DDP_EXIT_USAGE)

#endif
