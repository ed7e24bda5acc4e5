/* A run as its directory tells it. Nothing here changes a byte of one: a directory may be damaged, half made,
 * of another version, or being written to while it is read.
 *
 *   RUN/run.json      the record       (docs/run.md)
 *   RUN/config.json   the config that it began with
 *   RUN/KEEP          a mark: gc leaves it, whatever it is; its text is a note */
#ifndef DDP_RUNS_PAST_H
#define DDP_RUNS_PAST_H

#include <jansson.h>

#include "base/base.h"

enum ddp_past_state {
    DDP_PAST_DONE,
    DDP_PAST_STOPPED, /* by request: it can go on */
    DDP_PAST_FAILED,
    DDP_PAST_RUNNING, /* as far as can be known: a process holds it, or it is of another host */
    DDP_PAST_GONE,    /* the record says "running", its process is gone */
    DDP_PAST_HALF,    /* no record yet: a process that ended while it was being made, or is making it */
    DDP_PAST_DAMAGED, /* a record that cannot be read, or is none */
};

struct ddp_past {
    char path[2048];
    const char *name; /* the last part of path */
    enum ddp_past_state state;
    char fault[400];         /* of a damaged or half-made one: what is wrong; "" else */
    json_t *record, *config; /* objects; NULL: not there, or not to be read */
};

#define DDP_PAST_MARK "KEEP"

/* path: of the directory; a mere name may be that of one in runs/, too. DDP_E_USAGE: there is none, or it is
 * no run's; then nothing is to be finished. Damage is no error: it is in the state. */
int ddp_past_read(const char *path, struct ddp_past *out, struct ddp_error *err);
void ddp_past_finish(struct ddp_past *p);
/* Of a run whose record has to be there: the same, and DDP_E_DATA with the fault where it is not. */
int ddp_past_read_whole(const char *path, struct ddp_past *out, struct ddp_error *err);

/* "done", "stopped", "failed", "running", "gone", "half made", "damaged". Static. */
const char *ddp_past_state_name(enum ddp_past_state state);
/* The value at "a.b[2].c" below o; NULL: there is none. Borrowed. */
json_t *ddp_past_at(const json_t *o, const char *path);
/* A text of the record ("weights_hash"), borrowed; "" where there is none. */
const char *ddp_past_text(const struct ddp_past *p, const char *key);
/* Steps done: of the record, else of the last whole line of metrics.jsonl; -1: nothing says so. */
int64_t ddp_past_steps(const struct ddp_past *p);
bool ddp_past_is_marked(const struct ddp_past *p);

/* ---- columns --------------------------------------------------------------------------------- */

/* A column is a fact of the record by a short name, or a key of the config ("optim.lr"). */
struct ddp_past_column {
    const char *name, *doc;
};
extern const struct ddp_past_column ddp_past_columns[]; /* those of the record; ends with name NULL */
/* DDP_E_USAGE with the nearest name where there is no such column. */
int ddp_past_column_check(const char *name, struct ddp_error *err);
/* Its value, a new reference: a number, a text, a truth value; null where the run does not say. */
json_t *ddp_past_column_value(const struct ddp_past *p, const char *name);
/* A value as a table shows it; "-" for null. malloc'd. */
char *ddp_past_value_text(const json_t *value);
/* Order of two values: numbers by size, texts by letters, numbers before texts, null last. */
int ddp_past_value_order(const json_t *a, const json_t *b);

#endif
