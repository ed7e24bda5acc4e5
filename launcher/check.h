/* --check, and what of it every start on several hosts does: are all hosts fit for the job? */
#ifndef DDP_LAUNCHER_CHECK_H
#define DDP_LAUNCHER_CHECK_H

#include "launcher/sites.h"

/* Look at all that must hold before ranks start: what hosts have (.facts of the team; of this host, where
 * there is no team) and, on several, their network, which the team then knows. table: what was found, one
 * line for each thing and each fault; NULL: is not wanted. DDP_E_RESOURCE with a line for each fault: host,
 * what is wrong, what to do. */
int ddp_check(struct ddp_sites *sites, const struct ddp_launch_plan *plan, const struct ddp_options *opt,
              const struct ddp_config *cfg, struct ddp_text *table, struct ddp_error *err);

#endif
