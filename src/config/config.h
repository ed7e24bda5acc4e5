/* The face of src/config: from files and overrides to one checked struct.
 *
 *   parse (libconfig)       -> tree of nodes with file and line
 *   groups                  -> read and deep-merged
 *   overrides               -> put on top
 *   THE table (schema.c)    -> checks and fills struct ddp_config
 *   dump                    -> writes it back, accepted as input with identical result
 */
#ifndef DDP_CONFIG_H
#define DDP_CONFIG_H

#include "ddp/key.h"

#include "config/optims.h"

/* ---- the tree -------------------------------------------------------------------------------- */

enum ddp_node_type {
    DDP_NODE_GROUP,
    DDP_NODE_LIST,
    DDP_NODE_INT,
    DDP_NODE_FLOAT,
    DDP_NODE_BOOL,
    DDP_NODE_STRING
};

struct ddp_config;
struct ddp_node {
    enum ddp_node_type type;
    const char *name; /* key in its group; NULL for list elements and the root */
    struct ddp_node *parent;
    const char *file; /* where it was written; "command line" or "default" else */
    int line;         /* 0: no line */
    union {
        int64_t i;
        double f;
        bool b;
        const char *s;
    };
    struct ddp_node *first, *next; /* children of a group or list, siblings */
};

const struct ddp_node *ddp_node_get(const struct ddp_node *group,
                                    const char *path); /* "optim.lr"; NULL: absent */
/* "FILE:LINE: ", "command line: ", "default: ", or "" where there is no such node or key: the start of a
 * message about it. buf, size as snprintf; returns buf. */
char *ddp_node_place(const struct ddp_node *node, char *buf, int size);
char *ddp_config_where(const struct ddp_config *cfg, const char *key, char *buf, int size);
/* "optim.lr", "model.layers[3].kernel": the dotted path of a node. buf, size as snprintf; returns buf. */
char *ddp_node_path(const struct ddp_node *node, char *buf, int size);

/* Read one group by a key table (a layer's own keys, say) into *conf (zeroed first, defaults applied).
 * Unknown keys, wrong types and ranges are added to err, all of them, each with file, line, key, what is
 * allowed and the nearest name. `common`: names that are the caller's business and are skipped
 * (NULL-terminated list, may be NULL). Strings and lists in *conf belong to the arena of `cfg`. */
int ddp_keys_read(struct ddp_config *cfg, const struct ddp_node *group, const struct ddp_key *keys,
                  const char *const *common, void *conf, struct ddp_error *err);

/* ---- the checked config ---------------------------------------------------------------------- */

enum {
    DDP_SCHEDULE_CONSTANT,
    DDP_SCHEDULE_STEP,
    DDP_SCHEDULE_COSINE,
    DDP_SCHEDULE_ONECYCLE,
    DDP_SCHEDULE_POLY
};
enum { DDP_REDUCE_CANONICAL, DDP_REDUCE_FAST };
enum { DDP_REPRO_BITWISE, DDP_REPRO_WARN, DDP_REPRO_FAST };
enum { DDP_DEVICE_AUTO, DDP_DEVICE_CPU, DDP_DEVICE_CUDA };
enum { DDP_PRECISION_FP32, DDP_PRECISION_BF16, DDP_PRECISION_FP16 };
enum { DDP_RESIDENT_AUTO, DDP_RESIDENT_ON, DDP_RESIDENT_OFF };
enum { DDP_BIND_COMPACT, DDP_BIND_SPREAD, DDP_BIND_NONE };

/* Fields in the order of the table in schema.c, which documents each (ddp-launch --help-config KEY). */
struct ddp_config {
    int64_t seed;
    int device;
    struct {
        int64_t batch, batch_per_rank; /* per rank: 0, it is not said so */
        int64_t shards;                /* -1: as many as there are ranks */
        int64_t accumulate, epochs, max_steps, threads;
        int64_t early_stop;  /* evaluations without a better one; 0: off */
        int64_t trail_every; /* steps between records of weights.trail; 0: off */
        int precision;       /* DDP_PRECISION_: of activations and weights in the passes; a GPU's business */
        bool tf32;
        double loss_scale; /* fp16: at the start, a power of two */
        int64_t loss_scale_interval;
    } train;
    struct {
        const char *name;              /* "mnist_cnn" or "inline" */
        const struct ddp_node *layers; /* list of groups, read by src/model */
        struct ddp_floats input;       /* [c, h, w] when the model insists; n = 0: from the data */
    } model;
    struct {
        const char *name; /* "digits", "mnist", ... */
        const char *format, *root, *path;
        struct ddp_strings files, inputs, targets;
        int64_t train_count, test_count, seed;
        struct ddp_floats shape; /* of noise: [c, h, w] */
        int64_t classes;
        int64_t limit_train, limit_test; /* use only so many samples, of all classes alike; 0: all */
        bool normalize, normalize_targets;
        struct ddp_floats mean, std; /* n = 0: the data set's own */
        int64_t crop_padding;        /* random crop after zero padding by this many pixels; 0: off */
        bool flip;                   /* random horizontal flip */
        int64_t cutout;              /* side of the square set to the mean; 0: off */
        struct ddp_floats crop_area, crop_ratio; /* random-resized-crop: [from, to]; area n = 0: off */
        double rotate, translate, shear;         /* affine: degrees, part of a side, degrees; 0: off */
        struct ddp_floats scale;                 /* [from, to]; n = 0: off */
        double brightness, contrast, saturation, hue;
        double mixup; /* alpha; 0: off */
        bool shuffle;
        int64_t prefetch; /* batches decoded ahead */
        int64_t workers;  /* prefetch threads per rank; 0: fetch in the training thread */
        bool verify;      /* check the checksums of packed files at start */
    } data;
    struct {
        const char *name;
        int type;
        int lr_rule;
        double lr, momentum, dampening, weight_decay, beta1, beta2, alpha, eps, trust;
        bool nesterov, centered;
        double clip_norm; /* 0: off */
        double ema;       /* decay of the weights' moving average; 0: off */
        int schedule;
        int64_t warmup_steps;
        double warmup_start;          /* factor of lr at step 0 */
        struct ddp_floats milestones; /* step: in epochs */
        double gamma, final_lr, power, pct_start, div_factor, final_div_factor;
        struct ddp_strings
            no_decay; /* name patterns (fnmatch) without weight decay; norms and biases by default */
        const struct ddp_node
            *groups; /* list of {match = "...", lr_scale = .., weight_decay = ..}; NULL: none */
    } optim;
    struct {
        int mode;
        double bucket_mb;
    } reduce;
    struct {
        int level; /* DDP_REPRO_: what becomes of settings that break the promise */
    } repro;
    struct {
        int64_t from, to;          /* steps, from 1; 0: none; to 0: one step */
        struct ddp_strings values; /* patterns of KIND/NAME */
    } probe;
    struct {
        bool share_gpu;        /* several ranks on one GPU */
        const char *interface; /* between hosts; "" or NULL: found at the start */
        double timeout_s;
    } comm;
    struct {
        bool tune, graph;
        int64_t branches;  /* shards of a rank side by side, at most */
        int resident_data; /* DDP_RESIDENT_: the whole data set on the card */
    } gpu;
    struct {
        int64_t every_epochs; /* 0: only at the end; batches and shards are those of training */
    } eval;
    struct {
        int64_t every_steps, every_epochs, keep;
        bool best, background;
    } checkpoint;
    struct {
        const char *from; /* init.from: safetensors; "" none */
        bool strict;
    } init;
    struct {
        const char *dir, *name;
    } run;
    struct {
        int64_t every_steps; /* of metrics records */
        const char *level;   /* error|warn|info|debug */
        bool progress;
        double progress_every; /* seconds, where it goes to a log */
    } log;
    struct {
        int bind;
        bool memory_bind, hyperthreads;
        double grace;       /* seconds; 0: no limit */
        double stuck_after; /* seconds; 0: never */
        int64_t fanout;
    } launch;

    struct ddp_node *tree;       /* resolved, every key of the table in it */
    struct ddp_refused *refused; /* while it is loaded: keys whose values are not what the user wrote */
    struct ddp_arena *arena;     /* owns all strings, lists and nodes */
    const char *data_beside; /* data.path is relative, as it was found nowhere: the folder it is written in */
};

struct ddp_text;
struct ddp_config_options {
    const char *path;             /* the file; NULL: only overrides on the defaults */
    const char *const *overrides; /* "optim.lr=0.1", "+a.b=1", "~a.b", "model=resnet18", "--optim.lr=0.1" */
    int noverrides;
    /* Where groups are looked for besides the file's own folder and its parents; NULL: the installed or
     * source configs/. */
    const char *configs_dir;
    /* What config itself cannot know: layers, formats, optimizer groups (ddp_train_check_keys). Called with
     * all keys read, those that were refused at their defaults (ddp_config_usable); adds faults to err. NULL:
     * nobody. */
    void (*check)(struct ddp_config *cfg, void *user, struct ddp_error *err);
    void *user;
};

/* Within options.check: whether the value of a key, or the list below it, is what the user gave: false where
 * it, its group or a part of it was refused, which is said already. */
bool ddp_config_usable(const struct ddp_config *cfg, const char *key);

/* Read, merge, override, check. On failure err holds every error found, one a line. Also refuses DDP_*
 * environment variables that mean nothing (naming the nearest that does). Free with ddp_config_destroy. */
int ddp_config_load(const struct ddp_config_options *opt, struct ddp_config **out, struct ddp_error *err);
void ddp_config_destroy(struct ddp_config *cfg); /* NULL is fine */

/* Whether values are meant per rank, and so the config is not whole before it is known how many there are:
 * train.batch_per_rank, train.shards = "ranks", optim.lr_rule. */
bool ddp_config_by_ranks(const struct ddp_config *cfg);
/* Make it whole: train.batch, train.shards and optim.lr are of all ranks then, and it is a config as any
 * other. A line is added to notes that says so; nothing happens to one that is whole. DDP_E_CONFIG: what
 * comes of it is out of range, or does not go together. */
int ddp_config_for_ranks(struct ddp_config *cfg, int ranks, struct ddp_text *notes, struct ddp_error *err);

/* What the device computes and what it does not, once it is known which it is: on the CPU, precisions other
 * than fp32 and tf32 are refused (DDP_E_CONFIG with file, line, key and the way out). */
int ddp_config_check_device(const struct ddp_config *cfg, bool cuda, struct ddp_error *err);

/* The resolved config as text: libconfig syntax with the doc lines as comments or without, and JSON. Reading
 * it back gives the same struct and the same text. *out is malloc'd. */
int ddp_config_dump(const struct ddp_config *cfg, bool comments, char **out, struct ddp_error *err);
int ddp_config_dump_json(const struct ddp_config *cfg, char **out, struct ddp_error *err);
/* SHA-256 over the keys marked DDP_KEY_RESULT, in table order. */
void ddp_config_hash(const struct ddp_config *cfg, char hex[65]);
/* The same over those keys that make a step what it is: without DDP_KEY_END. Runs of one experiment go
 * through the same states, and differ in how far they get. */
void ddp_config_experiment(const struct ddp_config *cfg, char hex[65]);

/* Keys whose values differ, in table order: told one by one with both values as text. experiment: only those
 * that ddp_config_experiment counts in a or in b. Returns how many. each may be NULL. */
typedef void (*ddp_config_differs_fn)(void *user, const char *key, const char *a, const char *b);
int ddp_config_differ(const struct ddp_config *a, const struct ddp_config *b, bool experiment,
                      ddp_config_differs_fn each, void *user);

/* The same for the keys of cfg that are not at the defaults of the table: `b` is the default. */
int ddp_config_not_default(const struct ddp_config *cfg, ddp_config_differs_fn each, void *user);

/* The key that other frameworks, and people in a hurry, call `name` ("wd", "batch_size"); NULL: none. */
const char *ddp_config_alias(const char *name);

/* The reference: all keys, or those that start with `key` (nearest names when there are none), as text for
 * the terminal or as Markdown for docs/config.md. malloc'd. */
int ddp_config_help(const char *key, bool markdown, char **out, struct ddp_error *err);

/* The same for any key table (a layer's own keys), added to *out. keys may be NULL. */
void ddp_keys_help(const struct ddp_key *keys, bool markdown, struct ddp_text *out);

/* THE table; ends with name NULL. */
extern const struct ddp_key ddp_config_keys[];

/* Environment variables that mean something, "DDP_DATA_DIR" and so on, with a line of doc each; ends with
 * NULL. */
struct ddp_env_var {
    const char *name, *doc;
    bool internal; /* set by ddp-launch for its ranks, not for users */
};
extern const struct ddp_env_var ddp_env_vars[];
/* Whether NAME=VALUE is for a run's record: of libraries that compute and communicate, or one of ours. */
bool ddp_env_is_recorded(const char *entry);

#endif
