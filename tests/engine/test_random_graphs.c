/* Loss and gradients of random graphs on the CPU against the same graphs in double: the loss by its value,
 * the gradients by difference quotients of it. Arguments: first seed, how many. */
#include <math.h>

#include "model/random_graph.h"
#include "model/reference.h"
#include "passes.h"

static uint32_t first_seed, graphs = 30;

static const int sizes[][3] = {{4, 3, 0}, {3, 0, 5}, {3, 3, 3}};

/* The pass's inputs and parameters in double. */
struct wide {
    struct reference_batch batch;
    double *pixels, **plain;
    int32_t *label;
};

static void widen(const struct pass *p, const int *n, struct wide *w)
{
    const struct ddp_flat *f = &p->m->flat;
    const int64_t picture = (int64_t)p->m->input.c * p->m->input.h * p->m->input.w;
    int at = 0;
    w->pixels = calloc((size_t)(9 * picture), sizeof *w->pixels);
    w->label = calloc(9, sizeof *w->label);
    w->plain = calloc((size_t)f->ntensors, sizeof *w->plain);
    for (int s = 0; s < p->nshards; s++)
        for (int i = 0; i < n[s]; i++, at++) {
            w->label[at] = p->shard[s].label[i];
            for (int64_t k = 0; k < picture; k++)
                w->pixels[at * picture + k] = p->shard[s].pixels[i * picture + k];
        }
    for (int k = 0; k < f->ntensors; k++) {
        const int64_t size = ddp_layout_plain_size(&f->tensor[k].param);
        float *plain = calloc((size_t)size, sizeof *plain);
        w->plain[k] = calloc((size_t)size, sizeof **w->plain);
        ddp_layout_unpack(&f->tensor[k].param, p->params + f->tensor[k].offset, plain);
        for (int64_t j = 0; j < size; j++)
            w->plain[k][j] = plain[j];
        free(plain);
    }
    w->batch = (struct reference_batch){p->nshards, n, w->pixels, w->label};
}

static void wide_free(const struct pass *p, struct wide *w)
{
    for (int k = 0; k < p->m->flat.ntensors; k++)
        free(w->plain[k]);
    free(w->plain);
    free(w->pixels);
    free(w->label);
}

/* Along a random direction in tensor k. */
static void check_tensor(const struct pass *p, struct wide *w, int k, const char *what)
{
    const struct ddp_flat_tensor *t = &p->m->flat.tensor[k];
    const int64_t size = ddp_layout_plain_size(&t->param);
    float *grad = calloc((size_t)size, sizeof *grad);
    double *old = malloc((size_t)size * sizeof *old), want = 0, got = 0, norm = 0;
    const double h = 1e-5;
    memcpy(old, w->plain[k], (size_t)size * sizeof *old);
    for (int side = -1; side <= 1; side += 2) {
        for (int64_t j = 0; j < size; j++)
            w->plain[k][j] = old[j] + side * h * random_uniform((uint32_t)j, (uint32_t)(1000 + k));
        want += side * reference_loss(p->m, (const double *const *)w->plain, &w->batch) / (2 * h);
    }
    memcpy(w->plain[k], old, (size_t)size * sizeof *old);
    for (int s = 0; s < p->nshards; s++) {
        ddp_layout_unpack(&t->param, p->leaf[s] + t->offset, grad);
        for (int64_t j = 0; j < size; j++) {
            got += (double)grad[j] * random_uniform((uint32_t)j, (uint32_t)(1000 + k));
            norm += (double)grad[j] * grad[j];
        }
    }
    if (!(fabs(got - want) <= 1e-3 * (sqrt(norm) + 1))) {
        print_message("%s", what);
        fail_msg("%s: gradient %.9g, in double %.9g, norm %g", t->name, got, want, sqrt(norm));
    }
    free(grad);
    free(old);
}

static void check_graph(uint32_t seed)
{
    struct ddp_shape shape;
    char what[8192];
    const int *n = sizes[seed % 3];
    const char *layers = random_graph(seed, RANDOM_SMOOTH | RANDOM_SYNC, &shape);
    snprintf(what, sizeof what, "graph %u:\n%s\n", seed, layers);
    struct ddp_model *m = model_layers(layers, shape, 5, 0);
    struct pass *p = pass_create(m, 3, n);
    struct wide w;
    double got = 0;
    pass_run(p, ddp_model_needs_sync(m) ? 3 : 1, NULL);
    widen(p, n, &w);
    const double want = reference_loss(m, (const double *const *)w.plain, &w.batch);
    for (int s = 0; s < 3; s++)
        got += p->loss[s];
    if (!(fabs(got - want) <= 1e-4 * (1 + fabs(want)))) {
        print_message("%s", what);
        fail_msg("loss %.9g, in double %.9g", got, want);
    }
    for (int k = 0; k < m->flat.ntrained; k++)
        check_tensor(p, &w, k, what);
    wide_free(p, &w);
    pass_destroy(p);
    ddp_model_destroy(m);
    models_finish();
}

static void test_random_graphs_have_the_gradients_of_their_loss(void **state)
{
    (void)state;
    for (uint32_t seed = first_seed; seed < first_seed + graphs; seed++)
        check_graph(seed);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_graphs_have_the_gradients_of_their_loss),
    };
    if (argc == 3) {
        first_seed = (uint32_t)strtoul(argv[1], NULL, 10);
        graphs = (uint32_t)strtoul(argv[2], NULL, 10);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
