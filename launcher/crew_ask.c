/* Asking all agents of a crew at once. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/crew.h"

static void give(struct ddp_crew_member *m, json_t *task)
{
    json_decref(m->task);
    json_decref(m->answer);
    m->task = task;
    m->answer = NULL;
    m->asked = ddp_wall();
    if (!task)
        return;
    char *text = json_dumps(task, JSON_COMPACT);
    ddp_wire_send(&m->wire, DDP_WIRE_TASK, text, strlen(text));
    free(text);
}

static bool waits_for(const struct ddp_crew_member *m)
{
    return m->task && !m->answer && !m->wire.over;
}

static void listen_to(struct ddp_crew *crew, struct pollfd *fds)
{
    struct ddp_frame frame;
    for (int i = 0; i < crew->n; i++) /* of all: one's answer may come by another's wire */
        fds[i] = ddp_wire_poll(&crew->member[i].wire);
    poll(fds, (nfds_t)crew->n, 100);
    for (int i = 0; i < crew->n; i++) {
        struct ddp_crew_member *m = &crew->member[i];
        if (fds[i].revents)
            ddp_wire_move(&m->wire);
        while (waits_for(m) && ddp_wire_next(&m->wire, &frame))
            if (frame.kind == DDP_WIRE_ANSWER) {
                m->answer = json_loads(frame.bytes, 0, NULL);
                m->answered = ddp_wall();
            }
    }
}

static int read_answer(const struct ddp_crew_member *m, struct ddp_error *err)
{
    if (!m->task)
        return 0;
    if (!m->answer)
        return ddp_fail(err, DDP_E_RESOURCE, "host %s: its agent %s", m->name,
                        m->wire.over ? m->wire.why : "gave no answer in time");
    const char *text = json_string_value(json_object_get(m->answer, "error"));
    const int code = (int)json_integer_value(json_object_get(m->answer, "code"));
    return text ? ddp_fail(err, code ? code : DDP_E_RESOURCE, "host %s: %s", m->name, text) : 0;
}

int ddp_crew_ask(struct ddp_crew *crew, json_t *const *task, double limit_s, struct ddp_error *err)
{
    struct pollfd *fds = ddp_calloc((size_t)crew->n + 1, sizeof *fds);
    const double until = ddp_now() + limit_s;
    bool waiting = true;
    int rc = 0;
    for (int i = 0; i < crew->n; i++)
        give(&crew->member[i], task[i]);
    while (waiting && ddp_now() < until) {
        listen_to(crew, fds);
        waiting = false;
        for (int i = 0; i < crew->n; i++)
            waiting |= waits_for(&crew->member[i]);
    }
    free(fds);
    for (int i = 0; i < crew->n && rc == 0; i++)
        rc = read_answer(&crew->member[i], err);
    return rc;
}
