/* A rank's pulse: the page, its one writer, its readers.
 *
 * `turn` is odd while the writer is at it. Fields are stored with release and loaded with acquire, so a
 * reader that finds the same even turn before and after has what belongs together. */
#include "base/pulse.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/delay.h"

typedef _Atomic int64_t shared_int;
typedef _Atomic double shared_double;

struct ddp_pulse_page {
    shared_int format, turn;
    shared_int phase, wait, which, step, beats, shards, steps;
    shared_double longest[DDP_PHASE_COUNT];
    struct {
        shared_int step;
        shared_double wall, waited, data, aside;
    } recent[DDP_PULSE_STEPS];
};

static const double FADE = 1.0 / 64; /* of the longest stay in a phase, with each shorter one */

#define PUT(field, value) atomic_store_explicit(&(field), (value), memory_order_release)
#define GET(field)        atomic_load_explicit(&(field), memory_order_acquire)

/* ---- the writer ------------------------------------------------------------------------------ */

static struct ddp_pulse_page *page; /* NULL: nobody reads it */
static struct {
    enum ddp_phase phase;
    int64_t step, beats, turn, steps;
    int waits;                      /* begun and not ended: they nest */
    double since, waited;           /* the phase: when it began, waits in it */
    double step_since, step_waited; /* the step */
    double spent[DDP_PHASE_COUNT];  /* in it, without waits */
    double longest[DDP_PHASE_COUNT];
} me;

int ddp_pulse_open(void)
{
    struct ddp_pulse_page *made;
    const int fd = memfd_create("ddp-pulse", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -1;
    if (ftruncate(fd, sizeof *made) != 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0)
        goto fail;
    made = mmap(NULL, sizeof *made, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (made == MAP_FAILED)
        goto fail;
    page = made;
    me.since = me.step_since = ddp_now();
    PUT(page->format, DDP_PULSE_FORMAT);
    return fd;
fail:
    close(fd);
    return -1;
}

static void begin(void)
{
    atomic_store_explicit(&page->turn, ++me.turn, memory_order_relaxed);
}

static void end(void)
{
    PUT(page->beats, ++me.beats);
    PUT(page->turn, ++me.turn);
}

/* The time in the phase up to `now` belongs to it. */
static void account(double now)
{
    const double stay = now - me.since - me.waited;
    double *longest = &me.longest[me.phase];
    *longest = stay > *longest ? stay : *longest + FADE * (stay - *longest);
    PUT(page->longest[me.phase], *longest);
    me.spent[me.phase] += stay;
    me.since = now;
    me.waited = 0;
}

static void enter(enum ddp_phase phase, int64_t step)
{
    if (page == NULL)
        return;
    begin();
    account(ddp_now());
    me.phase = phase;
    me.waits = 0;
    PUT(page->phase, phase);
    PUT(page->step, step);
    PUT(page->wait, DDP_WAIT_NONE);
    end();
}

void ddp_pulse_phase(enum ddp_phase phase)
{
    if (page == NULL && !ddp_delay_is_planted()) /* ranks may be threads of one process then */
        return;
    enter(phase, me.step);
    ddp_delay(phase, me.step);
}

void ddp_pulse_step(int64_t step)
{
    if (page != NULL || ddp_delay_is_planted())
        me.step = step;
    ddp_pulse_phase(DDP_PHASE_DATA);
}

static double spent_aside(void)
{
    static const enum ddp_phase aside[] = {DDP_PHASE_RECORD, DDP_PHASE_HOOK, DDP_PHASE_EVALUATION,
                                           DDP_PHASE_EVAL_DATA, DDP_PHASE_SAVE};
    double sum = 0;
    for (size_t i = 0; i < sizeof aside / sizeof *aside; i++)
        sum += me.spent[aside[i]];
    return sum;
}

void ddp_pulse_step_done(void)
{
    if (page == NULL)
        return;
    const double now = ddp_now();
    const int i = (int)(me.steps % DDP_PULSE_STEPS);
    begin();
    account(now);
    PUT(page->recent[i].step, me.step);
    PUT(page->recent[i].wall, now - me.step_since);
    PUT(page->recent[i].waited, me.step_waited);
    PUT(page->recent[i].data, me.spent[DDP_PHASE_DATA]);
    PUT(page->recent[i].aside, spent_aside());
    PUT(page->steps, ++me.steps);
    end();
    me.step_since = now;
    me.step_waited = 0;
    memset(me.spent, 0, sizeof me.spent);
}

void ddp_pulse_shards(int shards)
{
    if (page != NULL)
        PUT(page->shards, shards);
}

double ddp_pulse_wait_begin(enum ddp_pulse_wait wait, int64_t which)
{
    if (page != NULL && me.waits++ == 0) {
        begin();
        PUT(page->wait, wait);
        PUT(page->which, which);
        end();
    }
    return ddp_now();
}

double ddp_pulse_wait_end(double begun)
{
    const double waited = ddp_now() - begun;
    if (page != NULL && me.waits > 0 && --me.waits == 0) {
        begin();
        PUT(page->wait, DDP_WAIT_NONE);
        end();
        me.waited += waited;
        me.step_waited += waited;
    }
    return waited;
}

/* ---- readers --------------------------------------------------------------------------------- */

/* One that could be made shorter would end its reader. */
const struct ddp_pulse_page *ddp_pulse_map(int fd)
{
    struct stat st;
    const int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(fd, &st) != 0 ||
        st.st_size != (off_t)sizeof(struct ddp_pulse_page))
        return NULL;
    const struct ddp_pulse_page *p = mmap(NULL, sizeof *p, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return NULL;
    if (GET(p->format) == DDP_PULSE_FORMAT)
        return p;
    ddp_pulse_unmap(p);
    return NULL;
}

void ddp_pulse_unmap(const struct ddp_pulse_page *p)
{
    if (p != NULL)
        munmap((void *)(uintptr_t)p, sizeof *p);
}

static int within(int64_t v, int count)
{
    return v >= 0 && v < count ? (int)v : 0;
}

static void read_once(const struct ddp_pulse_page *p, struct ddp_pulse *out)
{
    out->phase = (enum ddp_phase)within(GET(p->phase), DDP_PHASE_COUNT);
    out->wait = (enum ddp_pulse_wait)within(GET(p->wait), DDP_WAIT_COUNT);
    out->which = GET(p->which);
    out->step = GET(p->step);
    out->beats = GET(p->beats);
    out->shards = (int)GET(p->shards);
    out->steps = GET(p->steps);
    for (int i = 0; i < DDP_PHASE_COUNT; i++)
        out->longest[i] = GET(p->longest[i]);
    for (int i = 0; i < DDP_PULSE_STEPS; i++) {
        out->recent[i].step = GET(p->recent[i].step);
        out->recent[i].wall = GET(p->recent[i].wall);
        out->recent[i].waited = GET(p->recent[i].waited);
        out->recent[i].data = GET(p->recent[i].data);
        out->recent[i].aside = GET(p->recent[i].aside);
    }
}

/* A writer that is stopped in the middle leaves the turn odd: what is there must do. */
void ddp_pulse_read(const struct ddp_pulse_page *p, struct ddp_pulse *out)
{
    for (int tries = 0; tries < 100; tries++) {
        const int64_t before = GET(p->turn);
        read_once(p, out);
        if (before % 2 == 0 && GET(p->turn) == before)
            return;
    }
}

/* ---- in words -------------------------------------------------------------------------------- */

#define PHASE_ROW(NAME, name, words, step) {words, step},
static const struct {
    const char *words, *step;
} phases[] = {DDP_PHASES(PHASE_ROW)};

const char *ddp_phase_text(enum ddp_phase phase, int64_t step, char *buf, int size)
{
    if (*phases[phase].step != '\0')
        snprintf(buf, (size_t)size, "%s%s%lld", phases[phase].words, phases[phase].step, (long long)step);
    else
        snprintf(buf, (size_t)size, "%s", phases[phase].words);
    return buf;
}

const char *ddp_wait_text(enum ddp_pulse_wait wait, int64_t which, int64_t step, char *buf, int size)
{
    static const struct {
        const char *words, *step;
    } waits[DDP_WAIT_COUNT] = {
        [DDP_WAIT_NONE] = {"", ""},
        [DDP_WAIT_BUCKET] = {"in bucket ", " of step "},
        [DDP_WAIT_STEP] = {"at the end", " of step "},
        [DDP_WAIT_STATISTICS] = {"in a synchronised layer", " of step "},
        [DDP_WAIT_MEETING] = {"where all ranks meet", " after step "},
        [DDP_WAIT_MESSAGE] = {"for a message", " of step "},
        [DDP_WAIT_DEVICE] = {"at its GPU", ", step "},
    };
    char bucket[24] = "", number[24] = "";
    const bool numbered = wait != DDP_WAIT_NONE && step > 0;
    if (wait == DDP_WAIT_BUCKET)
        snprintf(bucket, sizeof bucket, "%lld", (long long)which);
    if (numbered)
        snprintf(number, sizeof number, "%lld", (long long)step);
    snprintf(buf, (size_t)size, "%s%s%s%s", waits[wait].words, bucket, numbered ? waits[wait].step : "",
             number);
    return buf;
}
