/* Ranks as processes that a launcher of MPI started: the plug-in libddp_mpi.so, and all that ddp knows of
 * MPI. It is used to meet before step 0, for reduce.mode = "fast", and for messages between nodes; the hot
 * path inside a node is in shared memory and makes no MPI call. */
#include <limits.h>
#include <mpi.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "comm/ops.h"

enum { PIECE = 1 << 30 }; /* bytes that one MPI call moves at most: its counts are int */

struct mpi {
    MPI_Comm comm;
    bool ours;            /* we initialised MPI */
    bool failed;          /* an MPI call failed: peers may be gone, so do not wait for them in destroy */
    MPI_Request *request; /* all-reduces in flight; MPI_REQUEST_NULL: free slot */
    int nrequest;
};

static int check(struct mpi *m, int rc, const char *call, struct ddp_error *err)
{
    char text[MPI_MAX_ERROR_STRING];
    int len = 0;
    if (rc == MPI_SUCCESS)
        return 0;
    m->failed = true;
    if (rc < 0 || MPI_Error_string(rc, text, &len) != MPI_SUCCESS) /* Open MPI's own, of a lost connection */
        snprintf(text, sizeof text, "error %d", rc);
    return ddp_fail(err, DDP_E_COMM, "%s failed: %s", call, text);
}

/* Open MPI's own codes, below 0, are of no class, and asking for it would be an error. */
static int class_of(int rc)
{
    int class = rc == MPI_SUCCESS ? MPI_SUCCESS : MPI_ERR_OTHER;
    if (rc > 0)
        MPI_Error_class(rc, &class);
    return class;
}

static int mpi_barrier(void *self, struct ddp_error *err)
{
    struct mpi *m = self;
    return check(m, MPI_Barrier(m->comm), "MPI_Barrier", err);
}

static int mpi_bcast(void *self, void *buf, size_t bytes, int root, struct ddp_error *err)
{
    struct mpi *m = self;
    int code = 0;
    for (size_t at = 0; code == 0 && at < bytes; at += PIECE) { /* MPI counts are int */
        int n = bytes - at < PIECE ? (int)(bytes - at) : PIECE;
        code = check(m, MPI_Bcast((char *)buf + at, n, MPI_BYTE, root, m->comm), "MPI_Bcast", err);
    }
    return code;
}

static int mpi_allgather(void *self, const void *in, void *out, size_t bytes, struct ddp_error *err)
{
    struct mpi *m = self;
    if (bytes > INT_MAX)
        return ddp_fail(err, DDP_E_USAGE, "transport 'mpi': all-gather of %zu bytes a rank; at most %d",
                        bytes, INT_MAX);
    return check(m, MPI_Allgather(in, (int)bytes, MPI_BYTE, out, (int)bytes, MPI_BYTE, m->comm),
                 "MPI_Allgather", err);
}

/* Open MPI makes progress on it inside MPI calls only, that is mostly in end. */
static int mpi_allreduce_begin(void *self, float *buf, size_t count, void **request, struct ddp_error *err)
{
    struct mpi *m = self;
    if (count > INT_MAX)
        return ddp_fail(
            err, DDP_E_USAGE,
            "transport 'mpi': all-reduce of %zu floats; at most %d: make reduce.bucket_mb smaller", count,
            INT_MAX);
    int slot = 0;
    while (slot < m->nrequest && m->request[slot] != MPI_REQUEST_NULL)
        slot++;
    if (slot == m->nrequest) {
        m->nrequest = 2 * m->nrequest + 8;
        MPI_Request *grown = realloc(m->request, (size_t)m->nrequest * sizeof(MPI_Request));
        if (grown == NULL) {
            m->nrequest = slot;
            return ddp_fail(err, DDP_E_RESOURCE, "transport 'mpi': no memory for %d requests", 2 * slot + 8);
        }
        m->request = grown;
        for (int i = slot; i < m->nrequest; i++)
            m->request[i] = MPI_REQUEST_NULL;
    }
    int code = check(
        m, MPI_Iallreduce(MPI_IN_PLACE, buf, (int)count, MPI_FLOAT, MPI_SUM, m->comm, &m->request[slot]),
        "MPI_Iallreduce", err);
    if (code == 0)
        *request = (void *)(uintptr_t)(slot + 1);
    return code;
}

static int mpi_allreduce_end(void *self, void *request, struct ddp_error *err)
{
    struct mpi *m = self;
    int slot = (int)(uintptr_t)request - 1;
    if (slot < 0 || slot >= m->nrequest || m->request[slot] == MPI_REQUEST_NULL)
        return ddp_fail(err, DDP_E_USAGE, "transport 'mpi': end of an all-reduce that was not begun");
    return check(m, MPI_Wait(&m->request[slot], MPI_STATUS_IGNORE), "MPI_Wait", err);
}

/* ---- messages: persistent requests, a message of more than PIECE bytes is several of them ---- */

struct exchange {
    int n, tag;                /* requests */
    bool active;               /* begun, and not all of them are through */
    struct ddp_message *piece; /* [n] what each moves */
    MPI_Request *request;      /* [n] */
    MPI_Status *status;        /* [n] */
};

static void free_exchange(struct exchange *x)
{
    if (x == NULL)
        return;
    free(x->piece);
    free(x->request);
    free(x->status);
    free(x);
}

static struct exchange *plan_exchange(const struct ddp_message *list, int n, int tag)
{
    size_t pieces = 1; /* of the empty list too */
    for (int i = 0; i < n; i++)
        pieces += list[i].bytes / PIECE + 1;
    struct exchange *x = calloc(1, sizeof *x);
    if (x == NULL || pieces > INT_MAX || (x->piece = calloc(pieces, sizeof *x->piece)) == NULL ||
        (x->request = calloc(pieces, sizeof(MPI_Request))) == NULL ||
        (x->status = calloc(pieces, sizeof *x->status)) == NULL) {
        free_exchange(x);
        return NULL;
    }
    x->tag = tag;
    for (int i = 0; i < n; i++) {
        size_t at = 0;
        do {
            struct ddp_message *p = &x->piece[x->n];
            *p = list[i];
            p->buffer = (char *)list[i].buffer + at;
            p->bytes = list[i].bytes - at < PIECE ? list[i].bytes - at : PIECE;
            x->request[x->n++] = MPI_REQUEST_NULL;
            at += p->bytes;
        } while (at < list[i].bytes);
    }
    return x;
}

static int mpi_exchange_create(void *self, const struct ddp_message *list, int n, int tag, void **exchange,
                               struct ddp_error *err)
{
    struct mpi *m = self;
    struct exchange *x = plan_exchange(list, n, tag);
    if (x == NULL)
        return ddp_fail(err, DDP_E_RESOURCE, "transport 'mpi': no memory for an exchange of %d messages", n);
    int code = 0;
    for (int i = 0; i < x->n && code == 0; i++) {
        const struct ddp_message *p = &x->piece[i];
        code = p->send ? check(m,
                               MPI_Send_init(p->buffer, (int)p->bytes, MPI_BYTE, p->peer, tag, m->comm,
                                             &x->request[i]),
                               "MPI_Send_init", err)
                       : check(m,
                               MPI_Recv_init(p->buffer, (int)p->bytes, MPI_BYTE, p->peer, tag, m->comm,
                                             &x->request[i]),
                               "MPI_Recv_init", err);
    }
    if (code == 0)
        *exchange = x;
    else
        free_exchange(x);
    return code;
}

/* One by one: MPI_Startall may start them in any order, and the order is what messages are matched by. */
static int mpi_exchange_begin(void *self, void *exchange, struct ddp_error *err)
{
    struct mpi *m = self;
    struct exchange *x = exchange;
    int code = 0;
    x->active = true;
    for (int i = 0; i < x->n && code == 0; i++)
        code = check(m, MPI_Start(&x->request[i]), "MPI_Start", err);
    return code;
}

/* What came is what was expected; an MPI that fails in one of many says which in the statuses. */
static int check_statuses(struct mpi *m, struct exchange *x, bool bad, struct ddp_error *err)
{
    for (int i = 0; i < x->n; i++) {
        const struct ddp_message *p = &x->piece[i];
        int came = 0, class = MPI_SUCCESS, rank = -1;
        if (bad && x->status[i].MPI_ERROR != MPI_SUCCESS) {
            class = class_of(x->status[i].MPI_ERROR);
            if (class != MPI_ERR_TRUNCATE)
                return check(m, x->status[i].MPI_ERROR, p->send ? "sending" : "receiving", err);
        }
        if (p->send)
            continue;
        MPI_Comm_rank(m->comm, &rank);
        if (class == MPI_ERR_TRUNCATE)
            return ddp_fail(err, DDP_E_COMM,
                            "exchange: rank %d sent more bytes than the %zu that rank %d expects (tag %d)",
                            p->peer, p->bytes, rank, x->tag);
        MPI_Get_count(&x->status[i], MPI_BYTE, &came);
        if ((size_t)came != p->bytes)
            return ddp_fail(err, DDP_E_COMM,
                            "exchange: rank %d sent %d bytes where rank %d expects %zu (tag %d)", p->peer,
                            came, rank, p->bytes, x->tag);
    }
    return 0;
}

static int mpi_exchange_test(void *self, void *exchange, bool wait, bool *done, struct ddp_error *err)
{
    struct mpi *m = self;
    struct exchange *x = exchange;
    int flag = 0;
    for (int i = 0; i < x->n; i++)
        x->status[i].MPI_ERROR = MPI_SUCCESS;
    int rc = MPI_Testall(x->n, x->request, &flag, x->status);
    while (wait && rc == MPI_SUCCESS &&
           !flag) { /* not MPI_Waitall: Open MPI 4's never returns when one fails */
        sched_yield();
        rc = MPI_Testall(x->n, x->request, &flag, x->status);
    }
    const int class = class_of(rc);
    if (rc != MPI_SUCCESS && class != MPI_ERR_IN_STATUS && class != MPI_ERR_TRUNCATE)
        return check(m, rc, "MPI_Testall", err);
    *done = flag != 0 || rc != MPI_SUCCESS;
    if (!*done)
        return 0;
    x->active = false;
    int code = check_statuses(m, x, rc != MPI_SUCCESS, err);
    return code != 0 || rc == MPI_SUCCESS ? code : check(m, rc, "MPI_Testall", err);
}

static void mpi_exchange_destroy(void *self, void *exchange)
{
    struct mpi *m = self;
    struct exchange *x = exchange;
    m->failed = m->failed || x->active; /* what it waits for may never come */
    for (int i = 0; i < x->n && !x->active; i++)
        if (x->request[i] != MPI_REQUEST_NULL) /* what Open MPI leaves of one that failed */
            MPI_Request_free(&x->request[i]);
    free_exchange(x);
}

/* ---- life ---- */

static void mpi_abort(void *self, int status)
{
    (void)self;
    MPI_Abort(MPI_COMM_WORLD, status);
    _exit(status);
}

/* Wait for all ranks without holding a core: another may still be writing the last checkpoint. */
static bool all_here(struct mpi *m)
{
    MPI_Request request;
    int done = 0;
    if (MPI_Ibarrier(m->comm, &request) != MPI_SUCCESS)
        return false;
    for (int polls = 0;; polls++) {
        if (MPI_Test(&request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS)
            return false;
        if (done)
            return true;
        if (polls < 100)
            sched_yield();
        else
            nanosleep(&(struct timespec){.tv_nsec = polls < 1000 ? 100000 : 2000000}, NULL);
    }
}

static void mpi_destroy(void *self)
{
    struct mpi *m = self;
    bool clean = !m->failed;
    for (int i = 0; i < m->nrequest; i++)
        clean = clean && m->request[i] == MPI_REQUEST_NULL;
    /* After a failure MPI_Finalize could wait for ranks that never come. Leaving without it makes mpirun end
     * them. */
    if (clean && m->comm != MPI_COMM_NULL && all_here(m)) {
        MPI_Comm_free(&m->comm);
        if (m->ours)
            MPI_Finalize();
    }
    free(m->request);
    free(m);
}

/* "Open MPI v4.1.4": the first words of what the library says of itself. */
static const char *mpi_library(void)
{
    static char text[MPI_MAX_LIBRARY_VERSION_STRING];
    int n = 0;
    if (MPI_Get_library_version(text, &n) != MPI_SUCCESS)
        return NULL;
    text[strcspn(text, ",\n")] = '\0';
    return text;
}

static const struct ddp_comm_ops mpi_ops = {
    .name = "mpi",
    .library = mpi_library,
    .caps = DDP_COMM_ALLREDUCE | DDP_COMM_MESSAGES,
    .barrier = mpi_barrier,
    .bcast = mpi_bcast,
    .allgather = mpi_allgather,
    .allreduce_begin = mpi_allreduce_begin,
    .allreduce_end = mpi_allreduce_end,
    .exchange_create = mpi_exchange_create,
    .exchange_begin = mpi_exchange_begin,
    .exchange_test = mpi_exchange_test,
    .exchange_destroy = mpi_exchange_destroy,
    .abort = mpi_abort,
    .destroy = mpi_destroy,
};

static int mpi_create(int *argc, char ***argv, void (*meet)(void), void **self, int *rank, int *size,
                      struct ddp_error *err)
{
    int initialized = 0, provided = MPI_THREAD_SINGLE;
    struct mpi *m = calloc(1, sizeof *m);
    if (m == NULL)
        return ddp_fail(err, DDP_E_RESOURCE, "transport 'mpi': no memory");
    m->comm = MPI_COMM_NULL;
    int code = check(m, MPI_Initialized(&initialized), "MPI_Initialized", err);
    if (code == 0 && !initialized) {
        code = check(m, MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread", err);
        m->ours = code == 0;
        if (code == 0)
            meet();
        if (code == 0) /* calls that have no communicator fail by this one's handler, which would end us */
            code = check(m, MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN),
                         "MPI_Comm_set_errhandler", err);
    } else if (code == 0) {
        code = check(m, MPI_Query_thread(&provided), "MPI_Query_thread", err);
    }
    if (code == 0 && provided < MPI_THREAD_FUNNELED)
        code = ddp_fail(err, DDP_E_COMM, "MPI gives thread level %d, MPI_THREAD_FUNNELED (%d) is needed",
                        provided, (int)MPI_THREAD_FUNNELED);
    if (code == 0) /* a communicator of our own: a program that embeds us may use MPI as well */
        code = check(m, MPI_Comm_dup(MPI_COMM_WORLD, &m->comm), "MPI_Comm_dup", err);
    if (code == 0)
        code = check(m, MPI_Comm_set_errhandler(m->comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler", err);
    if (code == 0)
        code = check(m, MPI_Comm_rank(m->comm, rank), "MPI_Comm_rank", err);
    if (code == 0)
        code = check(m, MPI_Comm_size(m->comm, size), "MPI_Comm_size", err);
    if (code != 0) {
        mpi_destroy(m);
        return code;
    }
    *self = m;
    return 0;
}

__attribute__((visibility("default"))) const struct ddp_comm_plugin *ddp_comm_plugin(void)
{
    static const struct ddp_comm_plugin plugin = {
        .version = DDP_COMM_PLUGIN_VERSION,
        .ops = &mpi_ops,
        .create = mpi_create,
    };
    return &plugin;
}
