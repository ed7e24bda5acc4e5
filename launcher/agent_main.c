/* The life of an agent on another host. */
#include "launcher/agent_main.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/address.h"
#include "launcher/agent_remote.h"
#include "launcher/agent_tasks.h"
#include "launcher/network.h"
#include "launcher/process.h"
#include "launcher/signals.h"

static const double CONNECT_S = 3; /* for each of the head's addresses */
enum { ROUNDS = 2, IDLE_MS = 60000 };

/* ---- finding the head ------------------------------------------------------------------------ */

static char *hello_text(const char *token)
{
    char host[256] = "localhost";
    gethostname(host, sizeof host - 1);
    json_t *hello = json_pack("{s:s,s:s,s:s,s:o}", "version", DDP_LAUNCH_VERSION, "token", token, "host",
                              host, "addresses", ddp_network_addresses());
    char *text = json_dumps(hello, JSON_COMPACT);
    json_decref(hello);
    return text;
}

/* Connect and hear the token back: some other program may listen there, on a network of this host's own. */
static bool try_address(const char *address, int port, const char *token, const char *hello,
                        struct ddp_wire *out)
{
    struct ddp_frame frame;
    const double until = ddp_now() + CONNECT_S;
    const int fd = ddp_address_connect(address, port);
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    if (fd < 0)
        return false;
    if (poll(&p, 1, (int)(CONNECT_S * 1e3)) <= 0 || !ddp_address_connected(fd)) {
        close(fd);
        return false;
    }
    ddp_wire_init(out, fd);
    ddp_wire_send(out, DDP_WIRE_HELLO, hello, strlen(hello));
    if (ddp_wire_wait(out, until, &frame) && frame.kind == DDP_WIRE_WELCOME &&
        strcmp(frame.bytes, token) == 0) {
        out->most = DDP_WIRE_MOST;
        return true;
    }
    ddp_wire_finish(out);
    return false;
}

static bool find_head(int naddresses, char **addresses, int port, const char *token, struct ddp_wire *out)
{
    char *hello = hello_text(token);
    bool found = false;
    for (int round = 0; round < ROUNDS && !found; round++)
        for (int i = 0; i < naddresses && !found; i++)
            found = try_address(addresses[i], port, token, hello, out);
    free(hello);
    return found;
}

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

/* Until the head has closed the wire: it does when it has heard our last word, and when it ends. */
static void serve(struct ddp_agent_desk *desk, struct ddp_wire *wire, int signals)
{
    struct pollfd *fds = NULL;
    struct ddp_news *news = ddp_calloc(1, sizeof *news);
    struct ddp_frame frame;

    while (!wire->over) {
        while (ddp_wire_next(wire, &frame))
            on_frame(desk, wire, &frame);
        while (desk->agent && ddp_agent_next(ddp_agent_here(desk->agent), ddp_now(), news))
            send_news(desk, wire, news);
        struct ddp_agent *agent = desk->agent ? ddp_agent_here(desk->agent) : NULL;
        double until = ddp_now() + IDLE_MS / 1e3;
        fds = ddp_realloc(fds, (2 + (size_t)(agent ? ddp_agent_watches(agent) : 0)) * sizeof *fds);
        fds[0] = ddp_wire_poll(wire);
        fds[1] = (struct pollfd){.fd = signals, .events = POLLIN};
        const int n = agent ? ddp_agent_watch(agent, fds + 2, &until) : 0;
        const double left = until - ddp_now();
        if (poll(fds, (nfds_t)n + 2, left < 0 ? 0 : (int)(left * 1e3) + 1) > 0) {
            while (fds[1].revents && ddp_signals_read(signals) != 0) /* the head decides what they mean */
                ;
            if (agent)
                ddp_agent_woken(agent, fds + 2);
            ddp_wire_move(wire);
        }
    }
    while (ddp_wire_next(wire, &frame)) /* its goodbye may have come with the end */
        on_frame(desk, wire, &frame);
    free(news);
    free(fds);
}

int ddp_agent_main(int argc, char **argv)
{
    struct ddp_agent_desk desk = {.job.lock = -1, .claim.folder = -1};
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
    char *token = ddp_strdup(given);
    unsetenv(DDP_AGENT_TOKEN); /* no rank has to know it */
    int rc = ddp_signals_open(&signals, &before, &err);
    if (rc == 0 && !find_head(argc - 1, argv, (int)port, token, &wire)) {
        char host[256] = "localhost";
        gethostname(host, sizeof host - 1);
        rc = ddp_fail(&err, DDP_E_COMM, "%s cannot reach the host of ddp-launch at port %d of %s%s", host,
                      (int)port, argv[0], argc > 2 ? " or its other addresses" : "");
    }
    free(token);
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
