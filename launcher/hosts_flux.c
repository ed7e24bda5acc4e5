/* Flux keeps what a job has in its key-value store and in no variable; its own command reads it. */
#include "launcher/hosts_flux.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMMAND "flux kvs get resource.R"

/* How many numbers an idset has: "0-3,7"; 0 also where there is none. */
static int count_ids(const json_t *idset)
{
    const char *ids = json_string_value(idset);
    struct ddp_words numbers = {0};
    char text[4096];
    if (!ids || !*ids || snprintf(text, sizeof text, "[%s]", ids) >= (int)sizeof text)
        return 0;
    const int n = ddp_hostlist_expand(text, &numbers, NULL) == 0 ? numbers.n : 0;
    ddp_words_finish(&numbers);
    return n;
}

/* One entry of R_lite is for several ranks of the instance, which are hosts, with the same cores and GPUs. */
static int read_entry(const json_t *entry, const struct ddp_words *names, int *next,
                      struct ddp_hosts_adder *a, struct ddp_error *err)
{
    const json_t *children = json_object_get(entry, "children");
    const int ranks = count_ids(json_object_get(entry, "rank"));
    if (ranks == 0 || *next + ranks > names->n)
        return ddp_fail(err, DDP_E_USAGE, "its nodelist has %d hosts, and its ranks are others", names->n);
    for (int i = 0; i < ranks; i++) {
        const int known = a->hosts.n, rc = ddp_hosts_add(a, names->w[(*next)++], 0, err);
        if (rc != 0)
            return rc;
        if (a->hosts.n == known)
            return ddp_fail(err, DDP_E_USAGE, "it names host %s twice", names->w[*next - 1]);
        a->hosts.host[known].cpus = count_ids(json_object_get(children, "core"));
        a->hosts.host[known].gpus = count_ids(json_object_get(children, "gpu"));
    }
    return 0;
}

static int read_execution(const json_t *execution, struct ddp_hosts_adder *a, struct ddp_error *err)
{
    const json_t *nodelist = json_object_get(execution, "nodelist"),
                 *lite = json_object_get(execution, "R_lite");
    struct ddp_words names = {0};
    int rc = 0, next = 0;
    for (size_t i = 0; i < json_array_size(nodelist) && rc == 0; i++) {
        const char *text = json_string_value(json_array_get(nodelist, i));
        rc = ddp_hostlist_expand(text ? text : "", &names, err);
    }
    for (size_t i = 0; i < json_array_size(lite) && rc == 0; i++)
        rc = read_entry(json_array_get(lite, i), &names, &next, a, err);
    ddp_words_finish(&names);
    if (rc == 0 && a->hosts.n == 0)
        rc = ddp_fail(err, DDP_E_USAGE, "it names no host");
    return rc;
}

int ddp_flux_read(const char *json, struct ddp_hosts *out, struct ddp_error *err)
{
    struct ddp_hosts_adder a = {0};
    json_error_t where;
    json_t *r = json_loads(json, JSON_REJECT_DUPLICATES, &where);
    int rc = r ? read_execution(json_object_get(r, "execution"), &a, err)
               : ddp_fail(err, DDP_E_USAGE, "line %d: %s", where.line, where.text);
    json_decref(r);
    if (rc != 0) {
        ddp_hosts_drop(&a);
        return ddp_error_prefix(err, "Flux's resource set ('" COMMAND "')");
    }
    ddp_hosts_added(&a, out);
    return 0;
}

int ddp_flux_ask(struct ddp_hosts *out, struct ddp_error *err)
{
    struct ddp_text t;
    char part[4096];
    size_t n;
    FILE *f = popen(COMMAND " 2>&1", "re");
    if (!f)
        return ddp_fail(err, DDP_E_RESOURCE, "'" COMMAND "' cannot be run; name the hosts with -H");
    ddp_text_init(&t);
    while ((n = fread(part, 1, sizeof part, f)) > 0)
        ddp_text_append(&t, part, n);
    const int status = pclose(f);
    const int rc =
        status == 0 ? ddp_flux_read(t.s, out, err)
                    : ddp_fail(err, DDP_E_RESOURCE,
                               "FLUX_URI is set, and '" COMMAND "' failed: %.*s; name the hosts with -H, or "
                               "unset FLUX_URI",
                               (int)strcspn(t.s, "\n"), t.s);
    ddp_text_finish(&t);
    return rc;
}
