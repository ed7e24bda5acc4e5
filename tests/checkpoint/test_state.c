/* state.json: exact round trips, and texts that are refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/private.h"

static const struct ddp_state_file sample = {
    .state = {.step = 500,
              .epoch = 3,
              .batch = 17,
              .batches_tracked = 501,
              .best_loss = 0.1,
              .best_accuracy = -0.0,
              .best_step = -1,
              .evals_since_best = 2,
              .epoch_loss_sum = 1.5,
              .epoch_correct = 1234,
              .epoch_count = 2048,
              .evaluations = 5,
              .loss_scale = 65536,
              .loss_scale_good = 11,
              .loss_scale_skipped = 3,
              .config_hash = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
              .engine = "e",
              .experiment = "dd",
              .train_data = "1e",
              .test_data = "2e",
              .saved_ms = 1795760350123},
    .best = true,
    .weights_hash = "aa",
    .model_sha256 = "bb",
    .optim_sha256 = "cc",
};

static void test_state_text_is_as_documented(void **state)
{
    (void)state;
    static const char want[] =
        "{\n"
        "  \"format\": 3,\n"
        "  \"step\": 500,\n"
        "  \"epoch\": 3,\n"
        "  \"batch\": 17,\n"
        "  \"batches_tracked\": 501,\n"
        "  \"best_loss\": \"0x1.999999999999ap-4\",\n"
        "  \"best_accuracy\": \"-0x0.0000000000000p-1022\",\n"
        "  \"best_step\": -1,\n"
        "  \"evals_since_best\": 2,\n"
        "  \"epoch_loss_sum\": \"0x1.8000000000000p+0\",\n"
        "  \"epoch_correct\": 1234,\n"
        "  \"epoch_count\": 2048,\n"
        "  \"evaluations\": 5,\n"
        "  \"loss_scale\": \"0x1.0000000000000p+16\",\n"
        "  \"loss_scale_good\": 11,\n"
        "  \"loss_scale_skipped\": 3,\n"
        "  \"config_hash\": \"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\",\n"
        "  \"engine\": \"e\",\n"
        "  \"experiment\": \"dd\",\n"
        "  \"train_data\": \"1e\",\n"
        "  \"test_data\": \"2e\",\n"
        "  \"saved_ms\": 1795760350123,\n"
        "  \"best\": true,\n"
        "  \"weights_hash\": \"aa\",\n"
        "  \"model_sha256\": \"bb\",\n"
        "  \"optimizer_sha256\": \"cc\",\n";
    char *text = ddp_state_text(&sample), hex[65], tail[128];
    assert_memory_equal(text, want, sizeof want - 1);
    struct ddp_sha256 h;
    ddp_sha256_init(&h);
    ddp_sha256_update(&h, want, sizeof want - 1);
    ddp_sha256_hex(&h, hex);
    snprintf(tail, sizeof tail, "  \"check\": \"%s\"\n}\n", hex);
    assert_string_equal(text + sizeof want - 1, tail);
    free(text);
}

static void test_state_round_trips_every_field(void **state)
{
    (void)state;
    struct ddp_error err = {0};
    struct ddp_state_file got;
    char *text = ddp_state_text(&sample);
    assert_int_equal(ddp_state_parse("x", text, strlen(text), &got, &err), 0);
    free(text);
    const struct ddp_train_state *a = &sample.state, *b = &got.state;
    assert_int_equal(a->step, b->step);
    assert_int_equal(a->epoch, b->epoch);
    assert_int_equal(a->batch, b->batch);
    assert_int_equal(a->batches_tracked, b->batches_tracked);
    assert_int_equal(a->best_step, b->best_step);
    assert_true(a->loss_scale == b->loss_scale);
    assert_int_equal(a->loss_scale_good, b->loss_scale_good);
    assert_int_equal(a->loss_scale_skipped, b->loss_scale_skipped);
    assert_int_equal(a->evals_since_best, b->evals_since_best);
    assert_int_equal(a->epoch_correct, b->epoch_correct);
    assert_int_equal(a->epoch_count, b->epoch_count);
    assert_int_equal(a->evaluations, b->evaluations);
    assert_true(a->best_loss == b->best_loss);
    assert_true(a->epoch_loss_sum == b->epoch_loss_sum);
    assert_true(b->best_accuracy == 0 && signbit(b->best_accuracy));
    assert_string_equal(a->config_hash, b->config_hash);
    assert_string_equal(a->engine, b->engine);
    assert_string_equal(a->experiment, b->experiment);
    assert_string_equal(a->train_data, b->train_data);
    assert_string_equal(a->test_data, b->test_data);
    assert_int_equal(a->saved_ms, b->saved_ms);
    assert_true(got.best);
    assert_string_equal(got.weights_hash, "aa");
    assert_string_equal(got.model_sha256, "bb");
    assert_string_equal(got.optim_sha256, "cc");
}

static void test_state_keeps_doubles_exactly(void **state)
{
    (void)state;
    static const double values[] = {0,           1,
                                    -1,          0.1,
                                    1.0 / 3,     1e300,
                                    -1e-300,     0x1p-1074,
                                    0x1p-1022,   0x1.fffffffffffffp1023,
                                    0x0.8p-1022, 123456789.123};
    for (size_t i = 0; i < DDP_COUNT(values) + 3; i++) {
        struct ddp_state_file s = sample, got;
        double v = i < DDP_COUNT(values)        ? values[i]
                   : i == DDP_COUNT(values)     ? INFINITY
                   : i == DDP_COUNT(values) + 1 ? -INFINITY
                                                : NAN;
        s.state.best_loss = v;
        s.best = i % 2;
        char *text = ddp_state_text(&s);
        struct ddp_error err = {0};
        if (ddp_state_parse("x", text, strlen(text), &got, &err) != 0)
            fail_msg("%s", err.text);
        free(text);
        assert_true(isnan(v) ? isnan(got.state.best_loss) : memcmp(&got.state.best_loss, &v, 8) == 0);
        assert_int_equal(got.best, i % 2);
    }
}

/* The text with one piece replaced, and a check that fits it. */
static char *changed(const char *from, const char *to)
{
    char *text = ddp_state_text(&sample), *cut = strstr(text, "  \"check\"");
    *cut = '\0';
    struct ddp_text t;
    ddp_text_init(&t);
    const char *at = strstr(text, from);
    assert_non_null(at);
    ddp_text_append(&t, text, (size_t)(at - text));
    ddp_text_add(&t, "%s%s", to, at + strlen(from));
    free(text);
    struct ddp_sha256 h;
    char hex[65];
    ddp_sha256_init(&h);
    ddp_sha256_update(&h, t.s, t.len);
    ddp_sha256_hex(&h, hex);
    ddp_text_add(&t, "  \"check\": \"%s\"\n}\n", hex);
    return t.s;
}

/* As programs before format 3 wrote it. */
static void test_state_reads_format_2(void **state)
{
    (void)state;
    static const char *const news[] = {"engine", "experiment", "train_data", "test_data", "saved_ms"};
    char *text = ddp_state_text(&sample), hex[65];
    *strstr(text, "  \"check\"") = '\0';
    *strstr(text, "3,") = '2';
    for (size_t i = 0; i < DDP_COUNT(news); i++) {
        char *line = strstr(text, news[i]) - 3, *next = strchr(line, '\n') + 1;
        memmove(line, next, strlen(next) + 1);
    }
    struct ddp_text t;
    struct ddp_state_file got;
    struct ddp_error err = {0};
    ddp_text_init(&t);
    ddp_sha256_text(text, strlen(text), hex);
    ddp_text_add(&t, "%s  \"check\": \"%s\"\n}\n", text, hex);
    if (ddp_state_parse("x", t.s, t.len, &got, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(got.state.step, 500);
    assert_string_equal(got.model_sha256, "bb");
    assert_string_equal(got.state.experiment, "");
    assert_true(got.state.saved_ms == 0);
    ddp_text_finish(&t);
    free(text);
}

/* Not there where nothing is owed: files of before it was known are read as such. */
static void test_state_says_what_is_owed(void **state)
{
    (void)state;
    struct ddp_state_file owes = sample, got;
    char *text = ddp_state_text(&sample);
    assert_null(strstr(text, "end_eval_owed"));
    assert_int_equal(ddp_state_parse("x", text, strlen(text), &got, NULL), 0);
    assert_false(got.state.end_eval_owed);
    free(text);
    owes.state.end_eval_owed = true;
    text = ddp_state_text(&owes);
    assert_non_null(strstr(text, "  \"end_eval_owed\": true,\n"));
    assert_int_equal(ddp_state_parse("x", text, strlen(text), &got, NULL), 0);
    assert_true(got.state.end_eval_owed);
    free(text);
}

static void test_state_checks_what_it_reads(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *want;
    } cases[] = {
        {"\"step\": 500", "\"step\": 501", NULL},
        {"\"step\": 500", "\"step\": 0", NULL},
        {"\"best_step\": -1", "\"best_step\": 0", NULL},
        {"\"best_loss\": \"0x1.999999999999ap-4\"", "\"best_loss\": \"0.25\"", NULL},
        {"\"best\": true", "\"new\": 5, \"best\": true", NULL}, /* later versions may add */
        {"\"format\": 3", "\"format\": 1", "its format is 1"},
        {"\"format\": 3", "\"format\": 4", "its format is 4"},
        {"\"format\": 3,", "", "its format is 0"},
        {"  \"experiment\": \"dd\",\n", "", "'experiment' is missing"},
        {"\"step\": 500", "\"step\": -1", "'step'"},
        {"\"step\": 500", "\"step\": 5.5", "'step'"},
        {"\"step\": 500", "\"step\": \"500\"", "'step'"},
        {"\"step\": 500,", "", "'step'"},
        {"\"step\": 500", "\"step\": 99999999999999999999", "line 3"},
        {"\"best_step\": -1", "\"best_step\": -2", "'best_step'"},
        {"\"step\": 500", "\"step\": 9007199254740992", NULL},
        {"\"step\": 500", "\"step\": 9007199254740993", "'step'"},
        {"\"step\": 500", "\"step\": 9223372036854775807", "'step'"},
        {"\"epoch\": ", "\"epoch\": 100000", "'epoch'"},
        {"\"batch\": ", "\"batch\": 429496729", "'batch'"},
        {"\"best_step\": -1", "\"best_step\": 9223372036854775807", "'best_step'"},
        {"\"evaluations\": ", "\"evaluations\": 900719925474099", "'evaluations'"},
        {"\"epoch_count\": 2048,", "", "'epoch_count'"},
        {"\"0x1.999999999999ap-4\"", "\"0x1.99z\"", "'best_loss'"},
        {"\"0x1.999999999999ap-4\"", "0.1", "'best_loss'"},
        {"\"0x1.999999999999ap-4\"", "\"\"", "'best_loss'"},
        {"\"aa\"", "5", "'weights_hash'"},
        {"\"aa\"", "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0\"", "'weights_hash'"},
        {"\"best\": true", "\"best\": 1", "'best'"},
        {"\"best\": true,", "\"best\": true, \"best\": true,", "duplicate"},
        {"{\n", "[\n", "line"},
        {"\"batch\"", "batch", "line 5"},
    };
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        char *text = changed(cases[i].from, cases[i].to);
        struct ddp_error err = {0};
        struct ddp_state_file got = {.state.step = 42};
        int status = ddp_state_parse("some/state.json", text, strlen(text), &got, &err);
        free(text);
        if (cases[i].want) {
            if (status != DDP_E_CHECKPOINT || !strstr(err.text, cases[i].want) ||
                !strstr(err.text, "some/state.json"))
                fail_msg("%s: %d: %s", cases[i].to, status, err.text);
            assert_int_equal(got.state.step, 42);
        } else if (status) {
            fail_msg("%s: %s", cases[i].to, err.text);
        }
    }
}

/* Any flipped bit, missing end or addition is noticed. */
static void test_state_notices_every_change(void **state)
{
    (void)state;
    struct ddp_state_file got;
    struct ddp_error err = {0};
    char *text = ddp_state_text(&sample);
    size_t n = strlen(text);
    for (size_t at = 0; at < n; at++) {
        for (int bit = 0; bit < 8; bit++) {
            text[at] ^= (char)(1 << bit);
            assert_int_equal(ddp_state_parse("x", text, n, &got, &err), DDP_E_CHECKPOINT);
            text[at] ^= (char)(1 << bit);
        }
        assert_int_equal(ddp_state_parse("x", text, at, &got, &err), DDP_E_CHECKPOINT);
        assert_non_null(strstr(err.text, "check"));
    }
    assert_int_equal(ddp_state_parse("x", text, n, &got, &err), 0);
    text = ddp_realloc(text, n + 2);
    strcpy(text + n, "\n");
    assert_int_equal(ddp_state_parse("x", text, n + 1, &got, &err), DDP_E_CHECKPOINT);
    free(text);
}

/* Mutations under a fitting check reach the parser: no crash, an error or a state. */
static void test_state_survives_mutations(void **state)
{
    (void)state;
    char *good = ddp_state_text(&sample);
    size_t n = (size_t)(strstr(good, "  \"check\"") - good);
    uint32_t counter = 0;
    int refused = 0;
    for (int round = 0; round < 4000; round++) {
        char text[4096], hex[65];
        memcpy(text, good, n);
        uint32_t edits = 1 + ddp_philox4(counter++, 0, 0, 9, 5).v[0] % 4;
        for (uint32_t k = 0; k < edits; k++) {
            struct ddp_philox4 r = ddp_philox4(counter++, 0, 0, 9, 5);
            static const char pieces[] = "{}[]\",:0123456789-+.eEnulltrue \n\\\x80\xff";
            text[r.v[0] % n] = r.v[1] % 3 ? pieces[r.v[2] % (sizeof pieces - 1)] : (char)(r.v[2] & 255);
        }
        struct ddp_sha256 h;
        ddp_sha256_init(&h);
        ddp_sha256_update(&h, text, n);
        ddp_sha256_hex(&h, hex);
        int more = snprintf(text + n, sizeof text - n, "  \"check\": \"%s\"\n}\n", hex);
        struct ddp_error err = {0};
        struct ddp_state_file got;
        int status = ddp_state_parse("x", text, n + (size_t)more, &got, &err);
        assert_true(status == 0 || (status == DDP_E_CHECKPOINT && err.text[0]));
        refused += status != 0;
    }
    free(good);
    assert_true(refused > 1000 && refused < 4000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_state_text_is_as_documented),
        cmocka_unit_test(test_state_round_trips_every_field),
        cmocka_unit_test(test_state_keeps_doubles_exactly),
        cmocka_unit_test(test_state_reads_format_2),
        cmocka_unit_test(test_state_says_what_is_owed),
        cmocka_unit_test(test_state_checks_what_it_reads),
        cmocka_unit_test(test_state_notices_every_change),
        cmocka_unit_test(test_state_survives_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
