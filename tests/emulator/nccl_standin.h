/* Stand-in for NCCL: what its files share. Ranks are processes, or threads of one, on one host; each pair has
 * a socket. Every message says which call of its rank it belongs to, so that ranks that do not make the same
 * calls in the same order find out at once, where NCCL would hang or give wrong numbers.
 *
 * Environment:
 *   DDP_EMU_NCCL_TIMEOUT=s   without progress a communicator fails (60)
 *   DDP_EMU_NCCL_DIR=folder  where ranks find each other; not set: in the network of their host
 *   DDP_EMU_NCCL_VERSION=n   what ncclGetVersion() says (22809)
 *   NCCL_HOSTID, NCCL_MULTI_RANK_GPU_ENABLE, NCCL_GRAPH_MIXING_SUPPORT as NCCL's own
 */
#ifndef DDP_EMU_NCCL_STANDIN_H
#define DDP_EMU_NCCL_STANDIN_H

#include <string>

#include "nccl.h"
#include "standin.h"

namespace standin
{

enum class call : uint8_t { send_recv, broadcast, all_gather, all_reduce, all_reduce_result };

/* What a message belongs to; both sides of a pair must agree on all of it. */
struct tag {
    call what;
    uint8_t captured; /* from a graph */
    uint16_t type;
    int32_t root;
    uint64_t count; /* of the call */
    uint64_t
        number; /* of the call in its communicator (all-reduce results), else of the message in its pair */
};
bool operator==(const tag &a, const tag &b);
std::string tag_text(const tag &t, bool sends);

/* What a rank will take from a peer next. */
struct expectation {
    tag t;
    void *to; /* NULL: nothing but the tag */
    size_t bytes;
    std::shared_ptr<int> missing; /* counted down; may be NULL */
};

struct peer {
    int fd = -1;
    bool known = false;  /* it has introduced itself */
    bool leaves = false; /* it said that it has finished */
    bool gone = false;   /* end of file */
    long pid = 0;
    std::string in, out;
    size_t in_at = 0, out_at = 0;
    std::deque<expectation> calls, results;
    uint64_t calls_in = 0, calls_out = 0; /* messages of calls so far */
    uint64_t acks_in = 0, acks_out = 0;   /* sends that the other side has taken; that we have made */
};

struct hello {
    uint64_t magic, host;
    int32_t version, rank, size, shares; /* shares: several ranks may have one device */
    int64_t pid;
    char bus[16];
};

/* One rank of a communicator; its works keep it alive after ncclCommDestroy(). */
struct member {
    uint64_t id = 0;
    int rank = 0, size = 0, device = 0, version = 0;
    bool blocking = true, finalized = false;
    bool aborted = false;
    bool running = false; /* a work of it runs: device memory is open */
    ncclResult_t state = ncclInProgress;
    std::string error;
    int listener = -1;
    std::vector<peer> peers;
    std::vector<peer> strangers; /* accepted, not introduced yet */
    int64_t moved = 0;           /* when there was progress, ms */
    int delay = 0;               /* polls that ncclInProgress lasts at least */
    uint64_t calls = 0;          /* collectives and results */
    std::deque<work *> order;    /* issued and not done, oldest first */
    int graphs = 0;              /* of them, from graphs */
    struct later {
        std::shared_ptr<queue> q;
        std::shared_ptr<work> w;
    };
    std::vector<later> deferred; /* called, not yet enqueued: until ncclCommGetAsyncError() says so */

    ~member();
    bool failed() const { return state != ncclSuccess && state != ncclInProgress; }
};

/* ---- nccl_link.cpp: sockets ---- */
int64_t nccl_now_ms();
ncclResult_t link_begin(member &m); /* listen */
bool link_join(member &m);          /* some steps of the introduction; true: all peers are known */
void link_send(peer &p, const tag &t, const void *data, size_t bytes);
void link_ack(peer &p);
void link_pump(member &m); /* move what can be moved, deliver what is expected; may fail the communicator */
bool link_flushed(const member &m);
void link_leave(member &m); /* say that we have finished, and close */
void link_close(member &m);
void link_waits_for(const member &m, std::vector<struct pollfd> &fds);
/* The communicator has failed: its own state, a line, and the peers are told. */
ncclResult_t nccl_fail(member &m, ncclResult_t r, const std::string &text, bool tell = true);
int64_t nccl_timeout_ms();

/* ---- nccl_work.cpp: calls as work on a stream ---- */
struct one_call {
    call what;
    const void *from;
    void *to;
    size_t count;
    ncclDataType_t type;
    int root; /* or the other side */
    bool sends;
};
size_t nccl_type_bytes(ncclDataType_t t); /* 0: none */
/* What a call writes at `to`, of a communicator of so many ranks. */
size_t nccl_room(const one_call &c, int ranks);
bool nccl_can_sum(ncclDataType_t t);
std::shared_ptr<work> nccl_work(const std::shared_ptr<member> &m, std::vector<one_call> &&calls);

} // namespace standin
#endif
