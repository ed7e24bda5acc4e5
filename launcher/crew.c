/* Calling agents, hearing who has come, and asking them. */
#include "launcher/crew.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/absent.h"
#include "launcher/address.h"
#include "launcher/agent_main.h"
#include "launcher/fields.h"
#include "launcher/hosts.h"
#include "launcher/missing.h"
#include "launcher/process.h"
#include "launcher/signals.h"

static const double STRANGER_S = 10;
enum { STRANGERS = 256, END_MS = 3000, LOST_MS = 200 };

/* Who has connected and not yet said who it is. */
struct stranger {
    struct ddp_wire wire;
    double until;
};

/* ---- open ------------------------------------------------------------------------------------ */

int ddp_crew_open(const struct ddp_words *hosts, struct ddp_crew *out, struct ddp_error *err)
{
    unsigned char bytes[16];
    struct ddp_crew crew = {.n = hosts->n, .listener = -1};
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return ddp_fail(err, DDP_E_RESOURCE, "no random numbers for the job's token: %s", strerror(errno));
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(crew.token + 2 * i, 3, "%02x", bytes[i]);
    const int rc = ddp_address_listen(&crew.listener, &crew.port, err);
    if (rc != 0)
        return rc;
    crew.member = ddp_calloc((size_t)crew.n + 1, sizeof *crew.member);
    for (int i = 0; i < crew.n; i++) {
        crew.member[i].name = ddp_strdup(hosts->w[i]);
        crew.member[i].wire.fd = -1;
    }
    ddp_text_init(&crew.said);
    *out = crew;
    return 0;
}

/* ---- who comes ------------------------------------------------------------------------------- */

/* Which of the hosts it is: by its name, or the user has named it by its address. Where neither is so (an
 * alias in ~/.ssh/config), and only one is missing, it is that one. */
static struct ddp_crew_member *find_member(struct ddp_crew *crew, const json_t *hello)
{
    const char *host = ddp_field_text(hello, "host");
    const json_t *addresses = json_object_get(hello, "addresses");
    struct ddp_crew_member *left = NULL;
    int missing = 0;
    for (int i = 0; i < crew->n; i++) {
        struct ddp_crew_member *m = &crew->member[i];
        if (!m->here && (ddp_host_is_self(m->name, host) || ddp_field_find(addresses, "address", m->name)))
            return m;
        missing += !m->here;
        left = m->here ? left : m;
    }
    return missing == 1 ? left : NULL;
}

/* True when the stranger is one no more: a member, or sent away. */
static bool identify(struct ddp_crew *crew, struct stranger *s)
{
    struct ddp_frame frame;
    if (!ddp_wire_next(&s->wire, &frame)) {
        const bool leaves = s->wire.over || ddp_now() > s->until;
        if (leaves)
            ddp_wire_finish(&s->wire);
        return leaves;
    }
    json_t *hello = frame.kind == DDP_WIRE_HELLO ? json_loads(frame.bytes, 0, NULL) : NULL;
    const char *token = json_string_value(json_object_get(hello, "token"));
    const char *version = json_string_value(json_object_get(hello, "version"));
    struct ddp_crew_member *m = NULL;
    if (token && strcmp(token, crew->token) == 0 && json_string_value(json_object_get(hello, "host")))
        m = find_member(crew, hello);
    if (!m) {
        json_decref(hello);
        ddp_wire_finish(&s->wire);
        return true;
    }
    if (!version || strcmp(version, DDP_LAUNCH_VERSION) != 0)
        ddp_text_add(&crew->said, "%s has version %s of ddp, and this is %s: use the same on all hosts\n",
                     m->name, version ? version : "?", DDP_LAUNCH_VERSION);
    m->here = true;
    m->hello = hello;
    m->wire = s->wire;
    m->wire.most = DDP_WIRE_MOST;
    ddp_wire_send(&m->wire, DDP_WIRE_WELCOME, crew->token, strlen(crew->token));
    return true;
}

static int count_missing(const struct ddp_crew *crew)
{
    int n = 0;
    for (int i = 0; i < crew->n; i++)
        n += !crew->member[i].here;
    return n;
}

static void read_said(struct ddp_crew *crew, int *fd)
{
    char buf[4096];
    ssize_t n = -1;
    while (*fd >= 0 && (n = read(*fd, buf, sizeof buf)) > 0)
        ddp_text_append(&crew->said, buf, (size_t)n);
    if (*fd >= 0 && (n == 0 || (errno != EAGAIN && errno != EINTR))) {
        close(*fd);
        *fd = -1;
    }
}

/* One turn of waiting: what the starter's program says, who connects, who says who it is. */
static void hear(struct ddp_crew *crew, struct stranger *stranger, int *n)
{
    struct pollfd fds[3 + STRANGERS];
    fds[0] = (struct pollfd){.fd = *n < STRANGERS ? crew->listener : -1, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = crew->called.pid > 0 ? crew->called.out : -1, .events = POLLIN};
    fds[2] = (struct pollfd){.fd = crew->called.pid > 0 ? crew->called.err : -1, .events = POLLIN};
    for (int i = 0; i < *n; i++)
        fds[3 + i] = ddp_wire_poll(&stranger[i].wire);
    poll(fds, (nfds_t)*n + 3, 100);
    if (fds[1].revents)
        read_said(crew, &crew->called.out);
    if (fds[2].revents)
        read_said(crew, &crew->called.err);
    int kept = 0;
    for (int i = 0; i < *n; i++) {
        if (fds[3 + i].revents)
            ddp_wire_move(&stranger[i].wire);
        if (!identify(crew, &stranger[i]))
            stranger[kept++] = stranger[i];
    }
    *n = kept;
    const int fd = fds[0].revents ? accept4(crew->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK) : -1;
    if (fd >= 0) {
        ddp_wire_init(&stranger[*n].wire, fd);
        stranger[(*n)++].until = ddp_now() + STRANGER_S;
    }
}

static bool has_called_ended(struct ddp_crew *crew)
{
    if (crew->called.pid <= 0 || waitpid(crew->called.pid, NULL, WNOHANG) != crew->called.pid)
        return false;
    crew->called.pid = 0;
    read_said(crew, &crew->called.out);
    read_said(crew, &crew->called.err);
    return true;
}

static int fail_missing(struct ddp_crew *crew, struct ddp_error *err)
{
    struct ddp_words missing = {0}, address = {0};
    struct ddp_text why;
    for (int i = 0; i < crew->n; i++)
        if (!crew->member[i].here) {
            char *all = ddp_addresses_of(crew->member[i].name);
            ddp_words_add(&missing, "%s", crew->member[i].name);
            ddp_words_add(&address, "%s", all);
            free(all);
        }
    ddp_text_init(&why);
    const bool by_ssh = crew->starter && crew->starter->forks && !getenv("SLURM_JOB_ID");
    if (!ddp_missing_explain(&missing, &address, crew->n, crew->said.s, &why) && by_ssh) {
        ddp_text_finish(&why);
        ddp_text_init(&why);
        ddp_absent_tell(&missing, &address, &crew->said);
        ddp_missing_explain(&missing, &address, crew->n, crew->said.s, &why);
    }
    const int rc = ddp_fail(err, DDP_E_RESOURCE, "%s", why.s);
    ddp_text_finish(&why);
    ddp_words_finish(&missing);
    ddp_words_finish(&address);
    return rc;
}

int ddp_crew_gather(struct ddp_crew *crew, double limit_s, struct ddp_error *err)
{
    struct stranger *stranger = ddp_calloc(STRANGERS, sizeof *stranger);
    const double until = ddp_now() + limit_s;
    bool waits = crew->called.pid > 0, ended = false;
    int n = 0;
    while (count_missing(crew) > 0 && ddp_now() < until && !ended) {
        hear(crew, stranger, &n);
        ended = waits && has_called_ended(crew);
        if (ended)
            hear(crew, stranger, &n);
    }
    for (int i = 0; i < n; i++)
        ddp_wire_finish(&stranger[i].wire);
    free(stranger);
    return count_missing(crew) > 0 ? fail_missing(crew, err) : 0;
}

int ddp_crew_call(const struct ddp_starter *starter, const struct ddp_words *hosts, double limit_s,
                  struct ddp_crew *out, struct ddp_error *err)
{
    struct ddp_words agent = {0}, argv = {0}, env = {0};
    struct ddp_address *list = NULL;
    struct ddp_crew crew = {0};
    sigset_t mask;
    int rc = ddp_crew_open(hosts, &crew, err);
    if (rc != 0)
        return rc;
    crew.starter = starter;
    char self[PATH_MAX];
    ddp_job_self(self);
    ddp_words_add(&agent, "%s", self);
    ddp_words_add(&agent, DDP_AGENT_OPTION);
    const int n = ddp_addresses_list(&list);
    for (int i = 0; i < n; i++)
        ddp_words_add(&agent, "%s", list[i].text);
    free(list);
    ddp_words_add(&agent, "%d", crew.port);
    ddp_words_add(&env, DDP_AGENT_TOKEN "=%s", crew.token);
    starter->agents(hosts, &agent, &argv, &env);
    sigprocmask(SIG_SETMASK, NULL, &mask);
    ddp_signals_add(&mask);
    rc = ddp_spawn(&argv, &env, &mask, 0, &crew.called, err);
    if (rc == 0)
        rc = ddp_crew_gather(&crew, limit_s, err);
    ddp_words_finish(&agent);
    ddp_words_finish(&argv);
    ddp_words_finish(&env);
    if (rc != 0)
        ddp_crew_dismiss(&crew);
    else
        *out = crew;
    return rc;
}

/* ---- the end --------------------------------------------------------------------------------- */

/* Agents that have cleaned up end by themselves, and then their starter's program does; not where a host is
 * lost. */
static void end_called(struct ddp_crew *crew, int limit_ms)
{
    for (int waited = 0; crew->called.pid > 0 && waited < limit_ms; waited += 2) {
        const pid_t pid = waitpid(crew->called.pid, NULL, WNOHANG);
        if (pid == crew->called.pid || (pid < 0 && errno != EINTR))
            crew->called.pid = 0;
        else
            usleep(2000);
    }
    if (crew->called.pid > 0) {
        ddp_process_kill_family(crew->called.pid);
        waitpid(crew->called.pid, NULL, 0);
    }
    crew->called.pid = 0;
}

void ddp_crew_dismiss(struct ddp_crew *crew)
{
    bool lost = false;
    for (int i = 0; i < crew->n; i++) {
        struct ddp_crew_member *m = &crew->member[i];
        lost |= !m->here || m->wire.over;
        if (m->here && m->wire.by) /* while there is a way to it */
            ddp_wire_send(&m->wire, DDP_WIRE_BYE, "", 0);
    }
    for (int i = 0; i < crew->n; i++) {
        struct ddp_crew_member *m = &crew->member[i];
        if (m->here && !m->wire.by)
            ddp_wire_send(&m->wire, DDP_WIRE_BYE, "", 0);
        if (m->here)
            ddp_wire_finish(&m->wire);
        json_decref(m->hello);
        json_decref(m->task);
        json_decref(m->answer);
        free(m->name);
    }
    free(crew->member);
    if (crew->member) {
        close(crew->listener);
        ddp_text_finish(&crew->said);
    }
    crew->member = NULL;
    crew->n = 0;
    end_called(crew, lost ? LOST_MS : END_MS);
    if (crew->called.out > 0)
        close(crew->called.out);
    if (crew->called.err > 0)
        close(crew->called.err);
    crew->called.out = crew->called.err = -1;
}
