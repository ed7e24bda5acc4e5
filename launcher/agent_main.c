/* The life of an agent on another host. */
#include "launcher/agent_main.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/agent_remote.h"
#include "launcher/agent_tasks.h"
#include "launcher/hello.h"
#include "launcher/process.h"
#include "launcher/signals.h"

static const double ANSWER_S = 3; /* to be written */
enum { IDLE_MS = 60000 };

/* ---- serving it ------------------------------------------------------------------------------ */

static void on_frame(struct ddp_agent_desk *desk, struct ddp_wire *wire, const struct ddp_frame *frame)
{
    struct ddp_wire_note note;
    int32_t order;
    if (frame->kind == DDP_WIRE_ORDER && frame->n == sizeof order) {
        memcpy(&order, frame->bytes, sizeof order);
        if (desk->agent && order >= 0 && order < DDP_ORDERS)
            ddp_agent_order(ddp_agent_here(desk->agent), (enum ddp_order)order);
    } else if (frame->kind == DDP_WIRE_NOTE && frame->n == sizeof note && desk->agent) {
        memcpy(&note, frame->bytes, sizeof note);
        note.text[sizeof note.text - 1] = '\0';
        ddp_agent_note(ddp_agent_here(desk->agent), note.rank, note.text);
    } else if (frame->kind == DDP_WIRE_PASSED) {
        ddp_branch_pass(&desk->branch, frame, wire);
    } else if (frame->kind == DDP_WIRE_BYE) {
        desk->dismissed = true;
    } else if (frame->kind == DDP_WIRE_TASK) {
        json_t *task = json_loads(frame->bytes, 0, NULL), *answer = ddp_agent_task(desk, task);
        char *text = json_dumps(answer, JSON_COMPACT);
        ddp_wire_send(wire, DDP_WIRE_ANSWER, text, strlen(text));
        free(text);
        json_decref(answer);
        json_decref(task);
    }
}

/* Who is killed by the kernel for want of memory gets SIGKILL and no word: the host's counters tell. */
static void send_news(const struct ddp_agent_desk *desk, struct ddp_wire *wire, struct ddp_news *news)
{
    const size_t n = strlen(news->text);
    struct ddp_oom now;
    if (news->kind == DDP_NEWS_DIED && n < sizeof news->text - 1) {
        ddp_oom_read("", &now);
        ddp_oom_word(&desk->memory, &now, news->text + n, (int)(sizeof news->text - n));
    }
    ddp_wire_send_news(wire, news);
}

/* The head is reached through another agent from now on. It closes the old wire once it has our answer. */
static void move_over(struct ddp_agent_desk *desk, struct ddp_wire *wire)
{
    ddp_wire_flush(wire, ddp_now() + ANSWER_S);
    desk->old = *wire;
    *wire = desk->moved;
    desk->moved.fd = -1;
}

static void read_frames(struct ddp_agent_desk *desk, struct ddp_wire *wire)
{
    struct ddp_frame frame;
    while (ddp_wire_next(wire, &frame)) {
        on_frame(desk, wire, &frame);
        if (desk->moved.fd >= 0)
            move_over(desk, wire);
        else if (desk->old.fd >= 0)
            ddp_wire_finish(&desk->old);
    }
}

/* Until the head has closed the wire: it does when it has heard our last word, and when it ends. */
static void serve(struct ddp_agent_desk *desk, struct ddp_wire *wire, int signals)
{
    struct pollfd *fds = NULL;
    struct ddp_news *news = ddp_calloc(1, sizeof *news);

    while (!wire->over) {
        read_frames(desk, wire);
        while (desk->agent && ddp_agent_next(ddp_agent_here(desk->agent), ddp_now(), news))
            send_news(desk, wire, news);
        struct ddp_agent *agent = desk->agent ? ddp_agent_here(desk->agent) : NULL;
        double until = ddp_now() + IDLE_MS / 1e3;
        const int most = 2 + ddp_branch_watches(&desk->branch) + (agent ? ddp_agent_watches(agent) : 0);
        fds = ddp_realloc(fds, (size_t)most * sizeof *fds);
        fds[0] = ddp_wire_poll(wire);
        fds[1] = (struct pollfd){.fd = signals, .events = POLLIN};
        const int at = 2 + ddp_branch_watch(&desk->branch, fds + 2);
        const int n = at + (agent ? ddp_agent_watch(agent, fds + at, &until) : 0);
        const double left = until - ddp_now();
        if (poll(fds, (nfds_t)n, left < 0 ? 0 : (int)(left * 1e3) + 1) > 0) {
            while (fds[1].revents && ddp_signals_read(signals) != 0) /* the head decides what they mean */
                ;
            if (agent)
                ddp_agent_woken(agent, fds + at);
            ddp_branch_woken(&desk->branch, fds + 2, wire);
            ddp_wire_move(wire);
        }
    }
    read_frames(desk, wire); /* its goodbye may have come with the end */
    ddp_branch_close(&desk->branch);
    ddp_wire_finish(&desk->old);
    free(news);
    free(fds);
}

int ddp_agent_main(int argc, char **argv)
{
    struct ddp_agent_desk desk = DDP_AGENT_DESK;
    struct ddp_words addresses = {0};
    struct ddp_wire wire;
    struct ddp_error err = {0};
    const char *given = getenv(DDP_AGENT_TOKEN);
    int64_t port = 0;
    int signals;
    sigset_t before;

    if (argc < 2 || !given || !ddp_parse_int(argv[argc - 1], &port) || port < 1 || port > 65535) {
        fprintf(stderr,
                "ddp-launch: --agent is what ddp-launch starts on other hosts; it is of no use by hand\n");
        return DDP_EXIT_USAGE;
    }
    snprintf(desk.token, sizeof desk.token, "%s", given);
    unsetenv(DDP_AGENT_TOKEN); /* no rank has to know it */
    for (int i = 0; i < argc - 1; i++)
        ddp_words_add(&addresses, "%s", argv[i]);
    int rc = ddp_signals_open(&signals, &before, &err);
    if (rc == 0 && !ddp_hello(&addresses, (int)port, desk.token, DDP_HELLO_HEAD, &wire)) {
        char host[256] = "localhost";
        gethostname(host, sizeof host - 1);
        rc = ddp_fail(&err, DDP_E_COMM, "%s cannot reach the host of ddp-launch at port %d of %s%s", host,
                      (int)port, argv[0], argc > 2 ? " or its other addresses" : "");
    }
    ddp_words_finish(&addresses);
    if (rc != 0) {
        fprintf(stderr, "ddp-launch: %s\n", err.text);
        return ddp_error_exit(rc);
    }
    serve(&desk, &wire, signals);
    const bool lost = !desk.dismissed;
    ddp_agent_clear(&desk);
    ddp_wire_finish(&wire);
    if (lost || ddp_process_state(getppid(), NULL) == 'T') /* who is stopped would stay */
        ddp_daemon_kill(getppid());
    return DDP_EXIT_OK;
}
