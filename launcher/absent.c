/* Trying the port of ssh on hosts that have not reported. */
#include "launcher/absent.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "launcher/address.h"

static const double ABSENT_S = 3.5; /* a host that is not there is known after 3 s on its own network */
enum { SSH_PORT = 22, ABSENT_MOST = 64 };

void ddp_absent_tell(const struct ddp_words *missing, const struct ddp_words *address, struct ddp_text *said)
{
    struct pollfd fds[ABSENT_MOST];
    const int n = missing->n < ABSENT_MOST ? missing->n : ABSENT_MOST;
    const double until = ddp_now() + ABSENT_S;
    bool waits = true;
    for (int i = 0; i < n; i++) {
        char one[DDP_ADDRESS_TEXT];
        snprintf(one, sizeof one, "%.*s", (int)strcspn(address->w[i], " "), address->w[i]);
        fds[i] = (struct pollfd){.fd = ddp_address_connect(one, SSH_PORT), .events = POLLOUT};
    }
    while (waits && ddp_now() < until) {
        waits = false;
        poll(fds, (nfds_t)n, 100);
        for (int i = 0; i < n; i++)
            waits |= fds[i].fd >= 0 && fds[i].revents == 0;
    }
    for (int i = 0; i < n; i++) {
        int code = 0;
        socklen_t size = sizeof code;
        if (fds[i].fd < 0)
            continue;
        getsockopt(fds[i].fd, SOL_SOCKET, SO_ERROR, &code, &size);
        if (fds[i].revents == 0 || code == EHOSTUNREACH || code == ETIMEDOUT)
            ddp_text_add(said, "%s does not answer at port %d\n", missing->w[i], SSH_PORT);
        close(fds[i].fd);
    }
}
