/* Waiting for the device: a wait that ends, whatever happens to the device or to other ranks. */
#include <time.h>

#include "engine/gpu/private.h"

static const double SPIN_S = 200e-6; /* a step of a small model is over by then */
static const double CHECK_S = 0.05;  /* between looks at NCCL */

/* What one look in a wait says. */
struct wait {
    double began, next_check;
};

static struct wait begin(void)
{
    const double now = ddp_pulse_wait_begin(DDP_WAIT_DEVICE, 0);
    return (struct wait){.began = now, .next_check = now + CHECK_S};
}

static int look(struct ddp_gpu_engine *e, struct wait *w, const char *what, struct ddp_error *err)
{
    const struct timespec moment = {.tv_nsec = 20000};
    const double now = ddp_now();
    if (now - w->began > SPIN_S)
        nanosleep(&moment, NULL);
    if (now < w->next_check)
        return 0;
    w->next_check = now + CHECK_S;
    int status = e->api->check(e->gpu, err);
    if (status == 0 && e->comm)
        status = e->api->comm_check(e->comm, err);
    if (status)
        return ddp_error_prefix(err, "%s", what);
    if (now - w->began > e->timeout)
        return ddp_fail(err, DDP_E_COMM,
                        "%s: the GPU of rank %d (%s) has not answered for %.0f s: another rank hangs or its "
                        "GPU does. The "
                        "limit is comm.timeout_s",
                        what, e->base.conf.comm->rank, e->about.device.name, e->timeout);
    return 0;
}

int ddp_gpu_engine_wait(struct ddp_gpu_engine *e, struct ddp_gpu_event *event, const char *what,
                        struct ddp_error *err)
{
    struct wait w = begin();
    int status = 0;
    while (status == 0 && !e->api->reached(event))
        status = look(e, &w, what, err);
    ddp_pulse_wait_end(w.began);
    return status ? status : e->api->check(e->gpu, err);
}

int ddp_gpu_engine_drain(struct ddp_gpu_engine *e, struct ddp_gpu_stream *s, const char *what,
                         struct ddp_error *err)
{
    struct wait w = begin();
    int status = 0;
    while (status == 0 && !e->api->idle(s))
        status = look(e, &w, what, err);
    ddp_pulse_wait_end(w.began);
    return status ? status : e->api->check(e->gpu, err);
}
