/* What Flux says of a job's resources. */
#ifndef DDP_LAUNCHER_HOSTS_FLUX_H
#define DDP_LAUNCHER_HOSTS_FLUX_H

#include "launcher/hosts_add.h"

/* Flux's resource set R, version 1 (RFC 20), as JSON: hosts with their CPUs and GPUs. Pure. */
int ddp_flux_read(const char *json, struct ddp_hosts *out, struct ddp_error *err);
/* The same of the Flux instance that this process runs in, by its own command. */
int ddp_flux_ask(struct ddp_hosts *out, struct ddp_error *err);

#endif
