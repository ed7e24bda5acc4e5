/* The simulated world's clock, words, memory and counters. Takes the place of base/clock.c and
 * base/wait.c. */
#include "simulate/world.h"

#include <simgrid/actor.h>
#include <simgrid/engine.h>
#include <simgrid/host.h>
#include <simgrid/semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/clock.h"
#include "base/wait.h"

enum { RANKS = 1 << 14, WORDS = 1 << 12, STEPS_SEEN = 2 };
static const double FLOPS = 1e9; /* of a core of every host that we describe: a second is so many */

struct rank {
    double owed;
    sg_sem_t bell;
    /* what it waits for */
    const ddp_word *word;
    struct rank *next;
    struct ddp_world_counts counts;
    /* counts as the second step began, and as the last one did */
    struct ddp_world_counts from, to;
    int64_t steps;
};
static struct rank *ranks[RANKS]; /* by number of the actor */
static struct rank *waiting[WORDS];

/* NULL: a thread that is no rank. */
static struct rank *me(void)
{
    if (!sg_actor_self())
        return NULL;
    const long at = (long)sg_actor_self_get_pid();
    if (at < 0 || at >= RANKS)
        abort();
    if (!ranks[at]) {
        ranks[at] = calloc(1, sizeof **ranks);
        ranks[at]->bell = sg_sem_init(0);
    }
    return ranks[at];
}

/* ---- times ------------------------------------------------------------------------------------- */

const struct ddp_world_times *ddp_world_times(void)
{
    static struct ddp_world_times t;
    static bool read;
    static const struct {
        const char *name;
        double *at;
    } names[] = {{"data=%lf", &t.data},           {"rest=%lf", &t.rest},
                 {"forward=%lf", &t.forward},     {"backward=%lf", &t.backward},
                 {"optimizer=%lf", &t.optimizer}, {"add=%lf", &t.add},
                 {"wake=%lf", &t.wake},           {"poll=%lf", &t.poll}};
    const char *text = getenv("SIMULATE_TIMES");
    for (const char *word = text; !read && word && *word;
         word += strspn(word, " "), word += strcspn(word, " "))
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (sscanf(word + strspn(word, " "), names[i].name, names[i].at) == 1)
                break;
    if (t.poll <= 0)
        t.poll = 1e-5;
    read = true;
    return &t;
}

void ddp_world_owe(double seconds)
{
    struct rank *r = me();
    if (r)
        r->owed += seconds;
}

void ddp_world_pay(void)
{
    struct rank *r = me();
    if (!r || r->owed <= 0)
        return;
    const double owed = r->owed;
    r->owed = 0;
    sg_actor_execute(owed * FLOPS);
}

void ddp_world_compute(double seconds)
{
    ddp_world_owe(seconds);
    ddp_world_pay();
}

void ddp_world_sleep(double seconds)
{
    ddp_world_pay();
    if (me() && seconds > 0)
        sg_actor_sleep_for(seconds);
}

const char *ddp_world_host(void)
{
    return sg_host_self_get_name();
}

static double system_clock(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double ddp_now(void)
{
    const struct rank *r = me();
    return r ? simgrid_get_clock() + r->owed : system_clock(CLOCK_MONOTONIC);
}

double ddp_wall(void)
{
    return system_clock(CLOCK_REALTIME);
}

/* ---- words ------------------------------------------------------------------------------------- */

static struct rank **chain(const ddp_word *word)
{
    return &waiting[((uintptr_t)word / sizeof *word * 2654435761u) % WORDS];
}

/* Between two calls of SimGrid nobody else runs: nothing is added between the look and the sleep but by
 * who rings. */
bool ddp_wait_reached(ddp_word *word, uint32_t target, int spin, const ddp_word *stop)
{
    struct rank *r = me();
    (void)spin;
    if (!r)
        abort(); /* a thread: simulated ranks have one each */
    ddp_world_pay();
    r->counts.waits++;
    while ((int32_t)(atomic_load_explicit(word, memory_order_acquire) - target) < 0) {
        if (stop && atomic_load_explicit(stop, memory_order_acquire) != 0)
            return false;
        r->word = word;
        r->next = *chain(word);
        *chain(word) = r;
        sg_sem_acquire(r->bell);
        r->owed += ddp_world_times()->wake;
    }
    return true;
}

void ddp_wait_add(ddp_word *word, uint32_t n)
{
    ddp_world_pay();
    atomic_fetch_add_explicit(word, n, memory_order_acq_rel);
    struct rank *bell = NULL;
    for (struct rank **at = chain(word); *at;) {
        struct rank *r = *at;
        if (r->word != word) {
            at = &r->next;
            continue;
        }
        *at = r->next;
        r->next = bell;
        bell = r;
    }
    while (bell) {
        struct rank *r = bell;
        bell = r->next;
        sg_sem_release(r->bell);
    }
}

/* ---- memory of a node -------------------------------------------------------------------------- */

struct piece {
    struct piece *next;
    const void *host;
    int turn, users;
    void *base;
};
static struct piece *pieces;

void *ddp_world_share(size_t bytes, int turn)
{
    const void *host = sg_host_self();
    struct piece *p = pieces;
    while (p && (p->host != host || p->turn != turn))
        p = p->next;
    if (!p) {
        void *base =
            mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (base == MAP_FAILED)
            return NULL;
        p = calloc(1, sizeof *p);
        *p = (struct piece){pieces, host, turn, 0, base};
        pieces = p;
    }
    p->users++;
    me()->counts.shared += (int64_t)bytes;
    return p->base;
}

void ddp_world_unshare(void *base, size_t bytes)
{
    for (struct piece **at = &pieces; *at; at = &(*at)->next) {
        struct piece *p = *at;
        if (p->base != base)
            continue;
        me()->counts.shared -= (int64_t)bytes;
        if (--p->users == 0) { /* all have made theirs: `turn` does not come again */
            *at = p->next;
            munmap(base, bytes);
            free(p);
        }
        return;
    }
}

/* ---- counting ---------------------------------------------------------------------------------- */

struct ddp_world_counts *ddp_world_mine(void)
{
    struct rank *r = me();
    return r ? &r->counts : NULL;
}

void ddp_world_step(void)
{
    struct rank *r = me();
    r->counts.now = ddp_now();
    r->to = r->counts;
    if (++r->steps == STEPS_SEEN)
        r->from = r->to;
}

/* The least, most and mean over ranks of one count in a step. */
static void write_count(FILE *f, const char *name, size_t offset, bool each_step, bool last)
{
    double sum = 0, most = 0, least = -1;
    int n = 0;
    for (int i = 0; i < RANKS; i++) {
        const struct rank *r = ranks[i];
        if (!r || r->steps <= STEPS_SEEN)
            continue;
        int64_t to, from;
        memcpy(&to, (const char *)&r->to + offset, sizeof to);
        memcpy(&from, (const char *)&r->from + offset, sizeof from);
        const double v = each_step ? (double)(to - from) / (double)(r->steps - STEPS_SEEN) : (double)to;
        sum += v;
        n++;
        most = v > most ? v : most;
        least = least < 0 || v < least ? v : least;
    }
    fprintf(f, "\"%s\": {\"mean\": %.6g, \"least\": %.6g, \"most\": %.6g}%s", name, n ? sum / n : 0, least,
            most, last ? "" : ", ");
}

void ddp_world_report(int size)
{
    static int ended;
    const char *path = getenv("SIMULATE_REPORT");
    if (++ended < size || !path)
        return;
    FILE *f = fopen(path, "w");
    if (!f)
        return;
    const struct rank *r = me();
    const double steps = r->steps > STEPS_SEEN ? (double)(r->steps - STEPS_SEEN) : 1;
    fprintf(f, "{\"ranks\": %d, \"steps\": %.0f, \"step_s\": %.9g, ", size, steps,
            (r->to.now - r->from.now) / steps);
#define COUNT(name, each, last) write_count(f, #name, offsetof(struct ddp_world_counts, name), each, last)
    COUNT(sent, true, false);
    COUNT(sent_bytes, true, false);
    COUNT(received, true, false);
    COUNT(looks, true, false);
    COUNT(waits, true, false);
    COUNT(heap_most, false, false);
    COUNT(pages, false, false);
    COUNT(shared, false, true);
    fprintf(f, "}\n");
    fclose(f);
}
