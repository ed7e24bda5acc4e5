/* From addresses, and from who has reached whom, to a network. */
#include "launcher/network.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/address.h"
#include "launcher/fields.h"

json_t *ddp_network_addresses(void)
{
    struct ddp_address *list;
    const int n = ddp_addresses_list(&list);
    json_t *out = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(out, json_pack("{s:s,s:s,s:s,s:b}", "interface", list[i].interface, "address",
                                             list[i].text, "net", list[i].net, "bridge", list[i].bridge));
    free(list);
    return out;
}

/* Whether `from` has reached `to` at this address; NULL: at any. */
static bool has_reached(const struct ddp_network_host *from, const struct ddp_network_host *to,
                        const char *address)
{
    size_t i;
    json_t *a;
    json_array_foreach(json_object_get(from->reached, to->name), i, a)
        if (!address || strcmp(json_string_value(a), address) == 0)
            return true;
    return false;
}

static bool is_common(const struct ddp_network_host *host, int n, const char *key, const char *value)
{
    for (int j = 0; j < n; j++) {
        const json_t *a = ddp_field_find(host[j].addresses, key, value);
        for (int i = 0; i < n; i++)
            if (!a || (i != j && !has_reached(&host[i], &host[j], ddp_field_text(a, "address"))))
                return false;
    }
    return true;
}

static void take(const struct ddp_network_host *host, int n, const char *key, const char *value,
                 struct ddp_network *out)
{
    snprintf(out->net, sizeof out->net, "%s",
             ddp_field_text(ddp_field_find(host[0].addresses, key, value), "net"));
    for (int i = 0; i < n; i++)
        snprintf(out->interface[i], sizeof out->interface[i], "%s",
                 ddp_field_text(ddp_field_find(host[i].addresses, key, value), "interface"));
}

static void list_addresses(const struct ddp_network_host *h, char *out, size_t size)
{
    size_t i;
    json_t *a;
    *out = '\0';
    json_array_foreach(h->addresses, i, a)
        snprintf(out + strlen(out), size - strlen(out), "%s%s", i ? ", " : "", ddp_field_text(a, "address"));
}

/* The first pair of each host is enough to see what is wrong. */
static bool find_unreachable(const struct ddp_network_host *host, int n, struct ddp_text *faults)
{
    bool found = false;
    for (int j = 0; j < n; j++)
        for (int i = 0; i < n; i++)
            if (i != j && !has_reached(&host[i], &host[j], NULL)) {
                char at[256];
                list_addresses(&host[j], at, sizeof at);
                ddp_text_add(faults,
                             "%s: cannot be reached from %s (tried %s, any port); does a firewall part them? "
                             "Ranks need all ports between the job's hosts\n",
                             host[j].name, host[i].name, *at ? at : "nothing, it has no address");
                found = true;
                break;
            }
    return found;
}

static void take_wanted(const struct ddp_network_host *host, int n, const char *wanted,
                        struct ddp_network *out, struct ddp_text *faults)
{
    const char *key = strchr(wanted, '/') ? "net" : "interface";
    bool all = true;
    for (int i = 0; i < n; i++)
        if (!ddp_field_find(host[i].addresses, key, wanted)) {
            struct ddp_text has;
            size_t k;
            json_t *a;
            ddp_text_init(&has);
            json_array_foreach(host[i].addresses, k, a)
                ddp_text_add(&has, "%s%s (%s)", k ? ", " : "", ddp_field_text(a, "interface"),
                             ddp_field_text(a, "net"));
            ddp_text_add(faults, "%s: comm.interface = \"%s\" is not there; it has %s\n", host[i].name,
                         wanted, has.s);
            ddp_text_finish(&has);
            all = false;
        }
    if (!all)
        return;
    take(host, n, key, wanted, out);
    if (strcmp(key, "interface") == 0 && !is_common(host, n, "net", out->net))
        snprintf(out->net, sizeof out->net, "%s", wanted); /* in different nets: by its name */
}

void ddp_network_choose(const struct ddp_network_host *host, int n, const char *wanted,
                        struct ddp_network *out, struct ddp_text *faults)
{
    size_t k;
    json_t *a;
    *out = (struct ddp_network){.interface = ddp_calloc((size_t)n, sizeof *out->interface)};
    if (find_unreachable(host, n, faults))
        return;
    if (*wanted) {
        take_wanted(host, n, wanted, out, faults);
        return;
    }
    json_array_foreach(host[0].addresses, k, a)
        if (is_common(host, n, "net", ddp_field_text(a, "net"))) {
            take(host, n, "net", ddp_field_text(a, "net"), out);
            return;
        }
}
