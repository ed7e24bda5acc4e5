/* Data sets whose file is the input. */
#ifndef DDP_FUZZ_SETS_H
#define DDP_FUZZ_SETS_H

#include "config/config.h"

/* Open both splits of what these overrides say, and read all that they claim to hold. */
void fuzz_read_sets(const char *const *overrides, int n);

#endif
