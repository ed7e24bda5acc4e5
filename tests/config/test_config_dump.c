/* Round trips of the resolved config, JSON, and what the hash sees. */
#include "fixture.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const char full[] = "seed = 123456789012345678;\n"
                           "model = { base = \"tiny\"; input = [1, 28, 28]; };\n"
                           "data = { base = \"small\"; path = \"a \\\"b\\\" \\\\ c\\n\\x07\\x7f\"; files = "
                           "[\"x\", \"y\"]; flip = true; };\n"
                           "optim = { base = \"adamw\"; lr = 0.1; eps = 1.2345678901234567e-11; milestones = "
                           "[0.30000000000000004, 2];\n"
                           "  no_decay = [\"*.bias\"]; groups = ( { match = \"fc.*\"; lr_scale = 0.1; list = "
                           "(1, 2.5, \"x\", (), [1, 2], [3000000000]); } ); };\n"
                           "train: { batch = 96; shards = 3; };\n"
                           "log: { level = \"debug\"; };\n";

static char *dump(const struct ddp_config *cfg, bool comments)
{
    struct ddp_error err = {0};
    char *text = NULL;
    assert_int_equal(ddp_config_dump(cfg, comments, &text, &err), 0);
    return text;
}

static void test_dump_round_trip(void **state)
{
    (void)state;
    static const char *const configs[] = {"", full};
    for (size_t i = 0; i < DDP_COUNT(configs); i++)
        for (int comments = 0; comments < 2; comments++) {
            struct ddp_config *cfg = fixture_ok(configs[i], NONE);
            char *text = dump(cfg, comments), hash[65], again_hash[65];
            ddp_config_hash(cfg, hash);
            /* alone in a folder without groups: it needs no other file */
            struct ddp_error err = {0};
            assert_int_equal(ddp_dir_remove("configs", &err), 0);
            struct ddp_config *again = fixture_ok(text, NONE);
            char *text_again = dump(again, comments);
            assert_string_equal(text, text_again);
            ddp_config_hash(again, again_hash);
            assert_string_equal(hash, again_hash);
            assert_int_equal(strlen(hash), 64);
            assert_true((strchr(text, '#') != NULL) == comments);
            char *json, *json_again;
            assert_int_equal(ddp_config_dump_json(cfg, &json, &err), 0);
            assert_int_equal(ddp_config_dump_json(again, &json_again, &err), 0);
            assert_string_equal(json, json_again);
            free(json);
            free(json_again);
            free(text);
            free(text_again);
            ddp_config_destroy(cfg);
            ddp_config_destroy(again);
            assert_int_equal(fixture_teardown(NULL), 0);
            assert_int_equal(fixture_setup(NULL), 0);
        }
}

/* Doubles of all sizes come back as the same bits. */
static void test_dump_floats_exact(void **state)
{
    (void)state;
    static const double values[] = {
        0.1, 1.0 / 3, 5e-324, 1e-30, 999.9999999999999, 2.2250738585072014e-308, 0.30000000000000004, 7};
    for (size_t i = 0; i < DDP_COUNT(values); i++) {
        char number[32], text[64];
        snprintf(text, sizeof text, "optim: { lr = %s; };", ddp_double_text(values[i], number));
        struct ddp_config *cfg = fixture_ok(text, NONE);
        assert_memory_equal(&cfg->optim.lr, &values[i], sizeof(double));
        char *out = dump(cfg, true);
        struct ddp_config *again = fixture_ok(out, NONE);
        assert_memory_equal(&again->optim.lr, &values[i], sizeof(double));
        free(out);
        ddp_config_destroy(cfg);
        ddp_config_destroy(again);
    }
}

static void test_dump_json(void **state)
{
    (void)state;
    struct ddp_error err = {0};
    struct ddp_config *cfg = fixture_ok(full, NONE);
    char *text = NULL;
    assert_int_equal(ddp_config_dump_json(cfg, &text, &err), 0);
    json_error_t why;
    json_t *root = json_loads(text, 0, &why);
    assert_non_null(root);
    assert_true(json_integer_value(json_object_get(root, "seed")) == 123456789012345678);
    json_t *optim = json_object_get(root, "optim"), *model = json_object_get(root, "model");
    assert_true(json_real_value(json_object_get(optim, "eps")) == 1.2345678901234567e-11);
    assert_true(json_real_value(json_object_get(optim, "lr")) == 0.1);
    assert_true(json_real_value(json_array_get(json_object_get(optim, "milestones"), 0)) ==
                0.30000000000000004);
    assert_string_equal(json_string_value(json_object_get(optim, "type")), "adamw");
    assert_true(json_is_true(json_object_get(json_object_get(root, "data"), "flip")));
    assert_string_equal(json_string_value(json_object_get(json_object_get(root, "data"), "path")),
                        "a \"b\" \\ c\n\x07\x7f"); /* which is nowhere */
    json_t *layer = json_array_get(json_object_get(model, "layers"), 0);
    assert_int_equal(json_integer_value(json_object_get(layer, "out")), 4);
    size_t keys = 0;
    for (const struct ddp_key *k = ddp_config_keys; k->name; k++) {
        const char *dot = strchr(k->name, '.');
        char group[64];
        snprintf(group, sizeof group, "%.*s", dot ? (int)(dot - k->name) : 0, k->name);
        json_t *at = dot ? json_object_get(root, group) : root;
        assert_non_null(json_object_get(at, dot ? dot + 1 : k->name));
        keys++;
    }
    assert_true(keys > 70);
    json_decref(root);
    free(text);
    ddp_config_destroy(cfg);
    /* short where short is exact */
    cfg = fixture_ok("optim: { lr = 0.05; };", NONE);
    assert_int_equal(ddp_config_dump_json(cfg, &text, &err), 0);
    assert_non_null(strstr(text, "\"lr\": 0.05,"));
    free(text);
    ddp_config_destroy(cfg);
}

/* The tree holds every key of the table. */
static void test_config_tree_complete(void **state)
{
    (void)state;
    struct ddp_config *cfg = fixture_ok(full, NONE);
    for (const struct ddp_key *k = ddp_config_keys; k->name; k++)
        if (!ddp_node_get(cfg->tree, k->name))
            fail_msg("%s is not in the tree", k->name);
    ddp_config_destroy(cfg);
}

/* Another value of each key that is not its value in `full`. */
static const char *other_value(const struct ddp_key *k, char buf[64])
{
    switch (k->type) {
    case DDP_KEY_INT:
        return strcmp(k->name, "train.shards") == 0       ? "4"
               : strcmp(k->name, "train.accumulate") == 0 ? "2"
               : k->max < 97                              ? "2"
                                                          : "97";
    case DDP_KEY_FLOAT:
        return strcmp(k->name, "train.loss_scale") == 0 ? "512"
               : k->max < 1                             ? "0.4375"
               : k->min > 0.5                           ? "3.5"
                                                        : "0.4375";
    case DDP_KEY_BOOL:
        return strcmp(k->dflt, "true") == 0 ? "false" : strcmp(k->name, "data.flip") == 0 ? "false" : "true";
    case DDP_KEY_STRING:
        return k->choices ? "warn" : "other";
    case DDP_KEY_CHOICE: {
        char last[DDP_WHERE_SIZE];
        snprintf(buf, 64, "%s", ddp_choice_at(k->choices, ddp_choice_count(k->choices) - 1, last));
        return buf;
    }
    case DDP_KEY_FLOAT_LIST:
        return strcmp(k->name, "optim.milestones") == 0 ? "[5]"
               : strcmp(k->name, "model.input") == 0    ? "[3, 4, 5]"
               : strcmp(k->name, "data.shape") == 0     ? "[3, 4, 5]"
                                                        : "[0.75]";
    case DDP_KEY_STRING_LIST:
        return "[other]";
    case DDP_KEY_NODE:
        break;
    }
    return "({type = other})";
}

static void test_hash_sees_result_keys(void **state)
{
    (void)state;
    for (int early = 0; early < 2; early++) {
        const char *stop = early ? "train.early_stop=3" : "train.early_stop=0";
        char base[65], hash[65], buf[64], text[128];
        struct ddp_config *cfg = fixture_ok(full, LIST(stop, "train.batch_per_rank=8"));
        ddp_config_hash(cfg, base);
        ddp_config_destroy(cfg);
        for (const struct ddp_key *k = ddp_config_keys; k->name; k++) {
            if (strcmp(k->name, "train.early_stop") == 0)
                continue;
            snprintf(text, sizeof text, "%s=%s", k->name, other_value(k, buf));
            cfg = fixture_ok(full, LIST(stop, "train.batch_per_rank=8", text));
            ddp_config_hash(cfg, hash);
            bool counts = (k->flags & DDP_KEY_RESULT) || (early && (k->flags & DDP_KEY_STOP));
            if ((strcmp(base, hash) != 0) != counts)
                fail_msg("%s: %s the hash", text, counts ? "does not change" : "changes");
            ddp_config_destroy(cfg);
        }
    }
}

/* The order of keys does not count, anything inside the layers does. */
static void test_hash_canonical(void **state)
{
    (void)state;
    char a[65], b[65], c[65];
    struct ddp_config *cfg =
        fixture_ok("model = { layers = ( { type = \"x\"; out = 3; } ) }; seed = 4;", NONE);
    ddp_config_hash(cfg, a);
    ddp_config_destroy(cfg);
    cfg = fixture_ok("seed = 4; model = { layers = ( { out = 3; type = \"x\"; } ); name = \"same\" };", NONE);
    ddp_config_hash(cfg, b);
    ddp_config_destroy(cfg);
    cfg = fixture_ok("seed = 4; model = { layers = ( { out = 4; type = \"x\"; } ) };", NONE);
    ddp_config_hash(cfg, c);
    ddp_config_destroy(cfg);
    assert_string_equal(a, b);
    assert_string_not_equal(a, c);
}

/* Which keys move the weights is a promise: a change here is a change of the contract. */
static void test_hash_key_list(void **state)
{
    (void)state;
    static const char free_keys[] =
        " device train.threads model.name model.input data.name "
        "data.prefetch data.workers data.verify optim.name"
        " reduce.bucket_mb repro.level checkpoint.every_steps checkpoint.every_epochs "
        "checkpoint.keep checkpoint.best checkpoint.background"
        " init.strict train.trail_every run.dir run.name log.every_steps log.level log.progress "
        "log.progress_every comm.share_gpu comm.interface comm.timeout_s gpu.tune gpu.graph gpu.branches "
        "gpu.resident_data probe.from probe.to probe.values launch.bind "
        "launch.memory_bind launch.hyperthreads launch.grace launch.stuck_after launch.fanout ";
    static const char stop_keys[] = " data.test_count data.limit_test eval.every_epochs optim.ema ";
    for (const struct ddp_key *k = ddp_config_keys; k->name; k++) {
        char word[80];
        snprintf(word, sizeof word, " %s ", k->name);
        unsigned want = strstr(free_keys, word) ? 0 : strstr(stop_keys, word) ? DDP_KEY_STOP : DDP_KEY_RESULT;
        if (strcmp(k->name, "train.max_steps") == 0)
            want |= DDP_KEY_END;
        if (strstr(" data.root data.path init.from ", word))
            want = (k->name[0] == 'i' ? DDP_KEY_RESULT : 0) | DDP_KEY_PATH;
        if (k->flags != want)
            fail_msg("%s: flags %u", k->name, k->flags);
    }
}

static void note_key(void *user, const char *key, const char *a, const char *b)
{
    ddp_text_add(user, "%s %s %s;", key, a, b);
}

static void test_experiment_leaves_out_where_it_ends(void **state)
{
    (void)state;
    static const struct {
        const char *override, *of_experiment, *of_all;
    } cases[] = {
        {"train.max_steps=7", "", "train.max_steps 0 7;"},
        {"train.threads=3", "", "train.threads 0 3;"},
        {"optim.lr=0.25", "optim.lr 0.1 0.25;", "optim.lr 0.1 0.25;"},
        {"data.test_count=50", "", "data.test_count 10000 50;"},
    };
    struct ddp_config *base = NULL;
    const struct ddp_config_options none = {.path = NULL};
    assert_int_equal(ddp_config_load(&none, &base, NULL), 0);
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_config *cfg = NULL;
        const struct ddp_config_options opt = {.overrides = &cases[i].override, .noverrides = 1};
        char a[65], b[65];
        assert_int_equal(ddp_config_load(&opt, &cfg, NULL), 0);
        ddp_config_experiment(base, a);
        ddp_config_experiment(cfg, b);
        assert_int_equal(strcmp(a, b) == 0, !*cases[i].of_experiment);
        for (int all = 0; all < 2; all++) {
            struct ddp_text t;
            ddp_text_init(&t);
            const char *want = all ? cases[i].of_all : cases[i].of_experiment;
            assert_int_equal(ddp_config_differ(base, cfg, !all, note_key, &t), *want != 0);
            assert_string_equal(t.s, want);
            ddp_text_finish(&t);
        }
        ddp_config_destroy(cfg);
    }
    ddp_config_destroy(base);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_dump_round_trip),
        TEST(test_dump_floats_exact),
        TEST(test_dump_json),
        TEST(test_config_tree_complete),
        TEST(test_hash_sees_result_keys),
        TEST(test_hash_canonical),
        TEST(test_hash_key_list),
        TEST(test_experiment_leaves_out_where_it_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
