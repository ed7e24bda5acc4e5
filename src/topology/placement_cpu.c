/* Planning ranks onto cores.
 *
 *   ranks <= cores   each rank owns whole cores, all ranks as many: their threads' worth while the cores
 *                    last, inside one NUMA node where they fit; its list of hardware threads has one of each
 *                    core first, then (hyperthreads) the second ones
 *   ranks > cores    cores are shared: the first hardware threads of all cores are filled before second ones,
 *                    and no core gets a further rank before all others have as many
 */
#include <stdlib.h>

#include "base/base.h"
#include "topology/machine.h"

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

static int free_in_package(const struct planner *p, int package)
{
    int n = 0;
    for (int d = 0; d < p->m->ndomains; d++)
        n += p->m->domains[d].package == package ? p->free_cores[d] : 0;
    return n;
}

/* Ranks of k cores each that lie inside of one domain, or (of_package) of one package. */
static int ranks_inside(const struct planner *p, int k, bool of_package)
{
    int n = 0;
    for (int d = 0; d < p->m->ndomains && !of_package; d++)
        n += p->free_cores[d] / k;
    for (int package = 0; package < p->m->npackages && of_package; package++)
        n += free_in_package(p, package) / k;
    return n;
}

/* The most cores, up to k, of which all ranks have as many inside of one; 0: there are not enough. */
static int most_inside(const struct planner *p, int k, bool of_package)
{
    while (k > 0 && ranks_inside(p, k, of_package) < p->req->ranks)
        k--;
    return k;
}

/* Cores of each rank: its threads' worth, but no more than its share. Where a share does not fit into NUMA
 * nodes or packages as they are cut, a quarter of it is a fair price for near memory: 3 ranks on 4 nodes of 4
 * cores have one node each, and not 5 cores of two nodes or packages. */
static int cores_wanted(const struct planner *p)
{
    const int share = p->m->usable_cores / p->req->ranks;
    if (p->req->threads > 0)
        return p->req->threads < share ? p->req->threads : share;
    for (int of_package = 0; of_package < 2; of_package++) {
        const int k = most_inside(p, share, of_package);
        if (4 * k >= 3 * share)
            return k;
    }
    return share;
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
    const int wanted = cores_wanted(p);
    for (int r = 0; r < p->req->ranks; r++) {
        const int k = choose_cores(p, wanted);
        p->package_ranks[p->m->cores[p->chosen[0]].package]++;
        ddp_place_fill(p->m, p->chosen, k, p->req, &p->out->place[r]);
        if (p->out->place[r].threads > p->out->place[r].npus)
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
            const long cost = (long)(count[i] / width) * (p->req->ranks + 1) + count[i];
            if (best_cost < 0 || cost < best_cost) {
                best = i;
                best_cost = cost;
            }
        }
        count[best]++;
    }
}

/* Rank j of the `count` on a core: an own block of its hardware threads, one that it shares with as many as
 * all others, or where that does not come out even, all of them. */
static void place_on_shared_core(const struct planner *p, const struct core *c, int j, int count,
                                 struct ddp_place *place)
{
    const int width = p->req->hyperthreads ? c->npus : 1;
    const int threads = p->req->threads ? p->req->threads : 1;
    int block = width / count < 1 ? 1 : width / count;
    block = block < threads ? block : threads;
    if (count % width != 0 && count > width)
        block = width; /* nobody has one for itself while others take turns */

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

/* ---- the face -------------------------------------------------------------------------------- */

void ddp_placement_on_cores(const struct ddp_machine *m, const struct ddp_place_request *req,
                            struct ddp_placement *out)
{
    struct planner p = {.m = m, .req = req, .out = out};
    p.taken = ddp_calloc((size_t)m->ncores, sizeof *p.taken);
    p.chosen = ddp_calloc((size_t)m->ncores, sizeof *p.chosen);
    p.free_cores = ddp_calloc((size_t)m->ndomains, sizeof *p.free_cores);
    p.package_ranks = ddp_calloc((size_t)m->npackages + 1, sizeof *p.package_ranks);
    for (int i = 0; i < m->ncores; i++)
        p.free_cores[m->cores[i].domain] += m->cores[i].npus > 0;
    if (req->ranks <= m->usable_cores)
        place_on_whole_cores(&p);
    else
        place_on_shared_cores(&p);
    free(p.package_ranks);
    free(p.free_cores);
    free(p.chosen);
    free(p.taken);
}
