/* Programs of several commands: "ddp-data pack ..". */
#ifndef DDP_BASE_COMMANDS_H
#define DDP_BASE_COMMANDS_H

#include "base/log.h"
#include "base/manual.h"

/* Runs the command of m->commands that argv[1] names, or answers an option in its place; an exit code.
 * reference answers those of DDP_REFERENCE_OPTIONS; NULL: m has none of them. */
int ddp_command_run(const struct ddp_manual *m,
                    int (*reference)(const struct ddp_manual *m, int argc, char **argv), int argc,
                    char **argv);

/* Print "PROGRAM: TEXT" to stderr and return the exit code that belongs to err. */
int ddp_report(const char *program, const struct ddp_error *err);

/* The same of wrong usage, with where to read on. */
#define ddp_usage(manual, fmt, ...)                                                                          \
    (ddp_say((manual)->name, fmt " (%s --help tells more)", __VA_ARGS__, (manual)->name), DDP_EXIT_USAGE)

#endif
