/* Why N ranks are not N times as fast: each cause, planted in the evidence, comes out first and nothing else
 * does; models against curves of which they are known; the CSV of a course session. */
#include "cmocka_all.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/scaling/models.h"
#include "bench/scaling/points.h"

/* A step of 20 ms of which nothing is lost. */
static struct bench_took quiet(void)
{
    struct bench_took t = {.ranks = 1, .steps = 50, .hosts = 1, .batch = 64};
    t.part[DDP_TIME_DATA] = 0.0002;
    t.part[DDP_TIME_FORWARD] = 0.006;
    t.part[DDP_TIME_BACKWARD] = 0.013;
    t.part[DDP_TIME_OPTIMIZER] = 0.0004;
    t.part[DDP_TIME_REDUCE] = 0.0001;
    t.part[DDP_TIME_REST] = 0.0003;
    memcpy(t.busiest, t.part, sizeof t.part);
    memcpy(t.least, t.part, sizeof t.part);
    return t;
}

struct scene {
    struct bench_took job, base, alone, together;
    struct bench_evidence e;
};

static void set_scene(struct scene *s, double share)
{
    s->base = s->job = s->alone = s->together = quiet();
    s->job.ranks = 2;
    for (int p = 0; p < DDP_TIME_COUNT; p++) {
        s->job.part[p] *= share;
        s->job.busiest[p] *= share;
        s->job.least[p] *= share;
        s->alone.part[p] *= share;
        s->together.part[p] *= share;
    }
    s->e = (struct bench_evidence){.job = &s->job,
                                   .base = &s->base,
                                   .alone = &s->alone,
                                   .together = &s->together,
                                   .share = share,
                                   .ghz_alone = 4,
                                   .ghz_all = 4};
}

/* On all ranks. */
static void add(struct bench_took *t, enum ddp_time part, double longer)
{
    t->part[part] += longer;
    t->busiest[part] += longer;
    t->least[part] += longer;
}

/* Of two ranks the second is `late` in a part; the first waits. */
static void delay_one(struct bench_took *t, enum ddp_time part, double late)
{
    t->busiest[part] += late;
    t->part[part] += late / 2;
    t->part[DDP_TIME_WAIT] += late / 2;
    t->imbalance += late / 2;
}

static void slow_loader(struct scene *s)
{
    delay_one(&s->job, DDP_TIME_DATA, 0.010);
}
static void slow_rank(struct scene *s)
{
    delay_one(&s->job, DDP_TIME_BACKWARD, 0.010);
}
static void uneven_steps(struct scene *s) /* now this, now that rank is late */
{
    add(&s->job, DDP_TIME_WAIT, 0.005);
    s->job.imbalance = 0.005;
}
static void shared_core(struct scene *s)
{
    delay_one(&s->job, DDP_TIME_BACKWARD, 0.010);
    s->job.busiest_delayed = 0.010;
    s->job.delayed = 0.005;
}
static void memory_hog(struct scene *s)
{
    add(&s->job, DDP_TIME_BACKWARD, 0.010);
    s->together.part[DDP_TIME_BACKWARD] += 0.010;
}
static void slow_clock(struct scene *s)
{
    const double longer = 1.25;
    for (int p = DDP_TIME_FORWARD; p <= DDP_TIME_BACKWARD; p++) {
        s->job.part[p] *= longer;
        s->job.busiest[p] *= longer;
        s->job.least[p] *= longer;
        s->together.part[p] *= longer;
    }
    s->e.ghz_all = 4 / longer;
}
static void narrow_link(struct scene *s)
{
    add(&s->job, DDP_TIME_WAIT, 0.010);
}
static void small_batches(struct scene *s)
{
    add(&s->job, DDP_TIME_FORWARD, 0.006);
    s->alone.part[DDP_TIME_FORWARD] += 0.006;
    s->together.part[DDP_TIME_FORWARD] += 0.006;
}
static void nobody_knows(struct scene *s)
{
    add(&s->job, DDP_TIME_FORWARD, 0.006);
}

static const struct {
    void (*plant)(struct scene *s);
    enum bench_cause first;
} planted[] = {
    {slow_loader, BENCH_CAUSE_DATA},          {slow_rank, BENCH_CAUSE_IMBALANCE},
    {uneven_steps, BENCH_CAUSE_IMBALANCE},    {shared_core, BENCH_CAUSE_SHARED_CORE},
    {memory_hog, BENCH_CAUSE_MEMORY},         {slow_clock, BENCH_CAUSE_FREQUENCY},
    {narrow_link, BENCH_CAUSE_COMMUNICATION}, {small_batches, BENCH_CAUSE_SERIAL},
    {nobody_knows, BENCH_CAUSE_REMAINDER},
};

static void test_what_is_planted_comes_out_first(void **state)
{
    (void)state;
    for (int strong = 0; strong < 2; strong++)
        for (size_t i = 0; i < DDP_COUNT(planted); i++) {
            struct scene s;
            struct bench_loss l;
            set_scene(&s, strong ? 0.5 : 1);
            planted[i].plant(&s);
            bench_loss_explain(&s.e, &l);
            double sum = 0;
            for (int c = 0; c < BENCH_CAUSE_COUNT; c++)
                sum += l.part[c];
            assert_float_equal(sum, l.loss, 1e-12);
            assert_float_equal(l.ideal, (strong ? 0.5 : 1) * 0.020, 1e-12);
            if (l.first != planted[i].first)
                fail_msg("plant %zu, strong %d: %s came first", i, strong, bench_cause_words(l.first));
            for (int c = 0; c < BENCH_CAUSE_COUNT; c++) /* and alone */
                if (c != (int)l.first)
                    assert_true(fabs(l.part[c]) < 0.1 * l.part[l.first]);
        }
}

static void test_nothing_lost(void **state)
{
    (void)state;
    struct scene s;
    struct bench_loss l;
    set_scene(&s, 1);
    s.job.delayed = s.job.busiest_delayed = NAN; /* the system does not tell */
    s.e.together = NULL;
    bench_loss_explain(&s.e, &l);
    assert_float_equal(l.loss, 0, 1e-12);
    for (int c = 0; c < BENCH_CAUSE_COUNT; c++)
        assert_float_equal(l.part[c], 0, 1e-12);
}

static void test_medians_of_whole_measurements(void **state)
{
    (void)state;
    struct bench_took v[3] = {quiet(), quiet(), quiet()}, out;
    v[1].part[DDP_TIME_WAIT] = 5;
    v[2].part[DDP_TIME_WAIT] = 0.001;
    v[0].busiest_delayed = 3;
    bench_took_median(v, 3, &out);
    assert_float_equal(out.part[DDP_TIME_WAIT], 0.001, 0);
    assert_float_equal(out.busiest_delayed, 0, 0);
    assert_float_equal(out.busiest[DDP_TIME_FORWARD], 0.006, 0);
    assert_int_equal(out.ranks, 1);
    bench_took_join(v, 3, &out);
    assert_float_equal(out.busiest_delayed, 1, 1e-12);
}

/* ---- models ---- */

static const struct bench_model *named(const struct bench_model *m, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (strcmp(m[i].name, name) == 0)
            return &m[i];
    return NULL;
}

static void test_amdahl_is_found_again(void **state)
{
    (void)state;
    const double ranks[] = {1, 2, 4, 8};
    double t[4];
    struct bench_model m[BENCH_MODELS];
    for (int i = 0; i < 4; i++)
        t[i] = 0.005 + 0.095 / ranks[i];
    const int n = bench_models_fit(true, ranks, t, 4, m);
    assert_int_equal(n, 2);
    const struct bench_model *amdahl = named(m, n, "Amdahl");
    assert_float_equal(amdahl->coefficient[0], 0.005, 1e-9);
    assert_float_equal(amdahl->coefficient[1], 0.095, 1e-9);
    assert_float_equal(bench_model_time(amdahl, 64), 0.005 + 0.095 / 64, 1e-9);
    assert_true(amdahl->inside < 1e-6 && amdahl->outside < 1e-6);
}

/* With a tree of messages Amdahl's law is wrong beyond what it has seen, and says so. */
static void test_the_better_model_comes_first(void **state)
{
    (void)state;
    const double ranks[] = {1, 2, 4, 8, 16};
    double t[5], weak[5];
    struct bench_model m[BENCH_MODELS];
    for (int i = 0; i < 5; i++) {
        t[i] = 0.002 + 0.1 / ranks[i] + 0.003 * log2(ranks[i]);
        weak[i] = 0.05 + 0.002 * (ranks[i] - 1);
    }
    int n = bench_models_fit(true, ranks, t, 5, m);
    assert_string_equal(m[0].name, "communication");
    assert_float_equal(m[0].coefficient[2], 0.003, 1e-9);
    assert_true(named(m, n, "Amdahl")->outside > 0.1);
    n = bench_models_fit(false, ranks, weak, 5, m);
    assert_int_equal(n, 3);
    assert_string_equal(m[0].name, "shared");
    assert_float_equal(bench_model_time(&m[0], 32), 0.05 + 0.062, 1e-9);
}

static void test_few_points_have_no_error(void **state)
{
    (void)state;
    const double ranks[] = {1, 2}, t[] = {0.1, 0.06};
    struct bench_model m[BENCH_MODELS];
    assert_int_equal(bench_models_fit(true, ranks, t, 2, m), 1); /* not enough for three terms */
    assert_true(isnan(m[0].inside) && isnan(m[0].outside));
    assert_float_equal(bench_model_time(named(m, 1, "Amdahl"), 2), 0.06, 1e-9);
}

/* ---- the curve and its CSV ---- */

static char path[] = "/tmp/ddp-test-scaling-XXXXXX";

static int read_text(const char *text, struct bench_point *p, struct ddp_error *err)
{
    assert_int_equal(ddp_file_write(path, text, strlen(text), NULL), 0);
    return bench_points_read(path, p, err);
}

static void test_csv_of_a_course(void **state)
{
    (void)state;
    struct bench_point p[BENCH_POINTS];
    struct ddp_error err = {0};
    assert_int_equal(
        read_text("Nodes, GPUs per node,batch_size,images_per_sec\r\n1,1,64,1000\r\n1,2,64,1900\r\n"
                  "2,2,64,3500\n1,2,64,1700\n1,2,64,1800\n\n",
                  p, &err),
        3);
    bench_points_compare(p, 3);
    assert_false(p[0].strong);
    assert_float_equal(p[1].rate, 1800, 0); /* the median of three rows */
    assert_float_equal(p[1].low, 1700, 0);
    assert_int_equal(p[1].rounds, 3);
    assert_float_equal(p[2].ranks, 4, 0);
    assert_float_equal(p[2].speedup, 3.5, 1e-12);
    assert_float_equal(p[1].efficiency, 0.9, 1e-12);
    assert_float_equal(p[2].step, 256.0 / 3500, 1e-12);
    assert_int_equal(
        read_text("nodes,ranks_per_node,local_batch,samples_per_s\n1,1,64,10\n1,2,32,19\n", p, &err), 2);
    assert_true(p[0].strong && p[1].strong);
    assert_int_equal(
        read_text(
            "nodes,ranks_per_node,local_batch,samples_per_s,scaling\n1,1,64,10,weak\n1,1,64,10,strong\n", p,
            &err),
        2);
    assert_true(!p[0].strong && p[1].strong);
}

#define HEAD "nodes,ranks_per_node,local_batch,samples_per_s"

/* As spreadsheets write it; a strong batch that is not divisible; rows of one size tell no model. */
static void test_csv_of_a_spreadsheet(void **state)
{
    (void)state;
    struct bench_point p[BENCH_POINTS];
    struct ddp_error err = {0};
    assert_int_equal(
        read_text(
            "\xef\xbb\xbf\"nodes\",\"ranks_per_node\",\"local_batch\",\"samples_per_s\",\"by, whom\"\r\n"
            "\"1\",\"1\",\"64\",\"100\",\"me, you\"\r\n\r\n1,2,64,190,\r\n",
            p, &err),
        2);
    assert_float_equal(p[1].rate, 190, 0);
    assert_int_equal(p[1].line, 4);
    assert_int_equal(read_text(HEAD "\n1,1,64,10\n1,3,21,19\n1,7,9,30\n", p, &err), 3);
    assert_true(p[0].strong && p[2].strong);
    const double ranks[] = {2, 2, 4, 2}, seconds[] = {1, 1.1, 1.2, 0.9};
    struct bench_model m[BENCH_MODELS];
    assert_int_equal(bench_models_sizes(ranks, 4), 2);
    assert_true(bench_models_fit(false, ranks, seconds, 4, m) > 0);
    assert_true(isnan(m[0].inside) && isnan(m[0].outside));
}

static void test_csv_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } table[] = {
        {"nodes,ranks_per_node,local_batch\n1,1,64\n", ":1: has no column samples_per_s"},
        {"nodes,ranks_per_node,local_batch,samples_per_s\n1,x,64,3\n",
         ":2: column ranks_per_node holds \"x\""},
        {"nodes,ranks_per_node,local_batch,samples_per_s\n1,1,64\n",
         ":2: 3 fields, but the first line has 4 names"},
        {"nodes,ranks_per_node,local_batch,samples_per_s\n1,1,64,-4\n", "no number above 0"},
        {"nodes,ranks_per_node,local_batch,samples_per_s\n", "has no rows"},
        {"", "has no rows"},
        {HEAD "\n1,4,64,1,234.5\n", ":2: 5 fields, but the first line has 4 names (decimals"},
        {HEAD "\n\n1,1,64,1\n1.5,1,64,2\n", ":4: column nodes holds \"1.5\"; wanted is a whole number up to"},
        {HEAD "\n99999999999,1,64,2\n", ":2: column nodes holds \"99999999999\"; wanted"},
        {HEAD "\n1,1,64,1e308\n", ":2: column samples_per_s holds \"1e308\"; wanted is a number up to"},
        {HEAD ",hosts\n1,1,64,2,2\n", ":1: columns 1 and 5, \"nodes\" and \"hosts\", are both nodes"},
        {HEAD ",low\n1,1,64,2,x\n", ":2: column low holds \"x\""},
        {HEAD ",scaling\n1,1,64,2,both\n", ":2: column scaling holds \"both\"; wanted is weak or strong"},
        {HEAD ",scaling\n1,1,64,2,weak\n1,2,32,2,strong\n1,2,32,2,weak\n",
         ":4: this row is one of weak scaling, "
         "and its local batch is 32; in line 2 it"},
        {HEAD "\n1,1,64,100\n1,2,48,190\n1,4,16,300\n",
         ":3: a local batch of 48 on 2 ranks, and 64 on 1 in line 2,"},
        {HEAD "\n1,2,64,100\n1,2,48,190\n", "neither weak scaling (one local batch) nor strong"},
    };
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct bench_point p[BENCH_POINTS];
        struct ddp_error err = {0};
        assert_int_equal(read_text(table[i].text, p, &err), DDP_E_DATA);
        if (!strstr(err.text, table[i].says))
            fail_msg("%s, not %s", err.text, table[i].says);
    }
}

static void test_base_is_the_fewest_ranks(void **state)
{
    (void)state;
    struct bench_point p[2] = {{.ranks = 8, .rate = 760, .low = 700, .high = 800}, {.ranks = 4, .rate = 400}};
    bench_points_compare(p, 2);
    assert_float_equal(p[1].speedup, 4, 1e-12); /* a rank of the base is 1 */
    assert_float_equal(p[0].speedup, 7.6, 1e-12);
    assert_float_equal(p[0].efficiency, 0.95, 1e-12);
}

static void test_steps_needed(void **state)
{
    (void)state;
    assert_float_equal(bench_steps_needed(0.01, 0.01, 0.01, 0.02), 1, 0);
    /* sigma 10 % of the median: (1.96 * 1.253 * 0.1 / 0.02)^2 = 150.8 */
    assert_float_equal(bench_steps_needed(1 - 0.06745, 1, 1 + 0.06745, 0.02), 151, 0);
    assert_true(isnan(bench_steps_needed(0, 0, 0, 0.02)));
}

static int begin(void **state)
{
    (void)state;
    const int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int end(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_planted_comes_out_first),
        cmocka_unit_test(test_nothing_lost),
        cmocka_unit_test(test_medians_of_whole_measurements),
        cmocka_unit_test(test_amdahl_is_found_again),
        cmocka_unit_test(test_the_better_model_comes_first),
        cmocka_unit_test(test_few_points_have_no_error),
        cmocka_unit_test(test_csv_of_a_course),
        cmocka_unit_test(test_csv_of_a_spreadsheet),
        cmocka_unit_test(test_csv_refused),
        cmocka_unit_test(test_base_is_the_fewest_ranks),
        cmocka_unit_test(test_steps_needed),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
