/* What the kernel's out-of-memory killer did while a job ran, by its counters: who is killed by it gets
 * SIGKILL and no word. */
#ifndef DDP_LAUNCHER_OOM_H
#define DDP_LAUNCHER_OOM_H

#include "base/base.h"

struct ddp_oom {
    long long group;   /* kills in our control group; -1: no such counter */
    long long machine; /* on the whole machine, the group's among them; -1: no such counter */
    char file[512];    /* the group's counter lies in it */
};

/* Read the counters. root: "" or, for tests, a folder that holds proc/ and sys/. */
void ddp_oom_read(const char *root, struct ddp_oom *out);
/* What rose since `before`, as the rest of a sentence ("; memory ran out: ..."); "": nothing did. */
void ddp_oom_word(const struct ddp_oom *before, const struct ddp_oom *now, char *text, int size);

#endif
