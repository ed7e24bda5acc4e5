/* From a machine and a request to a placement: which cores there are for it, who chooses among them, and what
 * a user should know about it. Pure. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/note.h"
#include "topology/machine.h"

enum { RANKS_MAX = 65536, THREADS_MAX = 4096 };

struct planner {
    const struct ddp_machine *m; /* as far as this job has it */
    const struct ddp_place_request *req;
    struct ddp_placement *out;
    int limit;  /* threads at once, where a quota or a scheduler says so */
    int shared; /* cores of m that other jobs hold */
};

/* Threads that have a place of their own. */
static int places(const struct ddp_machine *m, const struct ddp_place_request *req)
{
    return req->hyperthreads ? m->usable_pus : m->usable_cores;
}

static int limit_of(const struct ddp_machine *m, const struct ddp_place_request *req)
{
    const int paid = ddp_machine_paid(m, req->hyperthreads);
    return req->cores > 0 && req->cores < m->usable_cores && req->cores < paid ? req->cores : paid;
}

/* ---- what other jobs hold -------------------------------------------------------------------- */

/* The machine without the cores that others hold, as long as the rest suffices. */
static int leave_to_others(const struct ddp_machine *m, const struct ddp_place_request *req,
                           struct ddp_machine *view)
{
    const long wanted = (long)req->ranks * (req->threads > 0 ? req->threads : 1);
    long have = 0; /* places of their own for threads */
    int shared = 0;
    for (int i = 0; i < m->ncores; i++)
        if (!m->cores[i].held)
            have += req->hyperthreads ? m->cores[i].npus : m->cores[i].npus > 0;
    *view = *m;
    view->cores = ddp_calloc((size_t)m->ncores, sizeof *view->cores);
    memcpy(view->cores, m->cores, (size_t)m->ncores * sizeof *view->cores);
    for (int i = 0; i < m->ncores; i++) {
        struct core *c = &view->cores[i];
        if (!c->held || c->npus == 0)
            continue;
        if (have < wanted) {
            have += req->hyperthreads ? c->npus : 1;
            shared++;
            continue;
        }
        view->usable_cores--;
        view->usable_pus -= c->npus;
        c->npus = 0;
    }
    return shared;
}

/* ---- ranks that are not bound ---------------------------------------------------------------- */

static void place_nowhere(struct planner *p)
{
    const int share = p->limit / p->req->ranks;
    for (int r = 0; r < p->req->ranks; r++) {
        struct ddp_place *place = &p->out->place[r];
        place->numa = place->package = -1;
        place->threads = p->req->threads ? p->req->threads : share > 0 ? share : 1;
    }
    const int most = p->limit < places(p->m, p->req) ? p->limit : p->m->usable_pus;
    p->out->oversubscribed = (long)p->req->ranks * p->out->place[0].threads > most;
}

/* ---- what a user should know ----------------------------------------------------------------- */

static void add_note(const struct planner *p, const char *text)
{
    ddp_note_add(p->out->note, sizeof p->out->note, "%s", text);
}

/* Why it is not all of the cores that can be seen. */
static void note_limit(const struct planner *p)
{
    char text[768];
    const int all = places(p->m, p->req), paid = ddp_machine_paid(p->m, p->req->hyperthreads);
    if (p->limit >= all)
        return;
    if (p->limit == paid)
        snprintf(
            text, sizeof text,
            "a CPU quota pays for %.3g of the %d CPUs that can be seen (%s): ranks and threads are planned "
            "for %d and not bound",
            p->m->quota.cpus, p->m->usable_pus, p->m->quota.file, p->limit);
    else
        snprintf(
            text, sizeof text,
            "%d of the %d cores that can be seen are the job's, and nobody says which: ranks are not bound",
            p->limit, p->m->usable_cores);
    add_note(p, text);
}

static void note_others(const struct planner *p, const struct ddp_machine *whole)
{
    char text[256];
    const int held = whole->held_cores;
    if (held == 0 || !p->out->bound)
        return;
    if (p->shared == 0)
        snprintf(text, sizeof text, "%d of %d core%s are held by other jobs: ranks have the other%s", held,
                 whole->usable_cores, ddp_plural(whole->usable_cores),
                 ddp_plural(whole->usable_cores - held));
    else
        snprintf(text, sizeof text,
                 "%d of %d core%s are held by other jobs, and ranks share %d of them: both are slower", held,
                 whole->usable_cores, ddp_plural(whole->usable_cores), p->shared);
    add_note(p, text);
}

/* Threads that fit on what the rank with the least has. */
static int fitting_threads(const struct planner *p, int most)
{
    int fits = p->out->bound ? p->out->place[0].npus : most / p->req->ranks;
    for (int r = 1; r < p->req->ranks && p->out->bound; r++)
        fits = p->out->place[r].npus < fits ? p->out->place[r].npus : fits;
    return fits;
}

static void note_turns(const struct planner *p)
{
    char text[256];
    const int n = p->req->ranks, all = places(p->m, p->req), most = p->limit < all ? p->limit : all,
              threads = p->out->place[0].threads, fits = fitting_threads(p, most);
    const char *what = p->req->hyperthreads ? "hardware thread" : p->limit < all ? "CPU" : "core";
    if (!p->out->oversubscribed)
        return;
    if (n > most || fits < 1)
        snprintf(text, sizeof text,
                 "%d ranks share %d %s%s: they take turns, so more than %d would not be faster here", n, most,
                 what, ddp_plural(most), most);
    else
        snprintf(text, sizeof text,
                 "%d rank%s x %d threads on %d %s%s each: threads take turns; train.threads=%d fits", n,
                 ddp_plural(n), threads, fits, what, ddp_plural(fits), fits);
    add_note(p, text);
}

/* ---- the face -------------------------------------------------------------------------------- */

static int check_request(const struct ddp_place_request *req, struct ddp_error *err)
{
    if (req->ranks < 1 || req->ranks > RANKS_MAX)
        return ddp_fail(err, DDP_E_USAGE, "%d ranks: from 1 to %d are possible", req->ranks, RANKS_MAX);
    if (req->threads < 0 || req->threads > THREADS_MAX)
        return ddp_fail(err, DDP_E_USAGE,
                        "%d threads per rank: from 1 to %d are possible, or 0 for a share of the cores",
                        req->threads, THREADS_MAX);
    if (req->policy != DDP_PLACE_COMPACT && req->policy != DDP_PLACE_SPREAD && req->policy != DDP_PLACE_NONE)
        return ddp_fail(err, DDP_E_USAGE, "bind policy %d: compact, spread and none are known",
                        (int)req->policy);
    return 0;
}

static int create(const struct ddp_machine *m, const struct ddp_place_request *req,
                  const struct ddp_place_gpus *gpus, struct ddp_placement **out, struct ddp_error *err)
{
    int rc = check_request(req, err);
    if (rc != 0)
        return rc;

    struct ddp_machine view;
    struct planner p = {.m = m, .req = req, .limit = limit_of(m, req)};
    p.out = ddp_calloc(1, sizeof *p.out);
    p.out->ranks = req->ranks;
    p.out->place = ddp_calloc((size_t)req->ranks, sizeof *p.out->place);
    p.out->bound = req->policy != DDP_PLACE_NONE && p.limit == places(m, req);
    p.shared = leave_to_others(m, req, &view);
    if (p.out->bound) {
        p.m = &view;
        p.limit = places(&view, req);
    }
    if (!p.out->bound)
        place_nowhere(&p);
    else if (!gpus) /* else they decide which cores */
        ddp_placement_on_cores(&view, req, p.out);
    if (gpus)
        rc = ddp_placement_on_gpus(p.m, req, gpus, p.out, err);
    if (rc == 0) {
        note_limit(&p);
        note_others(&p, m);
        note_turns(&p);
        p.out->oversubscribed = p.out->oversubscribed || (p.out->bound && p.shared > 0);
    }
    free(view.cores);
    if (rc != 0) {
        ddp_placement_destroy(p.out);
        return rc;
    }
    *out = p.out;
    return 0;
}

int ddp_placement_create(const struct ddp_machine *m, const struct ddp_place_request *req,
                         struct ddp_placement **out, struct ddp_error *err)
{
    return create(m, req, NULL, out, err);
}

int ddp_placement_create_on_gpus(const struct ddp_machine *m, const struct ddp_place_request *req,
                                 const struct ddp_place_gpus *gpus, struct ddp_placement **out,
                                 struct ddp_error *err)
{
    return create(m, req, gpus, out, err);
}

void ddp_placement_destroy(struct ddp_placement *p)
{
    if (!p)
        return;
    for (int r = 0; r < p->ranks; r++)
        ddp_place_finish(&p->place[r]);
    free(p->place);
    free(p->gpus);
    free(p);
}
