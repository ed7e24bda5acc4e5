/* Naming the ranks that have not stopped. */
#include "launcher/late.h"

#include <stdio.h>

#include "base/base.h"

enum { MOST_NAMED = 8 };

/* left: the first MOST_NAMED of those that have not come so far. Returns how many there are. */
static int find_left(int ranks, const unsigned char *ended, enum ddp_ended so_far, int left[MOST_NAMED])
{
    int n = 0;
    for (int r = 0; r < ranks; r++)
        if (ended[r] < so_far) {
            if (n < MOST_NAMED)
                left[n] = r;
            n++;
        }
    return n;
}

void ddp_late_name(int ranks, const unsigned char *ended, const char *host, const char *const *host_of,
                   char *buf, size_t size)
{
    int left[MOST_NAMED];
    struct ddp_text t;
    int n = find_left(ranks, ended, DDP_ENDED_SAYS, left);
    n = n > 0 ? n : find_left(ranks, ended, DDP_ENDED, left);
    ddp_text_init(&t);
    if (!host_of)
        ddp_text_add(&t, n == 1 ? "rank " : "ranks ");
    for (int i = 0; i < n && i < MOST_NAMED; i++) {
        ddp_text_add(&t, "%s", i == 0 ? "" : i + 1 == n ? " and " : ", ");
        if (host_of)
            ddp_text_add(&t, "rank %d on %s", left[i], host_of[left[i]]);
        else
            ddp_text_add(&t, "%d", left[i]);
    }
    if (n > MOST_NAMED)
        ddp_text_add(&t, " and %d more", n - MOST_NAMED);
    if (!host_of)
        ddp_text_add(&t, " on %s", host);
    snprintf(buf, size, "%s", t.s);
    ddp_text_finish(&t);
}
