/* The steps of a job on several hosts. */
#include "launcher/team.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/agent_remote.h"
#include "launcher/preflight.h"
#include "launcher/rank_env.h"
#include "launcher/supervise.h"
#include "launcher/team_spread.h"

static const double CALL_S = 120; /* ssh waits for a dead host longer than a minute */
static const double LOOK_S = 300; /* data may have to be read whole */
static const double OPEN_S = 30;

/* ---- calling --------------------------------------------------------------------------------- */

int ddp_team_call(const struct ddp_starter *starter, const struct ddp_hosts *hosts, struct ddp_team *out,
                  struct ddp_error *err)
{
    struct ddp_team team = {.n = hosts->n};
    struct ddp_words others = {0};
    int rc = 0;
    if (gethostname(team.self, sizeof team.self - 1) != 0)
        strcpy(team.self, "localhost");
    team.member = ddp_calloc((size_t)hosts->n, sizeof *team.member);
    team.facts = ddp_calloc((size_t)hosts->n, sizeof *team.facts);
    team.interface = ddp_calloc((size_t)hosts->n, sizeof *team.interface);
    for (int i = 0; i < hosts->n; i++) {
        const bool self = ddp_host_is_self(hosts->host[i].name, team.self);
        team.facts[i].host = hosts->host[i].name;
        team.member[i] = self ? -1 : others.n;
        if (!self)
            ddp_words_add(&others, "%s", hosts->host[i].name);
    }
    if (starter->check)
        rc = starter->check(err);
    if (rc == 0)
        rc = ddp_crew_call(starter, &others, CALL_S, &team.crew, err);
    ddp_words_finish(&others);
    *out = team;
    return rc;
}

static void forget_facts(const struct ddp_team *team)
{
    for (int i = 0; i < team->n; i++) {
        json_decref((json_t *)(uintptr_t)team->facts[i].facts);
        team->facts[i].facts = NULL;
    }
}

void ddp_team_dismiss(struct ddp_team *team)
{
    forget_facts(team);
    ddp_crew_dismiss(&team->crew);
    free(team->member);
    free(team->facts);
    free(team->interface);
    if (team->answering > 0)
        kill(team->answering, SIGKILL);
    *team = (struct ddp_team){0};
}

/* ---- looking --------------------------------------------------------------------------------- */

/* How far a host's clock is ahead: what it said lies between our question and its answer. */
static void measure_skew(const struct ddp_crew_member *m, struct ddp_host_facts *f)
{
    const double theirs = json_number_value(json_object_get(f->facts, "clock"));
    const double took = json_number_value(json_object_get(f->facts, "took"));
    const double way = (m->answered - m->asked - took) / 2;
    f->skew = theirs - (m->answered - way);
    f->skew_off = way;
}

static int ask_all(struct ddp_team *team, json_t *const *task, double limit_s, struct ddp_error *err)
{
    return team->crew.n > 0 ? ddp_crew_ask(&team->crew, task, limit_s, err) : 0;
}

/* What of our environment is for other hosts. */
static json_t *user_words(void)
{
    json_t *list = json_array();
    struct ddp_words user = {0};
    ddp_rank_env_collect(&user);
    for (int i = 0; i < user.n; i++)
        json_array_append_new(list, json_string_nocheck(user.w[i]));
    ddp_words_finish(&user);
    return list;
}

/* What .facts held before is let go. */
static int look(struct ddp_team *team, const struct ddp_facts_ask *ask, struct ddp_error *err)
{
    json_t **task = ddp_calloc((size_t)team->crew.n + 1, sizeof(void *));
    forget_facts(team);
    for (int i = 0; i < team->crew.n; i++)
        task[i] = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:b,s:f,s:o}", "do", "facts", "config", ask->config,
                            "program", ask->program, "folder", ask->folder, "runs", ask->runs, "marker",
                            ask->marker, "whole", ask->whole, "limit", 0.9 * LOOK_S, "env", user_words());
    const int rc = ask_all(team, task, LOOK_S, err);
    for (int i = 0; i < team->n && rc == 0; i++) {
        struct ddp_host_facts *f = &team->facts[i];
        const struct ddp_crew_member *m = team->member[i] < 0 ? NULL : &team->crew.member[team->member[i]];
        f->facts = m ? json_incref(json_object_get(m->answer, "facts")) : ddp_facts_read(ask);
        if (m)
            measure_skew(m, f);
    }
    free(task);
    return rc;
}

int ddp_team_look(struct ddp_team *team, const struct ddp_config *cfg, const char *program, bool writes,
                  bool whole, struct ddp_claim *claim, struct ddp_error *err)
{
    char folder[PATH_MAX] = "", marker[PATH_MAX + 32] = "", *config = NULL;
    const char *runs = cfg->run.dir && *cfg->run.dir ? cfg->run.dir : ".";
    int rc = ddp_config_dump(cfg, false, &config, err);
    if (rc == 0 && !getcwd(folder, sizeof folder))
        rc = ddp_fail(err, DDP_E_IO, "the folder in which this was started is gone");
    if (rc == 0 && writes)
        rc = ddp_marker_make(runs, marker, err);
    struct ddp_facts_ask ask = {.config = config,
                                .program = program,
                                .folder = folder,
                                .runs = writes ? runs : "",
                                .marker = marker,
                                .whole = whole,
                                .claim = claim};
    if (rc == 0)
        rc = look(team, &ask, err);
    if (rc == 0 && !whole && ddp_facts_data_differs(team->facts, team->n)) {
        ask.whole = true;
        rc = look(team, &ask, err);
    }
    if (*marker)
        unlink(marker);
    free(config);
    return rc;
}

/* ---- running --------------------------------------------------------------------------------- */

/* What is set for ranks of all hosts, of what the user has and of what the launcher says. */
static json_t *words_for(const struct ddp_job *job, const struct ddp_launch_part *part, const char *interface)
{
    json_t *list = user_words();
    char *places = ddp_launch_part_places(part);
    for (int i = 0; i < job->env.n; i++)
        json_array_append_new(list, json_string_nocheck(job->env.w[i]));
    json_array_append_new(list, json_sprintf("DDP_PLACE=%s", places));
    if (*interface && !getenv("NCCL_SOCKET_IFNAME"))
        json_array_append_new(list, json_sprintf("NCCL_SOCKET_IFNAME==%s", interface));
    free(places);
    return list;
}

static json_t *open_task(const struct ddp_job *job, const struct ddp_launch_part *part, const char *interface)
{
    char base[PATH_MAX];
    snprintf(base, sizeof base, "%s", job->dir);
    *strrchr(base, '/') = '\0';
    int n;
    int *pus = ddp_launch_part_pus(part, &n);
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(list, json_integer(pus[i]));
    free(pus);
    return json_pack("{s:s,s:s,s:s,s:s,s:i,s:o,s:s,s:o,s:f}", "do", "open", "job", job->name, "host",
                     part->host, "base", base, "ranks", part->ranks, "pus", list, "config", job->config,
                     "env", words_for(job, part, interface), "elapsed", ddp_now() - job->started);
}

/* The host of each rank, a line each: for starters that want it so. */
static int write_hosts(const struct ddp_job *job, const char *const *host_of, struct ddp_error *err)
{
    char path[PATH_MAX + 8];
    struct ddp_text text;
    ddp_text_init(&text);
    for (int r = 0; r < job->ranks; r++)
        ddp_text_add(&text, "%s\n", host_of[r]);
    snprintf(path, sizeof path, "%s/hosts", job->dir);
    const int rc = ddp_file_write(path, text.s, text.len, err);
    ddp_text_finish(&text);
    return rc;
}

static int open_all(struct ddp_team *team, const struct ddp_launch_plan *plan, struct ddp_job *job,
                    const char *const *host_of, int own, struct ddp_error *err)
{
    json_t **task = ddp_calloc((size_t)team->crew.n + 1, sizeof(void *));
    for (int i = 0; i < team->n; i++)
        if (team->member[i] >= 0 && plan->part[i].ranks > 0)
            task[team->member[i]] = open_task(job, &plan->part[i], team->interface[i]);
    int rc = ask_all(team, task, OPEN_S, err);
    free(task);
    if (rc == 0 && own >= 0) {
        char *places = ddp_launch_part_places(&plan->part[own]);
        ddp_words_add(&job->env, "DDP_PLACE=%s", places); /* the last one counts */
        if (*team->interface[own] && !getenv("NCCL_SOCKET_IFNAME"))
            ddp_words_add(&job->env, "NCCL_SOCKET_IFNAME==%s", team->interface[own]);
        free(places);
    }
    if (rc == 0)
        rc = ddp_job_open(job, NULL, err);
    if (rc == 0)
        rc = ddp_rank_env_write(job, err);
    return rc == 0 ? write_hosts(job, host_of, err) : rc;
}

int ddp_team_run(struct ddp_team *team, const struct ddp_starter *starter, const struct ddp_launch_plan *plan,
                 struct ddp_job *job, bool quiet, int *exit_code, struct ddp_ending *ending,
                 struct ddp_error *err)
{
    const char **host_of = ddp_calloc((size_t)plan->ranks, sizeof *host_of);
    struct ddp_agent **agent = ddp_calloc((size_t)team->crew.n + 1, sizeof(void *));
    int *computes = ddp_calloc((size_t)team->crew.n + 1, sizeof *computes);
    int *through = ddp_calloc((size_t)team->crew.n + 1, sizeof *through);
    struct ddp_elsewhere others = {.agent = agent, .through = through, .host_of = host_of};
    int own = -1;
    for (int r = 0; r < plan->ranks; r++)
        host_of[r] = plan->part[plan->spot[r].part].host;
    for (int i = 0; i < team->n; i++) {
        if (team->member[i] < 0)
            own = plan->part[i].ranks > 0 ? i : own;
        else if (plan->part[i].ranks > 0)
            computes[others.n++] = i;
    }
    for (int i = 0; i < others.n; i++)
        agent[i] = ddp_remote_agent_create(plan->part[computes[i]].host, plan->part[computes[i]].ranks,
                                           &team->crew.member[team->member[computes[i]]].wire);
    snprintf(job->network, sizeof job->network, "%s", team->network);
    if (*job->network)
        ddp_words_add(&job->env, "DDP_NETWORK=%s", job->network);
    others.ranks_here = own >= 0 ? plan->part[own].ranks : 0;
    int rc = ddp_team_spread(team, computes, others.n, job->fanout, through, err);
    if (rc == 0)
        rc = open_all(team, plan, job, host_of, own, err);
    if (rc == 0)
        rc = ddp_supervise_job(starter, job, &others, quiet, exit_code, ending, err);
    for (int i = 0; i < others.n; i++)
        ddp_agent_destroy(agent[i]);
    free(through);
    free(computes);
    free(agent);
    free(host_of);
    return rc;
}
