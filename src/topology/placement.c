/* Planning ranks onto cores: a pure function of the machine and the request.
 *
 *   ranks <= cores   each rank owns whole cores, as many as it has threads while the cores last, inside one
 *                    NUMA node where they fit; its list of hardware threads has one of each core first, then
 *                    (hyperthreads) the second ones
 *   ranks > cores    cores are shared: the first hardware threads of all cores are filled before second ones,
 *                    and no core gets a further rank before all others have as many
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/note.h"
#include "topology/machine.h"

enum { RANKS_MAX = 65536, THREADS_MAX = 4096 };

struct planner {
    const struct ddp_machine *m;
    const struct ddp_place_request *req;
    struct ddp_placement *out;
    bool *taken;        /* [ncores] */
    int *free_cores;    /* [ndomains] */
    int *package_ranks; /* [npackages + 1]: ranks placed so far, for spreading */
    int *chosen;        /* [ncores]: cores of the rank in hand */
};

/* ---- ranks that own whole cores -------------------------------------------------------------- */

/* Cores of rank r: its threads' worth, but no more than its share. */
static int cores_wanted(const struct planner *p, int r)
{
    const long cores = p->m->usable_cores, n = p->req->ranks;
    if (p->req->threads == 0)
        return (int)(cores / n);
    const long share = (r + 1) * cores / n - r * cores / n;
    return (int)(p->req->threads < share ? p->req->threads : share);
}

/* The domain that rank takes k cores from; -1: none has so many left. */
static int domain_for(const struct planner *p, int k)
{
    const struct ddp_machine *m = p->m;
    int best = -1;
    for (int d = 0; d < m->ndomains; d++) {
        if (p->free_cores[d] < k)
            continue;
        if (p->req->policy == DDP_PLACE_COMPACT)
            return d;
        if (best < 0)
            best = d;
        const int load = p->package_ranks[m->domains[d].package],
                  best_load = p->package_ranks[m->domains[best].package];
        if (load < best_load || (load == best_load && p->free_cores[d] > p->free_cores[best]))
            best = d;
    }
    return best;
}

static int free_in_package(const struct planner *p, int package)
{
    int n = 0;
    for (int d = 0; d < p->m->ndomains; d++)
        n += p->m->domains[d].package == package ? p->free_cores[d] : 0;
    return n;
}

/* Take up to k free cores of a domain (domain >= 0), else of a package (package >= 0), else of the
 * machine. */
static int take(struct planner *p, int domain, int package, int k)
{
    int n = 0;
    for (int i = 0; i < p->m->ncores && n < k; i++) {
        const struct core *c = &p->m->cores[i];
        if (p->taken[i] || c->npus == 0 || (domain >= 0 && c->domain != domain) ||
            (package >= 0 && c->package != package))
            continue;
        p->taken[i] = true;
        p->free_cores[c->domain]--;
        p->chosen[n++] = i;
    }
    return n;
}

/* The same for packages: a rank that no NUMA node can hold may still fit into one. */
static int package_for(const struct planner *p, int k)
{
    int best = -1;
    for (int package = 0; package < p->m->npackages; package++) {
        if (free_in_package(p, package) < k)
            continue;
        if (best < 0 ||
            (p->req->policy == DDP_PLACE_SPREAD && p->package_ranks[package] < p->package_ranks[best]))
            best = package;
    }
    return best;
}

static int choose_cores(struct planner *p, int k)
{
    const int domain = domain_for(p, k);
    return domain >= 0 ? take(p, domain, -1, k) : take(p, -1, package_for(p, k), k);
}

static void place_on_whole_cores(struct planner *p)
{
    for (int r = 0; r < p->req->ranks; r++) {
        struct ddp_place *place = &p->out->place[r];
        const int k = choose_cores(p, cores_wanted(p, r));
        ddp_place_fill(p->m, p->chosen, k, p->req->hyperthreads, place);
        p->package_ranks[p->m->cores[p->chosen[0]].package]++;
        place->threads = p->req->threads ? p->req->threads : k;
        if (place->threads > place->npus)
            p->out->oversubscribed = true;
    }
}

/* ---- ranks that share cores ------------------------------------------------------------------ */

/* Usable cores in the order in which ranks go round them: as they lie (compact), or one of each domain in
 * turn, packages alternating (spread). Returns how many. */
static int core_order(const struct planner *p, int *order)
{
    const struct ddp_machine *m = p->m;
    int n = 0;

    if (p->req->policy == DDP_PLACE_COMPACT) {
        for (int i = 0; i < m->ncores; i++)
            if (m->cores[i].npus > 0)
                order[n++] = i;
        return n;
    }
    while (n < m->usable_cores)
        for (int level = 0; level < m->ndomains; level++)
            for (int d = 0; d < m->ndomains; d++)
                for (int i = 0; m->domains[d].rank_in_package == level && i < m->ncores; i++)
                    if (m->cores[i].domain == d && m->cores[i].npus > 0 && !p->taken[i]) {
                        p->taken[i] = true;
                        order[n++] = i;
                        break;
                    }
    return n;
}

/* How many of the ranks each core (in order) gets: a hardware thread each while they last, then evenly
 * again. */
static void count_ranks(const struct planner *p, const int *order, int ncores, int *count)
{
    for (int r = 0; r < p->req->ranks; r++) {
        int best = 0;
        long best_cost = -1;
        for (int i = 0; i < ncores; i++) {
            const int width = p->req->hyperthreads ? p->m->cores[order[i]].npus : 1;
            /* layers of ranks on its threads first, then ranks */
            const long cost = (long)(count[i] / width) * (RANKS_MAX + 1) + count[i];
            if (best_cost < 0 || cost < best_cost) {
                best = i;
                best_cost = cost;
            }
        }
        count[best]++;
    }
}

/* Rank j of the `count` on a core: an own block of its hardware threads, or one that it shares. */
static void place_on_shared_core(const struct planner *p, const struct core *c, int j, int count,
                                 struct ddp_place *place)
{
    const int width = p->req->hyperthreads ? c->npus : 1;
    const int threads = p->req->threads ? p->req->threads : 1;
    int block = width / count < 1 ? 1 : width / count;
    block = block < threads ? block : threads;

    place->npus = block;
    place->pus = ddp_calloc((size_t)block, sizeof *place->pus);
    for (int k = 0; k < block; k++)
        place->pus[k] = c->pus[(j * block + k) % width];
    place->numa = c->numa;
    place->package = c->package;
    place->threads = threads;
    if (count > width || threads > block)
        p->out->oversubscribed = true;
}

static void place_on_shared_cores(struct planner *p)
{
    int *order = ddp_calloc((size_t)p->m->ncores, sizeof *order);
    int *count = ddp_calloc((size_t)p->m->ncores, sizeof *count);
    int *done = ddp_calloc((size_t)p->m->ncores, sizeof *done);
    const int n = core_order(p, order);

    count_ranks(p, order, n, count);
    for (int r = 0, i = 0; r < p->req->ranks; r++) {
        /* compact: neighbours share a core; spread: rank r goes to the next core */
        while (done[i] == count[i])
            i = i + 1 < n ? i + 1 : 0;
        place_on_shared_core(p, &p->m->cores[order[i]], done[i], count[i], &p->out->place[r]);
        done[i]++;
        if (p->req->policy == DDP_PLACE_SPREAD && ++i == n)
            i = 0;
    }
    free(done);
    free(count);
    free(order);
}

/* ---- ranks that are not bound ---------------------------------------------------------------- */

/* Cores that may be kept busy at once; fewer than usable ones where a quota or a scheduler says so. */
static int capacity(const struct ddp_machine *m, const struct ddp_place_request *req)
{
    const int most = ddp_machine_capacity(m);
    return req->cores > 0 && req->cores < most ? req->cores : most;
}

static void place_nowhere(struct planner *p)
{
    const int cores = capacity(p->m, p->req), share = cores / p->req->ranks;
    for (int r = 0; r < p->req->ranks; r++) {
        struct ddp_place *place = &p->out->place[r];
        place->numa = place->package = -1;
        place->threads = p->req->threads ? p->req->threads : share > 0 ? share : 1;
    }
    p->out->oversubscribed = (long)p->req->ranks * p->out->place[0].threads >
                             (cores < p->m->usable_cores ? cores : p->m->usable_pus);
}

/* ---- the face -------------------------------------------------------------------------------- */

static const char *plural(int n)
{
    return n == 1 ? "" : "s";
}

/* Why it is not all of the cores that can be seen. */
static void note_capacity(const struct planner *p)
{
    const int usable = p->m->usable_cores, quota = ddp_machine_capacity(p->m), given = p->req->cores;
    if (quota < usable)
        ddp_note_add(p->out->note, sizeof p->out->note,
                     "a CPU quota pays for %.3g of the %d cores that can be seen (%s): ranks and threads are "
                     "planned for %d and not bound",
                     p->m->quota.cpus, usable, p->m->quota.file, capacity(p->m, p->req));
    else if (given > 0 && given < usable)
        ddp_note_add(
            p->out->note, sizeof p->out->note,
            "%d of the %d cores that can be seen are the job's, and nobody says which: ranks are not "
            "bound",
            given, usable);
}

static void write_note(const struct planner *p)
{
    const int n = p->req->ranks, cores = capacity(p->m, p->req), threads = p->out->place[0].threads;

    note_capacity(p);
    if (!p->out->oversubscribed)
        return;
    if (n > cores)
        ddp_note_add(p->out->note, sizeof p->out->note,
                     "%d ranks share %d core%s: they take turns, so more than %d would not be faster here", n,
                     cores, plural(cores), cores);
    else
        ddp_note_add(p->out->note, sizeof p->out->note,
                     "%d rank%s x %d threads share %d core%s: threads take turns; train.threads=%d fits", n,
                     plural(n), threads, cores, plural(cores), cores / n);
}

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

    struct planner p = {.m = m, .req = req};
    p.out = ddp_calloc(1, sizeof *p.out);
    p.out->ranks = req->ranks;
    p.out->place = ddp_calloc((size_t)req->ranks, sizeof *p.out->place);
    p.out->bound = req->policy != DDP_PLACE_NONE && capacity(m, req) == m->usable_cores;
    p.taken = ddp_calloc((size_t)m->ncores, sizeof *p.taken);
    p.chosen = ddp_calloc((size_t)m->ncores, sizeof *p.chosen);
    p.free_cores = ddp_calloc((size_t)m->ndomains, sizeof *p.free_cores);
    p.package_ranks = ddp_calloc((size_t)m->npackages + 1, sizeof *p.package_ranks);
    for (int i = 0; i < m->ncores; i++)
        p.free_cores[m->cores[i].domain] += m->cores[i].npus > 0;

    if (!p.out->bound)
        place_nowhere(&p);
    else if (gpus)
        ; /* below: GPUs decide which cores */
    else if (req->ranks <= m->usable_cores)
        place_on_whole_cores(&p);
    else
        place_on_shared_cores(&p);
    if (gpus)
        rc = ddp_placement_on_gpus(m, req, gpus, p.out, err);
    if (rc == 0)
        write_note(&p);

    free(p.package_ranks);
    free(p.free_cores);
    free(p.chosen);
    free(p.taken);
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
