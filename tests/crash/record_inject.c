/* What is to go wrong in a recorded process, from the environment:
 *
 *   CRASH_FAULT=N:ERRNO         the Nth recorded call (from 1) of this process fails, and all after it
 *   CRASH_FAULT=N:ERRNO:once    it alone
 *   CRASH_FAULT=N:short         the Nth write writes half of its bytes
 *   CRASH_SIGNAL=SIG:NTH:TEXT   before the NTH call whose path or data hold TEXT (*: any) it gets SIG
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "record.h"

static struct {
    bool read;
    long nth, calls, writes;
    int error;
    bool once, short_write;
    int signal;
    long signal_nth;
    char text[256];
} plan;

static void read_environment(void)
{
    const char *fault = getenv("CRASH_FAULT"), *sig = getenv("CRASH_SIGNAL");
    plan.read = true;
    if (fault) {
        char *rest;
        plan.nth = strtol(fault, &rest, 10);
        plan.short_write = strcmp(rest, ":short") == 0;
        if (!plan.short_write && *rest == ':')
            plan.error = (int)strtol(rest + 1, &rest, 10);
        plan.once = strcmp(rest, ":once") == 0;
    }
    if (sig && sscanf(sig, "%d:%ld:%255[^\n]", &plan.signal, &plan.signal_nth, plan.text) != 3)
        abort();
}

static bool mentions(const struct record *r)
{
    return strcmp(plan.text, "*") == 0 || (r->path && strstr(r->path, plan.text)) ||
           (r->to && strstr(r->to, plan.text)) ||
           (r->data && memmem(r->data, r->bytes, plan.text, strlen(plan.text)));
}

bool record_inject(const struct record *r, size_t *bytes)
{
    if (!plan.read)
        read_environment();
    if (plan.signal_nth > 0 && mentions(r) && --plan.signal_nth == 0)
        kill(getpid(), plan.signal);
    plan.calls++;
    plan.writes += r->kind == RECORD_WRITE;
    if (plan.short_write && r->kind == RECORD_WRITE && plan.writes == plan.nth && *bytes > 1)
        *bytes /= 2;
    if (plan.error == 0 || (plan.once ? plan.calls != plan.nth : plan.calls < plan.nth))
        return false;
    errno = plan.error;
    return true;
}
