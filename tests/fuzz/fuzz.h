/* What every fuzz target has: LLVMFuzzerTestOneInput of libFuzzer, which main.c calls where there is none. */
#ifndef DDP_FUZZ_H
#define DDP_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold, in every build. */
#define FUZZ_CHECK(condition)                                                                                \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

/* An error has words; what can be read has none. */
#define FUZZ_CHECK_WORDS(status, err) FUZZ_CHECK(((status) == 0) == ((err).text[0] == '\0'))

/* A target counts the inputs that were taken for good: one that refuses all of its seeds tests nothing. */
extern long fuzz_taken;

/* FOLDER/name of a folder of this process, in memory where there is such a place; gone at its end. Valid
 * until the fourth call from now. */
const char *fuzz_path(const char *name);
/* The same with these bytes in it. */
const char *fuzz_file(const char *name, const void *data, size_t size);
/* The input as text with a NUL behind it; free() it. */
char *fuzz_text(const uint8_t *data, size_t size);

#endif
