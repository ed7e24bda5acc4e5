/* Simulated ranks: how they meet and move bytes. Takes the place of comm/comm_world.c. They begin, meet
 * and end by the transport over MPI (comm/mpi/mpi.c), built with SimGrid's SMPI; memory of a node is a
 * piece of the one process that all ranks are in. */
#include <mpi.h>
#include <stdlib.h>
#include <string.h>

#include "simulate/world.h"
#include "comm/transport.h"

struct simulated {
    const struct ddp_comm_ops *mpi;
    void *self;
    int rank, size, turn;
};
/* ---- meeting ----------------------------------------------------------------------------------- */

static int sim_barrier(void *self, struct ddp_error *err)
{
    struct simulated *s = self;
    ddp_world_pay();
    return s->mpi->barrier(s->self, err);
}

static int sim_bcast(void *self, void *buf, size_t bytes, int root, struct ddp_error *err)
{
    struct simulated *s = self;
    ddp_world_pay();
    return s->mpi->bcast(s->self, buf, bytes, root, err);
}

static int sim_allgather(void *self, const void *in, void *out, size_t bytes, struct ddp_error *err)
{
    struct simulated *s = self;
    ddp_world_pay();
    return s->mpi->allgather(s->self, in, out, bytes, err);
}

static int sim_allreduce_begin(void *self, float *buf, size_t count, void **request, struct ddp_error *err)
{
    struct simulated *s = self;
    ddp_world_pay();
    return s->mpi->allreduce_begin(s->self, buf, count, request, err);
}

static int sim_allreduce_end(void *self, void *request, struct ddp_error *err)
{
    struct simulated *s = self;
    ddp_world_pay();
    return s->mpi->allreduce_end(s->self, request, err);
}

/* ---- memory ------------------------------------------------------------------------------------ */

static int sim_shared_alloc(void *self, size_t bytes, void **out, struct ddp_error *err)
{
    struct simulated *s = self;
    *out = ddp_world_share(bytes, s->turn++);
    return *out ? 0 : ddp_fail(err, DDP_E_RESOURCE, "simulated memory: %zu bytes cannot be mapped", bytes);
}

static void sim_shared_free(void *self, void *base, size_t bytes)
{
    (void)self;
    ddp_world_unshare(base, bytes);
}

/* ---- messages ---------------------------------------------------------------------------------- */

/* Not by mpi.c: SMPI loses persistent requests that end before the last of a list. */
struct simulated_exchange {
    struct ddp_message *list; /* [n] */
    MPI_Request *request;     /* [n] MPI_REQUEST_NULL: through */
    int n, tag, through;      /* all before it are */
    int64_t sent, bytes;
};

static int sim_exchange_create(void *self, const struct ddp_message *list, int n, int tag, void **exchange,
                               struct ddp_error *err)
{
    struct simulated_exchange *x = calloc(1, sizeof *x);
    (void)self, (void)err;
    x->n = x->through = n;
    x->tag = tag;
    x->list = calloc((size_t)n, sizeof *x->list);
    x->request = calloc((size_t)n, sizeof(MPI_Request));
    memcpy(x->list, list, (size_t)n * sizeof *list);
    for (int i = 0; i < n; i++) {
        x->sent += list[i].send;
        x->bytes += list[i].send ? (int64_t)list[i].bytes : 0;
    }
    *exchange = x;
    return 0;
}

static int sim_exchange_begin(void *self, void *exchange, struct ddp_error *err)
{
    struct simulated_exchange *x = exchange;
    struct ddp_world_counts *c = ddp_world_mine();
    (void)self, (void)err;
    c->sent += x->sent;
    c->sent_bytes += x->bytes;
    c->received += x->n - x->sent;
    ddp_world_pay();
    for (int i = 0; i < x->n; i++) {
        const struct ddp_message *m = &x->list[i];
        if (m->send)
            MPI_Isend(m->buffer, (int)m->bytes, MPI_BYTE, m->peer, x->tag, MPI_COMM_WORLD, &x->request[i]);
        else
            MPI_Irecv(m->buffer, (int)m->bytes, MPI_BYTE, m->peer, x->tag, MPI_COMM_WORLD, &x->request[i]);
    }
    x->through = 0;
    return 0;
}

static int sim_exchange_test(void *self, void *exchange, bool wait, bool *done, struct ddp_error *err)
{
    struct simulated_exchange *x = exchange;
    (void)self;
    ddp_world_pay();
    ddp_world_mine()->looks++;
    for (; x->through < x->n; x->through++) {
        const struct ddp_message *m = &x->list[x->through];
        MPI_Status status;
        int over = 1, came = 0;
        if (wait)
            MPI_Wait(&x->request[x->through], &status);
        else
            MPI_Test(&x->request[x->through], &over, &status);
        if (!over)
            break;
        MPI_Get_count(&status, MPI_BYTE, &came);
        if (!m->send && (size_t)came != m->bytes)
            return ddp_fail(err, DDP_E_COMM,
                            "exchange: rank %d sent %d bytes where %zu are expected (tag %d)", m->peer, came,
                            m->bytes, x->tag);
    }
    *done = x->through == x->n;
    return 0;
}

static void sim_exchange_destroy(void *self, void *exchange)
{
    struct simulated_exchange *x = exchange;
    (void)self;
    free(x->list);
    free(x->request);
    free(x);
}

/* ---- life -------------------------------------------------------------------------------------- */

static void sim_abort(void *self, int status)
{
    struct simulated *s = self;
    s->mpi->abort(s->self, status);
}

static void sim_destroy(void *self)
{
    struct simulated *s = self;
    ddp_world_pay();
    ddp_world_report(s->size);
    MPI_Barrier(
        MPI_COMM_WORLD); /* mpi.c's waits by MPI_Ibarrier, which SMPI makes of messages from each to each */
    MPI_Finalize();
    free(s->self);
    free(s);
}

static const char *sim_library(void)
{
    return "SimGrid SMPI";
}

static const struct ddp_comm_ops simulated_ops = {
    .name = "simulated",
    .library = sim_library,
    .caps = DDP_COMM_ALLREDUCE | DDP_COMM_MESSAGES,
    .barrier = sim_barrier,
    .bcast = sim_bcast,
    .allgather = sim_allgather,
    .shared_alloc = sim_shared_alloc,
    .shared_free = sim_shared_free,
    .allreduce_begin = sim_allreduce_begin,
    .allreduce_end = sim_allreduce_end,
    .exchange_create = sim_exchange_create,
    .exchange_begin = sim_exchange_begin,
    .exchange_test = sim_exchange_test,
    .exchange_destroy = sim_exchange_destroy,
    .abort = sim_abort,
    .destroy = sim_destroy,
};

int ddp_comm_launched(struct ddp_error *err)
{
    (void)err;
    return 0;
}

int ddp_comm_announced_local_rank(void)
{
    return -1;
}

int ddp_comm_world_create(int *argc, char ***argv, struct ddp_comm **out, struct ddp_error *err)
{
    const struct ddp_comm_plugin *mpi = ddp_comm_plugin();
    struct simulated *s = calloc(1, sizeof *s);
    struct ddp_comm *c = NULL;
    s->mpi = mpi->ops;
    int status = mpi->create(argc, argv, ddp_lifeline_meet, &s->self, &s->rank, &s->size, err);
    if (status == 0)
        status = ddp_comm_wrap(&simulated_ops, s, s->rank, s->size, &c, err);
    if (status) {
        free(s);
        return status;
    }
    status = ddp_comm_look_around(c, err);
    if (status)
        ddp_comm_destroy(c);
    else
        *out = c;
    return status;
}
