/* The launcher's signals, as a descriptor to wait on. */
#ifndef DDP_LAUNCHER_SIGNALS_H
#define DDP_LAUNCHER_SIGNALS_H

#include <signal.h>

#include "base/base.h"

/* Block our signals (INT, TERM, USR1, USR2, CHLD; HUP and TSTP unless they are ignored) and open *fd for
 * them. before: the signals that were blocked until then, as the ranks shall have it. */
int ddp_signals_open(int *fd, sigset_t *before, struct ddp_error *err);
/* Add those of them that a starter's program shall have blocked: batch systems signal every process, we alone
 * decide what it means. */
void ddp_signals_add(sigset_t *set);
/* All is over and only words are left to print: INT and TERM, once more, end us at once with this status. The
 * reader of our output may never come. */
void ddp_signals_end_with(int fd, int status);
/* The next one that has come; 0: none. */
int ddp_signals_read(int fd);

#endif
