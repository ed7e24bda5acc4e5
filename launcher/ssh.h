/* ssh as mpirun's agent, deaf to what a batch system sends to all processes of a job before its time is
 * over: ssh would die of it, and the host behind it be lost. An mpirun that catches those signals for itself
 * does not hand down that they are ignored. */
#ifndef DDP_LAUNCHER_SSH_H
#define DDP_LAUNCHER_SSH_H

#define DDP_SSH_OPTION "--ssh"

/* "ddp-launch --ssh [OPTION ..] HOST COMMAND ..": becomes ssh; returns where there is none. */
int ddp_ssh_main(char **argv);

#endif
