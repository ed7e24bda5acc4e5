/* RUN/probe: what each op of a step computed, as hashes, and where it was asked for as values. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint/checkpoint.h"
#include "telemetry/records.h"
#include "telemetry/telemetry.h"

struct ddp_probe_log {
    int fd, rank;
    char folder[1060], path[1100];
};

static const char head[] = "{\"format\":\"ddp-probe\",\"version\":1,\"hash\":\"sha256\",\"digits\":16}\n";

int ddp_probe_log_open(const char *run_dir, int rank, const struct ddp_records_from *from,
                       struct ddp_probe_log **out, struct ddp_error *err)
{
    struct ddp_probe_log *log = ddp_calloc(1, sizeof *log);
    log->rank = rank;
    snprintf(log->folder, sizeof log->folder, "%s/probe", run_dir);
    snprintf(log->path, sizeof log->path, "%s/rank-%d.jsonl", log->folder, rank);
    int status = ddp_dir_make(log->folder, err);
    if (status == 0)
        status = ddp_records_open(log->path, head, from, NULL, &log->fd, err);
    if (status) {
        free(log);
        return ddp_error_prefix(err, "probe.from"), status;
    }
    *out = log;
    return 0;
}

/* ---- hashes ---------------------------------------------------------------------------------- */

/* A line for each row of parts that lie together. */
static void add_node(struct ddp_text *text, int64_t step, int at, const struct ddp_probe_node *node)
{
    for (int64_t i = 0; i < node->parts; i++) {
        if (!node->here[i])
            continue;
        const long long first = node->first + i;
        ddp_text_add(text, "{\"step\":%lld,\"at\":%d,\"kind\":\"%s\",\"name\":\"%s\",", (long long)step, at,
                     ddp_probe_kind_name(node->kind), node->name);
        if (*node->op)
            ddp_text_add(text, "\"op\":\"%s\",", node->op);
        ddp_text_add(text, "\"of\":\"%lld %s\",\"first\":%lld,\"hash\":\"", (long long)node->of,
                     node->blocks    ? "blocks"
                     : node->of == 1 ? "one"
                                     : "shards",
                     first);
        for (; i < node->parts && node->here[i]; i++)
            for (int k = 0; k < DDP_PROBE_DIGEST; k++)
                ddp_text_add(text, "%02x", node->digest[i * DDP_PROBE_DIGEST + k]);
        ddp_text_add(text, "\"}\n");
    }
}

/* ---- values ---------------------------------------------------------------------------------- */

struct values {
    struct ddp_st_tensor *tensor;
    int n;
};

static void add_values(struct values *all, const struct ddp_probe_node *node, int64_t part)
{
    static const char *const types[] = {
        [DDP_PROBE_F32] = "F32", [DDP_PROBE_F64] = "F64", [DDP_PROBE_I32] = "I32", [DDP_PROBE_I64] = "I64"};
    static const size_t widths[] = {
        [DDP_PROBE_F32] = 4, [DDP_PROBE_F64] = 8, [DDP_PROBE_I32] = 4, [DDP_PROBE_I64] = 8};
    const struct ddp_probe_values *v = &node->values[part];
    struct ddp_text name;
    if (!v->data || (!node->blocks && !node->here[part]))
        return;
    const long long place = node->first + part;
    ddp_text_init(&name);
    ddp_text_add(&name, "%s/%s", ddp_probe_kind_name(node->kind), node->name);
    if (!node->blocks)
        ddp_text_add(&name, "/%lld", place);
    struct ddp_st_tensor t = {
        .name = name.s, .dtype = types[v->type], .ndim = v->ndim, .data = v->data, .bytes = widths[v->type]};
    for (int d = 0; d < v->ndim; d++) {
        t.dims[d] = v->dims[d];
        t.bytes *= (size_t)v->dims[d];
    }
    all->tensor = ddp_realloc(all->tensor, (size_t)(all->n + 1) * sizeof t);
    all->tensor[all->n++] = t;
}

static int write_values(const struct ddp_probe_log *log, int64_t step, const struct ddp_probe_node *nodes,
                        int n, struct ddp_error *err)
{
    char path[1200];
    struct values all = {0};
    int status = 0;
    for (int i = 0; i < n; i++)
        for (int64_t k = 0; nodes[i].values && k < (nodes[i].blocks ? 1 : nodes[i].parts); k++)
            add_values(&all, &nodes[i], k);
    snprintf(path, sizeof path, "%s/step-%08lld-rank-%d.safetensors", log->folder, (long long)step,
             log->rank);
    if (all.n > 0)
        status = ddp_st_write(path, all.tensor, all.n, NULL, err);
    for (int i = 0; i < all.n; i++)
        free((char *)all.tensor[i].name); /* NOLINT: ours */
    free(all.tensor);
    return status;
}

int ddp_probe_log_add(struct ddp_probe_log *log, int64_t step, const struct ddp_engine *e,
                      struct ddp_error *err)
{
    const struct ddp_probe_node *nodes;
    struct ddp_text text;
    int n;
    if (!ddp_engine_probed(e, &nodes, &n))
        return 0;
    ddp_text_init(&text);
    for (int i = 0; i < n; i++)
        add_node(&text, step, i, &nodes[i]);
    int status = ddp_file_append(log->fd, log->path, text.s, text.len, err);
    ddp_text_finish(&text);
    if (status == 0)
        status = write_values(log, step, nodes, n, err);
    return status ? ddp_error_prefix(err, "probe.from"), status : 0;
}

void ddp_probe_log_close(struct ddp_probe_log *log)
{
    if (!log)
        return;
    close(log->fd);
    free(log);
}
