/* Processes as /proc shows them; a kernel that hides something is no error, there is just less to say. */
#ifndef DDP_LAUNCHER_PROCESS_H
#define DDP_LAUNCHER_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The fields of /proc/PID/stat behind the name, in buf. False: the process is gone. */
bool ddp_process_stat(pid_t pid, char *buf, size_t size, char **fields);
/* State letter of a process (R, S, T, Z ..); 0: gone. *exiting: on its way out (may be NULL). */
char ddp_process_state(pid_t pid, bool *exiting);
/* What it is called, cut to 15 bytes as the kernel does; "?": gone. Returns buf. */
const char *ddp_process_name(pid_t pid, char *buf, size_t size);
/* Living children of a process. */
int ddp_process_children(pid_t parent);
/* SIGKILL for a process and for its children, which would outlive it: the ssh of an mpirun to a host that is
 * gone waits for that host for ever. */
void ddp_process_kill_family(pid_t parent);
/* Whether children of it have ended and been waited for (the kernel adds their page faults to its own). */
bool ddp_process_has_reaped(pid_t parent);
/* Seconds that its first thread has had a core, and was ready and had none. False: not told. */
bool ddp_process_times(pid_t pid, double *ran, double *queued);
/* Clock of the core that its first thread last ran on; 0: not told. */
int ddp_process_mhz(pid_t pid);

#endif
