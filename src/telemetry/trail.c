/* weights.trail: what two runs are compared by, step by step and tensor by tensor. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "telemetry/records.h"
#include "telemetry/telemetry.h"

struct ddp_trail {
    int fd;
    char path[1100];
};

int ddp_trail_open(const char *run_dir, const struct ddp_records_from *from, struct ddp_later *later,
                   struct ddp_trail **out, struct ddp_error *err)
{
    struct ddp_trail *t = ddp_calloc(1, sizeof *t);
    snprintf(t->path, sizeof t->path, "%s/weights.trail", run_dir);
    static const char head[] =
        "{\"format\":\"ddp-trail\",\"version\":1,\"hash\":\"sha256\",\"tensor_digits\":16}\n";
    int status = ddp_records_open(t->path, head, from, later, &t->fd, err);
    if (status) {
        free(t);
        return status;
    }
    *out = t;
    return 0;
}

/* ,"name":{"hash":"64 digits","tensors":{"conv1.weight":"16 digits",...}} */
static void add_part(struct ddp_text *text, const char *name, const struct ddp_snapshot *s, bool optimizer)
{
    int n;
    char hex[65];
    struct ddp_st_tensor *list = ddp_snapshot_tensors(s, optimizer, &n);
    if (n > 0) {
        ddp_st_hash(list, n, hex);
        ddp_text_add(text, ",\"%s\":{\"hash\":\"%s\",\"tensors\":{", name, hex);
        for (int i = 0; i < n; i++) {
            ddp_st_hash(&list[i], 1, hex);
            ddp_text_add(text, "%s\"%s\":\"%.16s\"", i ? "," : "", list[i].name, hex);
        }
        ddp_text_add(text, "}}");
    }
    free(list);
}

int ddp_trail_add(struct ddp_trail *t, int64_t step, const struct ddp_snapshot *s, struct ddp_error *err)
{
    struct ddp_text text;
    ddp_text_init(&text);
    ddp_text_add(&text, "{\"step\":%lld", (long long)step);
    add_part(&text, "parameters", s, false);
    add_part(&text, "optimizer", s, true);
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
