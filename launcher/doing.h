/* What a process that does not go on is doing, from what the kernel shows of its threads. */
#ifndef DDP_LAUNCHER_DOING_H
#define DDP_LAUNCHER_DOING_H

#include <stdbool.h>
#include <sys/types.h>

/* "process 42 opens a FIFO that nobody writes to, /data/x (wait_for_partner)": of the thread that tells
 * most. Where the kernel hides it there is less to say. buf as snprintf. */
void ddp_process_doing(pid_t pid, char *buf, int size);

#endif
