/* N ranks as threads of one process, for tests: what they share is plain memory, cut into pseudo-nodes if
 * one likes.
 *
 * Data go through a staging area that belongs to the group, never straight from one rank's buffer to
 * another's: after an abort a rank may leave a collective, and its buffer with it, while another still
 * reads. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/mail.h"
#include "comm/memory.h"
#include "comm/transport.h"

enum { STAGE_BYTES = 16384 }; /* per rank */

struct segment {
    void *base;
    size_t bytes;
    int users;
    struct segment *next;
};

struct group {
    struct ddp_barrier barrier;
    ddp_word stop;
    int size;
    atomic_int users;
    char *stage; /* [size][STAGE_BYTES] */
    struct ddp_mail *mail;
    pthread_mutex_t lock; /* of segments: not on the hot path */
    struct segment *segments;
};

struct pending { /* an all-reduce that was begun; the work is done in end */
    float *buf;
    size_t count;
    bool used;
};

struct rank {
    struct group *group;
    struct ddp_comm *comm;
    uint32_t round;
    int rank;
    struct pending *pending;
    int npending;
};

static int meet(struct rank *k, struct ddp_error *err)
{
    struct group *g = k->group;
    if (ddp_barrier_meet(&g->barrier, g->size, k->comm->spin, &g->stop, &k->round))
        return 0;
    return ddp_fail(err, DDP_E_COMM, "another rank has ended the job");
}

static char *stage_of(const struct rank *k, int rank)
{
    return k->group->stage + (size_t)rank * STAGE_BYTES;
}

static int threads_barrier(void *self, struct ddp_error *err)
{
    return meet(self, err);
}

static int threads_bcast(void *self, void *buf, size_t bytes, int root, struct ddp_error *err)
{
    struct rank *k = self;
    for (size_t at = 0; at < bytes; at += STAGE_BYTES) {
        size_t n = bytes - at < STAGE_BYTES ? bytes - at : STAGE_BYTES;
        if (k->rank == root)
            memcpy(k->group->stage, (char *)buf + at, n);
        int code = meet(k, err);
        if (code != 0)
            return code;
        if (k->rank != root)
            memcpy((char *)buf + at, k->group->stage, n);
        code = meet(k, err);
        if (code != 0)
            return code;
    }
    return 0;
}

static int threads_allgather(void *self, const void *in, void *out, size_t bytes, struct ddp_error *err)
{
    struct rank *k = self;
    for (size_t at = 0; at < bytes; at += STAGE_BYTES) {
        size_t n = bytes - at < STAGE_BYTES ? bytes - at : STAGE_BYTES;
        memcpy(stage_of(k, k->rank), (const char *)in + at, n);
        int code = meet(k, err);
        if (code != 0)
            return code;
        for (int r = 0; r < k->group->size; r++)
            memcpy((char *)out + (size_t)r * bytes + at, stage_of(k, r), n);
        code = meet(k, err);
        if (code != 0)
            return code;
    }
    return 0;
}

/* The first rank of each pseudo-node makes its segment; the others find it among those of all. */
static int threads_shared_alloc(void *self, size_t bytes, void **out, struct ddp_error *err)
{
    struct rank *k = self;
    struct group *g = k->group;
    struct segment *mine = NULL, **all = ddp_calloc((size_t)g->size, sizeof(struct segment *));
    const int first = k->comm->at[k->comm->node].first;
    int made = 0;
    if (k->rank == first && (made = ddp_memory_check("", bytes, "shared segment", err)) == 0) {
        void *base = ddp_pages_alloc(bytes);
        if (base == NULL) {
            made = ddp_fail(err, DDP_E_RESOURCE, "the system refused a shared segment of %zu bytes", bytes);
        } else {
            mine = ddp_malloc(sizeof *mine);
            *mine = (struct segment){.base = base, .bytes = bytes, .users = k->comm->local_size};
            pthread_mutex_lock(&g->lock);
            mine->next = g->segments;
            g->segments = mine;
            pthread_mutex_unlock(&g->lock);
        }
    }
    int code = threads_allgather(k, &mine, all, sizeof mine, made == 0 ? err : NULL);
    if (made != 0)
        code = made;
    if (code == 0 && all[first] != NULL) {
        *out = all[first]->base;
        if (all[first]->bytes != bytes)
            code = ddp_fail(err, DDP_E_COMM, "shared segment: rank %d asks for %zu bytes, rank %d for %zu",
                            first, all[first]->bytes, k->rank, bytes);
    }
    free(all);
    return code;
}

static void threads_shared_free(void *self, void *base, size_t bytes)
{
    struct group *g = ((struct rank *)self)->group;
    (void)bytes; /* what the maker asked for counts */
    pthread_mutex_lock(&g->lock);
    for (struct segment **at = &g->segments; *at != NULL; at = &(*at)->next) {
        struct segment *s = *at;
        if (s->base != base)
            continue;
        if (--s->users == 0) {
            *at = s->next;
            ddp_pages_free(s->base, s->bytes);
            free(s);
        }
        break;
    }
    pthread_mutex_unlock(&g->lock);
}

static int threads_allreduce_begin(void *self, float *buf, size_t count, void **request,
                                   struct ddp_error *err)
{
    struct rank *k = self;
    (void)err;
    int slot = 0;
    while (slot < k->npending && k->pending[slot].used)
        slot++;
    if (slot == k->npending) {
        k->npending = 2 * k->npending + 8;
        k->pending = ddp_realloc(k->pending, (size_t)k->npending * sizeof *k->pending);
        memset(k->pending + slot, 0, (size_t)(k->npending - slot) * sizeof *k->pending);
    }
    k->pending[slot] = (struct pending){.buf = buf, .count = count, .used = true};
    *request = (void *)(uintptr_t)(slot + 1);
    return 0;
}

static int threads_allreduce_end(void *self, void *request, struct ddp_error *err)
{
    struct rank *k = self;
    int slot = (int)(uintptr_t)request - 1;
    if (slot < 0 || slot >= k->npending || !k->pending[slot].used)
        return ddp_fail(err, DDP_E_USAGE, "transport 'threads': end of an all-reduce that was not begun");
    struct pending p = k->pending[slot];
    k->pending[slot].used = false;
    const size_t most = STAGE_BYTES / sizeof(float);
    for (size_t at = 0; at < p.count; at += most) {
        size_t n = p.count - at < most ? p.count - at : most;
        float *sum = p.buf + at;
        memcpy(stage_of(k, k->rank), sum, n * sizeof *sum);
        int code = meet(k, err);
        if (code != 0)
            return code;
        memcpy(sum, stage_of(k, 0), n * sizeof *sum);
        for (int r = 1; r < k->group->size; r++) {
            const float *other = (const float *)stage_of(k, r);
            for (size_t i = 0; i < n; i++)
                sum[i] += other[i];
        }
        code = meet(k, err);
        if (code != 0)
            return code;
    }
    return 0;
}

static int threads_exchange_create(void *self, const struct ddp_message *list, int n, int tag,
                                   void **exchange, struct ddp_error *err)
{
    struct rank *k = self;
    (void)err;
    *exchange = ddp_mailing_create(k->group->mail, k->rank, list, n, tag);
    return 0;
}

static int threads_exchange_begin(void *self, void *exchange, struct ddp_error *err)
{
    (void)self, (void)err;
    ddp_mailing_begin(exchange);
    return 0;
}

static int threads_exchange_test(void *self, void *exchange, bool wait, bool *done, struct ddp_error *err)
{
    struct rank *k = self;
    return ddp_mailing_test(exchange, wait, k->comm->spin, &k->group->stop, done, err);
}

static void threads_exchange_destroy(void *self, void *exchange)
{
    (void)self;
    ddp_mailing_destroy(exchange);
}

static void threads_abort(void *self, int status)
{
    struct group *g = ((struct rank *)self)->group;
    (void)status;
    atomic_store_explicit(&g->stop, 1, memory_order_release);
}

static void threads_destroy(void *self)
{
    struct rank *k = self;
    struct group *g = k->group;
    free(k->pending);
    free(k);
    if (atomic_fetch_sub(&g->users, 1) > 1)
        return;
    while (g->segments != NULL) { /* left by ranks that failed */
        struct segment *s = g->segments;
        g->segments = s->next;
        ddp_pages_free(s->base, s->bytes);
        free(s);
    }
    ddp_mail_destroy(g->mail);
    pthread_mutex_destroy(&g->lock);
    ddp_pages_free(g->stage, (size_t)g->size * STAGE_BYTES);
    ddp_pages_free(g, sizeof *g);
}

static const struct ddp_comm_ops threads_ops = {
    .name = "threads",
    .caps = DDP_COMM_ALLREDUCE | DDP_COMM_MESSAGES,
    .barrier = threads_barrier,
    .bcast = threads_bcast,
    .allgather = threads_allgather,
    .shared_alloc = threads_shared_alloc,
    .shared_free = threads_shared_free,
    .allreduce_begin = threads_allreduce_begin,
    .allreduce_end = threads_allreduce_end,
    .exchange_create = threads_exchange_create,
    .exchange_begin = threads_exchange_begin,
    .exchange_test = threads_exchange_test,
    .exchange_destroy = threads_exchange_destroy,
    .abort = threads_abort,
    .destroy = threads_destroy,
};

/* hosts[r] for each rank; pseudo-nodes are hosts by another name. */
static int create(int n, const char (*hosts)[DDP_COMM_HOST_BYTES], struct ddp_comm **out,
                  struct ddp_error *err)
{
    struct group *g = ddp_pages_alloc(sizeof *g);
    char *stage = ddp_pages_alloc((size_t)n * STAGE_BYTES);
    if (g == NULL || stage == NULL) {
        ddp_pages_free(g, sizeof *g);
        ddp_pages_free(stage, (size_t)n * STAGE_BYTES);
        return ddp_fail(err, DDP_E_RESOURCE, "transport 'threads': no memory for %d ranks", n);
    }
    g->size = n;
    g->stage = stage;
    g->mail = ddp_mail_create(n);
    atomic_init(&g->users, n);
    pthread_mutex_init(&g->lock, NULL);

    cpu_set_t cpus;
    int spin = sched_getaffinity(0, sizeof cpus, &cpus) == 0 && CPU_COUNT(&cpus) >= n ? DDP_COMM_SPIN : 0;
    for (int r = 0; r < n; r++) {
        struct rank *k = ddp_calloc(1, sizeof *k);
        k->group = g;
        k->rank = r;
        int code = ddp_comm_wrap(&threads_ops, k, r, n, &out[r], err);
        if (code != 0) /* a table of our own that is wrong: cannot happen at r > 0 only */
            return code;
        ddp_comm_cut(out[r], hosts);
        k->comm = out[r];
        out[r]->spin = spin;
        out[r]->stop_word = &g->stop;
    }
    return 0;
}

int ddp_comm_threads_create_nodes(int n, const int *node, struct ddp_comm **out, struct ddp_error *err)
{
    if (n < 1 || n > 1024)
        return ddp_fail(err, DDP_E_USAGE, "transport 'threads': %d ranks; 1 to 1024 are possible", n);
    char(*hosts)[DDP_COMM_HOST_BYTES] = ddp_calloc((size_t)n, sizeof *hosts);
    for (int r = 0; r < n; r++)
        snprintf(hosts[r], sizeof hosts[r], "node%d", node != NULL ? node[r] : 0);
    int code = create(n, (const char(*)[DDP_COMM_HOST_BYTES])hosts, out, err);
    free(hosts);
    return code;
}

int ddp_comm_threads_create(int n, struct ddp_comm **out, struct ddp_error *err)
{
    return ddp_comm_threads_create_nodes(n, NULL, out, err);
}
