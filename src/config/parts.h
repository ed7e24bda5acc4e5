/* What the files of src/config share and nobody else sees. The way of a config through them, in order:
 *
 *   source.c     a file and its includes -> one text in libconfig's syntax, each line knowing its origin
 *   parse.c      libconfig -> a tree of nodes
 *   groups.c     model, data, optim: the group's file found, read and merged under what is given inline
 *   override.c   a.b=1 from the command line, with value.c for the right-hand sides
 *   read.c       the tree through a key table (schema.c) into a struct
 *   refused.c    which keys were refused on the way, so that nobody complains about what stands in for them
 *   place.c      what depends on where the program runs; names of files made absolute
 *   check.c      what one key's table row cannot say: keys that must agree with each other
 *   load.c       all of it, in this order
 *
 * Nodes, strings and lists live in one arena per config; nothing here is freed one by one. */
#ifndef DDP_CONFIG_PARTS_H
#define DDP_CONFIG_PARTS_H

#include "base/base.h"
#include "config/config.h"

enum {
    DDP_CONFIG_MAX_BYTES = 4 << 20, /* of all files that are put together */
    DDP_CONFIG_MAX_FILES = 1000,    /* how many these are */
    DDP_CONFIG_MAX_DEPTH = 32,      /* of groups, lists and @includes in each other */
    DDP_CONFIG_MAX_KEYS = 256,      /* of one group */
    DDP_WHERE_SIZE = 512
};

#define DDP_COMMAND_LINE "command line"
#define DDP_DEFAULT_FILE "default"

/* check.c, once it is known how many ranks there are: the rules on batches and shards. */
int ddp_config_check_whole(const struct ddp_config *cfg, struct ddp_error *err);

/* ---- node.c ---------------------------------------------------------------------------------- */

/* One part of a path: a name, or an index when name is NULL. */
struct ddp_path_part {
    const char *name;
    int len;
    int64_t index;
};
/* Take the next part off *path ("model.layers[3].kernel"): 1 and *part, 0 at the end, -1 when it is
 * malformed. */
int ddp_path_next(const char **path, struct ddp_path_part *part);
/* Take the next part off *path and return the child of `at` that it names: by key in a group; by index, or by
 * the elements' own `name`, in a list. NULL: there is none. */
struct ddp_node *ddp_node_walk(const struct ddp_node *at, const char **path, struct ddp_path_part *part);

bool ddp_name_valid(const char *s, int len); /* a key as libconfig allows it */
struct ddp_node *ddp_node_create(struct ddp_arena *a, enum ddp_node_type type, const char *name,
                                 const char *file, int line);
struct ddp_node *ddp_node_child(const struct ddp_node *group, const char *name);
int ddp_node_count(const struct ddp_node *node); /* children */
void ddp_node_add(struct ddp_node *parent, struct ddp_node *child);
void ddp_node_remove(struct ddp_node *child);
/* Put `child` where the child of the same name stands, or at the end. */
void ddp_node_set(struct ddp_node *group, struct ddp_node *child);
struct ddp_node *ddp_node_copy(struct ddp_arena *a, const struct ddp_node *node);
/* Deep merge: what `over` has wins; groups merge key by key, everything else is replaced whole. Takes over's
 * children. */
void ddp_node_merge(struct ddp_node *under, struct ddp_node *over);
/* "configs/cnn.cfg:12", "command line", "default": the start of every message. Returns buf. */
char *ddp_node_where(const struct ddp_node *node, char buf[DDP_WHERE_SIZE]);
/* "a group", "a list", "the integer 5", "the text \"abc\"": what was given. Returns buf. */
char *ddp_node_given(const struct ddp_node *node, char buf[DDP_WHERE_SIZE]);

/* ---- source.c, parse.c ----------------------------------------------------------------------- */

struct ddp_source_line {
    const char *file;
    int line;
};
struct ddp_source {
    struct ddp_text
        text; /* libconfig syntax without @include, every integer in range and marked, lists as ( ) */
    struct ddp_source_line *lines;
    int nlines, cap;
};
/* Always ends with a source that ddp_source_finish() frees. Faults of the text are all added to err. */
int ddp_source_read(struct ddp_arena *a, const char *path, struct ddp_source *out, struct ddp_error *err);
void ddp_source_finish(struct ddp_source *s);
/* False for a pipe, a socket or a device; of what is not there, or a folder, reading says more. */
bool ddp_source_is_file(const char *path);
bool ddp_utf8_valid(const char *s, size_t n);

/* A file as a tree; *out only on success. */
int ddp_parse_file(struct ddp_arena *a, const char *path, struct ddp_node **out, struct ddp_error *err);

/* ---- value.c, override.c, groups.c ----------------------------------------------------------- */

/* A value in the grammar of the command line: 5, 1e-3, true, word, "text", 'text', [1, 2], (a, b), {k = v,
 * ..}. text: bare words and numbers are text. NULL and *why when it is malformed. */
struct ddp_node *ddp_value_parse(struct ddp_arena *a, const char *s, bool text, const char *name,
                                 const char *file, const char **why);

struct ddp_override {
    char op; /* '=', '+', '~' */
    const char *raw, *key, *value;
};
/* Take the overrides apart; faults are added to err, the good ones are kept. *out belongs to the arena. */
void ddp_overrides_parse(struct ddp_config *cfg, const struct ddp_config_options *opt,
                         struct ddp_override **out, int *n, struct ddp_error *err);
/* First those that choose groups (model=NAME, optim.base=NAME), before the groups are read, ... */
void ddp_overrides_choose(struct ddp_config *cfg, const struct ddp_override *ov, int n,
                          struct ddp_error *err);
/* ... and all others after. */
void ddp_overrides_apply(struct ddp_config *cfg, const struct ddp_override *ov, int n, struct ddp_error *err);

/* Replace each group of cfg->tree that is a name, or has a `base`, by what the files say. */
void ddp_groups_read(struct ddp_config *cfg, const struct ddp_config_options *opt, struct ddp_error *err);

/* ---- refused.c ------------------------------------------------------------------------------- */

struct ddp_refused {
    const char *key; /* "optim.lr", "model.layers[2].out", "data" */
    struct ddp_refused *next;
};
/* Note that a key, or a group, was refused: rules that read it say nothing more. */
void ddp_config_refuse(struct ddp_config *cfg, const char *key);

/* ---- place.c --------------------------------------------------------------------------------- */

/* Once the tree is complete: write the defaults that depend on the place into the config, so that the
 * resolved one says them, and make every key with DDP_KEY_PATH absolute. path: of the config; NULL: none. */
void ddp_config_place(struct ddp_config *cfg, const char *path);

/* ---- schema.c, read.c, check.c, suggest.c, env.c --------------------------------------------- */

/* A group of the table: "" for the keys without one. */
struct ddp_config_group {
    const char *name, *doc;
    const char
        *file; /* its own files lie in configs/NAME; this one is read when none is chosen. NULL: no files */
};
extern const struct ddp_config_group ddp_config_groups[]; /* ends with name NULL */
const struct ddp_config_group *ddp_config_group_find(const char *name);
const struct ddp_key *ddp_key_find(const struct ddp_key *keys, const char *name);
bool ddp_key_is_group(const struct ddp_key *keys, const char *name); /* some key starts with NAME. */

/* The default of a key as a node of the given name, in the arena. */
struct ddp_node *ddp_key_default(struct ddp_arena *a, const struct ddp_key *key, const char *name);
/* "an integer from 1 to 65536 images": what a key accepts. Returns buf. */
char *ddp_key_allowed(const struct ddp_key *key, char buf[DDP_WHERE_SIZE]);
int ddp_choice_count(const char *choices);                                       /* "a|b" has 2 */
const char *ddp_choice_at(const char *choices, int i, char buf[DDP_WHERE_SIZE]); /* copy of the i-th */

/* Add to err every rule between keys that cfg breaks. */
void ddp_config_check(struct ddp_config *cfg, struct ddp_error *err);

/* The nearest of names[0..n-1] to `given` if it is near enough to be what was meant; NULL else. */
const char *ddp_suggest(const char *given, const char *const *names, int n);
/* "; did you mean 'optim.lr'?" or "; known here: a, b, c" for a key that the table lacks. Returns buf. */
char *ddp_suggest_key(const struct ddp_key *keys, const char *const *common, const char *prefix,
                      const char *name, char buf[DDP_WHERE_SIZE]);

/* Add to err every DDP_ variable of the environment that means nothing. */
void ddp_env_check(struct ddp_error *err);

/* ---- dump.c ---------------------------------------------------------------------------------- */

/* The value of a key as the file has it. node: for DDP_KEY_NODE. indent: of continuation lines; -1: all on
 * one line and groups sorted by name, for hashing. */
void ddp_value_write(struct ddp_text *t, const struct ddp_key *key, const void *conf, int indent);

#endif
