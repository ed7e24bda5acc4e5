/* Noting calls of N devices, and running them in any order that events and exchanges allow. */
#include "reduce/fake_device.h"

#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"

#include "base/base.h"
#include "model/stats_kernels.h"
#include "ops/point/point_kernels.h"
#include "optim/update_kernels.h"
#include "reduce/flat_kernels.h"
#include "emu.h"

enum { MAX_DEVICES = 32, MAX_STREAMS = 4, MAX_AREAS = 64 };

enum kind { COPY, ZERO, KERNEL, RECORD, WAIT, GROUP };
enum message { SEND, RECV, BCAST, ALLREDUCE, ALLGATHER };

struct exchange {
    enum message kind;
    float *p;
    size_t count;
    int peer;
    struct exchange *next;
};

struct op {
    enum kind kind;
    void *to;
    const void *from;
    size_t bytes;
    struct ddp_gpu_event *event;
    int64_t version;           /* of the event */
    struct exchange *exchange; /* GROUP, in order */
    int64_t number;            /* GROUP: of this communicator */
    void (*run)(const void *args);
    union {
        struct ddp_gpu_cast_args cast;
        struct ddp_gpu_range_args range;
        struct ddp_gpu_sum_args sum;
        struct ddp_gpu_shards_args rows;
        struct ddp_gpu_spans_args spans;
        struct ddp_gpu_update_args update;
        struct ddp_gpu_between_args between;
        struct ddp_gpu_stats_args stats;
        struct ddp_gpu_guard_args guard;
    } args;
    struct op *next;
};

struct ddp_gpu_stream {
    struct ddp_gpu *gpu;
    struct op *first, **end;
};

struct ddp_gpu_event {
    int64_t recorded, reached;
};

struct ddp_gpu_comm {
    struct ddp_gpu *gpu;
    struct op *group; /* that is being made */
    int64_t made, done;
};

struct area {
    void *p;
    size_t bytes;
};

struct ddp_gpu {
    struct fake_world *world;
    int rank;
    struct area area[MAX_AREAS];
    size_t bytes;
    struct ddp_gpu_stream *stream[MAX_STREAMS];
    struct ddp_gpu_comm comm;
};

struct fake_world {
    int n;
    uint32_t seed, draws;
    int64_t sent[MAX_DEVICES][MAX_DEVICES], gathered, spread;
    struct ddp_gpu gpu[MAX_DEVICES];
};

/* ---- memory ---- */

static size_t rounded(size_t bytes)
{
    return (bytes + DDP_GPU_ALIGN - 1) / DDP_GPU_ALIGN * DDP_GPU_ALIGN;
}

static int alloc(struct ddp_gpu *gpu, size_t bytes, void **out, struct ddp_error *err)
{
    struct area *free_area = gpu->area;
    while (free_area < gpu->area + MAX_AREAS && free_area->p)
        free_area++;
    void *p = free_area < gpu->area + MAX_AREAS ? emu_alloc(bytes) : NULL;
    if (!p)
        return ddp_fail(err, DDP_E_RESOURCE, "fake device: %zu bytes", bytes);
    memset(p, 0, bytes);
    emu_mark_written(p, bytes);
    *free_area = (struct area){p, bytes};
    gpu->bytes += rounded(bytes);
    *out = p;
    return 0;
}

static void release(struct ddp_gpu *gpu, void *p)
{
    for (int i = 0; p && i < MAX_AREAS; i++) {
        if (gpu->area[i].p != p)
            continue;
        gpu->bytes -= rounded(gpu->area[i].bytes);
        gpu->area[i].p = NULL;
        emu_free(p);
        return;
    }
    assert_null(p);
}

static int alloc_pinned(struct ddp_gpu *gpu, size_t bytes, void **out, struct ddp_error *err)
{
    (void)gpu, (void)err;
    *out = ddp_calloc(1, bytes);
    return 0;
}

static void release_pinned(struct ddp_gpu *gpu, void *p)
{
    (void)gpu;
    free(p);
}

/* ---- enqueueing ---- */

static struct op *push(struct ddp_gpu_stream *s, enum kind kind)
{
    struct op *op = ddp_calloc(1, sizeof *op);
    op->kind = kind;
    *s->end = op;
    s->end = &op->next;
    return op;
}

static int stream_create(struct ddp_gpu *gpu, bool high_priority, struct ddp_gpu_stream **out,
                         struct ddp_error *err)
{
    (void)high_priority;
    for (int i = 0; i < MAX_STREAMS; i++) {
        if (gpu->stream[i])
            continue;
        struct ddp_gpu_stream *s = ddp_calloc(1, sizeof *s);
        s->gpu = gpu;
        s->end = &s->first;
        *out = gpu->stream[i] = s;
        return 0;
    }
    return ddp_fail(err, DDP_E_RESOURCE, "fake device: no stream left");
}

static void stream_destroy(struct ddp_gpu_stream *s)
{
    assert_null(s->first);
    for (int i = 0; i < MAX_STREAMS; i++)
        if (s->gpu->stream[i] == s)
            s->gpu->stream[i] = NULL;
    free(s);
}

static int event_create(struct ddp_gpu *gpu, struct ddp_gpu_event **out, struct ddp_error *err)
{
    (void)gpu, (void)err;
    *out = ddp_calloc(1, sizeof **out);
    return 0;
}

static void event_destroy(struct ddp_gpu_event *e)
{
    free(e);
}

static void record(struct ddp_gpu_event *e, struct ddp_gpu_stream *s)
{
    struct op *op = push(s, RECORD);
    op->event = e;
    op->version = ++e->recorded;
}

static void wait_for(struct ddp_gpu_stream *s, struct ddp_gpu_event *e)
{
    struct op *op = push(s, WAIT);
    op->event = e;
    op->version = e->recorded;
}

static void copy(struct ddp_gpu_stream *s, void *to, const void *from, size_t bytes)
{
    struct op *op = push(s, COPY);
    op->to = to;
    op->from = from;
    op->bytes = bytes;
}

static void zero(struct ddp_gpu_stream *s, void *p, size_t bytes)
{
    struct op *op = push(s, ZERO);
    op->to = p;
    op->bytes = bytes;
}

static void group_begin(struct ddp_gpu_comm *c)
{
    assert_null(c->group);
    c->group = ddp_calloc(1, sizeof *c->group);
}

static void exchange(struct ddp_gpu_comm *c, struct ddp_gpu_stream *s, struct exchange e)
{
    assert_true(e.count > 0);
    assert_true(emu_owns(e.p, e.count * sizeof(float)));
    assert_int_equal((uintptr_t)e.p % 16, 0);
    struct exchange *x = ddp_calloc(1, sizeof *x), **end = &c->group->exchange;
    *x = e;
    while (*end)
        end = &(*end)->next;
    *end = x;
    c->group->to = s;
}

static void group_end(struct ddp_gpu_comm *c)
{
    struct ddp_gpu_stream *s = c->group->to;
    c->group->kind = GROUP;
    c->group->number = c->made++;
    if (!s)
        s = c->gpu->stream[0];
    *s->end = c->group;
    s->end = &c->group->next;
    c->group = NULL;
}

static void send_to(struct ddp_gpu_comm *c, struct ddp_gpu_stream *s, const float *p, size_t count, int to)
{
    exchange(c, s, (struct exchange){SEND, (float *)(uintptr_t)p, count, to, NULL});
}
static void recv_from(struct ddp_gpu_comm *c, struct ddp_gpu_stream *s, float *p, size_t count, int from)
{
    exchange(c, s, (struct exchange){RECV, p, count, from, NULL});
}
static void bcast(struct ddp_gpu_comm *c, struct ddp_gpu_stream *s, float *p, size_t count, int root)
{
    exchange(c, s, (struct exchange){BCAST, p, count, root, NULL});
}
static void allreduce(struct ddp_gpu_comm *c, struct ddp_gpu_stream *s, float *p, size_t count)
{
    group_begin(c);
    exchange(c, s, (struct exchange){ALLREDUCE, p, count, 0, NULL});
    group_end(c);
}

static void allgather(struct ddp_gpu_comm *c, struct ddp_gpu_stream *s, float *p, size_t count)
{
    const bool alone = c->group == NULL;
    assert_true(emu_owns(p, count * (size_t)c->gpu->world->n * sizeof(float)));
    if (alone)
        group_begin(c);
    exchange(c, s, (struct exchange){ALLGATHER, p, count, 0, NULL});
    if (alone)
        group_end(c);
}

static int check(struct ddp_gpu *gpu, struct ddp_error *err)
{
    (void)gpu, (void)err;
    return 0;
}
static int comm_check(struct ddp_gpu_comm *c, struct ddp_error *err)
{
    (void)c, (void)err;
    return 0;
}

#define KERNEL_OF(room, name, type, field)                                                                   \
    static void run_##name(const void *args)                                                                 \
    {                                                                                                        \
        ddp_cuda_##room##_kernels.name(NULL, args);                                                          \
    }                                                                                                        \
    static void name(struct ddp_gpu_stream *s, const struct type *a)                                         \
    {                                                                                                        \
        struct op *op = push(s, KERNEL);                                                                     \
        op->run = run_##name;                                                                                \
        op->args.field = *a;                                                                                 \
    }
KERNEL_OF(point, cast_from_float, ddp_gpu_cast_args, cast)
KERNEL_OF(flat, add_range, ddp_gpu_range_args, range)
KERNEL_OF(flat, sum_nodes, ddp_gpu_sum_args, sum)
KERNEL_OF(flat, sum_shards, ddp_gpu_shards_args, rows)
KERNEL_OF(flat, move_spans, ddp_gpu_spans_args, spans)
KERNEL_OF(update, norms, ddp_gpu_update_args, update)
KERNEL_OF(update, between, ddp_gpu_between_args, between)
KERNEL_OF(stats, stats, ddp_gpu_stats_args, stats)
KERNEL_OF(stats, guard, ddp_gpu_guard_args, guard)

/* Of the optimizers: a stage's kernel goes by its place in the table, behind a function for each place. */
#define PLACE_OF(name, place, member, type, field)                                                           \
    static void run_##name##_##place(const void *args)                                                       \
    {                                                                                                        \
        ddp_cuda_##name.member(NULL, args);                                                                  \
    }                                                                                                        \
    static void name##_##place(struct ddp_gpu_stream *s, const struct type *a)                               \
    {                                                                                                        \
        struct op *op = push(s, KERNEL);                                                                     \
        op->run = run_##name##_##place;                                                                      \
        op->args.field = *a;                                                                                 \
    }
#define PLACES_OF(NAME, name)                                                                                \
    PLACE_OF(name, 0, stage[0], ddp_gpu_update_args, update)                                                 \
    PLACE_OF(name, 1, stage[1], ddp_gpu_update_args, update)                                                 \
    PLACE_OF(name, trust, trust, ddp_gpu_between_args, between)
DDP_OPTIMS(PLACES_OF)

static struct ddp_gpu_optim optim[DDP_OPTIMS_COUNT];
static struct ddp_update_device_kernels update_kernels = {.norms = norms, .between = between};

/* What the real table lacks, this one lacks too. */
static void fill_optims(void)
{
#define FILL(NAME, name)                                                                                     \
    optim[DDP_OPTIM_##NAME] = (struct ddp_gpu_optim){                                                        \
        .stage = {ddp_cuda_##name.stage[0] ? name##_0 : NULL, ddp_cuda_##name.stage[1] ? name##_1 : NULL},   \
        .trust = ddp_cuda_##name.trust ? name##_trust : NULL};
    DDP_OPTIMS(FILL)
    for (int i = 0; i < DDP_OPTIMS_COUNT; i++)
        update_kernels.kind[i] = &optim[i];
}

/* ---- running ---- */

static uint32_t draw(struct fake_world *w, uint32_t below)
{
    return ddp_philox4(w->draws++, 0, 0, 0, w->seed).v[0] % below;
}

static void move(void *to, const void *from, size_t bytes)
{
    memmove(to, from, bytes);
    if (emu_owns(to, bytes))
        emu_mark_written(to, bytes);
}

/* The stream of a device whose next work is exchange number `number`. */
static struct ddp_gpu_stream *stream_at(struct ddp_gpu *gpu, int64_t number)
{
    for (int i = 0; i < MAX_STREAMS; i++) {
        struct ddp_gpu_stream *s = gpu->stream[i];
        if (s && s->first && s->first->kind == GROUP && s->first->number == number)
            return s;
    }
    return NULL;
}

static void pop(struct ddp_gpu_stream *s)
{
    struct op *op = s->first;
    s->first = op->next;
    if (!s->first)
        s->end = &s->first;
    while (op->exchange) {
        struct exchange *x = op->exchange;
        op->exchange = x->next;
        free(x);
    }
    free(op);
}

/* Message k of the kind to or from `peer` in a group. */
static struct exchange *message(struct exchange *x, enum message kind, int peer, int k)
{
    for (; x; x = x->next)
        if (x->kind == kind && x->peer == peer && k-- == 0)
            return x;
    return NULL;
}

static void deliver(struct ddp_gpu_stream **s, int n)
{
    for (int to = 0; to < n; to++) {
        for (int from = 0; from < n; from++) {
            struct exchange *out, *in;
            for (int k = 0;; k++) {
                out = message(s[from]->first->exchange, SEND, to, k);
                in = message(s[to]->first->exchange, RECV, from, k);
                assert_true(!out == !in);
                if (!out)
                    break;
                assert_int_equal(out->count, in->count);
                move(in->p, out->p, in->count * sizeof(float));
                s[from]->gpu->world->sent[from][to] += (int64_t)in->count;
            }
        }
    }
}

static void collect(struct ddp_gpu_stream **s, int n)
{
    struct exchange *x[MAX_DEVICES] = {NULL};
    for (int r = 0; r < n; r++)
        x[r] = s[r]->first->exchange;
    while (x[0]) {
        if (x[0]->kind == ALLREDUCE)
            for (int r = 1; r < n; r++)
                for (size_t i = 0; i < x[0]->count; i++)
                    x[0]->p[i] += x[r]->p[i];
        for (int r = 0; r < n; r++) {
            assert_non_null(x[r]);
            assert_int_equal(x[r]->kind, x[0]->kind);
            assert_int_equal(x[r]->count, x[0]->count);
            assert_int_equal(x[r]->peer, x[0]->peer);
            for (int from = 0; x[0]->kind == ALLGATHER && from < n; from++)
                move(x[r]->p + (size_t)from * x[r]->count, x[from]->p + (size_t)from * x[r]->count,
                     x[r]->count * sizeof(float));
            s[r]->gpu->world->gathered += x[0]->kind == ALLGATHER;
            s[r]->gpu->world->spread += (int64_t)x[r]->count * (x[0]->kind == ALLGATHER ? n : 1);
            if (r != x[0]->peer && x[0]->kind != ALLGATHER)
                move(x[r]->p, x[x[0]->peer]->p, x[r]->count * sizeof(float));
        }
        for (int r = 0; r < n; r++)
            x[r] = x[r]->next;
    }
}

/* All devices' exchange of one number, once all have got there. */
static bool run_group(struct fake_world *w, const struct op *op)
{
    struct ddp_gpu_stream *s[MAX_DEVICES] = {NULL};
    for (int r = 0; r < w->n; r++) {
        s[r] = stream_at(&w->gpu[r], op->number);
        if (!s[r] || w->gpu[r].comm.done != op->number)
            return false;
    }
    bool pairs = false;
    for (int r = 0; r < w->n; r++)
        for (struct exchange *x = s[r]->first->exchange; x; x = x->next)
            pairs |= x->kind == SEND || x->kind == RECV;
    if (pairs)
        deliver(s, w->n);
    else
        collect(s, w->n);
    for (int r = 0; r < w->n; r++) {
        pop(s[r]);
        w->gpu[r].comm.done++;
    }
    return true;
}

/* The next work of a stream; false: it has to wait. */
static bool advance(struct ddp_gpu_stream *s)
{
    struct op *op = s->first;
    switch (op->kind) {
    case GROUP:
        return run_group(s->gpu->world, op);
    case WAIT:
        if (op->event->reached < op->version)
            return false;
        break;
    case RECORD:
        op->event->reached = op->version;
        break;
    case COPY:
        move(op->to, op->from, op->bytes);
        break;
    case ZERO:
        memset(op->to, 0, op->bytes);
        emu_mark_written(op->to, op->bytes);
        break;
    case KERNEL:
        op->run(&op->args);
        break;
    }
    pop(s);
    return true;
}

/* One piece of work, anywhere; false: all is done. */
static bool run_one(struct fake_world *w)
{
    struct ddp_gpu_stream *busy[MAX_DEVICES * MAX_STREAMS];
    uint32_t n = 0;
    for (int r = 0; r < w->n; r++)
        for (int i = 0; i < MAX_STREAMS; i++)
            if (w->gpu[r].stream[i] && w->gpu[r].stream[i]->first)
                busy[n++] = w->gpu[r].stream[i];
    if (n == 0)
        return false;
    uint32_t first = draw(w, n);
    for (uint32_t i = 0; i < n; i++)
        if (advance(busy[(first + i) % n]))
            return true;
    fail_msg("the work of %u streams waits for something that never comes", n);
    return false;
}

void fake_run(struct fake_world *w, uint32_t seed)
{
    w->seed = seed;
    while (run_one(w)) {
    }
}

static bool idle(struct ddp_gpu_stream *s)
{
    while (s->first)
        run_one(s->gpu->world);
    return true;
}

/* ---- the world ---- */

static const struct ddp_point_device_kernels point_kernels = {.cast_from_float = cast_from_float};
static const struct ddp_flat_device_kernels flat_kernels = {
    .add_range = add_range, .sum_nodes = sum_nodes, .sum_shards = sum_shards, .move_spans = move_spans};
static const struct ddp_stats_device_kernels stats_kernels = {.stats = stats, .guard = guard};
static const struct ddp_gpu_kernels kernels = {
    .point = &point_kernels, .flat = &flat_kernels, .update = &update_kernels, .stats = &stats_kernels};

static const struct ddp_gpu_api api = {.version = DDP_GPU_API_VERSION,
                                       .check = check,
                                       .alloc = alloc,
                                       .release = release,
                                       .alloc_pinned = alloc_pinned,
                                       .release_pinned = release_pinned,
                                       .stream_create = stream_create,
                                       .stream_destroy = stream_destroy,
                                       .event_create = event_create,
                                       .event_destroy = event_destroy,
                                       .record = record,
                                       .wait = wait_for,
                                       .idle = idle,
                                       .copy = copy,
                                       .zero = zero,
                                       .comm_check = comm_check,
                                       .group_begin = group_begin,
                                       .group_end = group_end,
                                       .send = send_to,
                                       .recv = recv_from,
                                       .bcast = bcast,
                                       .allreduce = allreduce,
                                       .allgather = allgather,
                                       .kernels = &kernels};

const struct ddp_gpu_api *fake_api(void)
{
    fill_optims();
    return &api;
}

struct fake_world *fake_world_create(int devices)
{
    struct fake_world *w = ddp_calloc(1, sizeof *w);
    assert_true(devices <= MAX_DEVICES);
    w->n = devices;
    for (int r = 0; r < devices; r++) {
        w->gpu[r].world = w;
        w->gpu[r].rank = r;
        w->gpu[r].comm.gpu = &w->gpu[r];
    }
    return w;
}

void fake_world_destroy(struct fake_world *w)
{
    for (int r = 0; r < w->n; r++) {
        assert_int_equal(w->gpu[r].bytes, 0);
        for (int i = 0; i < MAX_STREAMS; i++)
            assert_null(w->gpu[r].stream[i]);
    }
    free(w);
}

struct ddp_gpu *fake_gpu(struct fake_world *w, int device)
{
    return &w->gpu[device];
}

struct ddp_gpu_comm *fake_comm(struct fake_world *w, int device)
{
    return &w->gpu[device].comm;
}

int64_t fake_sent(const struct fake_world *w, int from, int to)
{
    return w->sent[from][to];
}

int64_t fake_gathers(const struct fake_world *w)
{
    return w->gathered / w->n;
}

int64_t fake_spread(const struct fake_world *w)
{
    return w->spread / w->n;
}

size_t fake_bytes(const struct fake_world *w, int device)
{
    return w->gpu[device].bytes;
}
