/* Stand-in for NCCL: how ranks find each other, and messages between them.
 *
 * Each rank listens on a Unix socket named by the communicator's id, and connects to the ranks below it. The
 * name is abstract, or a file in the folder DDP_EMU_NCCL_DIR: ranks find those between networks, too. All
 * sockets are polled; what has to be written waits in `out`, what came in `in`. A message is a header and its
 * payload:
 *
 *   CALL     the tag of a call, in the order of calls between the two ranks, with the payload if there is one
 *   RESULT   a summed part of an all-reduce, found by the number of its call
 *   ACK      the receive that a send waits for has happened
 *   FAULT    a text: the sender's communicator has failed
 *   BYE      the sender has finished and will close
 */
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "emu.h"
#include "nccl_standin.h"

namespace standin
{
namespace
{
enum kind : uint32_t { CALL = 1, RESULT, ACK, FAULT, BYE };
const uint64_t MAGIC = 0x6464702d656d7531ull;

struct header {
    uint64_t magic;
    uint32_t what, pad;
    uint64_t bytes; /* of the payload */
    tag t;
};

void put(peer &p, kind what, const tag &t, const void *data, size_t bytes)
{
    header h = {MAGIC, what, 0, bytes, t};
    p.out.append((const char *)&h, sizeof h);
    if (bytes)
        p.out.append((const char *)data, bytes);
}

/* Where sockets are files; NULL: nowhere. */
const char *folder()
{
    const char *f = getenv("DDP_EMU_NCCL_DIR");
    return f && *f ? f : NULL;
}

socklen_t address(struct sockaddr_un *a, uint64_t id, int rank)
{
    memset(a, 0, sizeof *a);
    a->sun_family = AF_UNIX;
    if (folder()) {
        snprintf(a->sun_path, sizeof a->sun_path, "%s/ddp-emu-nccl-%016llx-%d", folder(),
                 (unsigned long long)id, rank);
        return sizeof *a;
    }
    const int n = snprintf(a->sun_path + 1, sizeof a->sun_path - 1, "ddp-emu-nccl-%016llx-%d",
                           (unsigned long long)id, rank);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
}

int make_socket()
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* NCCL takes ranks with equal host identity for ranks of one host; NCCL_HOSTID overrides it. */
uint64_t host_hash()
{
    char name[128] = "";
    const char *id = getenv("NCCL_HOSTID");
    if (!id || !*id) {
        (void)gethostname(name, sizeof name - 1);
        id = name;
    }
    uint64_t h = 1469598103934665603ull;
    for (const char *c = id; *c; c++)
        h = (h ^ (unsigned char)*c) * 1099511628211ull;
    return h;
}

hello introduce(const member &m)
{
    hello h = {};
    h.magic = MAGIC;
    h.host = host_hash();
    h.version = m.version;
    h.rank = m.rank;
    h.size = m.size;
    h.pid = getpid();
    const char *share = getenv("NCCL_MULTI_RANK_GPU_ENABLE");
    h.shares = m.version >= NCCL_VERSION(2, 30, 0) && share && atoi(share) == 1;
    device_id(m.device, h.bus);
    return h;
}

bool flush(peer &p)
{
    bool moved = false;
    while (p.fd >= 0 && p.out_at < p.out.size()) {
        const ssize_t n =
            send(p.fd, p.out.data() + p.out_at, p.out.size() - p.out_at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n <= 0)
            break; /* full; or broken: then reading says so */
        p.out_at += (size_t)n;
        moved = true;
    }
    if (p.out_at == p.out.size()) {
        p.out.clear();
        p.out_at = 0;
    }
    return moved;
}

bool fill(peer &p)
{
    bool moved = false;
    while (p.fd >= 0 && !p.gone) {
        const size_t had = p.in.size(), chunk = 1 << 18;
        p.in.resize(had + chunk);
        const ssize_t n = recv(p.fd, &p.in[had], chunk, MSG_DONTWAIT);
        const int e = errno;
        p.in.resize(had + (n > 0 ? (size_t)n : 0));
        if (n > 0)
            moved = true;
        else if (n == 0)
            p.gone = true;
        else if (e != ECONNRESET && e != EINTR) /* reset: what came before it is still to be read */
            break;
    }
    return moved;
}

/* Two ranks that cannot be in one communicator. */
bool fits(member &m, const hello &h)
{
    char text[400];
    const hello own = introduce(m);
    if (h.version != own.version)
        snprintf(text, sizeof text, "rank %d has NCCL version %d, rank %d has %d", m.rank, own.version,
                 h.rank, h.version);
    else if (h.size != own.size)
        snprintf(text, sizeof text, "rank %d opens a communicator of %d ranks, rank %d one of %d", m.rank,
                 own.size, h.rank, h.size);
    else if (h.host == own.host && strcmp(h.bus, own.bus) == 0 && !(h.shares && own.shares))
        snprintf(text, sizeof text, "Duplicate GPU detected : rank %d and rank %d both on CUDA device %s",
                 m.rank, h.rank, h.bus);
    else
        return true;
    nccl_fail(m, ncclInvalidUsage, text);
    return false;
}

/* The rest of an introduction. */
bool read_hello(peer &p, hello *h)
{
    fill(p);
    if (p.in.size() < sizeof *h)
        return false;
    memcpy(h, p.in.data(), sizeof *h);
    p.in.erase(0, sizeof *h);
    return true;
}

void stop_listening(member &m)
{
    struct sockaddr_un a;
    if (m.listener < 0)
        return;
    close(m.listener);
    m.listener = -1;
    (void)address(&a, m.id, m.rank);
    if (folder())
        unlink(a.sun_path);
}

void connect_down(member &m, int rank)
{
    peer &p = m.peers[(size_t)rank];
    if (p.fd >= 0)
        return;
    struct sockaddr_un a;
    const socklen_t len = address(&a, m.id, rank);
    const int fd = make_socket();
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, len) != 0) { /* not there yet, or busy */
        if (fd >= 0)
            close(fd);
        return;
    }
    p.fd = fd;
    const hello h = introduce(m);
    p.out.append((const char *)&h, sizeof h);
    flush(p);
}

void accept_up(member &m)
{
    for (int fd; (fd = accept4(m.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        peer p;
        p.fd = fd;
        const hello h = introduce(m);
        p.out.append((const char *)&h, sizeof h);
        flush(p);
        m.strangers.push_back(std::move(p));
    }
}

void mismatch(member &m, int from, const tag &theirs, const tag &ours)
{
    nccl_fail(m, ncclInvalidUsage,
              "ranks do not make the same calls: rank " + std::to_string(from) + " is at " +
                  tag_text(theirs, true) + ", rank " + std::to_string(m.rank) + " at " +
                  tag_text(ours, false));
}

/* Is there a whole message that waits to be delivered? */
bool has_message(const peer &p)
{
    header h;
    if (p.in.size() - p.in_at < sizeof h)
        return false;
    memcpy(&h, p.in.data() + p.in_at, sizeof h);
    return p.in.size() - p.in_at - sizeof h >= h.bytes;
}

/* One message at the front of p.in; false: none that can be dealt with yet. */
bool deliver(member &m, int from)
{
    peer &p = m.peers[(size_t)from];
    header h;
    if (!has_message(p))
        return false;
    memcpy(&h, p.in.data() + p.in_at, sizeof h);
    if (h.magic != MAGIC)
        die("NCCL stand-in: garbage from rank %d", from);
    const char *data = p.in.data() + p.in_at + sizeof h;
    if (h.what == CALL || h.what == RESULT) {
        std::deque<expectation> &line = h.what == CALL ? p.calls : p.results;
        auto e = line.begin();
        if (h.what == RESULT)
            while (e != line.end() && e->t.number != h.t.number)
                ++e;
        if (e == line.end())
            return false; /* we are not there yet */
        if (!(e->t == h.t) || e->bytes != h.bytes) {
            mismatch(m, from, h.t, e->t);
            return false;
        }
        if (e->to && h.bytes && !m.running)
            return false; /* device memory is closed to who only asks for errors */
        if (e->to && h.bytes)
            memcpy(e->to, data, h.bytes);
        if (e->missing)
            --*e->missing;
        if (h.what == CALL && h.t.what == call::send_recv)
            put(p, ACK, h.t, NULL, 0);
        line.erase(e);
    } else if (h.what == ACK) {
        p.acks_in++;
    } else if (h.what == BYE) {
        p.leaves = true;
    } else {
        nccl_fail(m, ncclRemoteError, std::string(data, h.bytes), false);
    }
    p.in_at += sizeof h + h.bytes;
    if (p.in_at == p.in.size() || p.in_at > (1 << 20)) {
        p.in.erase(0, p.in_at);
        p.in_at = 0;
    }
    return true;
}
} // namespace

int64_t nccl_now_ms()
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t nccl_timeout_ms()
{
    return setting("DDP_EMU_NCCL_TIMEOUT", 60) * 1000;
}

bool operator==(const tag &a, const tag &b)
{
    return a.what == b.what && a.captured == b.captured && a.type == b.type && a.root == b.root &&
           a.count == b.count && a.number == b.number;
}

std::string tag_text(const tag &t, bool sends)
{
    static const char *const names[] = {"", "broadcast", "allGather", "allReduce", "allReduce"};
    std::string s = "call " + std::to_string(t.number) + ": ";
    s += t.captured ? "captured " : "";
    s += t.what == call::send_recv ? (sends ? "send" : "recv") : names[(int)t.what];
    s += " of " + std::to_string(t.count) + " elements of type " + std::to_string(t.type);
    if (t.what == call::broadcast)
        s += " from root " + std::to_string(t.root);
    return s;
}

ncclResult_t nccl_fail(member &m, ncclResult_t r, const std::string &text, bool tell)
{
    if (m.failed())
        return m.state;
    m.state = r;
    m.error = text;
    broke(cudaSuccess, "NCCL, rank %d: %s", m.rank, text.c_str());
    for (auto *peers : {&m.peers, &m.strangers})
        for (peer &p : *peers)
            if (tell && p.fd >= 0) {
                put(p, FAULT, tag(), text.data(), text.size());
                flush(p);
            }
    return r;
}

member::~member()
{
    link_close(*this);
}

ncclResult_t link_begin(member &m)
{
    m.peers = std::vector<peer>((size_t)m.size);
    m.peers[(size_t)m.rank].known = true;
    m.moved = nccl_now_ms();
    struct sockaddr_un a;
    const socklen_t len = address(&a, m.id, m.rank);
    m.listener = make_socket();
    if (m.listener < 0 || bind(m.listener, (struct sockaddr *)&a, len) != 0 ||
        listen(m.listener, m.size) != 0)
        return nccl_fail(m, errno == EADDRINUSE ? ncclInvalidUsage : ncclSystemError,
                         "rank " + std::to_string(m.rank) + " cannot listen (" + strerror(errno) +
                             "): is it there twice, or the id used twice?");
    return ncclSuccess;
}

bool link_join(member &m)
{
    link_pump(m); /* who is known already may have failed, or died */
    if (m.failed())
        return false;
    for (int r = 0; r < m.rank; r++)
        connect_down(m, r);
    accept_up(m);
    bool all = true;
    for (int r = 0; r < m.rank; r++) {
        peer &p = m.peers[(size_t)r];
        hello h;
        if (!p.known && p.fd >= 0 && read_hello(p, &h)) {
            p.known = true;
            p.pid = (long)h.pid;
            m.moved = nccl_now_ms();
            if (!fits(m, h))
                return false;
        }
        if (!p.known && p.gone) {
            nccl_fail(m, ncclRemoteError,
                      "rank " + std::to_string(r) + " left while the communicator was opened");
            return false;
        }
    }
    for (size_t i = 0; i < m.strangers.size();) {
        hello h;
        if (!read_hello(m.strangers[i], &h)) {
            i++;
            continue;
        }
        m.moved = nccl_now_ms();
        peer p = std::move(m.strangers[i]);
        m.strangers.erase(m.strangers.begin() + (long)i);
        p.known = true;
        p.pid = (long)h.pid;
        if (h.rank > m.rank && h.rank < m.size && m.peers[(size_t)h.rank].fd < 0) {
            m.peers[(size_t)h.rank] = std::move(p);
        } else
            m.strangers.push_back(std::move(p)); /* fits() says why, and tells it */
        if (!fits(m, h))
            return false;
    }
    for (const peer &p : m.peers)
        all &= p.known;
    if (all) {
        stop_listening(m);
    } else if (nccl_now_ms() - m.moved > nccl_timeout_ms()) {
        std::string who;
        for (int r = 0; r < m.size; r++)
            if (!m.peers[(size_t)r].known)
                who += (who.empty() ? "" : ", ") + std::to_string(r);
        nccl_fail(m, ncclSystemError, "opening the communicator: no word from rank(s) " + who);
    }
    return all;
}

void link_send(peer &p, const tag &t, const void *data, size_t bytes)
{
    put(p, t.what == call::all_reduce_result ? RESULT : CALL, t, data, bytes);
}

void link_pump(member &m)
{
    for (int r = 0; r < m.size; r++) {
        peer &p = m.peers[(size_t)r];
        if (p.fd < 0 || !p.known)
            continue;
        bool moved = flush(p);
        moved |= fill(p);
        while (!m.failed() && deliver(m, r))
            moved = true;
        flush(p);
        if (moved)
            m.moved = nccl_now_ms();
        if (m.failed())
            return;
        const bool wanted = !p.calls.empty() || !p.results.empty() || p.acks_in < p.acks_out;
        /* what it sent before it went still counts; also that it has finished */
        if (p.gone && !has_message(p) && (!p.leaves || wanted) && !m.finalized) {
            nccl_fail(m, ncclRemoteError,
                      "rank " + std::to_string(r) + " (process " + std::to_string(p.pid) + ")" +
                          (p.leaves ? " has closed its communicator, and rank " + std::to_string(m.rank) +
                                          " still waits for it"
                                    : " is gone: it died or aborted"));
            return;
        }
    }
}

bool link_flushed(const member &m)
{
    for (const peer &p : m.peers)
        if (p.fd >= 0 && !p.out.empty())
            return false;
    return true;
}

void link_waits_for(const member &m, std::vector<struct pollfd> &fds)
{
    auto add = [&](int fd, bool out) {
        if (fd >= 0)
            fds.push_back({fd, (short)(POLLIN | (out ? POLLOUT : 0)), 0});
    };
    if (m.failed() || m.aborted)
        return;
    add(m.listener, false);
    for (auto *peers : {&m.peers, &m.strangers})
        for (const peer &p : *peers)
            if (!p.gone)
                add(p.fd, !p.out.empty());
}

void link_leave(member &m)
{
    for (peer &p : m.peers)
        if (p.fd >= 0) {
            put(p, BYE, tag(), NULL, 0);
            const int64_t end = nccl_now_ms() + 1000;
            while (flush(p), !p.out.empty() && !p.gone && nccl_now_ms() < end) {
                struct pollfd f = {p.fd, POLLOUT, 0};
                poll(&f, 1, 50);
                fill(p);
            }
        }
    link_close(m);
}

void link_close(member &m)
{
    for (auto *peers : {&m.peers, &m.strangers})
        for (peer &p : *peers) {
            if (p.fd >= 0)
                close(p.fd);
            p.fd = -1;
        }
    stop_listening(m);
}

} // namespace standin
