/* A process's part in a job: joining it, its config, training, leaving; who reports a failure. */
#include "train/session.h"
#include "train/check.h"

#include <jansson.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const double ABORT_S = 5; /* for the launcher to learn whose end it was, and to end us */

static bool on_my_machine(const struct ddp_comm *c, int rank)
{
    return c->at[c->node_of[rank]].machine == c->at[c->node].machine;
}

/* CPUs that are this rank's share of those it may run on: a container, taskset or the user's own mpirun may
 * leave it few of the machine's, for itself or together with other ranks, and a quota pay for fewer.
 * Collective. */
static int count_cpus(struct ddp_session *s, struct ddp_error *err)
{
    cpu_set_t mine, *all = ddp_calloc((size_t)s->comm->size, sizeof *all);
    CPU_ZERO(&mine);
    if (sched_getaffinity(0, sizeof mine, &mine) != 0)
        CPU_SET(0, &mine); /* more CPUs than a set holds: train.threads says how many to use */
    int status = ddp_comm_allgather(s->comm, &mine, all, sizeof mine, err);
    double share = 0;
    for (int cpu = 0; status == 0 && cpu < CPU_SETSIZE; cpu++) {
        int sharers = 0;
        for (int r = 0; r < s->comm->size; r++)
            sharers += on_my_machine(s->comm, r) && CPU_ISSET(cpu, &all[r]) != 0;
        if (CPU_ISSET(cpu, &mine))
            share += 1.0 / sharers;
    }
    struct ddp_cpu_quota quota;
    ddp_cpu_quota_read("", &quota);
    if (quota.cpus > 0 &&
        quota.cpus < share * s->comm->local_size) { /* the group is that of all ranks here */
        share = quota.cpus / s->comm->local_size;
        s->comm->spin = share < 1 ? 0 : s->comm->spin;
    }
    s->cpus = share < 1 ? 1 : (int)(share + 1e-6);
    free(all);
    return status;
}

/* The launcher's plan for this rank: part LOCAL_RANK of DDP_PLACE. */
static int find_place(struct ddp_session *s, bool *oversubscribed, struct ddp_error *err)
{
    const char *plan = getenv("DDP_PLACE");
    const int announced = ddp_comm_announced_local_rank(), local = announced < 0 ? 0 : announced;
    if (!plan || !*plan)
        return 0;
    const int status = ddp_place_parse_nth(plan, local, &s->place, oversubscribed, err);
    s->placed = status == 0;
    return status ? ddp_error_prefix(err, "DDP_PLACE") : 0;
}

/* The user's own command: what ddp-launch was given, else this program's. */
static void find_command(struct ddp_session *s, int argc, char **argv)
{
    const char *given = getenv("DDP_COMMAND");
    json_t *list = given ? json_loads(given, 0, NULL) : NULL;
    s->argc = list ? (int)json_array_size(list) : argc;
    s->command = ddp_arena_alloc(s->arena, (size_t)(s->argc + 1) * sizeof *s->command);
    for (int i = 0; i < s->argc; i++) {
        const char *word = list ? json_string_value(json_array_get(list, (size_t)i)) : argv[i];
        s->command[i] = ddp_arena_strdup(s->arena, word ? word : "");
    }
    json_decref(list);
}

/* What is ours among the program's arguments; the rest moves up. */
static void take_options(struct ddp_session *s, int *argc, char **argv)
{
    int kept = *argc > 0;
    for (int i = 1; i < *argc; i++) {
        const char **value = strcmp(argv[i], "--resume") == 0 ? &s->resume
                             : strcmp(argv[i], "--eval") == 0 ? &s->eval_only
                                                              : NULL;
        if (value && i + 1 < *argc)
            *value = argv[++i];
        else if (strcmp(argv[i], "--quiet") == 0)
            s->quiet = true;
        else if (strcmp(argv[i], "--relock") == 0)
            s->relock = true;
        else
            argv[kept++] = argv[i];
    }
    *argc = kept;
    argv[kept] = NULL;
}

int ddp_session_open(int *argc, char ***argv, struct ddp_session **out, struct ddp_error *err)
{
    struct ddp_session *s = ddp_calloc(1, sizeof *s);
    s->arena = ddp_arena_create();
    s->speaks = true;
    const char *started = getenv("DDP_STARTED");
    ddp_streams_open(); /* of a program that is not ours, too: no file of ours may be its standard error */
    if (!started || !ddp_parse_double(started, &s->started))
        s->started = ddp_now();
    ddp_startup_take(s->started, getenv("DDP_STARTUP"));
    ddp_startup_end(DDP_STARTUP_START);
    ddp_lifeline_join();
    ddp_float_mode();
    find_command(s, *argc, *argv);
    take_options(s, argc, *argv);
    bool oversubscribed = false;
    int status = find_place(s, &oversubscribed, err);
    if (status == 0 && s->placed)
        status = ddp_place_bind(&s->place, s->place.numa >= 0, err);
    if (status == 0)
        status = ddp_comm_world_create(argc, argv, &s->comm, err);
    if (status == 0 && !s->placed)
        status = count_cpus(s, err);
    if (status) {
        ddp_lifeline_error(ddp_error_exit(status), err->text);
        s->status = status;
        ddp_session_close(s, NULL);
        return status;
    }
    if (s->placed && oversubscribed)
        s->comm->spin = 0;
    char host[256] = "localhost";
    gethostname(host, sizeof host - 1);
    ddp_log_identity(host, s->comm->rank);
    ddp_startup_end(DDP_STARTUP_JOIN);
    ddp_pulse_phase(DDP_PHASE_OWN);
    *out = s;
    return 0;
}

/* Another rank has ended the job, and this one has only noticed. */
static bool is_ended_by_another(const struct ddp_session *s, int status)
{
    return status == DDP_E_COMM && s->comm && s->comm->stop_word &&
           atomic_load_explicit(s->comm->stop_word, memory_order_acquire) != 0;
}

/* After a call that may have failed: who reports it, and whether the others must be ended. */
static int settle(struct ddp_session *s, int status, bool agreed, const struct ddp_error *err)
{
    s->speaks = agreed ? s->comm->rank == 0 : !is_ended_by_another(s, status);
    s->status = status;
    if (status && status != DDP_E_STOPPED) {
        if (!agreed)
            s->failed = status;
        if (s->speaks && status == DDP_E_COMM && !agreed)
            ddp_lifeline_cut(ddp_error_exit(status), err ? err->text : "");
        else if (s->speaks)
            ddp_lifeline_error(ddp_error_exit(status), err ? err->text : "");
    }
    ddp_pulse_phase(DDP_PHASE_OWN);
    return status;
}

/* The line of `text` that is the first to differ from `other`. */
static void first_difference(const char *text, const char *other, char line[2][96])
{
    const char *a = text, *b = other;
    for (size_t n; *a && (n = strcspn(a, "\n")) == strcspn(b, "\n") && memcmp(a, b, n) == 0;) {
        a += n + (a[n] == '\n');
        b += n + (b[n] == '\n');
    }
    a += strspn(a, " ");
    b += strspn(b, " ");
    snprintf(line[0], sizeof line[0], "%.*s", (int)strcspn(a, "\n"), a);
    snprintf(line[1], sizeof line[1], "%.*s", (int)strcspn(b, "\n"), b);
}

/* A user's own mpirun may start ranks with different arguments: they would wait for each other in different
 * places, or train something that no config describes. Collective. */
static int compare_configs(const struct ddp_session *s, const struct ddp_config *cfg, struct ddp_error *err)
{
    if (s->comm->size == 1)
        return 0;
    char *mine = NULL, *first = NULL, line[2][96];
    int status = ddp_comm_agree(s->comm, ddp_config_dump(cfg, false, &mine, err), err);
    uint64_t bytes = mine ? strlen(mine) + 1 : 0;
    if (status == 0)
        status = ddp_comm_bcast(s->comm, &bytes, sizeof bytes, 0, err);
    if (status || !mine)
        goto out;
    first = ddp_calloc(1, bytes);
    if (s->comm->rank == 0)
        memcpy(first, mine, bytes);
    status = ddp_comm_bcast(s->comm, first, bytes, 0, err);
    if (status == 0 && strcmp(mine, first) != 0) {
        first_difference(mine, first, line);
        status = ddp_fail(
            err, DDP_E_CONFIG,
            "this rank has another config than rank 0: '%s' where that has '%s'; start all ranks with the "
            "same CONFIG and overrides",
            line[0], line[1]);
    }
    status = ddp_comm_agree(s->comm, status, err);
out:
    free(first);
    free(mine);
    return status;
}

/* ---- the config ---- */

/* How many of the words at hand ddp-launch has worked into the config that it hands over; -1: none, this is
 * another CONFIG or other words. */
static int words_handed(const char *path, const char *const *overrides, int n)
{
    const char *text = getenv("DDP_CONFIG_GIVEN");
    json_t *list = text && getenv("DDP_CONFIG") ? json_loads(text, 0, NULL) : NULL;
    const int given = (int)json_array_size(list);
    bool same = given > 0 && given - 1 <= n && path;
    for (int i = 0; same && i < given; i++) {
        const char *word = json_string_value(json_array_get(list, (size_t)i));
        same = word && strcmp(word, i ? overrides[i - 1] : path) == 0;
    }
    json_decref(list);
    return same ? given - 1 : -1;
}

static bool same_text(const struct ddp_config *a, const struct ddp_config *b)
{
    char *x = NULL, *y = NULL;
    const bool same = ddp_config_dump(a, false, &x, NULL) == 0 && ddp_config_dump(b, false, &y, NULL) == 0 &&
                      strcmp(x, y) == 0;
    free(x);
    free(y);
    return same;
}

static bool is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* What is meant per rank, for as many as there are. */
static int load_whole(const struct ddp_session *s, const struct ddp_config_options *opt,
                      struct ddp_config **out, struct ddp_error *err)
{
    struct ddp_config *cfg;
    struct ddp_text notes;
    int status = ddp_config_load(opt, &cfg, err);
    if (status)
        return status;
    ddp_text_init(&notes);
    status = ddp_config_for_ranks(cfg, s->comm->size, &notes, err);
    if (*notes.s && s->comm->rank == 0 && !ddp_lifeline_active()) /* else the launcher has said it */
        ddp_say("ddp-train", "%.*s", (int)strcspn(notes.s, "\n"), notes.s);
    ddp_text_finish(&notes);
    if (status)
        ddp_config_destroy(cfg);
    else
        *out = cfg;
    return status;
}

/* ddp-launch reads CONFIG once for all: a pipe can be read no second time, and a file may change while ranks
 * start. The file itself is read as well only for the lines that messages name, and where it still says the
 * same. */
static int load_config(const struct ddp_session *s, const char *path, const char *const *overrides, int n,
                       struct ddp_config **out, struct ddp_error *err)
{
    struct ddp_train_check check = {0};
    struct ddp_config_options opt = {
        .path = path, .overrides = overrides, .noverrides = n, .check = ddp_train_check_keys, .user = &check};
    const int given = words_handed(path, overrides, n);
    if (given < 0)
        return load_whole(s, &opt, out, err);
    const struct ddp_config_options handed = {.path = getenv("DDP_CONFIG"),
                                              .overrides = overrides + given,
                                              .noverrides = n - given,
                                              .check = ddp_train_check_keys,
                                              .user = &check};
    struct ddp_config *cfg, *own = NULL;
    const int status = load_whole(s, &handed, &cfg, err);
    if (status)
        return status;
    if (is_file(path) && load_whole(s, &opt, &own, NULL) == 0 && same_text(own, cfg)) {
        struct ddp_config *both = cfg;
        cfg = own;
        own = both;
    }
    ddp_config_destroy(own);
    *out = cfg;
    return 0;
}

int ddp_session_config(struct ddp_session *s, const char *path, const char *const *overrides, int n,
                       struct ddp_error *err)
{
    struct ddp_error mine = {0};
    struct ddp_config *cfg = NULL;
    ddp_pulse_phase(DDP_PHASE_START);
    int status = load_config(s, path, overrides, n, &cfg, &mine);
    status = ddp_comm_agree(s->comm, status, &mine);
    if (status == 0)
        status = compare_configs(s, cfg, &mine);
    if (status) {
        ddp_config_destroy(cfg);
        if (err)
            *err = mine;
        return settle(s, status, true, &mine);
    }
    ddp_config_destroy(s->cfg);
    s->cfg = cfg;
    ddp_startup_end(DDP_STARTUP_READ);
    return settle(s, 0, true, NULL);
}

/* Threads of this rank: as configured; 0 is the launcher's plan, or this rank's share of the CPUs. */
static int thread_count(const struct ddp_session *s)
{
    if (s->cfg->train.threads > 0)
        return (int)s->cfg->train.threads;
    return s->placed ? s->place.threads : s->cpus;
}

int ddp_session_train(struct ddp_session *s, const struct ddp_hooks *hooks, struct ddp_result *result,
                      struct ddp_error *err)
{
    if (!s->cfg)
        return s->status = ddp_fail(err, DDP_E_USAGE, "ddp_session_train: call ddp_session_config first");
    struct ddp_error mine = {0};
    bool agreed = true;
    ddp_pulse_phase(DDP_PHASE_START);
    ddp_log_terminal(s->quiet ? DDP_LOG_ERROR : ddp_log_level_of(s->cfg->log.level));
    const char *own = getenv("DDP_PROGRAM");
    struct ddp_train_options opt = {
        .cfg = s->cfg,
        .comm = s->comm,
        .place = s->placed ? &s->place : NULL,
        .threads = thread_count(s),
        .argc = s->argc,
        .command = s->command,
        .resume = s->resume,
        .eval_only = s->eval_only,
        .relock = s->relock,
        .program = own && *own ? own : NULL,
        .map = getenv("DDP_MAP"),
        .network = getenv("DDP_NETWORK"),
        .started = s->started,
        .agreed = &agreed,
    };
    if (hooks)
        opt.hooks = *hooks;
    int status = ddp_train_run(&opt, result, &mine);
    if (s->comm->rank == 0 && (status == 0 || status == DDP_E_STOPPED) && *result->weights_hash)
        ddp_lifeline_result(result->run_dir, result->weights_hash);
    if (err)
        *err = mine;
    return settle(s, status, agreed, &mine);
}

bool ddp_session_reports(const struct ddp_session *s)
{
    return !ddp_lifeline_active() && (!s || s->speaks);
}

int ddp_session_close(struct ddp_session *s, struct ddp_error *err)
{
    (void)err;
    if (!s)
        return 0;
    ddp_pulse_phase(DDP_PHASE_LEAVE);
    if (!s->failed) /* a failure of this rank alone is no clean leave: the launcher has its reason already */
        ddp_lifeline_bye(ddp_error_exit(s->status));
    if (s->failed == DDP_E_COMM && s->comm && s->comm->nodes > 1) /* MPI_Abort would blame those it ends */
        ddp_lifeline_wait(ABORT_S);
    if (s->failed && s->comm && s->comm->size > 1)
        ddp_comm_abort(s->comm, ddp_error_exit(s->failed));
    ddp_comm_destroy(s->comm);
    ddp_config_destroy(s->cfg);
    if (s->placed)
        ddp_place_finish(&s->place);
    ddp_arena_destroy(s->arena);
    free(s);
    ddp_pulse_phase(DDP_PHASE_OWN);
    return 0;
}
