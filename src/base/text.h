/* A growing string, and number formatting that does not depend on the locale. */
#ifndef DDP_BASE_TEXT_H
#define DDP_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ddp/error.h"

struct ddp_text {
    char *s; /* NUL-terminated; "" before the first add (never NULL after init) */
    size_t len, cap;
};

void ddp_text_init(struct ddp_text *t);
void ddp_text_finish(struct ddp_text *t);
void ddp_text_add(struct ddp_text *t, const char *fmt, ...) DDP_PRINTF(2, 3);
void ddp_text_append(struct ddp_text *t, const char *bytes, size_t n);

/* The end of a noun behind a number: "" for 1, else "s". */
const char *ddp_plural(int64_t n);

/* Shortest decimal form that reads back as the same double ("0.1", "1e-05"); always has '.', 'e', "inf" or
 * "nan" in it, so that it stays a float in a config. buf of at least 32 bytes; returns buf. */
char *ddp_double_text(double v, char *buf);

/* Read a whole string as a number in the C locale; false when anything is left over or out of range. */
bool ddp_parse_int(const char *s, int64_t *out); /* decimal or 0x.. */
bool ddp_parse_double(const char *s, double *out);

/* "12.3 MB" (powers of 1000). buf of at least 32 bytes; returns buf. */
char *ddp_bytes_text(double bytes, char *buf);

/* Fewest edits (insert, delete, replace, swap of neighbours) from a to b. */
int ddp_edit_distance(const char *a, const char *b);

#endif
