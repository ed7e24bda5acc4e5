/* N ranks as threads of one process, for tests: what they share is plain memory, cut into pseudo-nodes if
 * one likes. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/mail.h"
#include "comm/meeting.h"
#include "comm/memory.h"
#include "comm/transport.h"

struct segment {
    void *base;
    size_t bytes;
    int users;
    struct segment *next;
};

struct group {
    struct ddp_meeting *meeting;
    int size;
    atomic_int users;
    struct ddp_mail *mail;
    pthread_mutex_t lock; /* of segments: not on the hot path */
    struct segment *segments;
};

struct rank {
    struct ddp_attendee attendee; /* first: what meeting.c takes for self */
    struct group *group;
    struct ddp_comm *comm;
};

/* The first rank of each pseudo-node makes its segment; the others find it among those of all. */
static int threads_shared_alloc(void *self, size_t bytes, void **out, struct ddp_error *err)
{
    struct rank *k = self;
    struct group *g = k->group;
    struct segment *mine = NULL, **all = ddp_calloc((size_t)g->size, sizeof(struct segment *));
    const int first = k->comm->at[k->comm->node].first;
    int made = 0;
    if (k->comm->rank == first && (made = ddp_memory_check("", bytes, "shared segment", err)) == 0) {
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
    int code = ddp_meeting_allgather(k, &mine, all, sizeof(struct segment *), made == 0 ? err : NULL);
    if (made != 0)
        code = made;
    if (code == 0 && all[first] != NULL) {
        *out = all[first]->base;
        if (all[first]->bytes != bytes)
            code = ddp_fail(err, DDP_E_COMM, "shared segment: rank %d asks for %zu bytes, rank %d for %zu",
                            first, all[first]->bytes, k->comm->rank, bytes);
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

static int threads_exchange_create(void *self, const struct ddp_message *list, int n, int tag,
                                   void **exchange, struct ddp_error *err)
{
    struct rank *k = self;
    (void)err;
    *exchange = ddp_mailing_create(k->group->mail, k->comm->rank, list, n, tag);
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
    return ddp_mailing_test(exchange, wait, k->comm->spin, &k->group->meeting->stop, done, err);
}

static void threads_exchange_destroy(void *self, void *exchange)
{
    (void)self;
    ddp_mailing_destroy(exchange);
}

static void threads_destroy(void *self)
{
    struct rank *k = self;
    struct group *g = k->group;
    ddp_attendee_finish(&k->attendee);
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
    ddp_pages_free(g->meeting, ddp_meeting_bytes(g->size));
    free(g);
}

static const struct ddp_comm_ops threads_ops = {
    .name = "threads",
    .caps = DDP_COMM_ALLREDUCE | DDP_COMM_MESSAGES,
    .barrier = ddp_meeting_barrier,
    .bcast = ddp_meeting_bcast,
    .allgather = ddp_meeting_allgather,
    .shared_alloc = threads_shared_alloc,
    .shared_free = threads_shared_free,
    .allreduce_begin = ddp_meeting_allreduce_begin,
    .allreduce_end = ddp_meeting_allreduce_end,
    .exchange_create = threads_exchange_create,
    .exchange_begin = threads_exchange_begin,
    .exchange_test = threads_exchange_test,
    .exchange_destroy = threads_exchange_destroy,
    .abort = ddp_meeting_abort,
    .destroy = threads_destroy,
};

/* hosts[r] for each rank; pseudo-nodes are hosts by another name. */
static int create(int n, const char (*hosts)[DDP_COMM_HOST_BYTES], struct ddp_comm **out,
                  struct ddp_error *err)
{
    struct ddp_meeting *meeting = ddp_pages_alloc(ddp_meeting_bytes(n));
    if (meeting == NULL)
        return ddp_fail(err, DDP_E_RESOURCE, "transport 'threads': no memory for %d ranks", n);
    struct group *g = ddp_calloc(1, sizeof *g);
    g->size = n;
    g->meeting = meeting;
    g->mail = ddp_mail_create(n);
    atomic_init(&g->users, n);
    pthread_mutex_init(&g->lock, NULL);

    cpu_set_t cpus;
    int spin = sched_getaffinity(0, sizeof cpus, &cpus) == 0 && CPU_COUNT(&cpus) >= n ? DDP_COMM_SPIN : 0;
    for (int r = 0; r < n; r++) {
        struct rank *k = ddp_calloc(1, sizeof *k);
        k->group = g;
        k->attendee.at = meeting;
        int code = ddp_comm_wrap(&threads_ops, k, r, n, &out[r], err);
        if (code != 0) /* a table of our own that is wrong: cannot happen at r > 0 only */
            return code;
        ddp_comm_cut(out[r], hosts);
        k->comm = out[r];
        k->attendee.comm = out[r];
        out[r]->spin = spin;
        out[r]->stop_word = &meeting->stop;
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
