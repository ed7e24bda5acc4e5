/* What runs: fusing, orders, borders, gradients, what is final when. */
#include "models.h"
#include "random_graph.h"

#include "model/memory_plan.h"

#define CE "{type = \"softmax_cross_entropy\"}"
#define CONV(name, rest)                                                                                     \
    "{type = \"conv2d\", name = \"" name "\", out = 16, kernel = 3, padding = 1" rest "},"
#define BN(name, rest) "{type = \"batch_norm\", name = \"" name "\"" rest "},"
#define ADD(a, b)      "{type = \"add\", name = \"add\", input = [\"" a "\", \"" b "\"]},"
#define RELU           "{type = \"relu\"},"
#define FLAT           "{type = \"flatten\", name = \"flat\"}, "
#define END            FLAT "{type = \"linear\", name = \"fc\", out = 10}," CE
#define POOL           "{type = \"global_avg_pool\"},"
#define BLOCK                                                                                                \
    CONV("p", "")                                                                                            \
    BN("n", "") RELU CONV("a", "") BN("m", "") RELU CONV("b", "") BN("t", "") ADD("t", "relu1") RELU END
#define MAX(K) "{type = \"max_pool\", kernel = " K "},"

static void test_fuse_follows_the_readers(void **state)
{
    (void)state;
    static const struct {
        const char *layers, *stages;
    } cases[] = {
        /* relu behind each op that can take it, in a row and behind features */
        {CONV("a", "") RELU END, "conv2d+relu flatten linear softmax_cross_entropy"},
        {CONV("a", "") BN("b", "") RELU END, "conv2d batch_norm+relu linear softmax_cross_entropy"},
        {"{type = \"flatten\"}, {type = \"linear\", out = 16}," RELU "{type = \"linear\", out = 10}," CE,
         "linear+relu linear softmax_cross_entropy"},
        {CONV("a", "") RELU RELU END, "conv2d+relu relu linear softmax_cross_entropy"},
        {CONV("a", "") "{type = \"gelu\"}," END, "conv2d gelu linear softmax_cross_entropy"},
        {RELU END, "relu linear softmax_cross_entropy"},
        /* a second reader of conv's output forbids it */
        {CONV("a", "") RELU ADD("a", "relu1") END, "conv2d relu add linear softmax_cross_entropy"},
        /* residual: batch norm takes the add and the relu behind it */
        {CONV("a", "") RELU CONV("b", "") BN("c", "") ADD("c", "relu1") RELU END,
         "conv2d+relu conv2d batch_norm+add+relu linear softmax_cross_entropy"},
        /* of two batch norms the later; the order of add's inputs does not matter */
        {CONV("a", "") BN("b", "") CONV("c", ", input = \"data\"") BN("d", "") ADD("b", "d") RELU END,
         "conv2d batch_norm conv2d batch_norm+add+relu linear softmax_cross_entropy"},
        {CONV("a", "") BN("b", "") CONV("c", ", input = \"data\"") BN("d", "") ADD("d", "b") END,
         "conv2d batch_norm conv2d batch_norm+add linear softmax_cross_entropy"},
        /* relu already taken: the add stands alone, and takes its own relu */
        {CONV("a", "") BN("b", "") RELU ADD("a", "relu1") RELU END,
         "conv2d batch_norm+relu add+relu linear softmax_cross_entropy"},
        {CONV("a", "") CONV("b", ", input = \"data\"") ADD("a", "b") RELU END,
         "conv2d conv2d add+relu linear softmax_cross_entropy"},
        /* a pool of 2x2 windows behind a convolution in tiles, ReLU between them or behind */
        {CONV("a", "") RELU MAX("2") END, "conv2d+relu+pool linear softmax_cross_entropy"},
        {CONV("a", "") MAX("2") RELU END, "conv2d+pool relu linear softmax_cross_entropy"},
        {CONV("a", "") RELU MAX("3") END, "conv2d+relu max_pool linear softmax_cross_entropy"},
        {CONV("a", ", stride = 2") RELU MAX("2") END, "conv2d+relu max_pool linear softmax_cross_entropy"},
        /* the batch norm runs late, where its add stands: behind the other branch */
        {CONV("s", "") BN("b", "") CONV("c", ", input = \"s\"") ADD("b", "c") END,
         "conv2d conv2d batch_norm+add linear softmax_cross_entropy"},
    };
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_model *m = model_layers(cases[i].layers, (struct ddp_shape){16, 8, 8}, 4, 0);
        if (strcmp(stages_text(m), cases[i].stages) != 0)
            fail_msg("case %zu: %s, wanted %s", i, stages_text(m), cases[i].stages);
        ddp_model_destroy(m);
    }
}

/* Of a run that is probed what a pool chose from is to be seen. */
static void test_a_probed_model_keeps_its_pools_apart(void **state)
{
    (void)state;
    struct ddp_config *cfg = config_layers(CONV("a", "") RELU MAX("2") END);
    cfg->probe.from = 1;
    struct ddp_model *m = NULL;
    struct ddp_error err = {0};
    assert_int_equal(ddp_model_build(cfg, (struct ddp_shape){16, 8, 8}, 0, 4, 0, &m, &err), 0);
    assert_string_equal(stages_text(m), "conv2d+relu max_pool linear softmax_cross_entropy");
    ddp_model_destroy(m);
}

/* Of each value, in order: '-', 'p'lain, 'm'asked. */
static const char *overs_text(const struct ddp_model *m)
{
    static char text[64];
    for (int v = 0; v < m->nvalues; v++)
        text[v] = "-pm"[m->value[v].over];
    text[m->nvalues] = 0;
    return text;
}

static void test_a_gradient_takes_the_place_of_its_value(void **state)
{
    (void)state;
    static const struct {
        const char *layers, *overs; /* data first, the loss's input last */
    } cases[] = {
        /* a convolution in tiles leaves the mask of the ReLU in front; behind a pool there is none */
        {CONV("a", "") RELU CONV("b", "") RELU MAX("2") END, "-mp-"},
        /* one by taps can not, and needs not where no ReLU is */
        {CONV("a", "") RELU CONV("b", ", stride = 2") END, "--pp-"},
        {CONV("a", "") CONV("b", ", stride = 2") END, "-ppp-"},
        /* batch norm finds its mask in its input, but for what was added */
        {CONV("a", "") BN("b", "") RELU CONV("c", ", stride = 2") END, "-pppp-"},
        {CONV("s", "") BN("b", "") CONV("c", ", input = \"s\"") ADD("b", "c") RELU CONV("d", "") POOL END,
         "---m-p-"},
        {CONV("s", "") BN("b", "") CONV("c", ", input = \"s\"") ADD("b", "c") RELU POOL END, "----p-"},
        {CONV("a", "") RELU BN("b", "") RELU MAX("2") "{type = \"dropout\"}," END, "-mppp-"},
        /* nobody knows what else a gelu reads, or writes over */
        {CONV("a", "") "{type = \"gelu\"}," CONV("b", "") "{type = \"gelu\"}," END, "------"},
    };
    for (size_t i = 0; i < DDP_COUNT(cases); i++)
        for (int how = 0; how < 3; how++) {
            struct ddp_config *cfg = config_layers(cases[i].layers);
            struct ddp_model *m = NULL;
            struct ddp_error err = {0};
            cfg->probe.from = how == 1;
            assert_int_equal(ddp_model_build(cfg, (struct ddp_shape){16, 8, 8}, 0, 4,
                                             how == 2 ? DDP_BUILD_NO_OVER : 0, &m, &err),
                             0);
            const bool none = strspn(overs_text(m), "-") == strlen(overs_text(m));
            if (how ? !none : strcmp(overs_text(m), cases[i].overs) != 0)
                fail_msg("case %zu (%d): %s, wanted %s", i, how, overs_text(m), cases[i].overs);
            ddp_model_destroy(m);
        }
}

static void test_fused_add_reads_the_other_branch(void **state)
{
    (void)state;
    for (int swap = 0; swap < 2; swap++) {
        struct ddp_model *m =
            model_layers(swap ? CONV("s", "") BN("b", "") CONV("c", ", input = \"s\"") ADD("c", "b") END
                              : CONV("s", "") BN("b", "") CONV("c", ", input = \"s\"") ADD("b", "c") END,
                         (struct ddp_shape){16, 8, 8}, 4, 0);
        const struct ddp_stage *bn = &m->stage[2];
        assert_int_equal(bn->nin, 2);
        assert_int_equal(m->value[bn->in[0]].stage, 0); /* s */
        assert_int_equal(m->value[bn->in[1]].stage, 1); /* c */
        /* backward: c's gradient has one reader; s is reached by bn first (it runs last), then by c, which
         * adds */
        assert_int_equal(bn->din[0], DDP_GRAD_WRITE);
        assert_int_equal(bn->din[1], DDP_GRAD_WRITE);
        assert_int_equal(m->stage[1].din[0], DDP_GRAD_ADD);
        ddp_model_destroy(m);
    }
}

/* Every consumer's halo is there, features have none, linear layers get features, and the first writer of a
 * gradient writes while all others add. */
static void test_values_serve_their_readers(void **state)
{
    (void)state;
    for (int i = 0; i < nshipped; i++) {
        struct ddp_model *m = model_named(shipped[i].name, shipped[i].input, 4, 0);
        for (int v = 0; v < m->nvalues; v++) {
            const struct ddp_value *val = &m->value[v];
            int readers = 0, writers = 0, halo = 0;
            for (int s = 0; s < m->nstages; s++) {
                const struct ddp_layer *l = &m->layer[m->stage[s].layer];
                for (int k = 0; k < m->stage[s].nin; k++) {
                    if (m->stage[s].in[k] != v)
                        continue;
                    assert_true(s > val->stage);
                    readers++;
                    writers += m->stage[s].din[k] == DDP_GRAD_WRITE;
                    halo = k == 0 && l->plan.in_halo > halo ? l->plan.in_halo : halo;
                    if (l->plan.features)
                        assert_int_equal(val->order, DDP_ORDER_FEATURES);
                    else if (!l->plan.any_strides && !ddp_layer_is(l, "flatten"))
                        assert_int_equal(val->order, DDP_ORDER_PICTURES);
                }
            }
            assert_int_equal(writers, val->wants_grad);
            assert_int_equal(val->halo, halo);
            assert_true(!val->over || val->grad_halo <= halo);
            assert_true(val->order == DDP_ORDER_PICTURES || (val->halo == 0 && val->grad_halo == 0));
            assert_int_equal(val->wants_grad, val->stage != DDP_DATA);
            assert_true(readers >= 1);
        }
        ddp_model_destroy(m);
    }
}

#define POOLED "{type = \"max_pool\", kernel = 2}, {type = \"flatten\", name = \"f\"},"
#define BRANCHES                                                                                             \
    POOLED "{type = \"avg_pool\", kernel = 2, input = \"data\"}, {type = \"flatten\", name = \"g\"},"

static void test_flatten_costs_nothing_where_it_can(void **state)
{
    (void)state;
    static const struct {
        const char *layers, *stages;
        struct ddp_shape input;
    } cases[] = {
        {"{type = \"max_pool\", kernel = 2}, {type = \"dropout\", p = 0.5}," END,
         "max_pool dropout linear softmax_cross_entropy",
         {16, 8, 8}},
        {END, "linear softmax_cross_entropy", {1, 28, 28}},
        {"{type = \"linear\", out = 10}," CE, "linear softmax_cross_entropy", {3, 8, 8}},
        {POOL END, "global_avg_pool linear softmax_cross_entropy", {5, 8, 8}},
        /* 5 channels of 4x4 are blocked anew; a convolution writes pictures; so does a pool that a
           convolution reads too */
        {"{type = \"max_pool\", kernel = 2}," END,
         "max_pool flatten linear softmax_cross_entropy",
         {5, 8, 8}},
        {CONV("a", "") END, "conv2d flatten linear softmax_cross_entropy", {16, 8, 8}},
        {CONV("a", "") "{type = \"max_pool\", name = \"p\", kernel = 2}, {type = \"flatten\", name = \"f\"},"
                       "{type = \"linear\", name = \"g\", out = 10}," CONV("b", ", input = \"p\"") POOL
         "{type = \"flatten\"}, {type = \"linear\", name = \"h\", out = 10}, {type = \"add\", input = "
         "[\"g\", \"h\"]}," CE,
         "conv2d+pool flatten linear conv2d global_avg_pool linear add softmax_cross_entropy",
         {16, 8, 8}},
        /* sums of such features and elementwise layers cannot tell the shape */
        {BRANCHES
         "{type = \"add\", input = [\"f\", \"g\"]}, {type = \"gelu\"}, {type = \"flatten\"}, {type = "
         "\"linear\", out = 10}," CE,
         "max_pool avg_pool add gelu linear softmax_cross_entropy",
         {16, 8, 8}},
        /* others can: 256 features, as with any number of channels */
        {POOLED "{type = \"batch_norm\"}, {type = \"linear\", out = 10}," CE,
         "max_pool flatten batch_norm linear softmax_cross_entropy",
         {16, 8, 8}},
        {POOLED CE, "max_pool flatten softmax_cross_entropy", {16, 8, 8}},
        {POOLED "{type = \"dropout\", name = \"d\"}, {type = \"linear\", name = \"l\", out = 256}, {type = "
                "\"add\", input = "
                "[\"l\", \"d\"]}," CE,
         "max_pool flatten dropout linear add softmax_cross_entropy",
         {16, 8, 8}},
        /* and so one of two that meet in a sum */
        {BRANCHES "{type = \"batch_norm\", name = \"b\"}, {type = \"add\", input = [\"b\", \"f\"]}, {type = "
                  "\"linear\", "
                  "out = 10}," CE,
         "max_pool flatten avg_pool flatten batch_norm+add linear softmax_cross_entropy",
         {16, 8, 8}},
    };
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_model *m = model_layers(cases[i].layers, cases[i].input, 4, 0);
        if (strcmp(stages_text(m), cases[i].stages) != 0)
            fail_msg("case %zu: %s, wanted %s", i, stages_text(m), cases[i].stages);
        ddp_model_destroy(m);
    }
    /* and the stage before the dropout writes features, so that the dropout runs over equal strides */
    struct ddp_model *m = model_layers(cases[0].layers, cases[0].input, 4, 0);
    assert_int_equal(m->value[m->stage[0].out].order, DDP_ORDER_FEATURES);
    assert_int_equal(m->value[m->stage[1].out].order, DDP_ORDER_FEATURES);
    ddp_model_destroy(m);
}

/* ---- the plan of a pass ---- */

/* A pass that computes nothing: it keeps track of which bytes hold what, and of who was here. */
struct rehearsal {
    const struct ddp_stages *p;
    struct ddp_memory mem;
    int time;     /* of the call */
    bool *holds;  /* [spans] what was written there last is still there */
    int *pending; /* [values] stages whose part of the gradient is missing */
    bool *begun;  /* [values] the gradient has been written */
    int *final;   /* [blocks] times that a block was called final */
};

static void write_span(struct rehearsal *r, int span)
{
    assert_true(span >= 0);
    const struct ddp_span *s = &r->mem.span[span];
    assert_true(s->life.first <= r->time && r->time <= s->life.last);
    for (int i = 0; i < r->mem.nspans; i++) {
        const struct ddp_span *t = &r->mem.span[i];
        if (t->offset < s->offset + s->bytes && s->offset < t->offset + t->bytes)
            r->holds[i] = i == span;
    }
}

static void read_span(const struct rehearsal *r, int span)
{
    assert_true(span >= 0 && r->holds[span]);
    assert_true(r->mem.span[span].life.first <= r->time && r->time <= r->mem.span[span].life.last);
}

static void read_inputs(const struct rehearsal *r, const struct ddp_stage *st)
{
    for (int k = 0; k < st->nin; k++)
        read_span(r, r->mem.value[st->in[k]]);
}

/* In the order that ops keep: of one value twice the first input's part is written, the second's added. */
static void give_gradients(struct rehearsal *r, const struct ddp_stage *st)
{
    for (int k = 0; k < st->nin; k++) {
        const int v = st->in[k];
        assert_int_equal(st->din[k] != DDP_GRAD_NONE, r->p->value[v].wants_grad);
        if (st->din[k] == DDP_GRAD_NONE)
            continue;
        assert_int_equal(st->din[k] == DDP_GRAD_ADD || st->din[k] == DDP_GRAD_ASIDE, r->begun[v]);
        if (st->din[k] == DDP_GRAD_LEAVE)
            assert_int_equal(r->mem.grad[v], r->mem.grad[st->out]);
        else
            assert_true(st->out < 0 || r->mem.grad[v] != r->mem.grad[st->out]);
        if (st->din[k] == DDP_GRAD_ASIDE) {
            assert_int_equal(r->pending[v], 1); /* nobody adds behind it */
            write_span(r, r->mem.aside[v]);
        }
        if (r->begun[v] || st->din[k] == DDP_GRAD_LEAVE)
            read_span(r, r->mem.grad[v]);
        else
            write_span(r, r->mem.grad[v]);
        r->begun[v] = true;
        r->pending[v]--;
    }
}

static void rehearse_forward(struct rehearsal *r, bool training)
{
    for (int i = 0; i < r->p->ndata; i++)
        write_span(r, r->mem.value[r->p->data[i]]);
    for (int s = 0; s < r->p->nstages; s++) {
        const struct ddp_stage *st = &r->p->stage[s];
        r->time = s;
        if (r->mem.saved[s] >= 0)
            write_span(r, r->mem.saved[s]);
        if (st->out >= 0)
            write_span(r, r->mem.value[st->out]);
        if (st->op->is_loss && training)
            give_gradients(r, st);
        read_inputs(r, st); /* behind the writes: they may not lie on each other */
        if (r->mem.saved[s] >= 0)
            read_span(r, r->mem.saved[s]);
    }
}

static void rehearse_backward(struct rehearsal *r)
{
    for (int b = 0; b < r->p->nbackward; b++) {
        const int s = r->p->backward[b];
        const struct ddp_stage *st = &r->p->stage[s];
        assert_true(b == 0 || s < r->p->backward[b - 1]);
        r->time = 2 * r->p->nstages - 1 - s;
        assert_int_equal(r->pending[st->out], 0); /* dout is complete */
        give_gradients(r, st);
        read_span(r, r->mem.grad[st->out]);
        assert_int_equal(r->mem.aside[st->out] >= 0, r->p->value[st->out].two_parts);
        if (r->mem.aside[st->out] >= 0)
            read_span(r, r->mem.aside[st->out]);
        read_span(r, r->mem.value[st->out]);
        read_inputs(r, st);
        if (r->mem.saved[s] >= 0)
            read_span(r, r->mem.saved[s]);
        for (int64_t k = st->lo; k < st->hi; k += DDP_BLOCK)
            r->final[k / DDP_BLOCK]++;
    }
}

/* What is trained before a value, worked out again: the producer's parameters, or what it reads. */
static bool is_trained(const struct ddp_stages *p, int v)
{
    if (p->value[v].stage == DDP_DATA)
        return false;
    const struct ddp_stage *st = &p->stage[p->value[v].stage];
    for (int k = 0; k < st->plan->nparams; k++)
        if (st->plan->params[k].role == DDP_PARAM_TRAINED)
            return true;
    for (int k = 0; k < st->nin; k++)
        if (is_trained(p, st->in[k]))
            return true;
    return false;
}

static void assert_plan_holds(const struct ddp_stages *p)
{
    for (int v = 0; v < p->nvalues; v++)
        assert_int_equal(p->value[v].wants_grad, is_trained(p, v));
    for (int s = 0; s < p->nstages; s++)
        if (p->stage[s].fused & DDP_FUSE_ADD) {
            assert_int_equal(p->stage[s].nin, p->stage[s].op->nin + 1);
            assert_int_not_equal(p->stage[s].in[0], p->stage[s].in[1]);
        }
    for (int training = 0; training < 2; training++) {
        struct rehearsal r = {.p = p};
        ddp_memory_plan_cpu(p, training, &r.mem);
        r.holds = calloc((size_t)r.mem.nspans + 1, sizeof *r.holds);
        r.pending = calloc((size_t)p->nvalues + 1, sizeof *r.pending);
        r.begun = calloc((size_t)p->nvalues + 1, sizeof *r.begun);
        r.final = calloc((size_t)(p->flat->total / DDP_BLOCK), sizeof *r.final);
        for (int s = 0; s < p->nstages; s++)
            for (int k = 0; k < p->stage[s].nin; k++)
                r.pending[p->stage[s].in[k]] += p->value[p->stage[s].in[k]].wants_grad;
        rehearse_forward(&r, training);
        for (int v = 0; v < p->nvalues; v++)
            assert_true(!p->value[v].kept[training] || r.holds[r.mem.value[v]]);
        if (training)
            rehearse_backward(&r);
        for (int v = 0; v < p->nvalues; v++)
            assert_true(!training || r.pending[v] == 0);
        for (int64_t b = 0; b < p->flat->total / DDP_BLOCK; b++)
            assert_int_equal(r.final[b], training && b * DDP_BLOCK < p->flat->stats);
        free(r.holds);
        free(r.pending);
        free(r.begun);
        free(r.final);
        ddp_memory_finish(&r.mem);
    }
}

static void test_stages_of_shipped_models_hold(void **state)
{
    (void)state;
    for (int i = 0; i < nshipped; i++) {
        struct ddp_model *m = model_named(shipped[i].name, shipped[i].input, 4, 0);
        assert_plan_holds(ddp_model_stages(m));
        ddp_model_destroy(m);
    }
}

static void test_stages_of_random_graphs_hold(void **state)
{
    (void)state;
    static const unsigned flags[] = {0, DDP_BUILD_NO_FUSE, DDP_BUILD_NO_ALIAS, DDP_BUILD_GPU};
    int twice = 0, added = 0, synced = 0, left = 0, aside = 0;
    for (uint32_t seed = 0; seed < 400; seed++) {
        struct ddp_shape input;
        struct ddp_config *cfg = config_layers(random_graph(seed, RANDOM_SYNC, &input));
        for (size_t f = 0; f < DDP_COUNT(flags); f++) {
            struct ddp_error err = {0};
            struct ddp_model *m;
            if (ddp_model_build(cfg, input, 0, 3, flags[f], &m, &err) != 0)
                fail_msg("graph %u: %s", seed, err.text);
            const struct ddp_stages *p = ddp_model_stages(m);
            assert_plan_holds(p);
            for (int s = 0; s < p->nstages; s++) {
                twice += p->stage[s].nin == 2 && p->stage[s].in[0] == p->stage[s].in[1];
                added += (p->stage[s].fused & DDP_FUSE_ADD) != 0;
                synced += p->stage[s].synced;
                for (int k = 0; k < p->stage[s].nin; k++) {
                    left += p->stage[s].din[k] == DDP_GRAD_LEAVE;
                    aside += p->stage[s].din[k] == DDP_GRAD_ASIDE;
                }
            }
            ddp_model_destroy(m);
        }
        models_finish();
    }
    /* or the graphs are not what they are for */
    assert_true(twice > 50 && added > 50 && synced > 50 && left > 50 && aside > 10);
}

/* The stages as text, "conv2d+relu 0- 1 | batch_norm~ 1a 2": the op, the values that it reads, each with what
 * backward does to its gradient (- nothing, w writes, a adds, l leaves, s writes aside), the value that it
 * writes; ~ behind one that is synchronised, ! behind one that has no backward. */
static const char *plan_text(const struct ddp_stages *p)
{
    static char text[2048];
    size_t n = 0;
    for (int s = 0; s < p->nstages; s++) {
        const struct ddp_stage *st = &p->stage[s];
        bool backward = false;
        for (int b = 0; b < p->nbackward; b++)
            backward |= p->backward[b] == s;
        n +=
            (size_t)snprintf(text + n, sizeof text - n, "%s%s%s%s%s%s", s ? " | " : "", st->op->name,
                             st->fused & DDP_FUSE_ADD ? "+add" : "", st->fused & DDP_FUSE_RELU ? "+relu" : "",
                             st->synced ? "~" : "", backward ? "" : "!");
        for (int k = 0; k < st->nin; k++)
            n += (size_t)snprintf(text + n, sizeof text - n, "%c%d%c", k ? ',' : ' ', st->in[k],
                                  "-wals"[st->din[k]]);
        if (st->out >= 0)
            n += (size_t)snprintf(text + n, sizeof text - n, " %d", st->out);
    }
    return text;
}

static void test_stages_say_who_writes_each_gradient(void **state)
{
    (void)state;
    static const struct {
        const char *layers, *plan;
    } cases[] = {
        {CONV("a", "") RELU END, "conv2d+relu 0- 1 | flatten 1w 2 | linear 2w 3 | softmax_cross_entropy! 3w"},
        /* nothing before the first parameter has a gradient */
        {RELU CONV("a", "") END,
         "relu! 0- 1 | conv2d 1- 2 | flatten 2w 3 | linear 3w 4 | softmax_cross_entropy! 4w"},
        /* fan-out: the last reader writes, those before it add */
        {CONV("a", "") "{type = \"gelu\", name = \"g\"}, {type = \"silu\", name = \"h\", input = \"a\"},"
                       "{type = \"add\", name = \"s\", input = [\"g\", \"h\"]}," ADD("s", "a") END,
         "conv2d 0- 1 | gelu 1a 2 | silu 1a 3 | add 2w,3w 4 | add 4w,1w 5 | linear 5w 6 | "
         "softmax_cross_entropy! 6w"},
        /* a batch norm takes no add that reads its own input too, in either order, synchronised or not */
        {CONV("p", "") BN("t", "") ADD("t", "p") END,
         "conv2d 0- 1 | batch_norm 1a 2 | add 2w,1w 3 | linear 3w 4 | softmax_cross_entropy! 4w"},
        {CONV("p", "") BN("t", ", sync = true") ADD("p", "t") RELU END,
         "conv2d 0- 1 | batch_norm~ 1a 2 | add+relu 1w,2w 3 | linear 3w 4 | softmax_cross_entropy! 4w"},
        /* but the norm of something else */
        {CONV("p", "") CONV("q", "") BN("t", "") ADD("t", "p") END,
         "conv2d 0- 1 | conv2d 1a 2 | batch_norm+add 2w,1w 3 | linear 3w 4 | softmax_cross_entropy! 4w"},
        /* one value twice: written, then added to */
        {CONV("p", "") ADD("p", "p") RELU END,
         "conv2d 0- 1 | add+relu 1w,1a 2 | linear 2w 3 | softmax_cross_entropy! 3w"},
        {"{type = \"add\", name = \"s\", input = [\"data\", \"data\"]}," CONV("p", "") END,
         "add! 0-,0- 1 | conv2d 1- 2 | flatten 2w 3 | linear 3w 4 | softmax_cross_entropy! 4w"},
        /* so is a flatten that is only a name, unless a batch norm has taken the add */
        {CONV("c", "") "{type = \"global_avg_pool\", name = \"m\"}, {type = \"flatten\", name = \"f\"},"
                       "{type = \"add\", name = \"s\", input = [\"f\", \"m\"]}, {type = \"linear\", name = "
                       "\"fc\", out = 10}," CE,
         "conv2d 0- 1 | global_avg_pool 1w 2 | add 2w,2a 3 | linear 3w 4 | softmax_cross_entropy! 4w"},
        {CONV("c", "") "{type = \"global_avg_pool\", name = \"m\"}," BN(
             "t", "") "{type = \"flatten\", name = \"f\", input = \"m\"}, {type = \"add\", name = \"s\", "
                      "input = [\"t\", \"f\"]},"
                      "{type = \"linear\", name = \"fc\", out = 10}," CE,
         "conv2d 0- 1 | global_avg_pool 1w 2 | flatten 2a 3 | batch_norm+add 2w,3w 4 | linear 4w 5 | "
         "softmax_cross_entropy! 5w"},
    };
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_model *m = model_layers(cases[i].layers, (struct ddp_shape){16, 8, 8}, 4, 0);
        if (strcmp(plan_text(ddp_model_stages(m)), cases[i].plan) != 0)
            fail_msg("case %zu: %s\nwanted %s", i, plan_text(ddp_model_stages(m)), cases[i].plan);
        assert_plan_holds(ddp_model_stages(m));
        ddp_model_destroy(m);
    }
}

/* For a GPU, whose batch norms take a gradient in two parts and whose convolutions put theirs aside. */
static void test_gradients_stay_where_they_are(void **state)
{
    (void)state;
    static const struct {
        const char *layers, *plan;
        unsigned flags;
    } cases[] = {
        {BLOCK,
         "conv2d 0- 1 | batch_norm+relu 1w 2 | conv2d 2s 3 | batch_norm+relu 3w 4 | conv2d 4w 5 | "
         "batch_norm+add+relu 5w,2l 6 | linear 6w 7 | softmax_cross_entropy! 7w",
         DDP_BUILD_GPU},
        {BLOCK,
         "conv2d 0- 1 | batch_norm+relu 1w 2 | conv2d 2a 3 | batch_norm+relu 3w 4 | conv2d 4w 5 | "
         "batch_norm+add+relu 5w,2w 6 | linear 6w 7 | softmax_cross_entropy! 7w",
         DDP_BUILD_GPU | DDP_BUILD_NO_OVER},
        {BLOCK,
         "conv2d 0- 1 | batch_norm+relu 1w 2 | conv2d 2a 3 | batch_norm+relu 3w 4 | conv2d 4w 5 | "
         "batch_norm+add+relu 5w,2w 6 | linear 6w 7 | softmax_cross_entropy! 7w",
         0},
        /* a convolution takes one part, and leaves what was added to it */
        {CONV("p", "") RELU CONV("b", "") ADD("b", "relu1") RELU END,
         "conv2d+relu 0- 1 | conv2d 1a 2 | add+relu 2l,1w 3 | linear 3w 4 | softmax_cross_entropy! 4w",
         DDP_BUILD_GPU},
        /* what a later reader has written is added to */
        {CONV("p", "") BN("r", "") CONV("b", "") BN("t", "")
             ADD("t", "r") "{type = \"concat\", input = [\"r\", \"add\"]}," END,
         "conv2d 0- 1 | batch_norm 1w 2 | conv2d 2s 3 | batch_norm+add 3w,2a 4 | concat 2w,4w 5 | linear 5w "
         "6 | softmax_cross_entropy! 6w",
         DDP_BUILD_GPU},
        /* only the last stage's part lies aside */
        {CONV("p", "") BN("r", "") CONV("b", "") CONV("c", ", input = \"r\"") CONV("d", ", input = \"r\"")
             ADD("c", "d") "{type = \"add\", input = [\"add\", \"b\"]}," END,
         "conv2d 0- 1 | batch_norm 1w 2 | conv2d 2s 3 | conv2d 2a 4 | conv2d 2w 5 | add 4l,5w 6 | add 6l,3w "
         "7 | linear 7w 8 | softmax_cross_entropy! 8w",
         DDP_BUILD_GPU},
        /* of a sum one part stays */
        {CONV("p", "") "{type = \"gelu\", name = \"g\"}, {type = \"silu\", name = \"h\", input = \"p\"}," ADD(
             "g", "h") RELU END,
         "conv2d 0- 1 | gelu 1a 2 | silu 1w 3 | add+relu 2l,3w 4 | linear 4w 5 | softmax_cross_entropy! 5w",
         DDP_BUILD_GPU},
        {CONV("p", "") ADD("p", "p") RELU END,
         "conv2d 0- 1 | add+relu 1w,1a 2 | linear 2w 3 | softmax_cross_entropy! 3w", DDP_BUILD_GPU},
    };
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_model *m = model_layers(cases[i].layers, (struct ddp_shape){16, 8, 8}, 4, cases[i].flags);
        if (strcmp(plan_text(ddp_model_stages(m)), cases[i].plan) != 0)
            fail_msg("case %zu: %s\nwanted %s", i, plan_text(ddp_model_stages(m)), cases[i].plan);
        assert_plan_holds(ddp_model_stages(m));
        ddp_model_destroy(m);
    }
}

static void test_stages_name_what_they_call(void **state)
{
    (void)state;
    struct ddp_model *m =
        model_layers(CONV("c", "") BN("t", ", sync = true") RELU END, (struct ddp_shape){16, 8, 8}, 4, 0);
    const struct ddp_stages *p = ddp_model_stages(m);
    const struct ddp_stage *st = &p->stage[1];
    assert_string_equal(st->op->name, "batch_norm");
    assert_string_equal(st->name, "t");
    assert_string_equal(st->output, "relu1");
    assert_non_null(strstr(st->where, "layer 't' (batch_norm)"));
    assert_int_equal(st->hash, ddp_name_hash("t"));
    assert_true(st->synced && p->synced && !p->stage[0].synced);
    assert_string_equal(p->flat->tensor[st->tensor[0]].name, "t.weight");
    assert_int_equal(st->lo, p->flat->tensor[st->tensor[0]].offset);
    assert_int_equal(st->hi - st->lo, 2 * DDP_BLOCK);
    assert_int_equal(p->stage[p->nstages - 1].hi - p->stage[p->nstages - 1].lo, 0);
    ddp_model_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fuse_follows_the_readers),
        cmocka_unit_test(test_a_probed_model_keeps_its_pools_apart),
        cmocka_unit_test(test_a_gradient_takes_the_place_of_its_value),
        cmocka_unit_test(test_fused_add_reads_the_other_branch),
        cmocka_unit_test(test_values_serve_their_readers),
        cmocka_unit_test(test_flatten_costs_nothing_where_it_can),
        cmocka_unit_test(test_stages_of_shipped_models_hold),
        cmocka_unit_test(test_stages_of_random_graphs_hold),
        cmocka_unit_test(test_stages_say_who_writes_each_gradient),
        cmocka_unit_test(test_gradients_stay_where_they_are),
        cmocka_unit_test(test_stages_name_what_they_call),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    models_finish();
    return rc;
}
