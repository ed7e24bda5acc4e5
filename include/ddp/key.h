/* For authors of ops and data sets: the keys of a config group, as a table. */
#ifndef DDP_KEY_H
#define DDP_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ddp/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum ddp_key_type {
    DDP_KEY_INT,         /* int64_t */
    DDP_KEY_FLOAT,       /* double; an int in the file is fine */
    DDP_KEY_BOOL,        /* bool */
    DDP_KEY_STRING,      /* const char *, owned by the config */
    DDP_KEY_CHOICE,      /* int: index into choices */
    DDP_KEY_FLOAT_LIST,  /* struct ddp_floats */
    DDP_KEY_STRING_LIST, /* struct ddp_strings */
    DDP_KEY_NODE,        /* const struct ddp_node *: a list or group that its module reads itself */
};

struct ddp_floats {
    int n;
    const double *v;
};
struct ddp_strings {
    int n;
    const char *const *v;
};

enum {
    DDP_KEY_RESULT = 1,   /* takes part in the result: another value, other bits; in the config hash */
    DDP_KEY_REQUIRED = 2, /* has no default */
    DDP_KEY_STOP =
        4, /* takes part in the result only by steering early stopping; in the config hash only then */
    DDP_KEY_END = 8, /* only says where training ends: the bits of the steps before it are the same */
    /* STRING, in the config's own table: an existing file or folder. Relative to the file in which it is
     * written, on the command line to the working directory; absolute once the config is read. Without
     * RESULT what lies there counts, not where. */
    DDP_KEY_PATH = 16,
};

#define DDP_KEY_CLASSES "classes"

/* One key: everything that validation, --help-config, the resolved dump and docs/config.md know about it. */
struct ddp_key {
    const char *name; /* "lr"; full name in error messages is the group's path + this: "optim.lr" */
    enum ddp_key_type type;
    size_t offset;    /* of the field in the conf struct that ddp_keys_read() fills */
    const char *dflt; /* in the file's own syntax: "0.1", "true", "[0.5, 0.5]", "sgd"; NULL when required */
    double min, max;  /* INT, FLOAT and the elements of FLOAT_LIST: inclusive; both 0: no range */
    /* CHOICE: "sgd|adamw"; INT: a word that stands for -1, beside numbers from 0. In a layer's keys the word
     * "classes" (DDP_KEY_CLASSES) becomes what the data asks for before the op sees it. */
    const char *choices;
    const char *unit; /* "images", "s", "MB"; NULL: none */
    unsigned flags;
    const char *doc; /* one line, a sentence without full stop */
};

#ifdef __cplusplus
}
#endif
#endif
