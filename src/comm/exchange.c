/* The face of messages: checks of lists and of the order of calls, around what the transport does. */
#include <stdlib.h>

#include "comm/transport.h"

enum state { FRESH, FLYING, DONE, FAILED };

struct ddp_exchange {
    struct ddp_comm *comm;
    void *self; /* the transport's; NULL without messages */
    enum state state;
};

static int check_list(const struct ddp_comm *c, const struct ddp_message *list, int n, int tag,
                      struct ddp_error *err)
{
    if (c == NULL)
        return ddp_fail(err, DDP_E_USAGE, "comm exchange: no comm");
    if (n < 0 || (list == NULL && n > 0))
        return ddp_fail(err, DDP_E_USAGE, "comm exchange: %d messages%s", n,
                        list == NULL ? " at a null pointer" : "");
    if (tag < 0 || tag >= DDP_EXCHANGE_TAGS)
        return ddp_fail(err, DDP_E_USAGE, "comm exchange: tag %d; 0 to %d are possible", tag,
                        DDP_EXCHANGE_TAGS - 1);
    for (int i = 0; i < n; i++) {
        const struct ddp_message *m = &list[i];
        if (m->peer < 0 || m->peer >= c->size || m->peer == c->rank)
            return ddp_fail(err, DDP_E_USAGE,
                            "comm exchange: message %d is %s rank %d, which is no other of the %d ranks", i,
                            m->send ? "to" : "from", m->peer, c->size);
        if (m->buffer == NULL && m->bytes > 0)
            return ddp_fail(err, DDP_E_USAGE, "comm exchange: message %d has %zu bytes at a null pointer", i,
                            m->bytes);
    }
    if (n > 0 && !(c->ops->caps & DDP_COMM_MESSAGES))
        return ddp_fail(err, DDP_E_COMM, "comm exchange: the transport '%s' has no messages between ranks",
                        c->ops->name);
    return 0;
}

int ddp_exchange_create(struct ddp_comm *c, const struct ddp_message *list, int n, int tag,
                        struct ddp_exchange **out, struct ddp_error *err)
{
    void *self = NULL;
    int code = check_list(c, list, n, tag, err);
    if (code == 0 && n > 0)
        code = c->ops->exchange_create(c->self, list, n, tag, &self, err);
    if (code != 0)
        return code;
    struct ddp_exchange *x = ddp_calloc(1, sizeof *x);
    x->comm = c;
    x->self = self;
    *out = x;
    return 0;
}

/* After every call into the transport. */
static int settle(struct ddp_exchange *x, int code, enum state next)
{
    x->state = code == 0 ? next : FAILED;
    return code;
}

int ddp_exchange_begin(struct ddp_exchange *x, struct ddp_error *err)
{
    if (x == NULL || x->state == FLYING || x->state == FAILED)
        return ddp_fail(err, DDP_E_USAGE, "comm exchange: begin of %s",
                        x == NULL            ? "nothing"
                        : x->state == FLYING ? "one that is in flight"
                                             : "one that has failed");
    return settle(x, x->self != NULL ? x->comm->ops->exchange_begin(x->comm->self, x->self, err) : 0, FLYING);
}

static int test(struct ddp_exchange *x, bool wait, bool *done, struct ddp_error *err)
{
    if (x == NULL || x->state == FRESH || x->state == FAILED)
        return ddp_fail(err, DDP_E_USAGE, "comm exchange: %s of %s", wait ? "finish" : "poll",
                        x == NULL           ? "nothing"
                        : x->state == FRESH ? "one that was not begun"
                                            : "one that has failed");
    *done = true;
    if (x->state == DONE)
        return 0;
    int code = 0;
    if (x->self != NULL)
        code = x->comm->ops->exchange_test(x->comm->self, x->self, wait, done, err);
    return settle(x, code, *done ? DONE : FLYING);
}

int ddp_exchange_poll(struct ddp_exchange *x, bool *done, struct ddp_error *err)
{
    bool through = false;
    int code = test(x, false, &through, err);
    if (code == 0)
        *done = through;
    return code;
}

int ddp_exchange_finish(struct ddp_exchange *x, struct ddp_error *err)
{
    bool through;
    const double begun = ddp_pulse_wait_begin(DDP_WAIT_MESSAGE, 0);
    const int code = test(x, true, &through, err);
    ddp_pulse_wait_end(begun);
    return code;
}

void ddp_exchange_destroy(struct ddp_exchange *x)
{
    if (x == NULL)
        return;
    if (x->self != NULL)
        x->comm->ops->exchange_destroy(x->comm->self, x->self);
    free(x);
}
