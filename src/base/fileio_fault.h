/* The one gate that every write-side system call passes: counts, and fails on request (tests). Private to
 * src/base. */
#ifndef DDP_BASE_FILEIO_FAULT_H
#define DDP_BASE_FILEIO_FAULT_H

#include <stdbool.h>
#include <stdint.h>

/* True: this call is to fail; errno is set. */
bool ddp_fault_hit(const char *path);
/* strerror for a failed write to `path`, with the way out where there is one. Static or errno's own text. */
const char *ddp_write_reason(int errno_value, const char *path);

#endif
