/* What is meant per rank: whole for so many of them, the same text when it is read again, refused where it
 * cannot be. */
#include "fixture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void test_whole_configs_stay(void **state)
{
    (void)state;
    struct ddp_config *cfg = fixture_ok("train = { batch = 96; };", NONE);
    struct ddp_text notes;
    char *before, *after;
    ddp_text_init(&notes);
    assert_false(ddp_config_by_ranks(cfg));
    assert_int_equal(ddp_config_dump(cfg, false, &before, NULL), 0);
    assert_int_equal(ddp_config_for_ranks(cfg, 7, &notes, NULL), 0);
    assert_int_equal(ddp_config_dump(cfg, false, &after, NULL), 0);
    assert_string_equal(before, after);
    assert_string_equal(notes.s, "");
    free(before);
    free(after);
    ddp_text_finish(&notes);
    ddp_config_destroy(cfg);
}

static const struct {
    const char *rule;
    int ranks;
    const char *shards;
    int64_t batch, want_shards;
    double lr;
} table[] = {
    {"none", 3, "8", 48, 8, 0.25},          {"linear", 4, "\"ranks\"", 64, 4, 1.0},
    {"sqrt", 4, "8", 64, 8, 0.5},           {"linear", 1, "\"ranks\"", 16, 1, 0.25},
    {"sqrt", 9, "\"ranks\"", 144, 9, 0.75},
};

static void test_values_of_all_ranks(void **state)
{
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        char text[256];
        struct ddp_text notes;
        struct ddp_error err = {0};
        snprintf(text, sizeof text,
                 "train = { batch = 4; batch_per_rank = 16; shards = %s; }; optim = { lr = 0.25; lr_rule = "
                 "\"%s\"; };",
                 table[i].shards, table[i].rule);
        struct ddp_config *cfg = fixture_ok(text, NONE), *again;
        ddp_text_init(&notes);
        assert_true(ddp_config_by_ranks(cfg));
        assert_int_equal(ddp_config_for_ranks(cfg, table[i].ranks, &notes, &err), 0);
        assert_false(ddp_config_by_ranks(cfg));
        assert_int_equal(cfg->train.batch, table[i].batch);
        assert_int_equal(cfg->train.shards, table[i].want_shards);
        assert_float_equal(cfg->optim.lr, table[i].lr, 1e-15);
        assert_non_null(strstr(notes.s, "The result depends on this number"));
        ddp_text_finish(&notes);

        char *dump, *second, hash[65], same[65];
        assert_int_equal(ddp_config_dump(cfg, false, &dump, &err), 0);
        again = fixture_ok(dump, NONE);
        assert_int_equal(ddp_config_dump(again, false, &second, &err), 0);
        assert_string_equal(dump, second);
        ddp_config_hash(cfg, hash);
        ddp_config_hash(again, same);
        assert_string_equal(hash, same);
        assert_false(ddp_config_by_ranks(again));
        free(dump);
        free(second);
        ddp_config_destroy(again);
        ddp_config_destroy(cfg);
    }
}

static void test_refused(void **state)
{
    (void)state;
    fixture_refused("optim = { lr_rule = \"linear\"; };", NONE,
                    LIST("optim.lr_rule", "wants train.batch_per_rank"));
    fixture_refused("train = { shards = \"rank\"; };", NONE,
                    LIST("train.shards", "or \"ranks\"", "did you mean \"ranks\"?"));
    fixture_refused("train = { shards = -1; };", NONE, LIST("train.shards", "from 1 to 65536"));
    fixture_refused("data = { format = \"noise\"; shape = [5, 2, 2]; };", NONE,
                    LIST("data.shape", "1 to 4 channels"));
    fixture_refused("data = { format = \"noise\"; shape = [3, 2.5, 2]; };", NONE,
                    LIST("data.shape", "whole numbers"));
    fixture_refused("data = { format = \"noise\"; shape = [3, 2]; };", NONE,
                    LIST("data.shape", "[channels, height, width]"));
    static const struct {
        const char *text, *says;
        int ranks;
    } later[] = {
        {"train = { batch_per_rank = 1; };", "train.batch", 4}, /* of 8 shards */
        {"train = { batch_per_rank = 10000000; };", "more than 16777216 images", 2},
        {"train = { batch_per_rank = 8; }; optim = { lr = 600; lr_rule = \"linear\"; };", "optim.lr_rule", 2},
        {"train = { batch_per_rank = 8; shards = \"ranks\"; accumulate = 60000; };",
         "train.shards * train.accumulate", 3},
    };
    for (size_t i = 0; i < DDP_COUNT(later); i++) {
        struct ddp_config *cfg = fixture_ok(later[i].text, NONE);
        struct ddp_error err = {0};
        struct ddp_text notes;
        ddp_text_init(&notes);
        assert_int_equal(ddp_config_for_ranks(cfg, later[i].ranks, &notes, &err), DDP_E_CONFIG);
        if (!strstr(err.text, later[i].says))
            fail_msg("%s, not %s", err.text, later[i].says);
        ddp_text_finish(&notes);
        ddp_config_destroy(cfg);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whole_configs_stay, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_values_of_all_ranks, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_refused, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
