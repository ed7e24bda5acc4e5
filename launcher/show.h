/* What ddp-launch shows of a job that it does not start, or before it does. */
#ifndef DDP_LAUNCHER_SHOW_H
#define DDP_LAUNCHER_SHOW_H

#include "launcher/job.h"
#include "launcher/options.h"
#include "launcher/plan.h"
#include "launcher/sites.h"
#include "launcher/starter.h"

/* --help-config and --help-layers, as text or Markdown. */
int ddp_show_reference(const struct ddp_options *opt, struct ddp_error *err);

/* --print-config: the resolved config, as a config file. */
int ddp_show_config(const struct ddp_config *cfg, struct ddp_error *err);

/* --map: which rank runs where. */
void ddp_show_map(const struct ddp_launch_plan *plan, const struct ddp_sites *sites);

/* --dry-run: the command in a form that a shell takes. A private folder is made at the start and has another
 * number then; job gets the paths that are shown. */
void ddp_show_command(const struct ddp_starter *starter, struct ddp_job *job);

/* What a user should know of the plan, a line each, to standard error. */
void ddp_show_notes(const struct ddp_launch_plan *plan, const struct ddp_sites *sites);

#endif
