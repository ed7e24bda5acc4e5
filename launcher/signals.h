/* The launcher's signals, as a descriptor to wait on. */
#ifndef DDP_LAUNCHER_SIGNALS_H
#define DDP_LAUNCHER_SIGNALS_H

#include <signal.h>

#include "base/base.h"

/* First of all: children are waited for, also where who started us ignores their ends (SIGCHLD). */
void ddp_signals_prepare(void);

/* Whether we were started with SIGHUP ignored (nohup). */
bool ddp_signals_nohup(void);
/* Block our signals (INT, TERM, USR1, USR2, CHLD; HUP and TSTP unless they are ignored) and open *fd for
 * them. before: the signals that were blocked until then, as the ranks shall have it. */
int ddp_signals_open(int *fd, sigset_t *before, struct ddp_error *err);
/* Add those of them that a starter's program shall have blocked: batch systems signal every process, we alone
 * decide what it means. */
void ddp_signals_add(sigset_t *set);
/* All is over and only words are left to print, whose reader may never come: INT and TERM, once more, end us
 * at once with this status, and so does the end of `patience` seconds; HUGE_VAL: there is no hurry. */
void ddp_signals_end_with(int fd, int status, double patience);
/* The next one that has come; 0: none. */
int ddp_signals_read(int fd);

#endif
