/* Starting a body on threads, on processes, or on the ranks of an MPI job, and gathering what each says. */
#include "comm/ranks.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

struct job {
    struct ddp_comm *comm;
    ranks_body body;
    void *ctx;
    int result;
};

int ranks_fail(struct ddp_comm *c, const char *file, int line, const char *what, const char *detail)
{
    fprintf(stderr, "%s:%d: rank %d of %d ('%s'): %s failed %s\n", file, line, c->rank, c->size, c->ops->name,
            what, detail);
    ddp_comm_abort(c, 1);
    return line;
}

static void *work(void *arg)
{
    struct job *job = arg;
    job->result = job->body(job->comm, job->ctx);
    ddp_comm_destroy(job->comm);
    return NULL;
}

int ranks_run_on(int n, const int *node, ranks_body body, void *ctx)
{
    struct ddp_error err = {0};
    struct ddp_comm **comm = calloc((size_t)n, sizeof(struct ddp_comm *));
    struct job *job = calloc((size_t)n, sizeof *job);
    pthread_t *thread = calloc((size_t)n, sizeof *thread);
    int result = ddp_comm_threads_create_nodes(n, node, comm, &err);
    for (int i = 0; i < n && result == 0; i++) {
        job[i] = (struct job){comm[i], body, ctx, 0};
        if (pthread_create(&thread[i], NULL, work, &job[i]) != 0)
            abort();
    }
    for (int i = 0; i < n && thread[i] != 0; i++) {
        pthread_join(thread[i], NULL);
        if (result == 0)
            result = job[i].result;
    }
    free(comm);
    free(job);
    free(thread);
    return result;
}

int ranks_run(int n, ranks_body body, void *ctx)
{
    return ranks_run_on(n, NULL, body, ctx);
}

static void __attribute__((noreturn))
be_rank(int memory, int rank, int n, const int *node, ranks_body body, void *ctx)
{
    struct ddp_comm *c = NULL;
    struct ddp_error err = {0};
    char name[16];
    alarm(60);
    if (node != NULL) {
        snprintf(name, sizeof name, "%d", node[rank]);
        setenv("DDP_COMM_NODE", name, 1);
    }
    if (ddp_comm_node_create(memory, rank, n, &c, &err) != 0) {
        fprintf(stderr, "%s\n", err.text);
        _exit(1);
    }
    const int result = body(c, ctx);
    ddp_comm_destroy(c);
    _exit(result == 0 ? 0 : 1);
}

int ranks_run_forked(int n, const int *node, ranks_body body, void *ctx)
{
    int result = 0, status = 0;
    const int memory = memfd_create("ranks", MFD_CLOEXEC);
    fflush(NULL);
    for (int r = 0; r < n; r++) {
        const pid_t pid = fork();
        if (pid < 0)
            abort();
        if (pid == 0)
            be_rank(memory, r, n, node, body, ctx);
    }
    close(memory);
    for (int r = 0; r < n; r++)
        if (wait(&status) < 0 || status != 0)
            result = 1;
    return result;
}
