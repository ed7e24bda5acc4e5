/* Private to the readers of host lists: collecting hosts, each once. */
#ifndef DDP_LAUNCHER_HOSTS_ADD_H
#define DDP_LAUNCHER_HOSTS_ADD_H

#include "launcher/hosts.h"

enum { DDP_SLOTS_MAX = 65536 };

struct ddp_hosts_adder {
    struct ddp_hosts hosts;
    int *index;   /* [size] hash table of names: index of the host + 1, 0 empty */
    int size;     /* a power of two */
    int *unsaid;  /* [hosts.n]: how often a host was named without a number */
    bool *said;   /* [hosts.n]: at least once with one */
    long namings; /* all of them */
};

/* One naming of a host, with its slots; 0: none said. DDP_E_USAGE when there are too many of either. */
int ddp_hosts_add(struct ddp_hosts_adder *a, const char *name, int64_t slots, struct ddp_error *err);
int ddp_hosts_add_all(struct ddp_hosts_adder *a, const struct ddp_words *names, int64_t slots,
                      struct ddp_error *err);
/* Hand the hosts over: those named once without a number have slots 0, more often a slot for each time. Frees
 * the rest. */
void ddp_hosts_added(struct ddp_hosts_adder *a, struct ddp_hosts *out);
/* Instead of ddp_hosts_added: give up. */
void ddp_hosts_drop(struct ddp_hosts_adder *a);

/* The lines of a file as ddp_hosts_read documents them (hosts.c). Errors name file and line. */
int ddp_hosts_read_lines(const char *path, struct ddp_hosts_adder *a, struct ddp_error *err);

/* The value of a variable of `env`; NULL where it is not there or empty. */
const char *ddp_hosts_env(const char *const *env, const char *name);
/* A whole number of slots, from 1, at *at of `text`; *at is then behind it. */
int ddp_hosts_read_slots(const char *text, const char **at, int64_t *out, struct ddp_error *err);
/* hosts_slurm.c: as ddp_hosts_allocated, in a job of Slurm. */
int ddp_hosts_of_slurm(const char *const *env, struct ddp_hosts *out, struct ddp_error *err);

#endif
