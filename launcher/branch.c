/* Frames of other agents, on their way to the head and back. */
#include "launcher/branch.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "launcher/address.h"
#include "launcher/fields.h"

static const double STRANGER_S = 10, LAST_WORDS_S = 1;
enum { STRANGERS = 64 }; /* at most, beside those that are expected */

int ddp_branch_open(struct ddp_branch *b, int expected, const char *token, int *port, struct ddp_error *err)
{
    *b = (struct ddp_branch){.listener = -1, .expected = expected};
    snprintf(b->token, sizeof b->token, "%s", token);
    b->twig = ddp_calloc((size_t)expected + STRANGERS, sizeof *b->twig);
    return ddp_address_listen(&b->listener, port, err);
}

void ddp_branch_close(struct ddp_branch *b)
{
    const double until = ddp_now() + LAST_WORDS_S;
    for (int i = 0; i < b->n; i++) {
        ddp_wire_flush(&b->twig[i].wire, until);
        ddp_wire_finish(&b->twig[i].wire);
    }
    free(b->twig);
    if (b->listener >= 0)
        close(b->listener);
    *b = (struct ddp_branch){.listener = -1};
}

int ddp_branch_watches(const struct ddp_branch *b)
{
    return b->n + 1;
}

int ddp_branch_watch(const struct ddp_branch *b, struct pollfd *fds)
{
    fds[0] = (struct pollfd){.fd = b->n < b->expected + STRANGERS ? b->listener : -1, .events = POLLIN};
    for (int i = 0; i < b->n; i++)
        fds[1 + i] = ddp_wire_poll(&b->twig[i].wire);
    return b->n + 1;
}

/* ---- up -------------------------------------------------------------------------------------- */

static void tell_cut(int number, const char *why, struct ddp_wire *head)
{
    char bytes[sizeof(int32_t) + sizeof head->why];
    const int32_t word = number;
    memcpy(bytes, &word, sizeof word);
    snprintf(bytes + sizeof word, sizeof head->why, "%s", why);
    ddp_wire_send(head, DDP_WIRE_CUT, bytes, sizeof word + strlen(why) + 1);
}

/* Who it is: an agent that knows the token and has been told its number. */
static bool identify(const struct ddp_branch *b, struct ddp_twig *t, const struct ddp_frame *frame)
{
    json_t *hello = frame->kind == DDP_WIRE_HELLO ? json_loads(frame->bytes, 0, NULL) : NULL;
    const json_t *number = json_object_get(hello, "number");
    const bool known = strcmp(ddp_field_text(hello, "token"), b->token) == 0 && json_is_integer(number);
    if (known) {
        t->number = (int)json_integer_value(number);
        t->wire.most = DDP_WIRE_MOST;
        ddp_wire_send(&t->wire, DDP_WIRE_WELCOME, b->token, strlen(b->token));
    }
    json_decref(hello);
    return known;
}

static void pass_up(const struct ddp_branch *b, struct ddp_twig *t, struct ddp_wire *head)
{
    struct ddp_frame frame;
    struct ddp_text bytes;
    while (ddp_wire_next(&t->wire, &frame)) {
        const struct ddp_wire_passed passed = {.number = t->number, .kind = frame.kind};
        if (t->number < 0) {
            if (!identify(b, t, &frame))
                ddp_wire_cut(&t->wire, "is a stranger");
            continue;
        }
        ddp_text_init(&bytes);
        ddp_text_append(&bytes, (const char *)&passed, sizeof passed);
        ddp_text_append(&bytes, frame.bytes, frame.n);
        ddp_wire_send(head, DDP_WIRE_PASSED, bytes.s, bytes.len);
        ddp_text_finish(&bytes);
    }
    if (t->wire.over && t->number >= 0 && !t->told) {
        tell_cut(t->number, t->wire.why, head);
        t->told = true;
    }
}

void ddp_branch_woken(struct ddp_branch *b, const struct pollfd *fds, struct ddp_wire *head)
{
    int kept = 0;
    const int n = b->n;
    for (int i = 0; i < n; i++) {
        struct ddp_twig *t = &b->twig[i];
        if (fds[1 + i].revents)
            ddp_wire_move(&t->wire);
        pass_up(b, t, head);
        if (t->number < 0 && (t->wire.over || ddp_now() > t->until))
            ddp_wire_finish(&t->wire);
        else
            b->twig[kept++] = *t;
    }
    b->n = kept;
    const int fd = fds[0].revents ? accept4(b->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK) : -1;
    if (fd >= 0) {
        b->twig[b->n] = (struct ddp_twig){.number = -1, .until = ddp_now() + STRANGER_S};
        ddp_wire_init(&b->twig[b->n++].wire, fd);
    }
}

/* ---- down ------------------------------------------------------------------------------------ */

void ddp_branch_pass(struct ddp_branch *b, const struct ddp_frame *frame, struct ddp_wire *head)
{
    struct ddp_wire_passed passed;
    if (frame->n < sizeof passed)
        return;
    memcpy(&passed, frame->bytes, sizeof passed);
    for (int i = 0; i < b->n; i++)
        if (b->twig[i].number == passed.number && !b->twig[i].wire.over) {
            ddp_wire_send(&b->twig[i].wire, (enum ddp_wire_kind)passed.kind, frame->bytes + sizeof passed,
                          frame->n - sizeof passed);
            return;
        }
    tell_cut(passed.number, "is gone", head);
}
