/* This host's addresses: where it may be reached by others. */
#ifndef DDP_LAUNCHER_ADDRESS_H
#define DDP_LAUNCHER_ADDRESS_H

#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/base.h"

enum { DDP_ADDRESS_TEXT = INET6_ADDRSTRLEN };

struct ddp_address {
    char interface[IF_NAMESIZE];
    char text[DDP_ADDRESS_TEXT];    /* "10.77.0.1" */
    char net[DDP_ADDRESS_TEXT + 4]; /* "10.77.0.0/24" */
    bool bridge; /* of containers or virtual machines: others may have the same one for themselves */
};

/* Addresses of interfaces that are up, those of bridges last; neither loopback nor link-local. *out is
 * malloc'd; returns how many. */
int ddp_addresses_list(struct ddp_address **out);

/* What a host's name stands for, as the system knows it: addresses with spaces between, malloc'd; ""
 * unknown. */
char *ddp_addresses_of(const char *name);

/* A socket that listens on a port that the system chooses, at all addresses. */
int ddp_address_listen(int *fd, int *port, struct ddp_error *err);
/* Begin to connect, without waiting. Returns the socket; -1: no such address. */
int ddp_address_connect(const char *text, int port);
/* Whether a connection that was begun and that poll calls writable stands. */
bool ddp_address_connected(int fd);

#endif
