/* A process that looks at its host, and the one that asks it to. */
#include "launcher/inspect.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/facts.h"
#include "launcher/fields.h"
#include "launcher/job.h"
#include "launcher/spawn.h"

enum { MOST = 1 << 26 };

/* ---- who asks -------------------------------------------------------------------------------- */

/* The task as a file without a name, which the process inherits. */
static int put_task(const json_t *task, struct ddp_error *err)
{
    char *text = json_dumps(task, JSON_COMPACT);
    const size_t n = strlen(text);
    const int fd = memfd_create("ddp-inspect", 0);
    const bool written = fd >= 0 && write(fd, text, n) == (ssize_t)n;
    const int why = errno;
    free(text);
    if (written)
        return fd;
    if (fd >= 0)
        close(fd);
    return ddp_fail(err, DDP_E_RESOURCE, "no memory for a question: %s", strerror(why));
}

static int begin(const json_t *task, int fd, struct ddp_child *child, struct ddp_error *err)
{
    struct ddp_words argv = {0}, env = {0};
    char self[PATH_MAX];
    sigset_t none;
    size_t i;
    json_t *word;
    sigemptyset(&none);
    json_array_foreach(json_object_get(task, "env"), i, word)
        ddp_words_add(&env, "%s", json_string_value(word));
    ddp_job_self(self);
    ddp_words_add(&argv, "%s", self);
    ddp_words_add(&argv, DDP_INSPECT_OPTION);
    ddp_words_add(&argv, "%d", fd);
    const int rc = ddp_spawn(&argv, &env, &none, 0, child, err);
    ddp_words_finish(&argv);
    ddp_words_finish(&env);
    return rc;
}

/* What it writes, until both ends are closed or the time is over. */
static void listen_to(const struct ddp_child *child, double until, struct ddp_text *out,
                      struct ddp_text *said)
{
    struct pollfd fds[2] = {{.fd = child->out, .events = POLLIN}, {.fd = child->err, .events = POLLIN}};
    struct ddp_text *to[2] = {out, said};
    char piece[4096];
    double left;
    while ((fds[0].fd >= 0 || fds[1].fd >= 0) && (left = until - ddp_now()) > 0) {
        poll(fds, 2, (int)(left * 1e3) + 1);
        for (int i = 0; i < 2; i++) {
            const ssize_t n = fds[i].revents ? read(fds[i].fd, piece, sizeof piece) : -1;
            if (n > 0)
                ddp_text_append(to[i], piece, (size_t)n);
            else if (n == 0)
                fds[i].fd = -1;
        }
    }
}

/* The last line of what it said, without its end. */
static const char *last_line(struct ddp_text *said)
{
    while (said->len > 0 && said->s[said->len - 1] == '\n')
        said->s[--said->len] = '\0';
    const char *end = said->len > 0 ? strrchr(said->s, '\n') : NULL;
    return end ? end + 1 : said->s;
}

static int judge(int status, bool late, const char *said, struct ddp_error *err)
{
    char why[64];
    if (late)
        return ddp_fail(
            err, DDP_E_RESOURCE,
            "looking at this host takes too long: does 'nvidia-smi' answer there, and do its file "
            "systems?%s%s",
            *said ? " It said: " : "", said);
    if (WIFSIGNALED(status))
        snprintf(why, sizeof why, "signal %d", WTERMSIG(status));
    else
        snprintf(why, sizeof why, "status %d", WEXITSTATUS(status));
    return ddp_fail(err, DDP_E_RESOURCE, "looking at this host ended with %s%s%s", why, *said ? ": " : "",
                    said);
}

int ddp_inspect(const json_t *task, double limit_s, json_t **facts, struct ddp_error *err)
{
    const double until = ddp_now() + limit_s;
    struct ddp_child child;
    struct ddp_text out, said;
    int status = 0;
    const int fd = put_task(task, err);
    if (fd < 0)
        return fd;
    const int rc = begin(task, fd, &child, err);
    close(fd);
    if (rc != 0)
        return rc;
    ddp_text_init(&out);
    ddp_text_init(&said);
    listen_to(&child, until, &out, &said);
    const bool late = ddp_now() >= until;
    kill(child.pid, late ? SIGKILL : 0);
    waitpid(child.pid, &status, 0);
    close(child.out);
    close(child.err);
    json_t *answer = out.len > 0 ? json_loads(out.s, 0, NULL) : NULL;
    if (answer)
        *facts = answer;
    const int code = answer ? 0 : judge(status, late, said.len > 0 ? last_line(&said) : "", err);
    ddp_text_finish(&out);
    ddp_text_finish(&said);
    return code;
}

/* ---- who looks ------------------------------------------------------------------------------- */

static json_t *read_task(const char *fd)
{
    char path[64], *text = NULL;
    size_t n = 0;
    struct ddp_error err = {0};
    snprintf(path, sizeof path, "/proc/self/fd/%.20s", fd);
    json_t *task = ddp_file_read(path, MOST, &text, &n, &err) == 0 ? json_loadb(text, n, 0, NULL) : NULL;
    free(text);
    return task;
}

int ddp_inspect_main(int argc, char **argv)
{
    json_t *task = argc == 1 ? read_task(argv[0]) : NULL;
    if (!task) {
        fprintf(stderr, "ddp-launch: " DDP_INSPECT_OPTION
                        " is what ddp-launch looks at hosts with; it is of no use by "
                        "hand\n");
        return DDP_EXIT_USAGE;
    }
    const struct ddp_facts_ask ask = {.config = ddp_field_text(task, "config"),
                                      .program = ddp_field_text(task, "program"),
                                      .folder = ddp_field_text(task, "folder"),
                                      .runs = ddp_field_text(task, "runs"),
                                      .marker = ddp_field_text(task, "marker"),
                                      .whole = json_is_true(json_object_get(task, "whole")),
                                      .without_machine = true};
    json_t *facts = ddp_facts_read(&ask);
    char *text = json_dumps(facts, JSON_COMPACT);
    const bool told = fputs(text, stdout) >= 0 && fflush(stdout) == 0;
    free(text);
    json_decref(facts);
    json_decref(task);
    return told ? DDP_EXIT_OK : DDP_EXIT_RESOURCE;
}
