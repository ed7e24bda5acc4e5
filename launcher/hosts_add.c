/* Collecting hosts: a hash table, as lists of schedulers name tens of thousands. */
#include "launcher/hosts_add.h"

#include <stdlib.h>
#include <string.h>

enum { NAMINGS_MAX = 1 << 22 };

static int *slot_of(const struct ddp_hosts_adder *a, const char *name)
{
    int at = (int)(ddp_name_hash(name) & (uint32_t)(a->size - 1));
    while (a->index[at] && strcmp(a->hosts.host[a->index[at] - 1].name, name) != 0)
        at = (at + 1) & (a->size - 1);
    return &a->index[at];
}

/* At most half full. */
static void grow(struct ddp_hosts_adder *a)
{
    a->size = a->size ? 2 * a->size : 64;
    free(a->index);
    a->index = ddp_calloc((size_t)a->size, sizeof *a->index);
    const size_t room = (size_t)a->size / 2;
    a->hosts.host = ddp_realloc(a->hosts.host, room * sizeof *a->hosts.host);
    a->unsaid = ddp_realloc(a->unsaid, room * sizeof *a->unsaid);
    a->said = ddp_realloc(a->said, room * sizeof *a->said);
    for (int i = 0; i < a->hosts.n; i++)
        *slot_of(a, a->hosts.host[i].name) = i + 1;
}

int ddp_hosts_add(struct ddp_hosts_adder *a, const char *name, int64_t slots, struct ddp_error *err)
{
    if (++a->namings > NAMINGS_MAX)
        return ddp_fail(err, DDP_E_USAGE, "the list names hosts more than %d times", NAMINGS_MAX);
    if (2 * a->hosts.n >= a->size)
        grow(a);
    int *slot = slot_of(a, name);
    if (*slot == 0) {
        if (a->hosts.n == DDP_HOSTS_MAX)
            return ddp_fail(err, DDP_E_USAGE, "the list comes to more than %d hosts", DDP_HOSTS_MAX);
        a->hosts.host[a->hosts.n] = (struct ddp_host){.name = ddp_strdup(name), .gpus = -1};
        a->unsaid[a->hosts.n] = 0;
        a->said[a->hosts.n] = false;
        *slot = ++a->hosts.n;
    }
    const int i = *slot - 1;
    struct ddp_host *h = &a->hosts.host[i];
    a->unsaid[i] += slots == 0;
    a->said[i] = a->said[i] || slots > 0;
    if (slots > DDP_SLOTS_MAX || h->slots + slots + a->unsaid[i] > DDP_SLOTS_MAX)
        return ddp_fail(err, DDP_E_USAGE, "host %s has more than %d slots", name, DDP_SLOTS_MAX);
    h->slots += (int)slots;
    return 0;
}

int ddp_hosts_add_all(struct ddp_hosts_adder *a, const struct ddp_words *names, int64_t slots,
                      struct ddp_error *err)
{
    int rc = 0;
    for (int i = 0; i < names->n && rc == 0; i++)
        rc = ddp_hosts_add(a, names->w[i], slots, err);
    return rc;
}

static void free_scratch(struct ddp_hosts_adder *a)
{
    free(a->index);
    free(a->unsaid);
    free(a->said);
    *a = (struct ddp_hosts_adder){0};
}

void ddp_hosts_finish(struct ddp_hosts *hosts)
{
    for (int i = 0; i < hosts->n; i++)
        free(hosts->host[i].name);
    free(hosts->host);
    *hosts = (struct ddp_hosts){0};
}

void ddp_hosts_added(struct ddp_hosts_adder *a, struct ddp_hosts *out)
{
    for (int i = 0; i < a->hosts.n; i++)
        if (a->said[i] || a->unsaid[i] > 1)
            a->hosts.host[i].slots += a->unsaid[i];
    *out = a->hosts;
    free_scratch(a);
}

void ddp_hosts_drop(struct ddp_hosts_adder *a)
{
    ddp_hosts_finish(&a->hosts);
    free_scratch(a);
}

const char *ddp_hosts_env(const char *const *env, const char *name)
{
    const size_t n = strlen(name);
    for (; *env; env++)
        if (strncmp(*env, name, n) == 0 && (*env)[n] == '=' && (*env)[n + 1])
            return *env + n + 1;
    return NULL;
}
