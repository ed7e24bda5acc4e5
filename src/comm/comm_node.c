/* Ranks that are processes of one host and share one anonymous file, which their launcher hands to each of
 * them: no MPI, no names, no ports. All that they see in common is a range of that file:
 *
 *   0         control: struct ddp_meeting, stages, rings of messages (post.h)
 *   control   first segment: a page with its count of users, its bytes
 *   ..        the next, in the order in which ranks ask for them; those of pseudo-nodes one after the other
 *
 * Ranks ask in the same order, so each knows without asking where the next one lies; rank 0 makes the file
 * longer. The last rank to free a segment gives its pages back; when the last process has ended, all are. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/meeting.h"
#include "comm/memory.h"
#include "comm/post.h"

struct node {
    struct ddp_attendee attendee; /* first: what meeting.c takes for self */
    struct ddp_post *post;
    struct ddp_comm *comm;
    int fd;
    size_t page, control; /* bytes */
    size_t end;           /* where the next segment will lie */
};

struct head { /* the first page of a segment */
    ddp_word freed;
    uint64_t at; /* in the file */
};

static size_t round_up(size_t bytes, size_t page)
{
    return (bytes + page - 1) / page * page;
}

static size_t meeting_bytes(int size)
{
    return round_up(ddp_meeting_bytes(size), 64);
}

/* ---- segments ---- */

static size_t segment_bytes(const struct node *k, size_t bytes)
{
    return k->page + round_up(bytes, k->page);
}

struct answer { /* of rank 0: whether the file is long enough now, for how many bytes a segment */
    int32_t code;
    uint64_t bytes;
};

static int lengthen(const struct node *k, size_t bytes, struct ddp_error *err)
{
    char size[32];
    const size_t nodes = (size_t)k->comm->nodes, end = k->end + nodes * segment_bytes(k, bytes);
    const int code = ddp_memory_check("", bytes * nodes, "shared segment", err);
    if (code != 0)
        return code;
    if (ftruncate(k->fd, (off_t)end) != 0)
        return ddp_fail(err, DDP_E_RESOURCE, "shared segment: sizing it to %s failed: %s",
                        ddp_bytes_text((double)bytes, size), strerror(errno));
    return 0;
}

static int node_shared_alloc(void *self, size_t bytes, void **out, struct ddp_error *err)
{
    struct node *k = self;
    struct answer answer = {.bytes = bytes};
    if (bytes > SIZE_MAX / 2 / (size_t)k->comm->size)
        return ddp_fail(err, DDP_E_USAGE, "shared segment: %zu bytes are more than there can be", bytes);
    if (k->comm->rank == 0)
        answer.code = lengthen(k, bytes, err);
    int code = ddp_meeting_bcast(k, &answer, sizeof answer, 0, answer.code == 0 ? err : NULL);
    if (answer.code != 0 || code != 0)
        return k->comm->rank == 0 && answer.code != 0 ? answer.code : code;
    const size_t each = segment_bytes(k, answer.bytes); /* what rank 0 asks for counts, for all alike */
    const size_t at = k->end + each * (size_t)k->comm->node;
    k->end += each * (size_t)k->comm->nodes;
    if (answer.bytes != bytes)
        return ddp_fail(err, DDP_E_COMM, "shared segment: rank 0 asks for %llu bytes, rank %d for %zu",
                        (unsigned long long)answer.bytes, k->comm->rank, bytes);
    char *base = mmap(NULL, each, PROT_READ | PROT_WRITE, MAP_SHARED, k->fd, (off_t)at);
    if (base == MAP_FAILED) {
        char size[32];
        return ddp_fail(err, DDP_E_RESOURCE, "shared segment: mapping %s failed: %s (see 'ulimit -v')",
                        ddp_bytes_text((double)bytes, size), strerror(errno));
    }
    ((struct head *)(void *)base)->at = at;
    *out = base + k->page;
    return 0;
}

static void node_shared_free(void *self, void *base, size_t bytes)
{
    const struct node *k = self;
    const size_t each = segment_bytes(k, bytes);
    struct head *head = (struct head *)(void *)((char *)base - k->page);
    if (atomic_fetch_add(&head->freed, 1) + 1 == (uint32_t)k->comm->local_size)
        fallocate(k->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)head->at, (off_t)each);
    munmap(head, each);
}

/* ---- messages ---- */

static int node_exchange_create(void *self, const struct ddp_message *list, int n, int tag, void **exchange,
                                struct ddp_error *err)
{
    struct node *k = self;
    (void)err;
    *exchange = ddp_posting_create(k->post, list, n, tag);
    return 0;
}

static int node_exchange_begin(void *self, void *exchange, struct ddp_error *err)
{
    (void)self, (void)err;
    ddp_posting_begin(exchange);
    return 0;
}

static int node_exchange_test(void *self, void *exchange, bool wait, bool *done, struct ddp_error *err)
{
    struct node *k = self;
    return ddp_posting_test(exchange, wait, k->comm->spin, k->comm->stop_word, done, err);
}

static void node_exchange_destroy(void *self, void *exchange)
{
    (void)self;
    ddp_posting_destroy(exchange);
}

/* ---- life ---- */

static void node_destroy(void *self)
{
    struct node *k = self;
    ddp_post_destroy(k->post);
    ddp_attendee_finish(&k->attendee);
    if (k->attendee.at != NULL)
        munmap(k->attendee.at, k->control);
    close(k->fd);
    free(k);
}

static const struct ddp_comm_ops node_ops = {
    .name = "node",
    .caps = DDP_COMM_ALLREDUCE | DDP_COMM_MESSAGES,
    .barrier = ddp_meeting_barrier,
    .bcast = ddp_meeting_bcast,
    .allgather = ddp_meeting_allgather,
    .shared_alloc = node_shared_alloc,
    .shared_free = node_shared_free,
    .allreduce_begin = ddp_meeting_allreduce_begin,
    .allreduce_end = ddp_meeting_allreduce_end,
    .exchange_create = node_exchange_create,
    .exchange_begin = node_exchange_begin,
    .exchange_test = node_exchange_test,
    .exchange_destroy = node_exchange_destroy,
    .abort = ddp_meeting_abort,
    .destroy = node_destroy,
};

/* Whoever comes first makes the file long enough; it is no longer yet, because segments come after all have
 * met. */
static int map_control(struct node *k, struct ddp_error *err)
{
    struct stat st;
    if (fstat(k->fd, &st) != 0 ||
        ((size_t)st.st_size < k->control && ftruncate(k->fd, (off_t)k->control) != 0))
        return ddp_fail(err, DDP_E_RESOURCE, "transport 'node': the launcher's memory cannot be used: %s",
                        strerror(errno));
    void *base = mmap(NULL, k->control, PROT_READ | PROT_WRITE, MAP_SHARED, k->fd, 0);
    if (base == MAP_FAILED)
        return ddp_fail(err, DDP_E_RESOURCE, "transport 'node': mapping %zu bytes failed: %s", k->control,
                        strerror(errno));
    k->attendee.at = base;
    return 0;
}

int ddp_comm_node_create(int fd, int rank, int size, struct ddp_comm **out, struct ddp_error *err)
{
    struct ddp_comm *c = NULL;
    if (size < 1 || size > DDP_COMM_NODE_RANKS || rank < 0 || rank >= size) {
        close(fd);
        return ddp_fail(err, DDP_E_USAGE, "transport 'node': rank %d of %d; 1 to %d ranks are possible", rank,
                        size, DDP_COMM_NODE_RANKS);
    }
    struct node *k = ddp_calloc(1, sizeof *k);
    k->fd = fd;
    k->page = (size_t)sysconf(_SC_PAGESIZE);
    k->control = k->end = round_up(meeting_bytes(size) + ddp_post_bytes(size), k->page);
    int code = map_control(k, err);
    if (code == 0)
        code = ddp_comm_wrap(&node_ops, k, rank, size, &c, err);
    if (code != 0) {
        node_destroy(k);
        return code;
    }
    k->post = ddp_post_create((char *)k->attendee.at + meeting_bytes(size), rank, size);
    k->comm = c;
    k->attendee.comm = c;
    c->stop_word = &k->attendee.at->stop;
    code = ddp_comm_look_around(c, err);
    if (code != 0)
        ddp_comm_destroy(c);
    else
        *out = c;
    return code;
}
