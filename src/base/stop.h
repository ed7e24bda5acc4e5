/* Signals that ask this process to stop: they are taken down, and who works looks for them between two steps.
 *
 *   SIGINT, SIGTERM   a request; a second one ends the process at once (status 130), unless somebody else
 *                     decides that. Within a fifth of a second they count as one: `timeout` and batch systems
 *                     signal a process and then its group
 *   SIGUSR1, SIGUSR2  a request, however often they come
 *   SIGHUP            a request; ignored where it was so at the start (nohup), of this process or of its
 *                     launcher (DDP_NOHUP=1)
 *   SIGPIPE           ignored: a reader that leaves ends no run
 *
 * The others are caught even where they were ignored or blocked at the start: scripts ignore SIGINT for what
 * they start in the background, and `kill -INT` is to work on it. */
#ifndef DDP_BASE_STOP_H
#define DDP_BASE_STOP_H

#include <stdbool.h>

/* Take them down from now on. pass_on: NULL, or hands each of them to who decides what it means, also a
 * second one (ddp-launch); called in the signal handler, it does only what is safe there. */
void ddp_stop_catch(void (*pass_on)(int sig));
/* The first signal that asked; 0: none has. */
int ddp_stop_asked(void);
/* Only last words are left to write: from now on SIGINT, SIGTERM and SIGHUP, as far as they are caught, end
 * the process with this status. */
void ddp_stop_end_with(int status);

#endif
