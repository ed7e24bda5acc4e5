/* Names as schedulers write them: "nodeA", "node[001,003-010]", "rack[0-1]_blade[0-1]-ib". Pure.
 *
 *   [8-11]      8 9 10 11
 *   [08-11]     08 09 10 11: as many digits as the first number has
 *   a[0-1]b[0-1]   a0b0 a0b1 a1b0 a1b1: the last bracket runs fastest */
#ifndef DDP_LAUNCHER_HOSTLIST_H
#define DDP_LAUNCHER_HOSTLIST_H

#include "launcher/words.h"

enum { DDP_HOSTS_MAX = 65536, DDP_HOST_NAME_MAX = 253 };

/* Read one item of `text` at *at, up to a ',', ':', '=', a blank or the end outside of brackets, and add the
 * names that it stands for; *at is then behind it. Errors (DDP_E_USAGE) say where in `text`, what is wrong
 * and how it is written; nothing is expanded that would be more than DDP_HOSTS_MAX names. */
int ddp_hostlist_item(const char *text, const char **at, struct ddp_words *names, struct ddp_error *err);

/* A whole list of items with commas between them. */
int ddp_hostlist_expand(const char *text, struct ddp_words *names, struct ddp_error *err);

/* Fail with "at character 5, before 'x-':" and the rest; `at` points into `text`. */
int ddp_hostlist_fail(struct ddp_error *err, const char *text, const char *at, const char *fmt, ...)
    DDP_PRINTF(4, 5);

#endif
