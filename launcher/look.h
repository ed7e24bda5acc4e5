/* An agent's look at one of its ranks: the pulse and the process, compared with the look before. */
#ifndef DDP_LAUNCHER_LOOK_H
#define DDP_LAUNCHER_LOOK_H

#include <sys/types.h>

#include "launcher/sample.h"

static const double DDP_LOOK_S = 0.25; /* between looks */

struct ddp_look { /* zeroed: none yet */
    double at;    /* of the last one; 0: none */
    int64_t beats, steps;
    double still;
    double ran, queued; /* totals of the training thread, seconds */
    int looks, mhz;
};

/* `process` is running and has this page. */
void ddp_look_at(struct ddp_look *look, const struct ddp_pulse_page *page, pid_t process, double now,
                 struct ddp_sample *out);

#endif
