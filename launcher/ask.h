/* Asking a program something that it answers at once: its version, what it can do. */
#ifndef DDP_LAUNCHER_ASK_H
#define DDP_LAUNCHER_ASK_H

#include "base/base.h"

/* Run argv (NULL at the end; found on PATH) and keep the first bytes that it prints, on stdout or stderr.
 * false when it does not run, fails, or takes longer than 5 s. */
bool ddp_ask_program(char *const *argv, char *out, size_t size);

#endif
