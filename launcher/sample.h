/* What an agent saw of one rank at one look: its pulse since the look before, and what the system says of its
 * process. Durations alone, no points in time: hosts have clocks of their own. Travels as text in news. */
#ifndef DDP_LAUNCHER_SAMPLE_H
#define DDP_LAUNCHER_SAMPLE_H

#include "base/base.h"

enum { DDP_SAMPLE_TEXT = 512, DDP_DOING_TEXT = 256 };

struct ddp_sample {
    int pid;
    enum ddp_phase phase;
    enum ddp_pulse_wait wait;
    int64_t which, step; /* as in struct ddp_pulse */
    int shards;
    double still;   /* seconds seen without any change; time in which nobody looked does not count */
    double longest; /* seconds that it has lately been in this phase, or in a step, without waits */

    int64_t steps; /* done by this process */
    int fresh;     /* of them since the look before, its first ones left out; 0: the next four are 0 */
    double wall, busy, data, aside; /* medians of these: seconds; busy: not waiting for others */
    double span;                    /* seconds since the look before .. */
    double ran, queued;             /* .. that the training thread was on a core, and ready but without one */
    int mhz;                        /* clock of the core that it runs on; 0: not known */

    bool halted, traced;        /* somebody has stopped it, a debugger holds it: seen once it is still */
    char doing[DDP_DOING_TEXT]; /* "process 42 sleeps (..)", then, unless it waits for others; else "" */
};

/* buf: [DDP_SAMPLE_TEXT]. */
void ddp_sample_format(const struct ddp_sample *s, char *buf);
bool ddp_sample_parse(const char *text, struct ddp_sample *out);

#endif
