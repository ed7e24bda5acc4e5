/* ddp-launch: plan the ranks, start them, watch over them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/agent_main.h"
#include "launcher/batch_write.h"
#include "launcher/check.h"
#include "launcher/impatience.h"
#include "launcher/inspect.h"
#include "launcher/janitor.h"
#include "launcher/leftovers.h"
#include "launcher/manual.h"
#include "launcher/preflight.h"
#include "launcher/rank_env.h"
#include "launcher/signals.h"
#include "launcher/restart.h"
#include "launcher/show.h"
#include "launcher/sites.h"
#include "launcher/ssh.h"
#include "launcher/supervise.h"
#include "record/record.h"
#include "train/check.h"

enum { CONFIG_S = 3 }; /* it is read faster than that */

/* ---- running --------------------------------------------------------------------------------- */

struct tried {        /* how a try has ended */
    int config_ranks; /* the config is whole for so many ranks, in all tries; 0: for any */
    int exit_code;
    struct ddp_ending ending;
};

static int start(struct ddp_sites *sites, const struct ddp_options *opt, const struct ddp_launch_plan *plan,
                 struct ddp_job *job, struct tried *tried, struct ddp_error *err)
{
    if (sites->team.n > 0)
        return ddp_team_run(&sites->team, sites->starter, plan, job, opt->quiet, &tried->exit_code,
                            &tried->ending, err);
    const int rc =
        sites->starter->folder ? ddp_job_open(job, sites->machine, err) : ddp_job_hand_config(job, err);
    return rc ? rc
              : ddp_supervise_job(sites->starter, job, NULL, opt->quiet, &tried->exit_code, &tried->ending,
                                  err);
}

static int run(struct ddp_sites *sites, const struct ddp_options *opt, const struct ddp_config *cfg,
               const struct ddp_launch_plan *plan, struct ddp_job *job, struct tried *tried,
               struct ddp_error *err)
{
    const struct ddp_starter *starter = sites->starter;
    struct ddp_janitor janitor;
    char base[PATH_MAX] = "";
    int rc;

    ddp_leftovers_remove();
    if ((rc = ddp_preflight(starter, sites->machine, cfg, opt, job->ranks, base, err)) != 0)
        return rc;
    if (starter->folder)
        ddp_job_locate(job, base);
    if ((rc = ddp_janitor_start(job, 0, &janitor, err)) != 0)
        return rc;
    rc = start(sites, opt, plan, job, tried, err);
    ddp_job_close(job);
    ddp_janitor_dismiss(&janitor);
    return rc;
}

/* Shapes, batches and patterns. A plan may be made where the data is not; ranks of a run find it here. */
static int check_whole(const struct ddp_options *opt, struct ddp_config *cfg, struct ddp_error *err)
{
    const bool plans = opt->map || opt->dry_run || opt->batch.system;
    struct ddp_text notes;
    ddp_text_init(&notes);
    int rc = ddp_train_check(cfg, opt->eval != NULL, &notes, err);
    if (plans && rc != 0 && rc != DDP_E_CONFIG && rc != DDP_E_SHAPE) {
        ddp_text_add(&notes, "shapes are not checked: %s\n", err->text);
        rc = 0;
    }
    for (char *line = notes.s, *end; plans && rc == 0 && (end = strchr(line, '\n')); line = end + 1)
        fprintf(stderr, "ddp-launch: %.*s\n", (int)(end - line), line);
    ddp_text_finish(&notes);
    return rc;
}

/* What is meant per rank, made whole: at once where it is known how many there are, else when they are
 * planned (planned: so many; 0: not yet). */
static int settle_ranks(struct ddp_config *cfg, const struct ddp_options *opt, int planned,
                        struct tried *tried, struct ddp_error *err)
{
    const int ranks = tried->config_ranks ? tried->config_ranks : opt->ranks ? opt->ranks : planned;
    if (!ddp_config_by_ranks(cfg) || ranks == 0)
        return 0;
    struct ddp_text notes;
    ddp_text_init(&notes);
    const int rc = ddp_config_for_ranks(cfg, ranks, &notes, err);
    if (rc == 0 && !opt->quiet && !tried->config_ranks)
        fprintf(stderr, "ddp-launch: %s", notes.s);
    ddp_text_finish(&notes);
    tried->config_ranks = ranks;
    return rc;
}

/* The ranks, and with them a config that is whole. */
static int make_plan(const struct ddp_sites *sites, const struct ddp_options *opt, struct ddp_config *cfg,
                     bool known, struct ddp_launch_plan *plan, struct tried *tried, struct ddp_error *err)
{
    const bool open = ddp_config_by_ranks(cfg);
    int rc = ddp_launch_plan_hosts(&sites->hosts, sites->site, opt, cfg, plan, err);
    if (rc == 0 && open)
        rc = settle_ranks(cfg, opt, plan->ranks, tried, err);
    return rc == 0 && open && known ? check_whole(opt, cfg, err) : rc;
}

/* --check shows what it finds, and every start on several hosts looks. */
static int check_all(struct ddp_sites *sites, const struct ddp_launch_plan *plan,
                     const struct ddp_options *opt, const struct ddp_config *cfg, struct ddp_error *err)
{
    struct ddp_text table;
    if (!opt->check && (sites->team.n == 0 || opt->map || opt->dry_run))
        return 0;
    ddp_text_init(&table);
    const int rc = ddp_check(sites, plan, opt, cfg, opt->check ? &table : NULL, err);
    fputs(table.s, stdout);
    ddp_text_finish(&table);
    return rc;
}

/* Everything that needs a config. */
static int plan_and_run(int argc, char **argv, const struct ddp_options *opt, double started,
                        struct tried *tried, struct ddp_error *err)
{
    struct ddp_train_check check = {.open = opt->program != NULL};
    const struct ddp_config_options source = {.path = opt->config,
                                              .overrides = (const char *const *)opt->overrides.w,
                                              .noverrides = opt->overrides.n,
                                              .check = ddp_train_check_keys,
                                              .user = &check};
    struct ddp_config *cfg = NULL;
    struct ddp_sites sites = {.claim = {-1}};
    struct ddp_launch_plan plan = {0};
    struct ddp_job job = {.lock = -1};
    int rc;

    ddp_startup_begin(started);
    ddp_impatience_begin(CONFIG_S, "reading", opt->config);
    rc = ddp_config_load(&source, &cfg, err);
    ddp_impatience_end();
    if (rc != 0 || (rc = settle_ranks(cfg, opt, 0, tried, err)) != 0)
        goto out;
    if (opt->print_config && (rc = ddp_show_config(cfg, err)) != 0)
        goto out;
    if (opt->print_config && !opt->map && !opt->dry_run)
        goto out;
    if (check.known && !ddp_config_by_ranks(cfg) && (rc = check_whole(opt, cfg, err)) != 0)
        goto out;
    if (opt->batch.system) {
        rc = ddp_batch_write(opt, cfg, err);
        goto out;
    }
    ddp_startup_end(DDP_STARTUP_CONFIG);
    if ((rc = ddp_sites_find(opt, cfg, &sites, err)) != 0)
        goto out;
    ddp_startup_end(DDP_STARTUP_HOSTS);
    if ((rc = make_plan(&sites, opt, cfg, check.known, &plan, tried, err)) != 0)
        goto out;
    if ((rc = check_all(&sites, &plan, opt, cfg, err)) != 0 || opt->check)
        goto out;
    if (opt->map)
        ddp_show_map(&plan, &sites);
    if (opt->map && !opt->dry_run)
        goto out;
    ddp_startup_end(DDP_STARTUP_PLAN);
    if ((rc = ddp_job_describe(argc, argv, opt, cfg, &plan, started, &job, err)) != 0)
        goto out;
    if (sites.team.n > 0)
        ddp_job_place(&job, &plan, opt->by_node);
    if (opt->dry_run && plan.nparts > 1 && sites.team.n == 0) {
        rc = ddp_fail(
            err, DDP_E_USAGE,
            "--dry-run shows the command of one host's ranks, and %s names %d hosts; --map shows all",
            sites.hosts.from, plan.nparts);
        goto out;
    }
    if (opt->dry_run) {
        ddp_show_command(sites.starter, &job);
        goto out;
    }
    if (!opt->quiet)
        ddp_show_notes(&plan, &sites);
    ddp_sites_hold(&sites, &plan);
    rc = run(&sites, opt, cfg, &plan, &job, tried, err);
out:
    ddp_job_close(&job);
    ddp_launch_plan_finish(&plan);
    ddp_sites_finish(&sites);
    ddp_config_destroy(cfg);
    return rc;
}

/* --resume RUN and --eval RUN without CONFIG: that of RUN. */
static int find_config(struct ddp_options *opt, char path[PATH_MAX], struct ddp_error *err)
{
    const char *run = opt->resume ? opt->resume : opt->eval;
    if (opt->config)
        return 0;
    const int rc = ddp_run_config(run, path, PATH_MAX, err);
    opt->config = path;
    return rc ? ddp_error_prefix(err, "%s", opt->resume ? "--resume" : "--eval") : 0;
}

static void print_error(const struct ddp_error *err)
{
    for (const char *line = err->text; *line;) {
        const int n = (int)strcspn(line, "\n");
        fprintf(stderr, "ddp-launch: %.*s\n", n, line);
        line += n + (line[n] == '\n');
    }
}

/* Up to --restarts times. */
static int try_and_try_again(int argc, char **argv, const struct ddp_options *given, double started,
                             int *exit_code, struct ddp_error *err)
{
    struct tried *tried = ddp_calloc(1, sizeof *tried);
    struct ddp_options opt = *given; /* its lists stay the caller's */
    struct ddp_restart restart = {0};
    sigset_t mask;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    int rc = plan_and_run(argc, argv, &opt, started, tried, err);
    for (int n = 1; n <= opt.restarts && rc == 0 && ddp_restart_helps(tried->exit_code, &tried->ending);
         n++) {
        struct ddp_text say;
        sigprocmask(SIG_SETMASK, &mask, NULL);
        ddp_text_init(&say);
        ddp_restart_prepare(&restart, &tried->ending, &opt, &say);
        fprintf(stderr, "ddp-launch: restart %d of %d: %s\n", n, opt.restarts, say.s);
        ddp_text_finish(&say);
        *tried = (struct tried){.config_ranks = tried->config_ranks};
        rc = plan_and_run(argc, argv, &opt, ddp_now(), tried, err);
    }
    *exit_code = tried->exit_code;
    ddp_restart_finish(&restart);
    free(tried);
    return rc;
}

static int answer(int argc, char **argv)
{
    const double started = ddp_now();
    struct ddp_options opt = {0};
    struct ddp_error err = {0};
    char config[PATH_MAX];
    int exit_code = DDP_EXIT_OK;

    if (argc > 1 && strcmp(argv[1], DDP_AGENT_OPTION) == 0)
        return ddp_agent_main(argc - 2, argv + 2);
    if (argc > 1 && strcmp(argv[1], DDP_INSPECT_OPTION) == 0)
        return ddp_inspect_main(argc - 2, argv + 2);
    if (argc > 1 && strcmp(argv[1], DDP_RANK_OPTION) == 0)
        return ddp_rank_main(argc - 2, argv + 2);
    if (argc > 1 && strcmp(argv[1], DDP_SSH_OPTION) == 0)
        return ddp_ssh_main(argv + 2);
    int rc = ddp_options_parse(argc, argv, &opt, &err);
    if (rc != 0)
        goto out;
    if (opt.answer)
        ddp_manual_answer(&ddp_launch_manual, opt.answer);
    else if (opt.reference)
        rc = ddp_show_reference(&opt, &err);
    else if ((rc = find_config(&opt, config, &err)) == 0)
        rc = try_and_try_again(argc, argv, &opt, started, &exit_code, &err);
out:
    if (rc != 0) {
        print_error(&err);
        exit_code = ddp_error_exit(rc);
    }
    ddp_options_finish(&opt);
    return exit_code;
}

int main(int argc, char **argv)
{
    ddp_streams_open();
    ddp_signals_prepare();
    return ddp_streams_close("ddp-launch", answer(argc, argv));
}
