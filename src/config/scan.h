/* The tokens of one file, for source.c, which puts files into each other. */
#ifndef DDP_CONFIG_SCAN_H
#define DDP_CONFIG_SCAN_H

#include "config/parts.h"

struct ddp_scan_key {
    const char *name;
    const char *file;
    int line;
    struct ddp_scan_key *next;
};

struct ddp_scan_scope {
    char open; /* '{', '(', '[', or 0 for the root */
    const char *file;
    int line;
    const char *name; /* of the key that opened it; NULL in lists */
    struct ddp_scan_key *keys;
    int nkeys;
};

/* What stood before the current token, as far as it matters. */
enum ddp_scan_before { DDP_BEFORE_OTHER, DDP_BEFORE_ASSIGN, DDP_BEFORE_COMMA };

struct ddp_scanner {
    struct ddp_arena *arena;
    struct ddp_source *out;
    struct ddp_error *err;
    struct ddp_scan_scope scope[DDP_CONFIG_MAX_DEPTH + 1];
    int depth;
    const char *name; /* a name that '=' or ':' would make a key */
    int name_line;
    enum ddp_scan_before before;
    size_t comma;                           /* where it lies in the output */
    char *open_files[DDP_CONFIG_MAX_DEPTH]; /* real paths of the files being read, for include loops */
    int nopen;
    int nfiles;   /* read so far, */
    size_t bytes; /* with so many bytes */
};

struct ddp_scan_input {
    const char *file;
    const char *p, *end;
    int line;
    bool line_start; /* nothing but blanks since the line began */
};

/* "FILE:LINE: " and the text; fmt has one %s. */
void ddp_scan_fault(struct ddp_scanner *s, const char *file, int line, const char *fmt, const char *text);
/* Line `at` (from 0) of the output comes from here. */
void ddp_scan_mark(struct ddp_source *out, int at, const char *file, int line);
/* Tokens of a file to the output, up to what scanning cannot do by itself. It goes on where *in stands. */
enum ddp_scan_stop {
    DDP_SCAN_END,     /* of the file */
    DDP_SCAN_FAULT,   /* one that hides what follows */
    DDP_SCAN_INCLUDE, /* *in stands on the @ of @include "FILE" */
};
enum ddp_scan_stop ddp_scan_tokens(struct ddp_scanner *s, struct ddp_scan_input *in);

#endif
