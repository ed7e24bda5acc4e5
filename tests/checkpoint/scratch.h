/* A temporary folder for a test, and files in it. */
#ifndef TESTS_CHECKPOINT_SCRATCH_H
#define TESTS_CHECKPOINT_SCRATCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/base.h"

void scratch_make(void); /* a fresh one; scratch_remove() ends it */
void scratch_remove(void);
/* Path of a name in it; four at a time. */
const char *scratch(const char *name);
/* Write and read plainly, no sync. */
void scratch_write(const char *path, const void *data, size_t bytes);
char *scratch_read(const char *path, size_t *bytes); /* malloc'd */
/* Flip one bit of byte `at` (from the end when negative). */
void scratch_flip(const char *path, long at);

/* A stream of numbers for mutations. */
uint32_t scratch_random(uint32_t *counter, uint32_t below);

#endif
