/* Finding and opening our own plug-ins: shared libraries of ours that need what not every machine has
 * (CUDA, MPI), and are loaded only where it is wanted. Each exports one function, which returns one table. */
#ifndef DDP_BASE_PLUGIN_H
#define DDP_BASE_PLUGIN_H

#include <limits.h>
#include <stdbool.h>

#include "ddp/error.h"

struct ddp_plugin {
    const char *what;     /* "CUDA plug-in", for messages */
    const char *file;     /* "libddp_cuda.so" */
    const char *variable; /* environment variable that names the file instead */
    const char *
        entry; /* function that it exports: const void *entry(void), a table that begins with `int version` */
    int version; /* of the table */
    bool global; /* its symbols are for what it loads in turn */
    /* the way out, as sentences */
    const char *missing; /* when it is nowhere */
    const char *broken;  /* when it is there and cannot be loaded */
};

/* What the variable says; NULL: not set, or empty. */
const char *ddp_plugin_named(const struct ddp_plugin *p);
/* The plug-in's file: what the variable names (there or not), else beside this program, in ../lib or the
 * folder that libraries are installed in, or beside the library that this code is in. false: only the
 * loader could know. */
bool ddp_plugin_find(const struct ddp_plugin *p, char out[PATH_MAX]);
/* Open it (once is enough, it stays) and fetch its table. DDP_E_RESOURCE with the way out: it is missing,
 * cannot be loaded, is none of ours, or of another version. */
int ddp_plugin_open(const struct ddp_plugin *p, const void **table, struct ddp_error *err);

#endif
