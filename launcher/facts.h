/* What a host says of itself before ranks are started there, as a JSON object; and what must be the same on
 * all hosts, or good on each.
 *
 *   machine, gpus, gpus_note   topology as XML with what other jobs hold; [{pci, uuid, name}]; why there are
 *                              none
 *   program, mpi               SHA-256 of the ranks' program and of the MPI plug-in beside it
 *   data                       [train, test] SHA-256 of the data sets, or marks of them (data/data.h)
 *   run                        true: it sees the folder of runs and may write there
 *   clock                      seconds since 1970
 *   shm, memory                bytes free in /dev/shm, and of memory
 *   faults                     {name of the above: text} of what could not be found out, or is wrong */
#ifndef DDP_LAUNCHER_FACTS_H
#define DDP_LAUNCHER_FACTS_H

#include <jansson.h>

#include "base/base.h"
#include "topology/topology.h"

struct ddp_facts_ask {
    const char *config;  /* its resolved text */
    const char *program; /* of the ranks */
    const char *folder;  /* where the command was given; this process goes there; "" none */
    const char *runs;    /* folder of run directories that must be writable; "" none */
    const char *marker;  /* a file that this host must see; "" none */
    bool whole;          /* read all data; else its marks will do */
    /* opened where it is not, to see what cores other jobs hold; NULL: nobody asks */
    struct ddp_claim *claim;
    bool without_machine; /* somebody else looks at that */
};
/* The machine with what other jobs hold of it, added to facts; claim as in an ask. */
void ddp_facts_machine(struct ddp_claim *claim, json_t *facts);
/* A new reference. */
json_t *ddp_facts_read(const struct ddp_facts_ask *ask);

struct ddp_host_facts {
    const char *host;
    const json_t *facts;
    bool computes;   /* it has ranks */
    double skew;     /* seconds that its clock is ahead of ours .. */
    double skew_off; /* .. give or take */
};

struct ddp_check_row {
    const char *name;       /* "program" */
    char value[128];        /* what it is where nothing is wrong: "3f2a.." */
    struct ddp_text faults; /* a line each, with host and way out: "n1: .." */
};

/* Compare them: one row for each thing. *rows is malloc'd; returns how many. */
int ddp_facts_compare(const struct ddp_host_facts *host, int n, struct ddp_check_row **rows);
/* Whether some host has other data than others, as far as the facts tell. */
bool ddp_facts_data_differs(const struct ddp_host_facts *host, int n);
void ddp_check_rows_free(struct ddp_check_row *rows, int n);

#endif
