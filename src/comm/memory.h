/* How much memory this process may still take, asked before anything large is allocated: the system would
 * otherwise hand out addresses and kill a rank later. */
#ifndef DDP_COMM_MEMORY_H
#define DDP_COMM_MEMORY_H

#include <stdint.h>

#include "ddp/error.h"

/* Least of MemAvailable and what the memory limits of our control groups (v2 or v1, all levels) leave; page
 * cache counts as free. UINT64_MAX when nothing is known. root: "" or a folder that holds copies of proc/ and
 * sys/ (tests). limit: NULL or where to point at a static text that says which bound it was. */
uint64_t ddp_memory_available(const char *root, const char **limit);

/* DDP_E_RESOURCE, naming both sizes and the bound, when `bytes` is more than is available. what: "shared
 * segment". */
int ddp_memory_check(const char *root, uint64_t bytes, const char *what, struct ddp_error *err);

#endif
