/* The launcher's signals, as a descriptor to wait on. */
#ifndef DDP_LAUNCHER_SIGNALS_H
#define DDP_LAUNCHER_SIGNALS_H

#include <signal.h>

#include "base/base.h"

/* Block our signals (INT, TERM, USR1, USR2, CHLD; HUP and TSTP unless they are ignored) and open *fd for
 * them. for_children: what the programs that we start shall have blocked: batch systems signal every process,
 * we alone decide what it means. */
int ddp_signals_open(int *fd, sigset_t *for_children, struct ddp_error *err);
/* The next one that has come; 0: none. */
int ddp_signals_read(int fd);

#endif
