/* Starting a rank, or a starter's program, so that it can be watched and cannot outlive us. */
#ifndef DDP_LAUNCHER_SPAWN_H
#define DDP_LAUNCHER_SPAWN_H

#include <signal.h>
#include <sys/types.h>

#include "launcher/words.h"

struct ddp_child {
    pid_t pid;
    int out, err; /* read ends of its stdout and stderr, non-blocking */
};

/* stdin from /dev/null, SIGKILL when we die. group: a process group to join, 0: one of its own (the
 * terminal's Ctrl-C is ours to pass on). argv: the program's path, or its name on PATH. env: NAME=VALUE to
 * add to our environment, NAME to take out, the last one of a name counts. mask: the signals that it shall
 * have blocked; SIGUSR1 and SIGUSR2 are ignored until it asks for them. Fails when the program cannot be
 * executed. */
int ddp_spawn(const struct ddp_words *argv, const struct ddp_words *env, const sigset_t *mask, pid_t group,
              struct ddp_child *out, struct ddp_error *err);

#endif
