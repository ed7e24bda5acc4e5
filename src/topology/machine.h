/* What is private to src/topology: the machine as a flat list of cores, which is all that planning and
 * drawing need. */
#ifndef DDP_TOPOLOGY_MACHINE_H
#define DDP_TOPOLOGY_MACHINE_H

#include <hwloc.h>
#include <stdbool.h>

#include "topology/topology.h"

struct core {
    int package; /* logical index, 0 when the machine names none */
    int numa;    /* OS index of its NUMA node; -1 unknown */
    int domain;  /* index in ddp_machine.domains */
    bool held;   /* by another job */
    int npus;    /* usable hardware threads; 0: this process may not run here */
    int *pus;    /* [npus] OS indices */
};

/* Cores of one package on one NUMA node: what a rank should not straddle. */
struct domain {
    int package, numa;
    int rank_in_package; /* 0 for the first domain of its package, 1 for the second .. */
};

struct ddp_machine {
    hwloc_topology_t topology;
    bool synthetic; /* not this one */
    bool described; /* by a variable of the environment */
    int ncores;     /* all, usable or not, in the machine's own order */
    struct core *cores;
    int *pus; /* storage of cores[].pus */
    int ndomains;
    struct domain *domains;
    int npackages, nnuma; /* of the whole machine */
    int usable_cores, usable_pus, usable_numa;
    int held_cores; /* of the usable ones */
    struct ddp_cpu_quota quota;
    char text[128];
};

/* load.c: the topology of this machine, of what the environment describes, or of xml; all its cores, barred
 * ones too. Destroy *out, also after an error, unless it is NULL. */
int ddp_topology_load(bool io, const char *xml, hwloc_topology_t *out, struct ddp_error *err);

/* gpus.c: mark the cores nearest to a PCI device, near[ncores], usable or not. false: the topology does not
 * show the device. */
bool ddp_machine_near(const struct ddp_machine *m, const char *pci, bool *near);
/* The network device with the shortest way to a PCI device, InfiniBand first; "" none. */
void ddp_machine_nic(const struct ddp_machine *m, const char *pci, char nic[32]);

/* Usable cores (or hardware threads) that a CPU quota pays for; at least 1. */
int ddp_machine_paid(const struct ddp_machine *m, bool hyperthreads);

/* placement_cpu.c: choose the cores of each rank. out: ranks, place filled in, bound set. */
void ddp_placement_on_cores(const struct ddp_machine *m, const struct ddp_place_request *req,
                            struct ddp_placement *out);
/* place.c: a rank owns these cores: first hardware threads of all, then, if wanted and used, the second ones.
 * Its threads are as many as are asked for, else one on each. */
void ddp_place_fill(const struct ddp_machine *m, const int *cores, int ncores,
                    const struct ddp_place_request *req, struct ddp_place *place);
/* placement_gpu.c: choose the GPU and the cores of each rank. out: ranks, place, bound, gpus filled in. */
int ddp_placement_on_gpus(const struct ddp_machine *m, const struct ddp_place_request *req,
                          const struct ddp_place_gpus *gpus, struct ddp_placement *out,
                          struct ddp_error *err);

#endif
