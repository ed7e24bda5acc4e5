/* Following two runs op by op, by planted records of what their ops computed. */
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/checkpoint.h"
#include "folder.h"
#include "probed.h"

static void put(const char *run, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s/probe", dir, run);
    assert_int_equal(ddp_dir_make(path, NULL), 0);
    snprintf(path, sizeof path, "%s/%s/probe/%s", dir, run, name);
    assert_int_equal(ddp_file_write(path, text, strlen(text), NULL), 0);
}

static int read_run(const char *run, struct ddp_probed *out, struct ddp_error *err)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, run);
    return ddp_probed_read(path, out, err);
}

#define HEAD "{\"format\":\"ddp-probe\",\"version\":1}\n"
#define H(c) #c #c #c #c #c #c #c #c #c #c #c #c #c #c #c #c
#define ROW(step, at, kind, name, of, first, hash)                                                           \
    "{\"step\":" #step ",\"at\":" #at ",\"kind\":\"" kind "\",\"name\":\"" name                              \
    "\",\"op\":\"x\",\"of\":\"" of "\",\"first\":" #first ",\"hash\":\"" hash "\"}\n"

/* ---- reading --------------------------------------------------------------------------------- */

static void test_files_of_ranks_are_put_together(void **s)
{
    (void)s;
    struct ddp_probed p;
    struct ddp_error err = {0};
    put("r", "rank-1.jsonl",
        HEAD ROW(1, 0, "sum", "w", "3 blocks", 1, H(b)) ROW(1, 2, "forward", "f", "2 shards", 1, H(e)));
    put("r", "rank-0.jsonl",
        HEAD ROW(1, 0, "sum", "w", "3 blocks", 0, H(a)) ROW(1, 0, "sum", "w", "3 blocks", 2, H(c))
            ROW(1, 2, "forward", "f", "2 shards", 0, H(d))
                ROW(2, 0, "sum", "w", "3 blocks", 0, H(a) H(b) H(c)));
    assert_int_equal(read_run("r", &p, &err), 0);
    assert_string_equal(p.fault, "");
    assert_int_equal(p.n, 3);
    assert_memory_equal(p.node[0].hash, H(a) H(b) H(c), 48);
    assert_memory_equal(p.node[1].hash, H(d) H(e), 32);
    assert_memory_equal(p.node[2].hash, H(a) H(b) H(c), 48);
    assert_int_equal(p.node[2].step, 2);
    ddp_probed_finish(&p);
}

static void test_what_is_damaged_is_passed_over(void **s)
{
    (void)s;
    static const struct {
        const char *text;
        int nodes;
        const char *fault;
    } cases[] = {
        {HEAD ROW(1, 0, "sum", "w", "1 blocks", 0, H(a)) "{\"step\":1,\"at\":1,\"ki", 1, "no record"},
        {HEAD ROW(1, 0, "sum", "w", "1 blocks", 0, "abc"), 0, "no record"},
        {HEAD ROW(1, 0, "sum", "w", "1 blocks", 1, H(a)), 0, "no record"},
        {HEAD ROW(1, 0, "sum", "w", "1 blocks", -1, H(a)), 0, "no record"},
        {HEAD ROW(1, 0, "sum", "w", "0 blocks", 0, H(a)), 0, "no record"},
        {HEAD ROW(1, 0, "sum", "w", "99999999999 blocks", 0, H(a)), 0, "no record"},
        {HEAD ROW(1, 0, "sum", "w", "one", 0, H(a)), 0, "no record"},
        {HEAD ROW(1, -3, "sum", "w", "1 blocks", 0, H(a)), 0, "no record"},
        {HEAD "[1]\n{\"step\":1,\"hash\":7}\n\n" ROW(1, 0, "sum", "w", "1 blocks", 0, H(a)), 1, "no record"},
        {"{\"format\":\"ddp-trail\",\"version\":1}\n", 0, "does not say that it is a ddp-probe"},
        {"", 0, "does not say"},
    };
    struct ddp_error err = {0};
    struct ddp_probed p;
    assert_int_equal(read_run("none", &p, &err), DDP_E_DATA);
    assert_non_null(strstr(err.text, "probe.from"));
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        put("r", "rank-0.jsonl", cases[i].text);
        const int status = read_run("r", &p, &err);
        if ((status == 0) != (cases[i].nodes > 0) || p.n != cases[i].nodes ||
            !strstr(p.fault, cases[i].fault))
            fail_msg("%s: status %d, %d nodes, '%s'", cases[i].text, status, p.n, p.fault);
        ddp_probed_finish(&p);
    }
}

/* ---- parting --------------------------------------------------------------------------------- */

static void test_the_first_node_that_differs(void **s)
{
    (void)s;
    static const char base[] = HEAD ROW(4, 0, "forward", "a", "2 shards", 0, H(1) H(2))
        ROW(4, 1, "forward", "b", "2 shards", 0, H(3) H(4))
            ROW(5, 0, "forward", "a", "2 shards", 0, H(5) H(6))
                ROW(5, 1, "forward", "b", "2 shards", 0, H(7) H(8));
    static const struct {
        const char *other;
        int64_t step;
        const char *name;
        int64_t part, differ, steps, equal;
        const char *only_a, *only_b;
    } cases[] = {
        {base, 0, NULL, -1, 0, 2, 4, NULL, NULL},
        {HEAD ROW(4, 0, "forward", "a", "2 shards", 0, H(1) H(2))
             ROW(4, 1, "forward", "b", "2 shards", 0, H(3) H(4))
                 ROW(5, 0, "forward", "a", "2 shards", 0, H(5) H(6))
                     ROW(5, 1, "forward", "b", "2 shards", 0, H(7) H(9)),
         5, "b", 1, 1, 2, 1, NULL, NULL},
        /* the earlier step counts, whatever the place */
        {HEAD ROW(4, 0, "forward", "a", "2 shards", 0, H(1) H(2))
             ROW(4, 1, "forward", "b", "2 shards", 0, H(0) H(0))
                 ROW(5, 0, "forward", "a", "2 shards", 0, H(0) H(6)),
         4, "b", 0, 2, 1, 1, NULL, NULL},
        /* other places, something between */
        {HEAD ROW(4, 3, "forward", "a", "2 shards", 0, H(1) H(2))
             ROW(4, 5, "forward", "x", "2 shards", 0, H(1) H(1))
                 ROW(4, 9, "forward", "b", "2 shards", 0, H(3) H(0)),
         4, "b", 1, 1, 1, 1, NULL, "x"},
        /* a shard that is missing, shards that are others */
        {HEAD ROW(5, 0, "forward", "a", "2 shards", 1, H(6)), 5, "a", 0, 1, 1, 0, NULL, NULL},
        {HEAD ROW(5, 0, "forward", "a", "1 shards", 0, H(5)), 5, "a", -1, 0, 1, 0, NULL, NULL},
        /* b alone: a is only in the first */
        {HEAD ROW(5, 1, "forward", "b", "2 shards", 0, H(0) H(8)), 5, "b", 0, 1, 1, 0, "a", NULL},
        /* nothing in common */
        {HEAD ROW(9, 1, "forward", "b", "2 shards", 0, H(0) H(8)), 0, NULL, -1, 0, 0, 0, NULL, NULL},
        {HEAD ROW(5, 1, "backward", "b", "2 shards", 0, H(0) H(8)), 0, NULL, -1, 0, 1, 0, NULL, NULL},
    };
    struct ddp_probed a, b;
    struct ddp_parting p;
    put("a", "rank-0.jsonl", base);
    assert_int_equal(read_run("a", &a, NULL), 0);
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        put("b", "rank-0.jsonl", cases[i].other);
        assert_int_equal(read_run("b", &b, NULL), 0);
        ddp_probed_part(&a, &b, &p);
        if (!p.a != !cases[i].name || p.steps != cases[i].steps || p.equal != cases[i].equal ||
            p.part != cases[i].part || p.differ != cases[i].differ || !p.only_a != !cases[i].only_a ||
            !p.only_b != !cases[i].only_b)
            fail_msg("case %zu: %s, part %lld, %lld differ, %lld steps, %lld equal", i, p.a ? p.a->name : "-",
                     (long long)p.part, (long long)p.differ, (long long)p.steps, (long long)p.equal);
        if (p.a) {
            assert_int_equal(p.a->step, cases[i].step);
            assert_string_equal(p.a->name, cases[i].name);
            assert_string_equal(p.b->name, cases[i].name);
        }
        if (p.only_a)
            assert_string_equal(p.only_a->name, cases[i].only_a);
        if (p.only_b)
            assert_string_equal(p.only_b->name, cases[i].only_b);
        ddp_probed_finish(&b);
    }
    ddp_probed_finish(&a);
}

/* ---- words and values ------------------------------------------------------------------------ */

static void test_words(void **s)
{
    (void)s;
    static const struct {
        const char *kind, *name, *words;
    } cases[] = {
        {"begin", "fc.weight", "fc.weight, before the step"},
        {"input", "samples", "which samples the batch consists of"},
        {"input", "other", "input of 'other'"},
        {"forward", "layer1.0.conv1", "forward of 'layer1.0.conv1' (op)"},
        {"backward", "layer1.0.conv1.weight",
         "gradient of layer1.0.conv1.weight in backward of 'layer1.0.conv1' (op)"},
        {"backward", "sum.input2", "gradient of input 2 in backward of 'sum' (op)"},
        {"backward", "fc.input", "gradient of input in backward of 'fc' (op)"},
        {"sum", "fc.bias", "reduction: the gradient of fc.bias summed over all shards"},
        {"scale", "lr", "the learning rate"},
        {"update", "fc.bias.momentum", "optimizer: fc.bias.momentum after the update"},
        {"later", "x", "later of 'x'"},
    };
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        char kind[16], name[64], op[] = "op";
        snprintf(kind, sizeof kind, "%s", cases[i].kind);
        snprintf(name, sizeof name, "%s", cases[i].name);
        const struct ddp_probed_node node = {.kind = kind, .name = name, .op = op};
        char *words = ddp_probed_words(&node);
        assert_string_equal(words, cases[i].words);
        free(words);
    }
}

static void put_values(const char *run, const char *name, const float *values)
{
    char path[256];
    const struct ddp_st_tensor t = {
        .name = name, .dtype = "F32", .ndim = 2, .dims = {2, 3}, .data = values, .bytes = 24};
    put(run, "rank-0.jsonl", HEAD);
    snprintf(path, sizeof path, "%s/%s/probe/step-00000007-rank-1.safetensors", dir, run);
    assert_int_equal(ddp_st_write(path, &t, 1, NULL, NULL), 0);
}

static void test_the_first_element_that_differs(void **s)
{
    (void)s;
    const float x[6] = {0, 1, 2, 3, 4, 5}, y[6] = {0, 1, 2, 3.5F, 4, 6};
    char a[128], b[128], kind[] = "forward", sum[] = "sum", name[] = "c", unit[] = "shards",
                         blocks[] = "blocks";
    struct ddp_element e;
    struct ddp_probed_node node = {.step = 7, .kind = kind, .name = name};
    strcpy(node.unit, unit);
    snprintf(a, sizeof a, "%s/a", dir);
    snprintf(b, sizeof b, "%s/b", dir);
    put_values("a", "forward/c/4", x);
    put_values("b", "forward/c/4", y);
    assert_true(ddp_probed_element(a, b, &node, 4, &e));
    assert_int_equal(e.ndim, 2);
    assert_int_equal(e.index[0], 1);
    assert_int_equal(e.index[1], 0);
    assert_int_equal(e.differ, 2);
    assert_int_equal(e.elements, 6);
    assert_string_equal(e.a_text, "0x1.8p+1");
    assert_string_equal(e.b_text, "0x1.cp+1");
    assert_false(ddp_probed_element(a, b, &node, 3, &e)); /* not kept */
    assert_int_equal(e.elements, 0);
    assert_false(ddp_probed_element(a, a, &node, 4, &e)); /* no difference */
    assert_int_equal(e.elements, 6);
    node.kind = sum;
    strcpy(node.unit, blocks);
    put_values("a", "sum/c", x);
    put_values("b", "sum/c", y);
    assert_true(ddp_probed_element(a, b, &node, 4, &e));
}

#define EACH(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_files_of_ranks_are_put_together), EACH(test_what_is_damaged_is_passed_over),
        EACH(test_the_first_node_that_differs),     EACH(test_words),
        EACH(test_the_first_element_that_differs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
