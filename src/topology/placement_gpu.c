/* Planning ranks onto GPUs and the cores beside them.
 *
 *   GPUs    are taken as they lie in the machine: those with usable cores near them first, then by their
 *           first near core, then in the order given (CUDA's); those that the topology does not show (some
 *           virtual machines) are near everything, and their ranks come last
 *   cores   of a rank are its part of those near its GPU; ranks whose GPUs have the same near cores share
 *           them evenly; where near cores run out, free ones elsewhere are better than a shared one
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "topology/machine.h"

struct site {   /* of a GPU */
    bool *near; /* [ncores] */
    bool known;
    int first; /* near core that is usable; INT_MAX none */
    int cores; /* near cores in all: small sites choose before those that contain them */
    int package;
};

struct planner {
    const struct ddp_machine *m;
    const struct ddp_place_request *req;
    const struct ddp_place_gpus *gpus;
    struct ddp_placement *out;
    struct site *site; /* [n] */
    int *order;        /* [ngpus]: GPUs as ranks go through them */
    int *gpu;          /* [ranks] */
    int *load;         /* [ncores]: ranks on a core */
    int *chosen;       /* [ncores]: cores of the rank in hand */
};

/* ---- which GPU ------------------------------------------------------------------------------- */

static void look_around(struct planner *p, int g)
{
    const struct ddp_machine *m = p->m;
    struct site *s = &p->site[g];
    s->near = ddp_calloc((size_t)m->ncores, sizeof *s->near);
    s->known = ddp_machine_near(m, p->gpus->gpu[g].pci, s->near);
    s->first = INT_MAX;
    for (int i = m->ncores - 1; i >= 0; i--) {
        s->near[i] = s->near[i] || !s->known;
        s->cores += s->near[i];
        if (s->near[i] && m->cores[i].npus > 0)
            s->first = i;
    }
    if (!s->known)
        s->first = INT_MAX;
    s->package = s->first < INT_MAX ? m->cores[s->first].package : 0;
}

/* Insertion sort: a node has a handful of GPUs, and equal ones must stay in their order. */
static void sort_gpus(struct planner *p)
{
    for (int i = 0; i < p->gpus->n; i++) {
        int at = i;
        for (; at > 0 && p->site[p->order[at - 1]].first > p->site[i].first; at--)
            p->order[at] = p->order[at - 1];
        p->order[at] = i;
    }
}

/* Packages in turn. */
static void spread_gpus(struct planner *p)
{
    const int n = p->gpus->n;
    int *old = ddp_calloc((size_t)n, sizeof *old);
    bool *done = ddp_calloc((size_t)n, sizeof *done);
    memcpy(old, p->order, (size_t)n * sizeof *old);
    for (int k = 0, package = 0; k < n; package = (package + 1) % (p->m->npackages)) {
        for (int i = 0; i < n; i++)
            if (!done[i] && p->site[old[i]].package == package) {
                done[i] = true;
                p->order[k++] = old[i];
                break;
            }
    }
    free(done);
    free(old);
}

/* One each, or neighbours on the same GPU. */
static void choose_gpus(struct planner *p)
{
    const int ranks = p->req->ranks, n = p->gpus->n;
    for (int r = 0; r < ranks; r++) {
        const int g = p->order[ranks <= n ? r : (int)((long)r * n / ranks)];
        p->gpu[r] = g;
        snprintf(p->out->place[r].gpu, sizeof p->out->place[r].gpu, "%s", p->gpus->gpu[g].uuid);
        ddp_machine_nic(p->m, p->gpus->gpu[g].pci, p->out->place[r].nic);
    }
}

/* ---- which cores ----------------------------------------------------------------------------- */

static bool usable(const struct planner *p, int core)
{
    return p->m->cores[core].npus > 0;
}

static bool same_site(const struct planner *p, int a, int b)
{
    return memcmp(p->site[a].near, p->site[b].near, (size_t)p->m->ncores * sizeof(bool)) == 0;
}

/* Free cores of a site over the ranks there that have none yet. */
static int share_of(const struct planner *p, int r)
{
    int cores = 0, ranks = 0;
    for (int i = 0; i < p->m->ncores; i++)
        cores += p->site[p->gpu[r]].near[i] && usable(p, i) && p->load[i] == 0;
    for (int o = 0; o < p->req->ranks; o++)
        ranks += same_site(p, p->gpu[o], p->gpu[r]) && p->out->place[o].npus == 0;
    return ranks > 0 ? cores / ranks : cores; /* the rank itself is one */
}

/* Up to k free cores near the GPU (near NULL: anywhere), of one NUMA node where one has as many. */
static int take_free(struct planner *p, const bool *near, int k)
{
    const struct ddp_machine *m = p->m;
    int n = 0, domain = -1;
    for (int d = 0; d < m->ndomains && domain < 0; d++) {
        int cores = 0;
        for (int i = 0; i < m->ncores; i++)
            cores += m->cores[i].domain == d && usable(p, i) && p->load[i] == 0 && (!near || near[i]);
        domain = cores >= k ? d : -1;
    }
    for (int i = 0; i < m->ncores && n < k; i++)
        if (usable(p, i) && p->load[i] == 0 && (!near || near[i]) &&
            (domain < 0 || m->cores[i].domain == domain)) {
            p->load[i]++;
            p->chosen[n++] = i;
        }
    return n;
}

/* The core with the fewest ranks, a near one if there is any. */
static int take_shared(struct planner *p, const bool *near)
{
    int best = -1;
    for (int i = 0; i < p->m->ncores; i++)
        if (usable(p, i) && near[i] && (best < 0 || p->load[i] < p->load[best]))
            best = i;
    for (int i = 0; i < p->m->ncores && best < 0; i++)
        if (usable(p, i))
            best = i;
    p->load[best]++;
    p->chosen[0] = best;
    p->out->oversubscribed = true;
    return 1;
}

static void place_rank(struct planner *p, int r, int most)
{
    struct ddp_place *place = &p->out->place[r];
    const bool *near = p->site[p->gpu[r]].near;
    int k = share_of(p, r), n;
    k = k < 1 ? 1 : k < most ? k : most;
    if (p->req->threads > 0 && k > p->req->threads)
        k = p->req->threads;
    n = take_free(p, near, k);
    if (n == 0)
        n = take_free(p, NULL, 1);
    if (n == 0)
        n = take_shared(p, near);
    ddp_place_fill(p->m, p->chosen, n, p->req, place);
    if (place->threads > place->npus)
        p->out->oversubscribed = true;
}

static void choose_cores(struct planner *p)
{
    const int ranks = p->req->ranks;
    int most = INT_MAX;
    bool *done = ddp_calloc((size_t)ranks, sizeof *done);
    for (int r = 0; r < ranks; r++)
        if (!p->site[p->gpu[r]].known) /* leave something for those that come last */
            most = p->m->usable_cores / ranks > 0 ? p->m->usable_cores / ranks : 1;
    for (int turn = 0; turn < ranks; turn++) {
        int next = -1;
        for (int r = 0; r < ranks; r++)
            if (!done[r] && (next < 0 || p->site[p->gpu[r]].cores < p->site[p->gpu[next]].cores))
                next = r;
        done[next] = true;
        place_rank(p, next, most);
    }
    free(done);
}

/* ---- the face -------------------------------------------------------------------------------- */

int ddp_placement_on_gpus(const struct ddp_machine *m, const struct ddp_place_request *req,
                          const struct ddp_place_gpus *gpus, struct ddp_placement *out, struct ddp_error *err)
{
    const int code = gpus->share ? 0 : ddp_ranks_check_gpus(req->ranks, gpus->n, err);
    if (code != 0)
        return code;
    struct planner p = {.m = m, .req = req, .gpus = gpus, .out = out};
    p.site = ddp_calloc((size_t)gpus->n, sizeof *p.site);
    p.order = ddp_calloc((size_t)gpus->n, sizeof *p.order);
    p.gpu = ddp_calloc((size_t)req->ranks, sizeof *p.gpu);
    p.load = ddp_calloc((size_t)m->ncores, sizeof *p.load);
    p.chosen = ddp_calloc((size_t)m->ncores, sizeof *p.chosen);
    for (int g = 0; g < gpus->n; g++)
        look_around(&p, g);
    sort_gpus(&p);
    if (req->policy == DDP_PLACE_SPREAD)
        spread_gpus(&p);
    choose_gpus(&p);
    if (out->bound)
        choose_cores(&p);
    out->ngpus = gpus->n;
    out->gpus = ddp_calloc((size_t)gpus->n, sizeof *out->gpus);
    memcpy(out->gpus, gpus->gpu, (size_t)gpus->n * sizeof *out->gpus);

    for (int g = 0; g < gpus->n; g++)
        free(p.site[g].near);
    free(p.chosen);
    free(p.load);
    free(p.gpu);
    free(p.order);
    free(p.site);
    return 0;
}
