/* N ranks in one process: a config and a thread for each. */
#include "bench/repro/ranks.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "comm/comm.h"
#include "train/check.h"
#include "train/train.h"

struct rank {
    const struct repro_ranks_request *request;
    struct ddp_comm *comm;
    struct ddp_config *cfg;
    int status;
    bool agreed;
    struct ddp_result result;
    struct ddp_error err;
};

/* Rank 0's: all others wait for it in the next step. */
static bool wait_to_be_killed(void *user, const struct ddp_step_info *info)
{
    const struct repro_ranks_request *r = user;
    while (info->step == r->pause_after)
        pause();
    return false;
}

static void *run_rank(void *arg)
{
    struct rank *r = arg;
    const struct repro_ranks_request *request = r->request;
    const struct ddp_train_options opt = {
        .cfg = r->cfg,
        .comm = r->comm,
        .threads = r->cfg->train.threads > 0 ? (int)r->cfg->train.threads : 1,
        .argc = request->argc,
        .command = request->command,
        .resume = request->resume,
        .started = ddp_now(),
        .hooks = {.on_step = request->pause_after ? wait_to_be_killed : NULL,
                  .user = (void *)(uintptr_t)request},
        .agreed = &r->agreed};
    r->status = ddp_train_run(&opt, &r->result, &r->err);
    if (r->status && r->status != DDP_E_STOPPED && !r->agreed)
        ddp_comm_abort(r->comm, ddp_error_exit(r->status));
    return NULL;
}

static int load(const struct repro_ranks_request *r, struct ddp_config **out, struct ddp_error *err)
{
    struct ddp_train_check check = {0};
    const struct ddp_config_options opt = {.path = r->config,
                                           .overrides = r->words,
                                           .noverrides = r->nwords,
                                           .check = ddp_train_check_keys,
                                           .user = &check};
    return ddp_config_load(&opt, out, err);
}

/* All ranks, to their end; the status of the first that failed. */
static int train(struct rank *rank, int n, struct ddp_error *err)
{
    pthread_t *thread = ddp_calloc((size_t)n, sizeof *thread);
    int status = 0;
    for (int i = 0; i < n; i++)
        if (pthread_create(&thread[i], NULL, run_rank, &rank[i]) != 0) {
            ddp_say("ddp-bench", "no thread for rank %d", i);
            _exit(DDP_EXIT_RESOURCE); /* the others wait for it */
        }
    for (int i = 0; i < n; i++)
        pthread_join(thread[i], NULL);
    free(thread);
    for (int i = n - 1; i >= 0; i--)
        if (rank[i].status) {
            status = rank[i].status;
            *err = rank[i].err;
        }
    return status;
}

int repro_ranks_train(const struct repro_ranks_request *request)
{
    const int n = request->ranks;
    struct ddp_error err = {0};
    struct rank *rank = ddp_calloc((size_t)n, sizeof *rank);
    struct ddp_comm *comm[DDP_COMM_NODE_RANKS] = {NULL};
    ddp_log_terminal(DDP_LOG_ERROR);
    int status = n <= DDP_COMM_NODE_RANKS ? ddp_comm_threads_create(n, comm, &err)
                                          : ddp_fail(&err, DDP_E_USAGE, "--as-threads %d: no more than %d", n,
                                                     DDP_COMM_NODE_RANKS);
    for (int i = 0; i < n && status == 0; i++) {
        rank[i].request = request;
        rank[i].comm = comm[i];
        status = load(request, &rank[i].cfg, &err);
    }
    if (status == 0)
        status = train(rank, n, &err);
    if (status == 0)
        printf("run: %s\nweights: %s\n", rank[0].result.run_dir, rank[0].result.weights_hash);
    for (int i = 0; i < n; i++) {
        ddp_comm_destroy(comm[i]);
        ddp_config_destroy(rank[i].cfg);
    }
    free(rank);
    return status ? ddp_report("ddp-bench", &err) : DDP_EXIT_OK;
}
