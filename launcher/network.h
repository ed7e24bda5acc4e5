/* Which network hosts use between them: one in which each has an address, and by which all reached all. */
#ifndef DDP_LAUNCHER_NETWORK_H
#define DDP_LAUNCHER_NETWORK_H

#include <jansson.h>

#include "base/base.h"

struct ddp_network_host {
    const char *name;
    const json_t *addresses; /* [{interface, address, net, bridge}], those to be preferred first */
    const json_t *reached;   /* {name of another: [address ..]} */
};

struct ddp_network {
    char net[64];          /* "10.77.0.0/24"; "" none is common to all, and they reach each other otherwise */
    char (*interface)[64]; /* [n] what each host calls its own part of it; "" not known */
};

/* This host's addresses as the above. A new reference. */
json_t *ddp_network_addresses(void);

/* Choose. wanted: an interface ("eth0") or a net that a user has chosen; "" none. Pure. Faults, a line each
 * with host and way out, are added to faults. out->interface is malloc'd. */
void ddp_network_choose(const struct ddp_network_host *host, int n, const char *wanted,
                        struct ddp_network *out, struct ddp_text *faults);

#endif
