/* The tasks of an agent on another host. */
#include "launcher/agent_tasks.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/facts.h"
#include "launcher/fields.h"
#include "launcher/hello.h"
#include "launcher/inspect.h"
#include "launcher/leftovers.h"
#include "launcher/rank_env.h"
#include "launcher/reach.h"

enum { HEAD_MAY_SAY_S = 5 }; /* what became of us, in the record: behind a cut link it lives */

static json_t *answer_error(int code, const struct ddp_error *err)
{
    return json_pack("{s:s,s:i}", "error", err->text, "code", code);
}

/* ---- facts: what is this host? --------------------------------------------------------------- */

static json_t *do_facts(struct ddp_agent_desk *desk, const json_t *task)
{
    const double began = ddp_now();
    struct ddp_error err = {0};
    json_t *facts = NULL;
    const int rc = ddp_inspect(task, json_number_value(json_object_get(task, "limit")), &facts, &err);
    if (rc != 0)
        return answer_error(rc, &err);
    ddp_facts_machine(&desk->claim, facts); /* what is claimed is held here */
    if (chdir(ddp_field_text(task, "folder")) != 0) {
        /* its facts say so */
    }
    json_object_set_new(facts, "took", json_real(ddp_now() - began));
    return json_pack("{s:o}", "facts", facts);
}

/* ---- the network ----------------------------------------------------------------------------- */

static json_t *do_answer(struct ddp_agent_desk *desk, const json_t *task)
{
    struct ddp_error err = {0};
    int port = 0;
    const int rc = ddp_reach_answer(ddp_field_text(task, "token"), ddp_field_text(task, "host"),
                                    &desk->answering, &port, &err);
    return rc ? answer_error(rc, &err) : json_pack("{s:i}", "port", port);
}

static json_t *do_reach(struct ddp_agent_desk *desk, const json_t *task)
{
    (void)desk;
    return json_pack("{s:o}", "reached",
                     ddp_reach_try(ddp_field_text(task, "token"), json_object_get(task, "peers"),
                                   json_number_value(json_object_get(task, "limit"))));
}

static json_t *do_measure(struct ddp_agent_desk *desk, const json_t *task)
{
    struct ddp_reach_speed speed = {0};
    struct ddp_error err = {0};
    (void)desk;
    const int rc = ddp_reach_measure(ddp_field_text(task, "token"), ddp_field_text(task, "address"),
                                     (int)json_integer_value(json_object_get(task, "port")), &speed, &err);
    return rc ? answer_error(rc, &err)
              : json_pack("{s:f,s:f}", "latency", speed.latency_s, "rate", speed.bytes_s);
}

/* ---- the way to the head --------------------------------------------------------------------- */

static json_t *do_branch(struct ddp_agent_desk *desk, const json_t *task)
{
    struct ddp_error err = {0};
    int port = 0;
    ddp_branch_close(&desk->branch);
    const int rc = ddp_branch_open(&desk->branch, (int)json_integer_value(json_object_get(task, "expected")),
                                   desk->token, &port, &err);
    return rc ? answer_error(rc, &err) : json_pack("{s:i}", "port", port);
}

/* Where the other agent cannot be reached all stays as it is. */
static json_t *do_move(struct ddp_agent_desk *desk, const json_t *task)
{
    struct ddp_words addresses = {0};
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(task, "addresses"), i, one)
        ddp_words_add(&addresses, "%s", ddp_field_text(one, "address"));
    const bool moved =
        ddp_hello(&addresses, (int)json_integer_value(json_object_get(task, "port")), desk->token,
                  (int)json_integer_value(json_object_get(task, "number")), &desk->moved);
    if (!moved)
        desk->moved.fd = -1;
    ddp_words_finish(&addresses);
    return json_pack("{s:b}", "moved", moved);
}

/* ---- open: the ranks may come ---------------------------------------------------------------- */

static void read_environment(const json_t *task, struct ddp_job *job)
{
    size_t i;
    json_t *word;
    json_array_foreach(json_object_get(task, "env"), i, word)
        ddp_words_add(&job->env, "%s", json_string_value(word));
    /* clocks of hosts have nothing to do with each other: how long ago the command was given has */
    ddp_words_add(&job->env, "DDP_STARTED=%.17g",
                  ddp_now() - json_number_value(json_object_get(task, "elapsed")));
}

static void hold_cores(struct ddp_agent_desk *desk, const json_t *list)
{
    const int n = (int)json_array_size(list);
    int *pus = ddp_calloc((size_t)n + 1, sizeof *pus);
    for (int i = 0; i < n; i++)
        pus[i] = (int)json_integer_value(json_array_get(list, (size_t)i));
    ddp_claim_take(&desk->claim, pus, n);
    free(pus);
}

static int open_job(struct ddp_agent_desk *desk, const json_t *task, struct ddp_error *err)
{
    struct ddp_job *job = &desk->job;
    const int ranks = (int)json_integer_value(json_object_get(task, "ranks"));
    sigset_t mask;

    *job = (struct ddp_job){.lock = -1, .ranks = ranks};
    snprintf(job->name, sizeof job->name, "%s", ddp_field_text(task, "job"));
    snprintf(job->host, sizeof job->host, "%s", ddp_field_text(task, "host"));
    hold_cores(desk, json_object_get(task, "pus"));
    job->config = ddp_strdup(ddp_field_text(task, "config"));
    read_environment(task, job);
    ddp_oom_read("", &desk->memory);
    ddp_leftovers_remove();
    ddp_job_locate(job, ddp_field_text(task, "base"));
    int rc = ddp_janitor_start(job, HEAD_MAY_SAY_S, &desk->janitor, err);
    if (rc == 0)
        rc = ddp_job_open(job, NULL, err);
    if (rc == 0)
        rc = ddp_rank_env_write(job, err);
    sigprocmask(SIG_SETMASK, NULL, &mask);
    if (rc == 0)
        rc = ddp_local_agent_create(NULL, job, ranks, &mask, true, &desk->agent, err);
    return rc;
}

static json_t *do_open(struct ddp_agent_desk *desk, const json_t *task)
{
    struct ddp_error err = {0};
    if (desk->agent)
        return json_pack("{s:s,s:i}", "error", "this agent has its ranks already", "code", DDP_E_USAGE);
    const int rc = open_job(desk, task, &err);
    return rc ? answer_error(rc, &err) : json_pack("{s:b}", "ready", 1);
}

void ddp_agent_clear(struct ddp_agent_desk *desk)
{
    const bool well = !desk->agent || (desk->dismissed && ddp_local_agent_well(desk->agent));
    if (desk->agent) {
        struct ddp_agent *agent = ddp_agent_here(desk->agent);
        ddp_agent_order(agent, DDP_ORDER_KILL_RANKS);
        if (!desk->dismissed)
            ddp_local_agent_kill_daemons(desk->agent);
        ddp_agent_order(agent, DDP_ORDER_SWEEP);
        ddp_agent_destroy(agent);
    }
    if (desk->answering > 0)
        kill(desk->answering, SIGKILL);
    ddp_job_close(&desk->job);
    if (desk->janitor.pid > 0)
        (!desk->dismissed ? ddp_janitor_leave
         : well           ? ddp_janitor_dismiss
                          : ddp_janitor_linger)(&desk->janitor);
    ddp_claim_close(&desk->claim);
    *desk = (struct ddp_agent_desk)DDP_AGENT_DESK;
}

/* ---- the table ------------------------------------------------------------------------------- */

json_t *ddp_agent_task(struct ddp_agent_desk *desk, const json_t *task)
{
    static const struct {
        const char *name;
        json_t *(*run)(struct ddp_agent_desk *desk, const json_t *task);
    } tasks[] = {{"facts", do_facts},   {"answer", do_answer}, {"reach", do_reach}, {"measure", do_measure},
                 {"branch", do_branch}, {"move", do_move},     {"open", do_open}};
    for (size_t i = 0; i < DDP_COUNT(tasks); i++)
        if (strcmp(tasks[i].name, ddp_field_text(task, "do")) == 0)
            return tasks[i].run(desk, task);
    return json_pack("{s:s,s:i}", "error", "this agent does not know what it is asked to do", "code",
                     DDP_E_USAGE);
}
