/* Interfaces as the kernel lists them, and sockets to and from them. */
#include "launcher/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BACKLOG = 1024 };

/* By what the kernel says, and by the names that containers' own networks have. */
static bool is_bridge(const char *name)
{
    static const char *const prefixes[] = {"docker", "br-",   "virbr", "veth", "cni", "flannel",
                                           "podman", "lxcbr", "lxdbr", "cali", "tun", "vmnet"};
    char path[64 + IF_NAMESIZE];
    snprintf(path, sizeof path, "/sys/class/net/%s/bridge", name);
    bool found = ddp_path_exists(path);
    for (size_t i = 0; i < DDP_COUNT(prefixes); i++)
        found |= strncmp(name, prefixes[i], strlen(prefixes[i])) == 0;
    return found;
}

static const uint8_t *bytes_of(const struct sockaddr *a, size_t *n)
{
    *n = a->sa_family == AF_INET ? 4 : 16;
    return a->sa_family == AF_INET
               ? (const uint8_t *)&((const struct sockaddr_in *)(const void *)a)->sin_addr
               : (const uint8_t *)&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;
}

static bool read_address(const struct ifaddrs *i, struct ddp_address *out)
{
    uint8_t net[16];
    char text[DDP_ADDRESS_TEXT];
    size_t n, m;
    int bits = 0;

    if (!i->ifa_addr || !i->ifa_netmask || !(i->ifa_flags & IFF_UP) || (i->ifa_flags & IFF_LOOPBACK) ||
        (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6))
        return false;
    const uint8_t *a = bytes_of(i->ifa_addr, &n), *mask = bytes_of(i->ifa_netmask, &m);
    const bool v6 = n == 16;
    if (v6 ? a[0] == 0xfe && (a[1] & 0xc0) == 0x80 : a[0] == 169 && a[1] == 254) /* link-local */
        return false;
    for (size_t k = 0; k < n; k++) {
        net[k] = a[k] & mask[k];
        bits += __builtin_popcount(mask[k]);
    }
    snprintf(out->interface, sizeof out->interface, "%s", i->ifa_name);
    inet_ntop(v6 ? AF_INET6 : AF_INET, a, out->text, sizeof out->text);
    inet_ntop(v6 ? AF_INET6 : AF_INET, net, text, sizeof text);
    snprintf(out->net, sizeof out->net, "%s/%d", text, bits);
    out->bridge = is_bridge(i->ifa_name);
    return true;
}

/* Plain ones first, IPv4 before IPv6, in the kernel's order. */
static int weight(const struct ddp_address *a)
{
    return 2 * a->bridge + (strchr(a->text, ':') != NULL);
}

int ddp_addresses_list(struct ddp_address **out)
{
    struct ifaddrs *all = NULL;
    int n = 0, cap = 0;

    *out = NULL;
    if (getifaddrs(&all) != 0)
        return 0;
    for (const struct ifaddrs *i = all; i; i = i->ifa_next)
        cap++;
    *out = ddp_calloc((size_t)cap + 1, sizeof **out);
    for (int w = 0; w < 4; w++)
        for (const struct ifaddrs *i = all; i; i = i->ifa_next)
            n += read_address(i, &(*out)[n]) && weight(&(*out)[n]) == w;
    freeifaddrs(all);
    return n;
}

char *ddp_addresses_of(const char *name)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *all = NULL;
    struct ddp_text text;
    char one[DDP_ADDRESS_TEXT];
    ddp_text_init(&text);
    if (getaddrinfo(name, NULL, &hints, &all) != 0)
        all = NULL;
    for (const struct addrinfo *i = all; i; i = i->ai_next)
        if (getnameinfo(i->ai_addr, i->ai_addrlen, one, sizeof one, NULL, 0, NI_NUMERICHOST) == 0)
            ddp_text_add(&text, "%s%s", text.len ? " " : "", one);
    if (all)
        freeaddrinfo(all);
    return text.s;
}

/* ---- sockets --------------------------------------------------------------------------------- */

int ddp_address_listen(int *fd, int *port, struct ddp_error *err)
{
    const int off = 0;
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    struct sockaddr_in four = {.sin_family = AF_INET};
    union {
        struct sockaddr any;
        struct sockaddr_in four;
        struct sockaddr_in6 six;
    } got = {.six = {0}};
    socklen_t size = sizeof got;

    *fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd >= 0 && (setsockopt(*fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) != 0 ||
                     bind(*fd, (struct sockaddr *)&six, sizeof six) != 0)) {
        close(*fd);
        *fd = -1;
    }
    if (*fd < 0) { /* a kernel without IPv6 */
        *fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (*fd >= 0 && bind(*fd, (struct sockaddr *)&four, sizeof four) != 0) {
            close(*fd);
            *fd = -1;
        }
    }
    if (*fd < 0 || listen(*fd, BACKLOG) != 0 || getsockname(*fd, &got.any, &size) != 0)
        return ddp_fail(err, DDP_E_RESOURCE, "no socket for other hosts to connect to: %s", strerror(errno));
    *port = ntohs(got.any.sa_family == AF_INET ? got.four.sin_port : got.six.sin6_port);
    return 0;
}

int ddp_address_connect(const char *text, int port)
{
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    const bool v6 = strchr(text, ':') != NULL;
    if (inet_pton(v6 ? AF_INET6 : AF_INET, text, v6 ? (void *)&six.sin6_addr : (void *)&four.sin_addr) != 1)
        return -1;
    const int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    const int rc = v6 ? connect(fd, (struct sockaddr *)&six, sizeof six)
                      : connect(fd, (struct sockaddr *)&four, sizeof four);
    if (rc != 0 && errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    return fd;
}

bool ddp_address_connected(int fd)
{
    int code = 0;
    socklen_t size = sizeof code;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size) == 0 && code == 0;
}
