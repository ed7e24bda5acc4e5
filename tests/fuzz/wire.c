/* What a peer sends over the wire between hosts, in pieces as the first byte says. */
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "launcher/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int end[2];
    struct ddp_wire w;
    struct ddp_frame frame;
    FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, end) == 0);
    ddp_wire_init(&w, end[0]);
    const size_t piece = size > 0 ? 1 + data[0] : 1;
    for (size_t at = 1; at < size && !w.over; at += piece) {
        if (write(end[1], data + at, piece < size - at ? piece : size - at) < 0)
            break;
        ddp_wire_move(&w);
        for (; ddp_wire_next(&w, &frame); fuzz_taken++)
            FUZZ_CHECK(frame.n <= w.most && frame.bytes[frame.n] == '\0');
    }
    close(end[1]);
    ddp_wire_move(&w);
    while (ddp_wire_next(&w, &frame))
        continue;
    ddp_wire_finish(&w);
    return 0;
}
