/* Properties of placements on machines of many shapes: nobody has more than others, nobody lies across
 * packages or NUMA nodes who need not, nothing is used twice, and the same request gives the same plan. */
#include "machines.h"

enum { CORES_MAX = 128 };

struct shape {
    int packages, nodes, cores, pus; /* nodes of a package, cores of a node, hardware threads of a core */
    bool usable[CORES_MAX];
};

static int cores_of(const struct shape *s)
{
    return s->packages * s->nodes * s->cores;
}

/* Ranks of k cores that lie inside of one of the groups of `size` cores. */
static int ranks_inside(const struct shape *s, int size, int k)
{
    int n = 0;
    for (int begin = 0; begin < cores_of(s); begin += size) {
        int usable = 0;
        for (int i = begin; i < begin + size; i++)
            usable += s->usable[i];
        n += usable / k;
    }
    return n;
}

static int usable_cores(const struct shape *s)
{
    return ranks_inside(s, cores_of(s), 1);
}

/* What each rank has, checked on the way: cores that are its own. */
static void check_own_cores(const struct shape *s, const struct ddp_placement *p, int *k, int *across_nodes,
                            int *across_packages)
{
    int owner[CORES_MAX];
    for (int i = 0; i < CORES_MAX; i++)
        owner[i] = -1;
    *across_nodes = *across_packages = 0;
    for (int r = 0; r < p->ranks; r++) {
        const struct ddp_place *place = &p->place[r];
        int cores = 0, node = place->pus[0] / s->pus / s->cores, package = node / s->nodes;
        bool nodes = false, packages = false;
        for (int i = 0; i < place->npus; i++) {
            const int core = place->pus[i] / s->pus;
            assert_true(s->usable[core]);
            assert_true(owner[core] == -1 || owner[core] == r);
            cores += owner[core] == -1;
            owner[core] = r;
            nodes = nodes || core / s->cores != node;
            packages = packages || core / s->cores / s->nodes != package;
        }
        assert_int_equal(place->numa, nodes ? -1 : node);
        assert_int_equal(place->package, packages ? -1 : package);
        *across_nodes += nodes;
        *across_packages += packages;
        if (r == 0)
            *k = cores;
        assert_int_equal(cores, *k);
    }
}

static void check_whole_cores(const struct shape *s, const struct ddp_place_request *req,
                              const struct ddp_placement *p)
{
    const int n = req->ranks, share = usable_cores(s) / n, node = s->cores, package = s->cores * s->nodes;
    int k = 0, across_nodes, across_packages;
    check_own_cores(s, p, &k, &across_nodes, &across_packages);
    const int in_nodes = ranks_inside(s, node, k), in_packages = ranks_inside(s, package, k);
    assert_int_equal(across_nodes, n > in_nodes ? n - in_nodes : 0);
    assert_int_equal(across_packages, n > in_packages ? n - in_packages : 0);
    if (req->threads > 0) {
        assert_int_equal(k, req->threads < share ? req->threads : share);
        return;
    }
    assert_true(k <= share && 4 * k >= 3 * share);
    if (k < share) /* it was worth something: and one more would have cost it */
        assert_true((across_nodes == 0 && ranks_inside(s, node, k + 1) < n) ||
                    (across_packages == 0 && ranks_inside(s, package, k + 1) < n));
    if (across_packages > 0)
        for (int fewer = share; 4 * fewer >= 3 * share; fewer--)
            assert_true(ranks_inside(s, package, fewer) < n);
}

/* More ranks than cores: none has two ranks more than another, none is idle. */
static void check_shared_cores(const struct shape *s, const struct ddp_placement *p)
{
    int ranks[CORES_MAX] = {0}, least = p->ranks, most = 0;
    for (int r = 0; r < p->ranks; r++) {
        const int core = p->place[r].pus[0] / s->pus;
        for (int i = 0; i < p->place[r].npus; i++)
            assert_int_equal(p->place[r].pus[i] / s->pus, core);
        ranks[core]++;
    }
    for (int i = 0; i < cores_of(s); i++) {
        assert_true(s->usable[i] || ranks[i] == 0);
        least = s->usable[i] && ranks[i] < least ? ranks[i] : least;
        most = ranks[i] > most ? ranks[i] : most;
    }
    assert_true(least >= 1 && most - least <= 1);
}

static void assert_same(const struct ddp_placement *a, const struct ddp_placement *b)
{
    for (int r = 0; r < a->ranks; r++) {
        assert_int_equal(a->place[r].npus, b->place[r].npus);
        assert_int_equal(a->place[r].threads, b->place[r].threads);
        assert_memory_equal(a->place[r].pus, b->place[r].pus, (size_t)a->place[r].npus * sizeof(int));
    }
}

static void check(const struct shape *s, const struct ddp_machine *m, const struct ddp_place_request *req)
{
    struct ddp_placement *p, *again;
    struct ddp_error err = {0};
    assert_int_equal(ddp_placement_create(m, req, &p, &err), 0);
    assert_int_equal(ddp_placement_create(m, req, &again, &err), 0);
    assert_same(p, again);
    if (req->ranks <= usable_cores(s))
        check_whole_cores(s, req, p);
    else
        check_shared_cores(s, p);
    for (int r = 0; r < p->ranks; r++) {
        const struct ddp_place *place = &p->place[r];
        assert_int_equal(place->threads, req->threads > 0               ? req->threads
                                         : req->ranks > usable_cores(s) ? 1
                                                                        : place->npus);
        assert_true(p->oversubscribed || place->threads <= place->npus);
        if (req->hyperthreads && req->threads == 0 && req->ranks <= usable_cores(s))
            assert_int_equal(place->npus % s->pus, 0); /* all of each core */
    }
    ddp_placement_destroy(again);
    ddp_placement_destroy(p);
}

static void check_requests(const struct shape *s, const struct ddp_machine *m)
{
    static const int threads[] = {0, 1, 2, 5};
    const int cores = usable_cores(s);
    for (int n = 1; n <= 2 * cores + 1; n += n < 20 || (n >= cores - 2 && n <= cores + 2) ? 1 : 7)
        for (int k = 0; k < 4 * 4; k++)
            check(s, m,
                  &(struct ddp_place_request){.ranks = n,
                                              .threads = threads[k / 4],
                                              .policy = k & 1 ? DDP_PLACE_SPREAD : DDP_PLACE_COMPACT,
                                              .hyperthreads = k & 2});
}

static void describe(const struct shape *s, char text[64])
{
    snprintf(text, 64, "package:%d numa:%d core:%d pu:%d", s->packages, s->nodes, s->cores, s->pus);
}

static void test_placement_on_many_shapes(void **state)
{
    static const int packages[] = {1, 2, 4}, nodes[] = {1, 2, 4}, cores[] = {1, 2, 3, 4, 6, 8},
                     pus[] = {1, 2};
    (void)state;
    for (int i = 0; i < 3 * 3 * 6 * 2; i++) {
        struct shape s = {packages[i % 3], nodes[i / 3 % 3], cores[i / 9 % 6], pus[i / 54], {false}};
        char text[64];
        for (int c = 0; c < cores_of(&s); c++)
            s.usable[c] = true;
        describe(&s, text);
        struct ddp_machine *m = machine_synthetic(text);
        check_requests(&s, m);
        ddp_machine_destroy(m);
    }
}

/* The same with cores missing, as a scheduler leaves them. */
static void test_placement_with_holes(void **state)
{
    uint32_t random = 7;
    (void)state;
    for (int i = 0; i < 60; i++) {
        struct shape s = {1 + i % 2, 1 + i / 2 % 3, 2 + i / 6 % 5, 1 + i % 2, {false}};
        char text[64];
        struct ddp_text allowed;
        ddp_text_init(&allowed);
        for (int c = 0; c < cores_of(&s); c++) {
            random = random * 1664525 + 1013904223;
            s.usable[c] = c == i % cores_of(&s) || random >> 30 != 0;
            for (int k = 0; k < s.pus && s.usable[c]; k++)
                ddp_text_add(&allowed, "%s%d", allowed.len ? "," : "", c * s.pus + k);
        }
        describe(&s, text);
        struct ddp_machine *m = machine_with_holes(text, allowed.s);
        check_requests(&s, m);
        ddp_machine_destroy(m);
        ddp_text_finish(&allowed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_placement_on_many_shapes),
        cmocka_unit_test(test_placement_with_holes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
