/* Counting ranks by host. */
#include "launcher/roll.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* From the last one that came: programs are loaded over slow file systems. */
static const double PATIENCE_S = 30;

void ddp_roll_init(struct ddp_roll *roll, int ranks, const char *const *host_of)
{
    *roll = (struct ddp_roll){.ranks = ranks, .host_of = host_of};
    roll->come = ddp_calloc((size_t)ranks, sizeof *roll->come);
}

void ddp_roll_finish(struct ddp_roll *roll)
{
    free(roll->come);
}

static int first_of(const struct ddp_roll *roll, const char *host)
{
    for (int r = 0; r < roll->ranks; r++)
        if (strcmp(roll->host_of[r], host) == 0)
            return r;
    return -1;
}

void ddp_roll_join(struct ddp_roll *roll, const char *host, double now)
{
    const int first = roll->host_of ? first_of(roll, host) : -1;
    roll->joined++;
    roll->last = now;
    if (first >= 0)
        roll->come[first]++;
}

void ddp_roll_skip_time(struct ddp_roll *roll, double seconds)
{
    roll->last += seconds;
}

double ddp_roll_due(const struct ddp_roll *roll)
{
    const bool waits = roll->host_of && roll->joined > 0 && roll->joined < roll->ranks;
    return waits ? roll->last + PATIENCE_S : HUGE_VAL;
}

const char *ddp_roll_explain(const struct ddp_roll *roll, char *buf, size_t size)
{
    for (int r = 0; r < roll->ranks; r++) {
        int expected = 0;
        if (first_of(roll, roll->host_of[r]) != r)
            continue;
        for (int k = r; k < roll->ranks; k++)
            expected += strcmp(roll->host_of[k], roll->host_of[r]) == 0;
        if (roll->come[r] < expected) {
            snprintf(buf, size,
                     "did not start: %d of %d ranks have reported there, and the others have waited %g s for "
                     "them; "
                     "does the program run there by hand?",
                     roll->come[r], expected, PATIENCE_S);
            return roll->host_of[r];
        }
    }
    snprintf(buf, size, "did not start");
    return "";
}
