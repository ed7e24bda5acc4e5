/* Delays that tests plant into a phase of some steps of one rank. */
#include "base/delay.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"

static struct {
    bool planted;
    enum ddp_phase phase;
    int64_t from, to, done; /* steps */
    double seconds;
} delay = {.done = -1};

#define NAME_OF(NAME, name, words, step) name,
static const char *const names[] = {DDP_PHASES(NAME_OF)};

void ddp_delay_plant(int rank)
{
    const char *env = getenv("DDP_TEST_DELAY");
    char phase[32], seconds[32];
    int who;
    long long from, to;
    if (!env || sscanf(env, "%d:%31[^:]:%lld-%lld:%31s", &who, phase, &from, &to, seconds) != 5 ||
        who != rank || !ddp_parse_double(seconds, &delay.seconds))
        return;
    for (int p = 0; p < DDP_PHASE_COUNT; p++)
        if (strcmp(names[p], phase) == 0) {
            delay.planted = true;
            delay.phase = (enum ddp_phase)p;
        }
    delay.from = from;
    delay.to = to;
}

bool ddp_delay_is_planted(void)
{
    return delay.planted;
}

void ddp_delay(enum ddp_phase phase, int64_t step)
{
    if (!delay.planted || phase != delay.phase || step < delay.from || step > delay.to || step == delay.done)
        return;
    struct timespec left = {.tv_sec = (time_t)delay.seconds,
                            .tv_nsec = (long)((delay.seconds - (double)(time_t)delay.seconds) * 1e9)};
    delay.done = step;
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}
