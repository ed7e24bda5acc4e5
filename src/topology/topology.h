/* The face of src/topology: what the machine looks like (hwloc), which cores each rank gets, and binding to
 * them.
 *
 * A plan is a pure function of a machine and a request, so that it can be tested on synthetic machines
 * (HWLOC_SYNTHETIC, HWLOC_XMLFILE) and shown for another machine. */
#ifndef DDP_TOPOLOGY_H
#define DDP_TOPOLOGY_H

#include <stdbool.h>

#include "ddp/error.h"

enum ddp_bind_policy { DDP_PLACE_COMPACT, DDP_PLACE_SPREAD, DDP_PLACE_NONE };

enum { DDP_CPUSET_MAX = 4096 };

/* CPU time that control groups pay for. */
struct ddp_cpu_quota {
    double cpus;    /* 0: no limit */
    char file[512]; /* that says so; "" none */
};

/* The least that the groups of this process allow, its own and those above. root: "" or, for tests, a folder
 * that holds proc/ and sys/. */
void ddp_cpu_quota_read(const char *root, struct ddp_cpu_quota *out);

struct ddp_machine; /* an hwloc topology restricted to what this process may use */

/* Look at this machine, or at the one that HWLOC_SYNTHETIC / HWLOC_XMLFILE describe. What may be used is
 * hwloc's allowed set cut with the process's own affinity mask (taskset, cgroups, Slurm); a synthetic machine
 * may be used whole. CPU quotas of control groups are read with it. */
int ddp_machine_create(struct ddp_machine **out, struct ddp_error *err);
/* The same with its PCI devices, for placing ranks beside GPUs (some milliseconds more). */
int ddp_machine_create_with_io(struct ddp_machine **out, struct ddp_error *err);
void ddp_machine_destroy(struct ddp_machine *m); /* NULL is fine */
bool ddp_machine_is_synthetic(const struct ddp_machine *m);
int ddp_machine_cores(const struct ddp_machine *m); /* usable */
int ddp_machine_pus(const struct ddp_machine *m);   /* usable hardware threads */
/* Cores (or hardware threads) that may be kept busy at once: usable ones that no other job holds (all, where
 * others hold all), or as many as a CPU quota pays for; at least 1. */
int ddp_machine_capacity(const struct ddp_machine *m, bool hyperthreads);
/* Usable cores that other jobs hold. */
int ddp_machine_held(const struct ddp_machine *m);
/* These hardware threads (OS indices) are other jobs', and with them their cores. */
void ddp_machine_mark_held(struct ddp_machine *m, const int *pus, int n);
int ddp_machine_numa_nodes(const struct ddp_machine *m);
/* "2 packages, 8 NUMA nodes, 64 cores, 128 threads". Valid until destroy. */
const char *ddp_machine_text(const struct ddp_machine *m);
/* Write the topology as XML for mpirun (hwloc_base_topo_file), which then need not probe again. */
int ddp_machine_export_xml(const struct ddp_machine *m, const char *path, struct ddp_error *err);
/* The same as text, with what may be used, what other jobs hold and the CPU quota, for a launcher on another
 * host. malloc'd. */
int ddp_machine_xml(const struct ddp_machine *m, char **xml, struct ddp_error *err);
/* The machine that ddp_machine_xml describes. */
int ddp_machine_from_xml(const char *xml, struct ddp_machine **out, struct ddp_error *err);

/* A GPU as its driver names it. */
struct ddp_place_gpu {
    char pci[32];  /* "0000:3b:00.0"; one that the topology does not show may be near anything */
    char uuid[64]; /* "GPU-..." or "MIG-..." */
    char name[128];
};

/* NVIDIA's GPUs in the topology of a machine that a file describes: where no driver can be asked. Those
 * without a UUID in the file have their PCI address there. *out is malloc'd; returns how many. */
int ddp_machine_gpus(const struct ddp_machine *m, struct ddp_place_gpu **out);

struct ddp_place_request {
    int ranks;
    int threads; /* per rank; 0: as many as its share of cores has */
    enum ddp_bind_policy policy;
    bool hyperthreads; /* run threads on all hardware threads of cores, not on one each */
    int cores;         /* that are the job's, where a scheduler says how many and not which; 0: all usable */
};

struct ddp_place { /* of one rank */
    int npus;      /* 0: not bound (DDP_PLACE_NONE); text "cpus=any" */
    int *pus;      /* [npus] OS indices, thread i of the rank runs on pus[i % npus] */
    int numa;      /* OS index of the NUMA node that holds them; -1: several or unknown */
    int package;
    int threads;
    char gpu[64]; /* UUID; "" none */
    char nic[32]; /* network device nearest to the GPU, to read; "" none */
};

struct ddp_placement {
    int ranks;
    struct ddp_place *place; /* [ranks] */
    bool oversubscribed;     /* more ranks x threads than usable hardware threads: waiting ranks must sleep */
    bool bound;              /* false with DDP_PLACE_NONE */
    char note[1024];         /* what a user should know, one or more lines; "" nothing */
    int ngpus;
    struct ddp_place_gpu *gpus; /* [ngpus] those that there were to choose from */
};

/* Plan ranks onto the machine. Whole cores before hyperthreads; compact fills a package and NUMA node before
 * the next, spread goes round them. Each rank's cores lie in one NUMA node where they fit, else in one
 * package; all ranks have as many, and somewhat fewer than their share where that lets them lie so. Cores
 * that other jobs hold are taken only where the others do not suffice. Where fewer cores are the job's than
 * it may run on, and nobody says which, ranks have that number between them and are not bound.
 * Free with ddp_placement_destroy. */
int ddp_placement_create(const struct ddp_machine *m, const struct ddp_place_request *req,
                         struct ddp_placement **out, struct ddp_error *err);

struct ddp_place_gpus {
    int n;
    const struct ddp_place_gpu *gpu; /* [n] to choose from */
    bool share;                      /* several ranks may have one */
};
/* The same with a GPU for each rank: ranks go through them as they lie in the machine (spread: packages in
 * turn), and each gets cores of those nearest to its GPU, shared evenly with the other ranks there.
 * DDP_E_RESOURCE when there are fewer GPUs than ranks and they may not share. */
int ddp_placement_create_on_gpus(const struct ddp_machine *m, const struct ddp_place_request *req,
                                 const struct ddp_place_gpus *gpus, struct ddp_placement **out,
                                 struct ddp_error *err);
void ddp_placement_destroy(struct ddp_placement *p);

/* The cores that jobs of this machine hold for themselves, of all users and containers that see one folder:
 * DDP_CORES_DIR, else /dev/shm. What a process holds ends with it. Where there is no such folder nothing is
 * held. */
struct ddp_claim {
    int folder; /* descriptor; -1: none */
};

/* Begin to plan: others that do so wait, a second at most, until ddp_claim_take or ddp_claim_close. */
void ddp_claim_open(struct ddp_claim *claim);
/* Mark what others hold. */
void ddp_claim_look(const struct ddp_claim *claim, struct ddp_machine *m);
/* Hold these hardware threads (OS indices), which need not be free, until ddp_claim_close or our end. */
void ddp_claim_take(struct ddp_claim *claim, const int *pus, int n);
void ddp_claim_close(struct ddp_claim *claim);

/* The machine with ranks drawn into it, as text. number: [ranks] what to call them; NULL: 0, 1 ..
 * malloc'd. */
char *ddp_placement_map(const struct ddp_machine *m, const struct ddp_placement *p, const int *number);

/* A rank's place as text for the environment ("cpus=0-3 numa=0 package=0 threads=4 spin=2000 gpu=GPU-...")
 * and back. buf as snprintf. */
int ddp_place_format(const struct ddp_place *p, bool oversubscribed, char *buf, int size);
int ddp_place_parse(const char *text, struct ddp_place *out, bool *oversubscribed, struct ddp_error *err);
/* The nth (from 0) of several places with ';' between them. */
int ddp_place_parse_nth(const char *places, int n, struct ddp_place *out, bool *oversubscribed,
                        struct ddp_error *err);
void ddp_place_finish(struct ddp_place *p);

/* Bind the calling process (and threads it makes later) to the place; memory too when memory_bind and numa >=
 * 0. */
int ddp_place_bind(const struct ddp_place *p, bool memory_bind, struct ddp_error *err);

#endif
