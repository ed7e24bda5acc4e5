/* Where two runs part, by planted records: what is the first step, which tensors, which cause. */
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "folder.h"
#include "lines.h"
#include "verdict.h"

static void put(const char *run, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, run);
    assert_int_equal(ddp_dir_make(path, NULL), 0);
    snprintf(path, sizeof path, "%s/%s/%s", dir, run, name);
    assert_int_equal(ddp_file_write(path, text, strlen(text), NULL), 0);
}

#define HEAD "{\"format\":\"ddp-trail\",\"version\":2}\n"

/* ---- lines ----------------------------------------------------------------------------------- */

static void test_lines_pass_over_what_is_damaged(void **s)
{
    (void)s;
    static const struct {
        const char *text;
        int records, bad;
        const char *fault;
    } cases[] = {
        {HEAD "{\"step\":1}\n{\"step\":2}\n", 2, 0, ""},
        {HEAD "{\"step\":1}\n{\"step\":2", 1, 1, ""}, /* on its way, or torn */
        {HEAD "{\"step\":2}\n{\"step\":1}\n{\"step\":3}\n", 2, 1, ""},
        {HEAD "[1]\n{\"step\":\"x\"}\n{\"step\":-4}\n\n", 0, 4, ""},
        {HEAD, 0, 0, ""},
        {"", 0, 0, "does not say"},
        {"{\"step\":1}\n", 0, 0, "does not say"},
        {"{\"format\":\"ddp-trail\",\"version\":3}\n{\"step\":1}\n", 0, 0, "version 3"},
        {"{\"format\":\"other\",\"version\":2}\n{\"step\":1}\n", 0, 0, "does not say"},
    };
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_lines l;
        int records = 0;
        put("r", "weights.trail", cases[i].text);
        char run[128];
        snprintf(run, sizeof run, "%s/r", dir);
        for (ddp_lines_open(&l, run, "weights.trail", "ddp-trail"); l.now; ddp_lines_next(&l))
            records++;
        if (records != cases[i].records || l.bad != cases[i].bad || !strstr(l.fault, cases[i].fault) ||
            !*cases[i].fault != !*l.fault)
            fail_msg("%s: %d records, %lld bad, '%s'", cases[i].text, records, (long long)l.bad, l.fault);
        ddp_lines_close(&l);
    }
    struct ddp_lines none;
    ddp_lines_open(&none, dir, "weights.trail", "ddp-trail");
    assert_null(none.now);
    assert_string_equal(none.fault, "");
    ddp_lines_close(&none);
}

/* ---- verdicts -------------------------------------------------------------------------------- */

#define DONE(steps, hash)                                                                                    \
    "{\"status\":\"done\",\"weights_hash\":\"" hash "\",\"train\":{\"steps\":" #steps "}}"
#define STEP(n, g, p)                                                                                        \
    "{\"step\":" #n ",\"samples\":\"s\",\"gradient\":{\"tensors\":{\"w\":\"" g                               \
    "\",\"b\":\"0\"}},\"parameters\":{\"tensors\":{\"w\":\"" p "\",\"b\":\"0\"}}}\n"
#define LOSS(n, loss) "{\"type\":\"step\",\"step\":" #n ",\"loss\":" #loss ",\"step_s\":0." #n "}\n"
#define EVAL(n, loss) "{\"type\":\"eval\",\"step\":" #n ",\"loss\":" #loss "}\n"

static struct ddp_verdict reach(const char *const a[3], const char *const b[3])
{
    static const char *const names[3] = {"run.json", "weights.trail", "metrics.jsonl"};
    struct ddp_past run[2];
    struct ddp_verdict v;
    for (int k = 0; k < 2; k++) {
        char path[128];
        for (int i = 0; i < 3; i++)
            put(k ? "b" : "a", names[i], (k ? b : a)[i]);
        snprintf(path, sizeof path, "%s/%s", dir, k ? "b" : "a");
        assert_int_equal(ddp_past_read_whole(path, &run[k], NULL), 0);
    }
    ddp_verdict_reach(&run[0], &run[1], &v);
    ddp_past_finish(&run[0]);
    ddp_past_finish(&run[1]);
    return v;
}

static void test_verdict_of_planted_records(void **s)
{
    (void)s;
    static const struct {
        const char *a[3], *b[3]; /* record, trail, metrics */
        int kind, first, equal;
        const char *part, *tensors;
    } cases[] = {
        {{DONE(2, "h"), HEAD STEP(1, "1", "1") STEP(2, "2", "2"), LOSS(1, 3)},
         {DONE(2, "h"), HEAD STEP(1, "1", "1") STEP(2, "2", "2"), LOSS(1, 3)},
         DDP_VERDICT_EQUAL,
         -1,
         2,
         "",
         ""},
        /* the gradient comes before what follows from it */
        {{DONE(2, "h"), HEAD STEP(1, "1", "1") STEP(2, "2", "2"), ""},
         {DONE(2, "i"), HEAD STEP(1, "1", "1") STEP(2, "x", "x"), ""},
         DDP_VERDICT_DIFFERENT,
         2,
         1,
         "gradient",
         "w"},
        {{DONE(2, "h"), HEAD STEP(1, "1", "1") STEP(2, "2", "2"), ""},
         {DONE(2, "i"), HEAD STEP(1, "1", "1") STEP(2, "2", "x"), ""},
         DDP_VERDICT_DIFFERENT,
         2,
         1,
         "parameters",
         "w"},
        /* only the hash of the end differs */
        {{DONE(2, "h"), HEAD STEP(1, "1", "1"), ""},
         {DONE(2, "i"), HEAD STEP(1, "1", "1"), ""},
         DDP_VERDICT_DIFFERENT,
         2,
         1,
         "weights",
         ""},
        /* a loss that differs before the trail does */
        {{DONE(9, "h"), HEAD STEP(1, "1", "1") STEP(9, "2", "2"), LOSS(3, 3) LOSS(5, 4)},
         {DONE(9, "i"), HEAD STEP(1, "1", "1") STEP(9, "x", "x"), LOSS(3, 3) LOSS(5, 5)},
         DDP_VERDICT_DIFFERENT,
         5,
         3,
         "loss",
         "w"},
        /* an evaluation that differs, and one that only one of them made */
        {{DONE(2, "h"), HEAD STEP(2, "2", "2"), EVAL(1, 3) EVAL(2, 4)},
         {DONE(2, "h"), HEAD STEP(2, "2", "2"), EVAL(2, 5)},
         DDP_VERDICT_DIFFERENT,
         2,
         2,
         "evaluation",
         ""},
        {{DONE(2, "h"), HEAD STEP(2, "2", "2"), EVAL(1, 3) LOSS(2, 1)},
         {DONE(2, "h"), HEAD STEP(2, "2", "2"), LOSS(2, 1)},
         DDP_VERDICT_EQUAL,
         -1,
         2,
         "",
         ""},
        /* no step of both; one that ends early */
        {{DONE(2, "h"), HEAD STEP(2, "2", "2"), ""},
         {DONE(3, "h"), HEAD STEP(3, "2", "2"), ""},
         DDP_VERDICT_UNKNOWN,
         -1,
         -1,
         "",
         ""},
        {{DONE(2, "h"), HEAD STEP(2, "2", "2"), ""},
         {DONE(3, "h"), HEAD STEP(2, "2", "2") STEP(3, "2", "2"), ""},
         DDP_VERDICT_SO_FAR,
         -1,
         2,
         "",
         ""},
        /* a trail of the version before is not compared with one of this; parts that one lacks say nothing */
        {{DONE(2, "h"), "{\"format\":\"ddp-trail\",\"version\":1}\n" STEP(1, "1", "1"), ""},
         {DONE(2, "h"), HEAD STEP(1, "x", "x"), ""},
         DDP_VERDICT_EQUAL,
         -1,
         2,
         "",
         ""},
        {{DONE(2, "h"), HEAD "{\"step\":1,\"parameters\":{\"tensors\":{\"w\":\"1\"}}}\n", ""},
         {DONE(2, "h"),
          HEAD "{\"step\":1,\"gradient\":{\"tensors\":{}},\"parameters\":{\"tensors\":{\"w\":\"1\"}}}\n", ""},
         DDP_VERDICT_EQUAL,
         -1,
         2,
         "",
         ""},
    };
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        for (int swap = 0; swap < 2; swap++) {
            struct ddp_verdict v = reach(swap ? cases[i].b : cases[i].a, swap ? cases[i].a : cases[i].b);
            char tensors[64] = "";
            for (int k = 0; k < v.ntensors; k++)
                strcat(tensors, v.tensor[k]);
            if ((int)v.kind != cases[i].kind || v.first_step != cases[i].first ||
                v.equal_step != cases[i].equal || strcmp(v.part, cases[i].part) != 0 ||
                strcmp(tensors, cases[i].tensors) != 0)
                fail_msg("case %zu: kind %d, first %lld, equal %lld, '%s', '%s'", i, (int)v.kind,
                         (long long)v.first_step, (long long)v.equal_step, v.part, tensors);
            assert_int_equal(v.ncauses > 0, v.kind == DDP_VERDICT_DIFFERENT);
            ddp_verdict_finish(&v);
        }
    }
}

/* ---- causes ---------------------------------------------------------------------------------- */

static struct ddp_difference diff(const char *key, enum ddp_weight weight, const char *a, const char *b)
{
    return (struct ddp_difference){DDP_SECTION_CONFIG, weight, (char *)key, (char *)a,
                                   (char *)b}; /* NOLINT */
}

static void test_causes_are_ranked_by_what_they_explain(void **s)
{
    (void)s;
    struct ddp_difference list[] = {
        diff("optim.momentum", DDP_WEIGHT_BITS, "0.9", "0.8"),
        diff("data.seed", DDP_WEIGHT_BITS, "1", "2"),
        diff("training data", DDP_WEIGHT_BITS, "aa", "bb"),
        diff("code.version", DDP_WEIGHT_DOUBT, "1", "2"),
        diff("ranks", DDP_WEIGHT_NONE, "1", "2"),
        diff("data.test_count", DDP_WEIGHT_EVAL, "1", "2"),
        diff("train.max_steps", DDP_WEIGHT_END, "1", "2"),
    };
    const struct ddp_differences d = {list, (int)DDP_COUNT(list)};
    static const struct {
        const char *part, *first;
    } cases[] = {{"optimizer", "optim.momentum"},
                 {"loss", "data.seed"},
                 {"gradient", "data.seed"},
                 {"evaluation", "data.test_count"}};
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_verdict v = {.kind = DDP_VERDICT_DIFFERENT};
        strcpy(v.part, cases[i].part);
        ddp_causes_find(&d, &v);
        assert_string_equal(v.cause[0].key, cases[i].first);
        assert_true(v.cause[0].likely);
        for (int k = 0; k < v.ncauses; k++) {
            assert_string_not_equal(v.cause[k].key, "ranks");
            assert_string_not_equal(v.cause[k].key, "train.max_steps");
        }
        ddp_verdict_finish(&v);
    }
    struct ddp_verdict v = {.kind = DDP_VERDICT_DIFFERENT, .part = "gradient"};
    const struct ddp_differences harmless = {&list[4], 1};
    ddp_causes_find(&harmless, &v);
    assert_int_equal(v.ncauses, 1);
    assert_string_equal(v.cause[0].key, "");
    assert_non_null(strstr(v.cause[0].text, "nothing that the records hold"));
    ddp_verdict_finish(&v);
}

/* ---- differences ----------------------------------------------------------------------------- */

static void test_differences_have_their_weights(void **s)
{
    (void)s;
    static const struct {
        const char *key;
        enum ddp_weight weight;
    } wanted[] = {
        {"optim.lr", DDP_WEIGHT_BITS},
        {"train.threads", DDP_WEIGHT_NONE},
        {"train.max_steps", DDP_WEIGHT_END},
        {"model.layers[0].out", DDP_WEIGHT_BITS},
        {"data.mean", DDP_WEIGHT_BITS},
        {"new.key", DDP_WEIGHT_DOUBT},
        {"training data", DDP_WEIGHT_BITS},
        {"ranks", DDP_WEIGHT_NONE},
        {"environment.DDP_ISA", DDP_WEIGHT_NONE},
        {"code.compiler", DDP_WEIGHT_DOUBT},
        {"weights_hash", DDP_WEIGHT_RESULT},
    };
    static const char *const record[2] = {"{\"status\":\"done\",\"ranks\":1,\"weights_hash\":\"h\",\"code\":{"
                                          "\"compiler\":\"gcc\"},\"data\":[{\"sha256\":\"a\"}],"
                                          "\"environment\":{}}",
                                          "{\"status\":\"done\",\"ranks\":2,\"weights_hash\":\"i\",\"code\":{"
                                          "\"compiler\":\"clang\"},\"data\":[{\"sha256\":\"b\"}],"
                                          "\"environment\":{\"DDP_ISA\":\"avx2\"}}"};
    static const char *const config[2] = {
        "{\"optim\":{\"lr\":0.1,\"nesterov\":true},\"train\":{\"threads\":1,\"max_steps\":0,\"batch\":1},"
        "\"model\":{\"layers\":[{\"out\":3}]},\"data\":{\"mean\":[0.1,0.2]},\"reduce\":{\"mode\":"
        "\"canonical\"}}",
        "{\"optim\":{\"lr\":0.2,\"nesterov\":true},\"train\":{\"threads\":2,\"max_steps\":5,\"batch\":1.0},"
        "\"model\":{\"layers\":[{\"out\":4}]},\"data\":{\"mean\":[0.1,0.3]},\"reduce\":{\"mode\":"
        "\"canonical\"},\"new\":{\"key\":1}}"};
    struct ddp_past run[2];
    struct ddp_differences d;
    for (int k = 0; k < 2; k++) {
        char path[128];
        put(k ? "b" : "a", "run.json", record[k]);
        put(k ? "b" : "a", "config.json", config[k]);
        snprintf(path, sizeof path, "%s/%s", dir, k ? "b" : "a");
        assert_int_equal(ddp_past_read_whole(path, &run[k], NULL), 0);
    }
    ddp_differ(&run[0], &run[1], &d);
    assert_int_equal(d.n, (int)DDP_COUNT(wanted));
    for (size_t i = 0; i < DDP_COUNT(wanted); i++) {
        int at = 0;
        while (at < d.n && strcmp(d.item[at].key, wanted[i].key) != 0)
            at++;
        if (at == d.n || d.item[at].weight != wanted[i].weight)
            fail_msg("%s: %s", wanted[i].key, at == d.n ? "not found" : "of another weight");
    }
    ddp_differences_finish(&d);
    for (int k = 0; k < 2; k++)
        ddp_past_finish(&run[k]);
}

#define EACH(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_lines_pass_over_what_is_damaged),
        EACH(test_verdict_of_planted_records),
        EACH(test_causes_are_ranked_by_what_they_explain),
        EACH(test_differences_have_their_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
