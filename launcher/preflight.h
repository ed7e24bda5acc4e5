/* What can be known to fail before anything starts. */
#ifndef DDP_LAUNCHER_PREFLIGHT_H
#define DDP_LAUNCHER_PREFLIGHT_H

#include "launcher/starter.h"

/* Starter there and running, cores enough to be this machine, run.dir writable, room for the job's own files
 * (*base is where). Data is the ranks' business: they find damage too. */
int ddp_preflight(const struct ddp_starter *starter, const struct ddp_machine *m,
                  const struct ddp_config *cfg, const struct ddp_options *opt, int ranks, char base[PATH_MAX],
                  struct ddp_error *err);

#endif
