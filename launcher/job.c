/* What a job is called, and what its ranks are started with. */
#include "launcher/job.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher/rank_env.h"
#include "launcher/signals.h"

/* ---- what the ranks are told ----------------------------------------------------------------- */

/* The user's command as a JSON array; bytes that are no UTF-8 become '?'. malloc'd. */
static char *command_json(int argc, char **argv)
{
    json_t *list = json_array();
    for (int i = 0; i < argc; i++) {
        json_t *word = json_string(argv[i]);
        if (!word) {
            char *plain = ddp_strdup(argv[i]);
            for (char *s = plain; *s; s++)
                *s = (unsigned char)*s < 0x80 ? *s : '?';
            word = json_string(plain);
            free(plain);
        }
        json_array_append_new(list, word);
    }
    char *text = json_dumps(list, JSON_COMPACT);
    json_decref(list);
    return text;
}

/* Ranks write to a pipe, and their lines end up there. */
static void add_terminal(struct ddp_words *env)
{
    char tty[128] = "";
    const int columns = ddp_log_columns();
    if (!isatty(STDERR_FILENO))
        return;
    if (ttyname_r(STDERR_FILENO, tty, sizeof tty) != 0)
        tty[0] = '\0'; /* of another mount namespace: its columns now are all that ranks can know */
    ddp_words_add(env, "DDP_TTY=%d:%s", columns > 0 ? columns : 80, tty);
}

static void describe_environment(int argc, char **argv, const struct ddp_launch_plan *plan, double started,
                                 struct ddp_job *job)
{
    char *command = command_json(argc, argv), *map = ddp_launch_plan_line(plan),
         *places = ddp_launch_part_places(&plan->part[0]);
    char phases[DDP_STARTUP_TEXT];

    ddp_words_add(&job->env, "DDP_LIFELINE=%s", job->name);
    ddp_words_add(&job->env, "DDP_PLACE=%s", places);
    ddp_words_add(&job->env, "DDP_STARTED=%.17g", started);
    ddp_words_add(&job->env, "DDP_STARTUP=%s", ddp_startup_tell(phases));
    ddp_words_add(&job->env, "DDP_COMMAND=%s", command ? command : "[]");
    ddp_words_add(&job->env, "DDP_MAP=%s", map);
    add_terminal(&job->env);
    if (ddp_signals_nohup())
        ddp_words_add(&job->env, "DDP_NOHUP=1"); /* mpirun gives ranks the default again */
    free(places);
    free(map);
    free(command);
}

bool ddp_job_self(char out[PATH_MAX])
{
    const ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 1);
    strcpy(out + (n > 0 ? n : 0), n > 0 ? "" : "ddp-launch");
    return n > 0;
}

/* Whether it can be started. A folder has the same bit, for another purpose. errno tells why not. */
static bool can_run(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return false;
    if (!S_ISREG(st.st_mode))
        errno = S_ISDIR(st.st_mode) ? EISDIR : EACCES;
    return S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static int find_by_path(const char *wanted, char out[PATH_MAX], struct ddp_error *err)
{
    if (realpath(wanted, out) && can_run(out))
        return 0;
    if (errno == EISDIR)
        return ddp_fail(err, DDP_E_RESOURCE, "--program %s is a folder, not a program; name the file in it",
                        wanted);
    return ddp_fail(err, DDP_E_RESOURCE, "--program %s cannot be run: %s", wanted, strerror(errno));
}

int ddp_job_program(const char *wanted, char out[PATH_MAX], struct ddp_error *err)
{
    char self[PATH_MAX], path[2 * PATH_MAX];
    if (wanted && strchr(wanted, '/'))
        return find_by_path(wanted, out, err);
    if (!ddp_job_self(self))
        return ddp_fail(err, DDP_E_RESOURCE, "/proc is not there: ddp-launch needs it mounted");
    *strrchr(self, '/') = '\0';
    snprintf(path, sizeof path, "%s/%s", self, wanted ? wanted : "ddp-train");
    if (can_run(path) && strlen(path) < PATH_MAX) {
        strcpy(out, path);
        return 0;
    }
    if (!wanted)
        return ddp_fail(err, DDP_E_RESOURCE,
                        "%s is missing: it belongs beside ddp-launch. Build or install it, or name another "
                        "program with --program",
                        path);
    const char *dirs = getenv("PATH");
    while (dirs && *dirs) {
        const int len = (int)strcspn(dirs, ":");
        snprintf(path, sizeof path, "%.*s/%s", len, dirs, wanted);
        if (len > 0 && can_run(path) && realpath(path, out))
            return 0;
        dirs += len + (dirs[len] == ':');
    }
    return ddp_fail(err, DDP_E_RESOURCE,
                    "--program %s: there is no such program beside ddp-launch or on PATH", wanted);
}

/* CONFIG and overrides as they were given: DDP_CONFIG holds what they came to. */
static void describe_config(const struct ddp_options *opt, struct ddp_job *job)
{
    const int n = opt->overrides.n + 1;
    char **words = ddp_calloc((size_t)n, sizeof *words);
    words[0] = (char *)(uintptr_t)opt->config;
    for (int i = 1; i < n; i++)
        words[i] = opt->overrides.w[i - 1];
    char *text = command_json(n, words);
    ddp_words_add(&job->env, "DDP_CONFIG_GIVEN=%s", text ? text : "[]");
    free(text);
    free(words);
}

/* "ddp-launch -n 2 --resume " */
static void describe_again(const char *self, const struct ddp_options *opt, int ranks, struct ddp_job *job)
{
    struct ddp_options there = *opt;
    struct ddp_words words = {0};
    if (opt->program) /* that may be said in another folder */
        there.program = job->program;
    struct ddp_text t;
    ddp_text_init(&t);
    ddp_words_quote(self, &t);
    ddp_text_add(&t, " -n %d ", ranks);
    ddp_options_again(&there, &words);
    for (int i = 0; i < words.n; i++) {
        ddp_words_quote(words.w[i], &t);
        ddp_text_add(&t, " ");
    }
    ddp_text_add(&t, "--resume ");
    snprintf(job->again, sizeof job->again, "%s", t.s);
    ddp_text_finish(&t);
    ddp_words_finish(&words);
}

int ddp_job_describe(int argc, char **argv, const struct ddp_options *opt, const struct ddp_config *cfg,
                     const struct ddp_launch_plan *plan, double started, struct ddp_job *job,
                     struct ddp_error *err)
{
    *job = (struct ddp_job){.lock = -1, .ranks = plan->ranks, .started = started};
    ddp_job_self(job->launcher);
    job->evaluates = opt->eval != NULL;
    job->grace = cfg->launch.grace > 0 ? cfg->launch.grace : HUGE_VAL;
    int rc = ddp_job_program(opt->program, job->program, err);
    if (rc == 0)
        rc = ddp_config_dump(cfg, false, &job->config, err);
    if (rc != 0)
        return rc;
    job->stuck_after = cfg->launch.stuck_after;
    job->fanout = (int)cfg->launch.fanout;
    describe_config(opt, job);
    describe_again(argv[0], opt, plan->ranks, job);
    ddp_words_add(&job->env, "DDP_PROGRAM=%s",
                  opt->program ? job->program : ""); /* "": over an inherited one */

    /* unique on this machine: the process number, and the time against its reuse; another one at a restart,
     * since janitors may still be cleaning up what went before */
    snprintf(job->name, sizeof job->name, DDP_JOB_PREFIX "%d-%llx", (int)getpid(),
             (unsigned long long)(ddp_now() * 1e6));
    if (gethostname(job->host, sizeof job->host - 1) != 0)
        strcpy(job->host, "localhost");
    ddp_words_add(&job->args, "%s", opt->config);
    for (int i = 0; i < opt->overrides.n; i++)
        ddp_words_add(&job->args, "%s", opt->overrides.w[i]);
    if (opt->resume) {
        ddp_words_add(&job->args, "--resume");
        ddp_words_add(&job->args, "%s", opt->resume);
    }
    if (opt->eval) {
        ddp_words_add(&job->args, "--eval");
        ddp_words_add(&job->args, "%s", opt->eval);
    }
    if (plan->decided) /* device=auto: all ranks do what was decided here */
        ddp_words_add(&job->args, "device=%s", plan->cuda ? "cuda" : "cpu");
    if (opt->relock)
        ddp_words_add(&job->args, "--relock");
    describe_environment(argc, argv, plan, started, job);
    return 0;
}

void ddp_job_place(struct ddp_job *job, const struct ddp_launch_plan *plan, bool by_node)
{
    job->nhosts = plan->nparts;
    job->by_node = by_node;
    job->host_list = ddp_calloc((size_t)plan->nparts, sizeof *job->host_list);
    for (int i = 0; i < plan->nparts; i++)
        job->host_list[i] = (struct ddp_job_host){ddp_strdup(plan->part[i].host), plan->part[i].ranks};
}

void ddp_job_rank_command(const struct ddp_job *job, struct ddp_words *argv)
{
    if (job->nhosts > 0)
        ddp_words_add_all(argv, (const char *const[]){job->launcher, DDP_RANK_OPTION, job->dir, NULL});
    ddp_words_add(argv, "%s", job->program);
    for (int i = 0; i < job->args.n; i++)
        ddp_words_add(argv, "%s", job->args.w[i]);
}
