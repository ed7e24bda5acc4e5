/* A word to the user when something that ought to be over at once is not: a pipe that nobody writes to, a
 * mount that does not answer. */
#ifndef DDP_LAUNCHER_IMPATIENCE_H
#define DDP_LAUNCHER_IMPATIENCE_H

/* Unless ddp_impatience_end follows within `seconds`: "ddp-launch: still WHAT NAME: ..", once, on stderr. One
 * at a time; uses SIGALRM. */
void ddp_impatience_begin(int seconds, const char *what, const char *name);
void ddp_impatience_end(void);

#endif
