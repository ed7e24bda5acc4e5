/* Ranks as processes that a launcher of MPI started on one host. MPI is used to meet before step 0 and for
 * reduce.mode = "fast"; the hot path is in shared memory (segment.h) and makes no MPI call.
 *
 * Ranks on several hosts: a transport of its own without DDP_COMM_SHARED between hosts; this one refuses
 * them. */
#include <fcntl.h>
#include <limits.h>
#include <mpi.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "comm/segment.h"
#include "comm/transport.h"

enum { PIECE = 1 << 30, CPU_WORDS = CPU_SETSIZE / 64 };

struct mpi {
    MPI_Comm comm;
    int rank, size;
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
    if (MPI_Error_string(rc, text, &len) != MPI_SUCCESS)
        snprintf(text, sizeof text, "error %d", rc);
    return ddp_fail(err, DDP_E_COMM, "%s failed: %s", call, text);
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

/* Rank 0 makes the segment, the others open it, all meet, rank 0 closes its descriptor: from then on only the
 * mappings hold the memory. Every rank takes part in every step whatever failed before, so nobody waits for
 * ever. */
static int mpi_shared_alloc(void *self, size_t bytes, void **out, struct ddp_error *err)
{
    struct mpi *m = self;
    struct {
        struct ddp_segment_key key;
        struct ddp_error why;
    } made;
    void *base = NULL;
    memset(&made, 0, sizeof made);
    if (m->rank == 0)
        ddp_segment_create(bytes, &made.key, &base, &made.why);
    int code = mpi_bcast(m, &made, sizeof made, 0, err);
    if (code != 0)
        goto out;
    if (made.why.code != 0) {
        code = m->rank == 0 ? ddp_fail(err, made.why.code, "%s", made.why.text)
                            : ddp_fail(err, made.why.code, "rank 0: %s", made.why.text);
        goto out;
    }
    int opened = 0;
    if (made.key.bytes != bytes)
        opened = ddp_fail(err, DDP_E_COMM, "shared segment: rank 0 asks for %llu bytes, rank %d for %zu",
                          (unsigned long long)made.key.bytes, m->rank, bytes);
    else if (m->rank != 0)
        opened = ddp_segment_open(&made.key, &base, err);
    code = mpi_barrier(m, opened == 0 ? err : NULL);
    if (opened != 0)
        code = opened;

out:
    if (m->rank == 0 && base != NULL)
        ddp_segment_close(&made.key);
    if (code != 0)
        ddp_segment_unmap(base, bytes);
    else
        *out = base;
    return code;
}

static void mpi_shared_free(void *self, void *base, size_t bytes)
{
    (void)self;
    ddp_segment_unmap(base, bytes);
}

/* Open MPI makes progress on it inside MPI calls only, that is mostly in end. */
static int mpi_allreduce_begin(void *self, float *buf, size_t count, enum ddp_mem mem, void *stream,
                               void **request, struct ddp_error *err)
{
    struct mpi *m = self;
    (void)stream;
    if (mem != DDP_MEM_HOST)
        return ddp_fail(err, DDP_E_USAGE, "transport 'mpi': all-reduce works on host memory only");
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
        m->request = ddp_realloc(m->request, (size_t)m->nrequest * sizeof(MPI_Request));
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
    .caps = DDP_COMM_SHARED | DDP_COMM_ALLREDUCE,
    .barrier = mpi_barrier,
    .bcast = mpi_bcast,
    .allgather = mpi_allgather,
    .shared_alloc = mpi_shared_alloc,
    .shared_free = mpi_shared_free,
    .allreduce_begin = mpi_allreduce_begin,
    .allreduce_end = mpi_allreduce_end,
    .abort = mpi_abort,
    .destroy = mpi_destroy,
};

int ddp_comm_one_host(int size, const char (*hosts)[DDP_HOST_BYTES], struct ddp_error *err)
{
    int other = 1;
    while (other < size && strcmp(hosts[other], hosts[0]) == 0)
        other++;
    if (other >= size)
        return 0;
    struct ddp_error list = {0}; /* "a (rank 0), b (rank 4)": the first rank of each host, a few of them */
    int shown = 0;
    size_t at = 0;
    for (int r = 0; r < size && shown < 8; r++) {
        int seen = 0;
        while (strcmp(hosts[seen], hosts[r]) != 0)
            seen++;
        if (seen < r)
            continue;
        at += (size_t)snprintf(list.text + at, sizeof list.text - at, "%s%.*s (rank %d)",
                               shown > 0 ? ", " : "", (int)strcspn(hosts[r], " "), hosts[r], r);
        shown++;
    }
    return ddp_fail(
        err, DDP_E_COMM,
        "the %d ranks run on more than one host: %s; this version reduces in memory that all ranks share, "
        "so start them all on one host (mpirun --host NAME:%d)",
        size, list.text, size);
}

int ddp_comm_spin(int size, int me, int words, const uint64_t *cpus)
{
    const uint64_t *mine = cpus + (size_t)me * (size_t)words;
    for (int cpu = 0; cpu < 64 * words; cpu++) {
        if (!(mine[cpu / 64] >> (cpu % 64) & 1))
            continue;
        double load = 0; /* a rank that may use k CPUs asks 1/k of each */
        for (int r = 0; r < size; r++) {
            const uint64_t *mask = cpus + (size_t)r * (size_t)words;
            int allowed = 0;
            for (int w = 0; w < words; w++)
                allowed += __builtin_popcountll(mask[w]);
            if (mask[cpu / 64] >> (cpu % 64) & 1)
                load += 1.0 / allowed;
        }
        if (load > 1.001)
            return 0;
    }
    return DDP_COMM_SPIN;
}

/* What tells hosts apart: the name, and the boot's id because clones share names. */
static void name_host(char name[DDP_HOST_BYTES])
{
    char host[256] = "", boot[40] = "";
    gethostname(host, sizeof host - 1);
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t n = read(fd, boot, sizeof boot - 1);
        boot[n > 0 ? n : 0] = '\0';
        boot[strcspn(boot, "\n")] = '\0';
        close(fd);
    }
    memset(name, 0, DDP_HOST_BYTES);
    snprintf(name, DDP_HOST_BYTES, "%s %s", host, boot);
}

/* Hosts and CPUs of all ranks: refuse the one, choose how to wait from the other. */
static int look_around(struct mpi *m, int *spin, struct ddp_error *err)
{
    struct place {
        char host[DDP_HOST_BYTES];
        uint64_t cpus[CPU_WORDS];
    } mine;
    memset(&mine, 0, sizeof mine);
    name_host(mine.host);
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
            mine.cpus[cpu / 64] |= (uint64_t)(CPU_ISSET(cpu, &set) != 0) << (cpu % 64);

    size_t n = (size_t)m->size;
    struct place *all = ddp_calloc(n, sizeof *all);
    char(*hosts)[DDP_HOST_BYTES] = ddp_calloc(n, sizeof *hosts);
    uint64_t *cpus = ddp_calloc(n, sizeof mine.cpus);
    int code = mpi_allgather(m, &mine, all, sizeof mine, err);
    for (size_t r = 0; code == 0 && r < n; r++) {
        memcpy(hosts[r], all[r].host, sizeof hosts[r]);
        memcpy(cpus + r * CPU_WORDS, all[r].cpus, sizeof mine.cpus);
    }
    if (code == 0)
        code = ddp_comm_one_host(m->size, (const char(*)[DDP_HOST_BYTES])hosts, err);
    if (code == 0)
        *spin = ddp_comm_spin(m->size, m->rank, CPU_WORDS, cpus);
    free(cpus);
    free(hosts);
    free(all);
    return code;
}

int ddp_comm_mpi_create(int *argc, char ***argv, struct ddp_comm **out, struct ddp_error *err)
{
    int initialized = 0, provided = MPI_THREAD_SINGLE, spin = 0, code;
    struct ddp_comm *c = NULL;
    struct mpi *m = ddp_calloc(1, sizeof *m);
    m->comm = MPI_COMM_NULL;

    code = check(m, MPI_Initialized(&initialized), "MPI_Initialized", err);
    if (code == 0 && !initialized) {
        code = check(m, MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread", err);
        m->ours = code == 0;
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
        code = check(m, MPI_Comm_rank(m->comm, &m->rank), "MPI_Comm_rank", err);
    if (code == 0)
        code = check(m, MPI_Comm_size(m->comm, &m->size), "MPI_Comm_size", err);
    if (code == 0)
        code = look_around(m, &spin, err);
    if (code == 0)
        code = ddp_comm_wrap(&mpi_ops, m, m->rank, m->size, &c, err);
    if (code != 0) {
        mpi_destroy(m);
        return code;
    }
    c->spin = spin;
    *out = c;
    return 0;
}
