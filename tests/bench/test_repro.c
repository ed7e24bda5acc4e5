/* The matrix of ddp-bench repro as far as it is pure: ids, cells, their commands, drawn models. */
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/repro/cover.h"
#include "bench/repro/legs.h"
#include "folder.h"
#include "train/check.h"

static void cover_all(int quick, struct repro_cells *out)
{
    *out = (struct repro_cells){0};
    for (int i = 0; i < repro_nmodels; i++)
        repro_cover(&repro_models[i], quick ? repro_models[i].quick : repro_models[i].strength, out);
}

static bool same_cell(const struct repro_cell *a, const struct repro_cell *b)
{
    return strcmp(a->model.name, b->model.name) == 0 && memcmp(a->at, b->at, sizeof a->at) == 0;
}

static void test_cell_ids_lead_back_to_the_cell(void **s)
{
    (void)s;
    struct repro_cells cells;
    char id[REPRO_ID_SIZE];
    cover_all(false, &cells);
    for (int i = 0; i < cells.n; i++) {
        struct repro_cell c;
        struct ddp_error err = {0};
        if (repro_cell_parse(repro_cell_id(&cells.cell[i], id), &c, &err) != 0)
            fail_msg("%s", err.text);
        assert_true(same_cell(&c, &cells.cell[i]));
    }
    repro_cells_finish(&cells);
}

static void test_cell_refuses_ids_that_name_none(void **s)
{
    (void)s;
    static const char *const rows[][2] = {
        {"", "empty"},
        {"mlp", "a model and 6 values"},
        {"mlp.n1.t1.tiny.self.whole", "a model and 6 values"},
        {"mlp.n1.t1.tiny.self.whole.avx2.more", "a model and 6 values"},
        {"mlq.n1.t1.tiny.self.whole.avx2", "there are mlp, mnist_cnn"},
        {"mlp.n9.t1.tiny.node.whole.avx2", "'n9' is no value of the axis ranks; there are n1, n2"},
        {"mlp.n1.t1.tiny.self.whole.sse", "there are avx512, avx2, scalar, neon"},
        {"mlp.n2.t1.tiny.self.whole.avx2", "self is one rank"},
        {"mlp.n1.t1.tiny.mpi.whole.avx2", "needs no MPI"},
        {"resnet18.n1.t1.tiny.self.whole.scalar", "small models"},
        {"mlp.n2.t1.tiny.node.whole.neon", "one process"},
        {"r1-.n2.t1.tiny.node.whole.avx2", "rSEED-INDEX"},
        {"r1-99999999999999999999999.n1.t1.tiny.self.whole.avx2", "rSEED-INDEX"},
    };
    for (size_t i = 0; i < DDP_COUNT(rows); i++) {
        struct repro_cell c;
        struct ddp_error err = {0};
        assert_int_equal(repro_cell_parse(rows[i][0], &c, &err), DDP_E_USAGE);
        if (!strstr(err.text, rows[i][1]))
            fail_msg("%s: '%s' lacks '%s'", rows[i][0], err.text, rows[i][1]);
    }
}

/* The next of all that can be; false: that was the last. */
static bool next_cell(struct repro_cell *c)
{
    do {
        int a = REPRO_AXES - 1;
        for (; a >= 0 && ++c->at[a] == repro_axis_values(a); a--)
            c->at[a] = 0;
        if (a < 0)
            return false;
    } while (repro_cell_impossible(c));
    return true;
}

static bool agree(const struct repro_cell *a, const struct repro_cell *b, const int *axis, int n)
{
    for (int i = 0; i < n; i++)
        if (a->at[axis[i]] != b->at[axis[i]])
            return false;
    return true;
}

static bool is_covered(const struct repro_cells *cells, const struct repro_cell *c, const int *axis, int n)
{
    for (int i = 0; i < cells->n; i++)
        if (agree(&cells->cell[i], c, axis, n))
            return true;
    return false;
}

static void test_cover_has_every_pair_and_triple_that_can_be(void **s)
{
    (void)s;
    for (int i = 0; i < repro_nmodels; i++) {
        const struct repro_model *m = &repro_models[i];
        struct repro_cells cells = {0};
        struct repro_cell c = {.model = *m};
        repro_cover(m, m->strength, &cells);
        while (next_cell(&c))
            for (int x = 0; x < REPRO_AXES; x++)
                for (int y = x + 1; y < REPRO_AXES; y++)
                    for (int z = y + 1; z < REPRO_AXES; z++) {
                        const int three[3] = {x, y, z};
                        if (m->strength == 3)
                            assert_true(is_covered(&cells, &c, three, 3));
                        else
                            assert_true(is_covered(&cells, &c, three, 2) &&
                                        is_covered(&cells, &c, three + 1, 2));
                    }
        repro_cells_finish(&cells);
    }
}

static void test_cover_is_five_hundred_cells_without_an_emulator(void **s)
{
    (void)s;
    struct repro_cells cells;
    int here = 0;
    cover_all(false, &cells);
    for (int i = 0; i < cells.n; i++) {
        here += cells.cell[i].at[REPRO_KERNELS] != REPRO_NEON;
        assert_null(repro_cell_impossible(&cells.cell[i]));
        for (int k = 0; k < i; k++)
            assert_false(same_cell(&cells.cell[i], &cells.cell[k]));
    }
    assert_true(here >= 500);
    repro_cells_finish(&cells);
}

static void test_cover_is_part_of_the_axes_in_the_reduced_matrix_too(void **s)
{
    (void)s;
    struct repro_cells cells;
    cover_all(true, &cells);
    for (int i = 0; i < repro_nmodels; i++)
        for (int a = 0; a < REPRO_AXES; a++)
            for (int v = 0; v < repro_axis_values(a); v++) {
                struct repro_cell c = {.model = repro_models[i]};
                bool can = false, is = false;
                while (next_cell(&c))
                    can = can || c.at[a] == v;
                for (int k = 0; k < cells.n; k++)
                    is = is || (strcmp(cells.cell[k].model.name, repro_models[i].name) == 0 &&
                                cells.cell[k].at[a] == v);
                assert_int_equal(can, is);
            }
    assert_true(cells.n < 150);
    repro_cells_finish(&cells);
}

static void test_cell_goes_on_with_another_number_of_ranks(void **s)
{
    (void)s;
    for (int shards = 1; shards <= 11; shards++)
        for (int n = 1; n <= 8 && n <= shards; n++) {
            struct repro_cell c = {.model = {.shards = shards}};
            c.at[REPRO_RANKS] = n - 1;
            c.at[REPRO_BREAK] = REPRO_RESUME;
            const int after = repro_ranks_after(&c);
            assert_true(after >= 1 && after <= 8 && after <= shards);
            assert_true(after != n || shards == 1);
            c.at[REPRO_BREAK] = REPRO_KILL;
            assert_int_equal(repro_ranks_after(&c), n);
        }
}

static void test_reference_is_one_rank_with_one_thread(void **s)
{
    (void)s;
    for (int i = 0; i < repro_nmodels; i++) {
        const struct repro_cell c = repro_reference(&repro_models[i]);
        assert_null(repro_cell_impossible(&c));
        assert_int_equal(repro_ranks(&c), 1);
        assert_int_equal(repro_threads(&c), 1);
        assert_int_equal(repro_legs(&c), 1);
    }
}

static void check_leg(const char *id, int leg, const char *wanted)
{
    const struct repro_site site = {.programs = "/bin", .neon = "/arm", .emulator = "qemu", .cores = "/tmp"};
    struct repro_cell c;
    struct repro_leg l;
    struct ddp_text t;
    assert_int_equal(repro_cell_parse(id, &c, NULL), 0);
    repro_leg_make(&site, &c, leg, "m.cfg", "runs", leg ? "runs/r" : NULL, &l);
    ddp_text_init(&t);
    repro_leg_text(&l, &t);
    if (!strstr(t.s, wanted))
        fail_msg("%s: '%s' lacks '%s'", id, t.s, wanted);
    ddp_text_finish(&t);
    repro_leg_finish(&l);
}

static void test_legs_are_what_a_user_would_type(void **s)
{
    (void)s;
    static const struct {
        const char *id;
        int leg;
        const char *wanted;
    } rows[] = {
        {"mlp.n1.t3.one.self.whole.scalar", 0,
         "DDP_ISA=scalar /bin/ddp-train --quiet m.cfg run.dir=runs train.threads=3 reduce.bucket_mb=4096"},
        {"mlp.n3.t1.tiny.node.resume.avx2", 0,
         "/bin/ddp-launch --quiet -n 3 m.cfg run.dir=runs train.threads=1 "
         "reduce.bucket_mb=0.016384 train.max_steps=5"},
        {"mlp.n3.t1.tiny.node.resume.avx2", 1,
         "/bin/ddp-launch --quiet -n 6 --resume runs/r m.cfg run.dir=runs"},
        {"mlp.n8.t1.tiny.mpi.resume.avx2", 0, "/bin/ddp-launch --quiet -n 8 --starter mpirun m.cfg"},
        {"mlp.n8.t1.tiny.mpi.resume.avx2", 1, "DDP_ISA=avx2 /bin/ddp-train --quiet --resume runs/r m.cfg"},
        {"mlp.n1.t1.tiny.self.resume.avx2", 1, "/bin/ddp-launch --quiet -n 8 --resume runs/r m.cfg"},
        {"mlp.n2.t1.tiny.node.kill.avx2", 0, "DDP_TEST_DELAY=0:forward:5-5:600"},
        {"mlp.n2.t1.tiny.threads.kill.avx2", 0, "/bin/ddp-bench repro --as-threads 2 --pause-after=4 m.cfg"},
        {"mlp.n2.t1.tiny.threads.kill.avx2", 1, "/bin/ddp-bench repro --as-threads 2 --resume runs/r m.cfg"},
        {"mlp.n3.t1.tiny.nodes.whole.avx2", 0,
         "-n 3 sh -c 'export DDP_COMM_NODE=node$((OMPI_COMM_WORLD_RANK * 2 / 3)); exec \"$@\"' sh "
         "/bin/ddp-train"},
        {"mlp.n4.t1.tiny.dealt.whole.avx2", 0,
         "-n 4 sh -c 'export DDP_COMM_NODE=node$((OMPI_COMM_WORLD_RANK % 3)); exec \"$@\"' sh "
         "/bin/ddp-train"},
        {"mlp.n1.t1.tiny.self.resume.neon", 0, "qemu /arm/ddp-train --quiet m.cfg"},
        {"mlp.n1.t1.tiny.self.resume.neon", 1,
         "qemu /arm/ddp-bench repro --as-threads 8 --resume runs/r m.cfg"},
    };
    for (size_t i = 0; i < DDP_COUNT(rows); i++)
        check_leg(rows[i].id, rows[i].leg, rows[i].wanted);
}

/* ---- drawn models ---------------------------------------------------------------------------------- */

static void check_draw(const struct repro_model *m)
{
    char path[160];
    char *text = repro_model_config(m);
    struct ddp_train_check check = {0};
    struct ddp_config *cfg = NULL;
    struct ddp_error err = {0};
    struct ddp_text notes;
    snprintf(path, sizeof path, "%s/%s.cfg", dir, m->name);
    assert_int_equal(ddp_file_write(path, text, strlen(text), NULL), 0);
    const struct ddp_config_options opt = {
        .path = path, .configs_dir = DDP_TEST_CONFIGS, .check = ddp_train_check_keys, .user = &check};
    ddp_text_init(&notes);
    if (ddp_config_load(&opt, &cfg, &err) != 0 || ddp_train_check(cfg, false, &notes, &err) != 0)
        fail_msg("%s\n%s", err.text, text);
    assert_int_equal(cfg->train.shards, m->shards);
    assert_true(cfg->train.batch >= m->shards);
    ddp_text_finish(&notes);
    ddp_config_destroy(cfg);
    free(text);
}

static void test_draw_makes_models_that_can_be_trained(void **s)
{
    (void)s;
    for (int64_t i = 0; i < 300; i++) {
        const struct repro_model m = repro_draw(7, i);
        check_draw(&m);
    }
    for (int i = 0; i < repro_nmodels; i++)
        check_draw(&repro_models[i]);
}

static void test_draw_is_a_function_of_seed_and_index(void **s)
{
    (void)s;
    struct repro_model m, again;
    m = repro_draw(12, 34);
    assert_string_equal(m.name, "r12-34");
    assert_int_equal(repro_model_find("r12-34", &again, NULL), 0);
    char *a = repro_model_config(&m), *b = repro_model_config(&again);
    assert_string_equal(a, b);
    free(b);
    m = repro_draw(12, 35);
    b = repro_model_config(&m);
    assert_string_not_equal(a, b);
    free(a);
    free(b);
    for (int64_t i = 0; i < 300; i++) {
        m = repro_draw(12, i);
        const struct repro_cell c = repro_cell_draw(&m), d = repro_cell_draw(&m);
        assert_null(repro_cell_impossible(&c));
        assert_true(same_cell(&c, &d));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cell_ids_lead_back_to_the_cell),
        cmocka_unit_test(test_cell_refuses_ids_that_name_none),
        cmocka_unit_test(test_cover_has_every_pair_and_triple_that_can_be),
        cmocka_unit_test(test_cover_is_five_hundred_cells_without_an_emulator),
        cmocka_unit_test(test_cover_is_part_of_the_axes_in_the_reduced_matrix_too),
        cmocka_unit_test(test_cell_goes_on_with_another_number_of_ranks),
        cmocka_unit_test(test_reference_is_one_rank_with_one_thread),
        cmocka_unit_test(test_legs_are_what_a_user_would_type),
        cmocka_unit_test(test_draw_makes_models_that_can_be_trained),
        cmocka_unit_test(test_draw_is_a_function_of_seed_and_index),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
