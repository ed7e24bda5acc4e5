/* Stand-in for NCCL: calls as work on a stream.
 *
 * The works of a communicator run one after the other in the order in which they were issued, whatever
 * streams they are on (as NCCL orders its own). A work is asked again and again until it is done; in between
 * other streams go on.
 *
 * A send is done when the other side has received: who counts on buffers in between is found out. An
 * all-reduce of n ranks cuts the elements into n parts; rank r sums part r, from rank r + 1 on around: an
 * order that the canonical sum does not have. */
#include <cstring>

#include "emu.h"
#include "nccl_standin.h"

namespace standin
{
namespace
{
size_t part_begin(size_t count, int size, int part)
{
    return count / (size_t)size * (size_t)part + std::min((size_t)part, count % (size_t)size);
}

template <class T> void add_up(void *sum, const void *more, size_t count)
{
    T *s = (T *)sum;
    const T *m = (const T *)more;
    for (size_t i = 0; i < count; i++)
        s[i] = (T)(s[i] + m[i]);
}

void add(ncclDataType_t type, void *sum, const void *more, size_t count)
{
    switch (type) {
    case ncclFloat32:
        return add_up<float>(sum, more, count);
    case ncclFloat64:
        return add_up<double>(sum, more, count);
    case ncclInt32:
    case ncclUint32:
        return add_up<uint32_t>(sum, more, count);
    default:
        return add_up<uint64_t>(sum, more, count);
    }
}

void reads(const void *p, size_t bytes, const char *what)
{
    const int64_t at = emu_unwritten(p, bytes);
    if (at >= 0)
        emu_fault(EMU_UNWRITTEN, "NCCL %s of %zu bytes from %p: nothing wrote byte %lld", what, bytes, p,
                  (long long)at);
}

struct group : work {
    std::shared_ptr<member> m;
    std::vector<one_call> calls;
    bool from_graph = false, begun = false, listed = false;
    /* one for each call */
    struct state {
        std::shared_ptr<int> missing = std::make_shared<int>(0);       /* messages */
        std::shared_ptr<int> missing_parts = std::make_shared<int>(0); /* of an all-reduce, before the sum */
        uint64_t number = 0, ack = 0;
        std::vector<std::string> parts; /* of every rank, for the part that we sum */
        bool summed = false;
    };
    std::vector<state> states;

    ~group() override { unlist(); }
    const char *name() const override { return "NCCL"; }
    const void *chain() const override { return m.get(); }
    bool collective() const override { return true; }
    bool ready() const override { return m->aborted || m->order.empty() || m->order.front() == this; }
    void waits_for(std::vector<struct pollfd> &fds) const override { link_waits_for(*m, fds); }

    std::shared_ptr<work> issue(const std::shared_ptr<work> &self, bool graph) override
    {
        std::shared_ptr<work> mine = self;
        if (graph) {
            auto g = std::make_shared<group>();
            g->m = m;
            g->calls = calls;
            mine = g;
        }
        group &g = static_cast<group &>(*mine);
        g.from_graph = graph;
        g.listed = true;
        m->order.push_back(&g);
        m->graphs += graph;
        return mine;
    }

    void unlist()
    {
        if (!listed)
            return;
        listed = false;
        m->graphs -= from_graph;
        for (auto i = m->order.begin(); i != m->order.end(); ++i)
            if (*i == this) {
                m->order.erase(i);
                break;
            }
    }

    tag tag_of(const one_call &c, uint64_t number) const
    {
        tag t = {};
        t.what = c.what;
        t.captured = from_graph;
        t.type = (uint16_t)c.type;
        t.root = c.what == call::broadcast ? c.root : 0;
        t.count = c.count;
        t.number = number;
        return t;
    }

    /* To every other rank its message, and one is expected from it. */
    template <class Data, class Room> void exchange(const one_call &c, state &s, Data data, Room room)
    {
        for (int r = 0; r < m->size; r++) {
            peer &p = m->peers[(size_t)r];
            if (r == m->rank)
                continue;
            auto out = data(r);
            link_send(p, tag_of(c, p.calls_out++), out.first, out.second);
            expectation e = {tag_of(c, p.calls_in++), nullptr, 0, nullptr};
            room(r, e);
            if (e.to) {
                e.missing = c.what == call::all_reduce ? s.missing_parts : s.missing;
                ++*e.missing;
            }
            p.calls.push_back(e);
        }
    }

    void begin_broadcast(const one_call &c, state &s)
    {
        const size_t bytes = c.count * nccl_type_bytes(c.type);
        const bool root = c.root == m->rank;
        if (root)
            reads(c.from, bytes, "broadcast");
        exchange(
            c, s, [&](int) { return std::make_pair(c.from, root ? bytes : 0); },
            [&](int r, expectation &e) {
                e.bytes = r == c.root ? bytes : 0;
                e.to = r == c.root ? c.to : nullptr;
            });
        if (root && c.to != c.from) {
            memmove(c.to, c.from, bytes);
            emu_mark_written(c.to, bytes);
        }
    }

    /* In place where `from` is the rank's own row of `to`. */
    void begin_all_gather(const one_call &c, state &s)
    {
        const size_t bytes = c.count * nccl_type_bytes(c.type);
        char *own = (char *)c.to + (size_t)m->rank * bytes;
        reads(c.from, bytes, "allGather");
        exchange(
            c, s, [&](int) { return std::make_pair(c.from, bytes); },
            [&](int r, expectation &e) {
                e.bytes = bytes;
                e.to = (char *)c.to + (size_t)r * bytes;
            });
        if (own != c.from)
            memmove(own, c.from, bytes);
        emu_mark_written(own, bytes);
    }

    size_t part_bytes(const one_call &c, int r) const
    {
        return (part_begin(c.count, m->size, r + 1) - part_begin(c.count, m->size, r)) *
               nccl_type_bytes(c.type);
    }
    size_t part_offset(const one_call &c, int r) const
    {
        return part_begin(c.count, m->size, r) * nccl_type_bytes(c.type);
    }

    void begin_all_reduce(const one_call &c, state &s)
    {
        reads(c.from, c.count * nccl_type_bytes(c.type), "allReduce");
        const size_t mine = part_bytes(c, m->rank);
        s.number = m->calls++;
        s.parts.assign((size_t)m->size, std::string(mine + 1, '\0'));
        memcpy(&s.parts[(size_t)m->rank][0], (const char *)c.from + part_offset(c, m->rank), mine);
        exchange(
            c, s,
            [&](int r) {
                return std::make_pair((const void *)((const char *)c.from + part_offset(c, r)),
                                      part_bytes(c, r));
            },
            [&](int r, expectation &e) {
                e.bytes = mine;
                e.to = &s.parts[(size_t)r][0];
            });
        one_call result = c;
        result.what = call::all_reduce_result;
        for (int r = 0; r < m->size; r++)
            if (r != m->rank) {
                ++*s.missing;
                m->peers[(size_t)r].results.push_back({tag_of(result, s.number),
                                                       (char *)c.to + part_offset(c, r), part_bytes(c, r),
                                                       s.missing});
            }
    }

    void sum(const one_call &c, state &s)
    {
        s.summed = true;
        const size_t mine = part_bytes(c, m->rank);
        std::string total = s.parts[(size_t)((m->rank + 1) % m->size)];
        for (int i = 2; i <= m->size; i++)
            add(c.type, &total[0], s.parts[(size_t)((m->rank + i) % m->size)].data(),
                mine / nccl_type_bytes(c.type));
        memcpy((char *)c.to + part_offset(c, m->rank), total.data(), mine);
        one_call result = c;
        result.what = call::all_reduce_result;
        for (int r = 0; r < m->size; r++)
            if (r != m->rank)
                link_send(m->peers[(size_t)r], tag_of(result, s.number), total.data(), mine);
    }

    void begin_send_recv(const one_call &c, state &s)
    {
        peer &p = m->peers[(size_t)c.root];
        const size_t bytes = c.count * nccl_type_bytes(c.type);
        if (c.root == m->rank)
            return; /* to_self() */
        if (c.sends) {
            reads(c.from, bytes, "send");
            link_send(p, tag_of(c, p.calls_out++), c.from, bytes);
            s.ack = ++p.acks_out;
        } else {
            ++*s.missing;
            p.calls.push_back({tag_of(c, p.calls_in++), c.to, bytes, s.missing});
        }
    }

    /* Sends and receives of a rank with itself, in their order. */
    bool to_self()
    {
        std::deque<const one_call *> sends;
        for (const one_call &c : calls)
            if (c.what == call::send_recv && c.root == m->rank && c.sends)
                sends.push_back(&c);
        for (const one_call &c : calls)
            if (c.what == call::send_recv && c.root == m->rank && !c.sends) {
                if (sends.empty() || sends.front()->count != c.count || sends.front()->type != c.type)
                    return false;
                const size_t bytes = c.count * nccl_type_bytes(c.type);
                reads(sends.front()->from, bytes, "send");
                memmove(c.to, sends.front()->from, bytes);
                sends.pop_front();
            }
        return sends.empty();
    }

    /* Collectives first, then sends and receives: in this order both sides of a pair see them, however a rank
     * mixed them in its group. */
    void begin()
    {
        begun = true;
        m->moved = nccl_now_ms();
        states.resize(calls.size());
        for (int turn = 0; turn < 2; turn++)
            for (size_t i = 0; i < calls.size(); i++) {
                const one_call &c = calls[i];
                if (turn == 1 && c.what == call::send_recv)
                    begin_send_recv(c, states[i]);
                else if (turn == 0 && c.what == call::broadcast)
                    begin_broadcast(c, states[i]);
                else if (turn == 0 && c.what == call::all_gather)
                    begin_all_gather(c, states[i]);
                else if (turn == 0 && c.what == call::all_reduce)
                    begin_all_reduce(c, states[i]);
            }
        if (!to_self())
            nccl_fail(*m, ncclInvalidUsage,
                      "rank " + std::to_string(m->rank) +
                          " sends to itself what it does not receive in the same group");
    }

    bool complete()
    {
        bool all = true;
        for (size_t i = 0; i < calls.size(); i++) {
            const one_call &c = calls[i];
            state &s = states[i];
            if (c.what == call::all_reduce && !s.summed) {
                if (*s.missing_parts == 0)
                    sum(c, s);
                all = false; /* its result is still to be sent */
            }
            all &= *s.missing == 0;
            if (c.what == call::send_recv && c.sends && c.root != m->rank)
                all &= m->peers[(size_t)c.root].acks_in >= s.ack;
        }
        return all && link_flushed(*m);
    }

    /* What a call wrote is known now; or, given up, is garbage. */
    void settle(bool done)
    {
        for (const one_call &c : calls) {
            const size_t bytes = nccl_room(c, m->size);
            if (!c.to || !device_range(c.to, bytes) || (c.what == call::broadcast && c.root == m->rank))
                continue;
            if (done)
                emu_mark_written(c.to, bytes);
            else
                emu_poison(c.to, bytes);
        }
    }

    outcome run() override
    {
        if (m->aborted) {
            settle(false);
            unlist();
            return outcome::done;
        }
        if (m->failed())
            return outcome::blocked; /* as on the device: until somebody aborts */
        m->running = true;
        const bool done = advance();
        m->running = false;
        if (done) {
            settle(true);
            unlist();
            return outcome::done;
        }
        if (!m->failed() && nccl_now_ms() - m->moved > nccl_timeout_ms())
            nccl_fail(*m, ncclSystemError, stuck());
        return outcome::blocked;
    }

    bool advance()
    {
        if (!begun)
            begin();
        for (int turn = 0; turn < 2; turn++) { /* twice: a sum has something to send */
            link_pump(*m);
            if (m->failed())
                return false;
            if (complete())
                return true;
        }
        link_pump(*m);
        return false;
    }

    std::string stuck() const
    {
        std::string s = "rank " + std::to_string(m->rank) + " waits without progress";
        for (int r = 0; r < m->size; r++) {
            const peer &p = m->peers[(size_t)r];
            if (!p.calls.empty())
                s += "; for rank " + std::to_string(r) + ", " + tag_text(p.calls.front().t, false);
            else if (!p.results.empty())
                s += "; for rank " + std::to_string(r) + ", " + tag_text(p.results.front().t, false);
            else if (p.acks_in < p.acks_out)
                s += "; for rank " + std::to_string(r) + " to receive send " + std::to_string(p.acks_in + 1);
        }
        return s;
    }
};
} // namespace

size_t nccl_type_bytes(ncclDataType_t t)
{
    static const size_t bytes[] = {1, 1, 4, 4, 8, 8, 2, 4, 8, 2, 1, 1};
    return (unsigned)t < ncclNumTypes ? bytes[t] : 0;
}

size_t nccl_room(const one_call &c, int ranks)
{
    return c.count * nccl_type_bytes(c.type) * (c.what == call::all_gather ? (size_t)ranks : 1);
}

bool nccl_can_sum(ncclDataType_t t)
{
    return t == ncclFloat32 || t == ncclFloat64 || (t >= ncclInt32 && t <= ncclUint64);
}

std::shared_ptr<work> nccl_work(const std::shared_ptr<member> &m, std::vector<one_call> &&calls)
{
    auto g = std::make_shared<group>();
    g->m = m;
    g->calls = std::move(calls);
    return g;
}

} // namespace standin
