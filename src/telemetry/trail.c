/* weights.trail: what two runs are compared by, step by step and tensor by tensor. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "telemetry/records.h"
#include "telemetry/telemetry.h"

struct ddp_trail {
    int fd;
    char path[1100];
};

static const char head[] =
    "{\"format\":\"ddp-trail\",\"version\":2,\"hash\":\"sha256\",\"tensor_digits\":16}\n";

/* A trail of an earlier version has other hashes of the same states: it stays, under another name. */
static int set_aside(const char *path, struct ddp_error *err)
{
    static const char ours[] = "{\"format\":\"ddp-trail\",\"version\":";
    char line[128] = "", aside[1200];
    FILE *f = fopen(path, "re");
    const bool old = f && fgets(line, sizeof line, f) && strncmp(line, ours, sizeof ours - 1) == 0 &&
                     strchr(line, '\n') && strcmp(line, head) != 0;
    if (f)
        fclose(f);
    snprintf(aside, sizeof aside, "%s.old", path);
    return old ? ddp_path_rename(path, aside, err) : 0;
}

int ddp_trail_open(const char *run_dir, const struct ddp_records_from *from, struct ddp_later *later,
                   struct ddp_trail **out, struct ddp_error *err)
{
    struct ddp_trail *t = ddp_calloc(1, sizeof *t);
    snprintf(t->path, sizeof t->path, "%s/weights.trail", run_dir);
    int status = from ? set_aside(t->path, err) : 0;
    if (status == 0)
        status = ddp_records_open(t->path, head, from, later, &t->fd, err);
    if (status) {
        free(t);
        return status;
    }
    *out = t;
    return 0;
}

/* Of a tensor: the hash over the digests of its blocks. */
static void hash_tensor(const struct ddp_flat_tensor *tensor, const uint8_t *digests, char hex[65])
{
    struct ddp_sha256 h;
    const int64_t first = tensor->offset / DDP_BLOCK, blocks = (tensor->size + DDP_BLOCK - 1) / DDP_BLOCK;
    ddp_sha256_init(&h);
    ddp_sha256_update(&h, digests + first * DDP_DIGEST, (size_t)(blocks * DDP_DIGEST));
    ddp_sha256_hex(&h, hex);
}

/* ,"name":{"hash":"64 digits","tensors":{"conv1.weight":"16 digits",...}} of n arrays side by side; the whole
 * hash is that over names and hashes of the tensors. suffix: of each array's tensors; NULL: none. */
static void add_part(struct ddp_text *text, const char *name, const struct ddp_flat *flat, int tensors, int n,
                     const uint8_t *const *digests, const char *const *suffix)
{
    struct ddp_text list;
    struct ddp_sha256 all;
    char hex[65];
    ddp_text_init(&list);
    ddp_sha256_init(&all);
    for (int i = 0; i < tensors; i++)
        for (int a = 0; a < n; a++) {
            char full[256];
            hash_tensor(&flat->tensor[i], digests[a], hex);
            snprintf(full, sizeof full, "%s%s%s", flat->tensor[i].name, suffix ? "." : "",
                     suffix ? suffix[a] : "");
            ddp_sha256_update(&all, full, strlen(full) + 1);
            ddp_sha256_update(&all, hex, 64);
            ddp_text_add(&list, "%s\"%s\":\"%.16s\"", list.len ? "," : "", full, hex);
        }
    ddp_sha256_hex(&all, hex);
    ddp_text_add(text, ",\"%s\":{\"hash\":\"%s\",\"tensors\":{%s}}", name, hex, list.s);
    ddp_text_finish(&list);
}

static void add_optimizer(struct ddp_text *text, const struct ddp_engine *e)
{
    enum { MOST = 16 };
    const uint8_t *digests[MOST];
    const char *suffix[MOST];
    int n = ddp_optim_arrays(e->optim);
    n = n < MOST ? n : MOST;
    for (int i = 0; i < n; i++) {
        digests[i] = ddp_engine_digests(e, i + 1);
        ddp_optim_array(e->optim, i, &suffix[i]);
    }
    if (n > 0)
        add_part(text, "optimizer", e->flat, e->flat->ntrained, n, digests, suffix);
}

int ddp_trail_add(struct ddp_trail *t, const struct ddp_trail_point *p, const struct ddp_engine *e,
                  struct ddp_error *err)
{
    struct ddp_text text;
    const uint8_t *parameters = ddp_engine_digests(e, 0),
                  *gradient = ddp_engine_digests(e, DDP_DIGEST_GRADIENT);
    ddp_text_init(&text);
    ddp_text_add(&text, "{\"step\":%lld", (long long)p->step);
    if (p->samples)
        ddp_text_add(&text, ",\"random\":{\"seed\":%lld,\"epoch\":%lld},\"samples\":\"%.16s\"",
                     (long long)p->seed, (long long)p->epoch, p->samples);
    if (p->samples && gradient)
        add_part(&text, "gradient", e->flat, e->flat->ntrained, 1, &gradient, NULL);
    if (p->samples)
        add_optimizer(&text, e);
    add_part(&text, "parameters", e->flat, e->flat->ntensors, 1, &parameters, NULL);
    ddp_text_add(&text, "}\n");
    int status = ddp_file_append(t->fd, t->path, text.s, text.len, err);
    ddp_text_finish(&text);
    return status ? ddp_error_prefix(err, "run.dir") : 0;
}

int ddp_trail_fd(const struct ddp_trail *t)
{
    return t ? t->fd : -1;
}

void ddp_trail_close(struct ddp_trail *t)
{
    if (!t)
        return;
    close(t->fd);
    free(t);
}
