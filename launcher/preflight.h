/* What can be known to fail before anything starts. */
#ifndef DDP_LAUNCHER_PREFLIGHT_H
#define DDP_LAUNCHER_PREFLIGHT_H

#include "launcher/starter.h"

/* Starter there and running, cores enough to be this machine, run.dir writable, room for the job's own files
 * (*base is where). Data is the ranks' business: they find damage too. */
int ddp_preflight(const struct ddp_starter *starter, const struct ddp_machine *m,
                  const struct ddp_config *cfg, const struct ddp_options *opt, int ranks, char base[PATH_MAX],
                  struct ddp_error *err);

/* Whether entries can be made in `dir`, or where it would be made. Tried and not asked: root is told that it
 * may write to read-only places. */
int ddp_check_writable(const char *dir, struct ddp_error *err);
/* Make an empty file there, by which other hosts see whether they have the same folder. marker: its whole
 * path; the caller's to remove. */
int ddp_marker_make(const char *dir, char marker[PATH_MAX + 32], struct ddp_error *err);

#endif
