/* The GPUs that a job may use. */
#ifndef DDP_LAUNCHER_GPUS_H
#define DDP_LAUNCHER_GPUS_H

#include "config/config.h"
#include "launcher/options.h"
#include "topology/topology.h"

struct ddp_launch_gpus {
    struct ddp_place_gpus list; /* n 0: the job computes on the CPU */
    struct ddp_place_gpu *gpu;  /* storage of the list */
    char note[512];             /* why it is the CPU although there are GPUs; "" nothing to say */
};

/* True when HWLOC_XMLFILE or HWLOC_SYNTHETIC describes another machine: its GPUs are in the file. */
bool ddp_launch_described(void);

/* Decide for all ranks where they compute (ddp_gpu_decide) and list the GPUs. Asks the driver, makes no
 * context. device=auto with fewer GPUs than ranks that were asked for is the CPU, with a note. Errors:
 * device=cuda without GPUs, a precision that they do not have, with the reason and the way out. */
int ddp_launch_gpus_find(const struct ddp_config *cfg, const struct ddp_options *opt,
                         struct ddp_launch_gpus *out, struct ddp_error *err);
/* The same for a machine that a file describes: its GPUs by its topology, nothing is asked. */
int ddp_launch_gpus_described(const struct ddp_machine *m, const struct ddp_config *cfg,
                              const struct ddp_options *opt, struct ddp_launch_gpus *out,
                              struct ddp_error *err);
void ddp_launch_gpus_finish(struct ddp_launch_gpus *g);

#endif
