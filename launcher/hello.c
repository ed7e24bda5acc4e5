/* Connecting to whom this agent belongs. */
#include "launcher/hello.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/address.h"
#include "launcher/network.h"

static const double CONNECT_S = 3; /* for each address */
enum { ROUNDS = 2 };

static char *hello_text(const char *token, int number)
{
    char host[256] = "localhost";
    gethostname(host, sizeof host - 1);
    json_t *hello = json_pack("{s:s,s:s,s:s,s:o}", "version", DDP_LAUNCH_VERSION, "token", token, "host",
                              host, "addresses", ddp_network_addresses());
    if (number != DDP_HELLO_HEAD)
        json_object_set_new(hello, "number", json_integer(number));
    char *text = json_dumps(hello, JSON_COMPACT);
    json_decref(hello);
    return text;
}

/* Connect and hear the token back: some other program may listen there, on a network of this host's own. */
static bool try_address(const char *address, int port, const char *token, const char *hello,
                        struct ddp_wire *out)
{
    struct ddp_frame frame;
    const double until = ddp_now() + CONNECT_S;
    const int fd = ddp_address_connect(address, port);
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    if (fd < 0)
        return false;
    if (poll(&p, 1, (int)(CONNECT_S * 1e3)) <= 0 || !ddp_address_connected(fd)) {
        close(fd);
        return false;
    }
    ddp_wire_init(out, fd);
    ddp_wire_send(out, DDP_WIRE_HELLO, hello, strlen(hello));
    if (ddp_wire_wait(out, until, &frame) && frame.kind == DDP_WIRE_WELCOME &&
        strcmp(frame.bytes, token) == 0) {
        out->most = DDP_WIRE_MOST;
        return true;
    }
    ddp_wire_finish(out);
    return false;
}

bool ddp_hello(const struct ddp_words *addresses, int port, const char *token, int number,
               struct ddp_wire *out)
{
    char *hello = hello_text(token, number);
    bool found = false;
    for (int round = 0; round < ROUNDS && !found; round++)
        for (int i = 0; i < addresses->n && !found; i++)
            found = try_address(addresses->w[i], port, token, hello, out);
    free(hello);
    return found;
}
