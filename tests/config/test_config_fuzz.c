/* Damaged configs and overrides by the thousand, the same ones in every run: each is either refused with a
 * reason or accepted, and then its resolved form gives itself again. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* libconfig 1.5 loses the text before a syntax error; the other tests have no such exception. */
DDP_API const char *__lsan_default_suppressions(void); // NOLINT: the sanitizer's name
const char *__lsan_default_suppressions(void)          // NOLINT
{
    return "leak:strbuf_append";
}

enum { FILES = 3000, OVERRIDES = 3000, MAX_TEXT = 4096 };

static const char *const seeds[] = {
    "seed = 9223372036854775807L;\nmodel = { base = \"tiny\"; input = [1, 28, 28]; };\ntrain: { batch = 96; "
    "shards = 3; };\n",
    "model = { layers = (\n { type = \"conv2d\", name = \"a\", out = 3 }, # one\n { type = \"x\"; list = (1, "
    "[2.5, 1e-3], \"y\\n\"); }\n) };\n",
    "optim = { base = \"adamw\"; lr = 1e-3; milestones = [1, 2.5]; no_decay = (\"*.bias\", \"bn?\"); groups "
    "= ( { match = \"x\"; } ); };\n",
    "@include \"part.cfg\"\n/* c */ data = { files = [\"a\", \"b\"]; mean = [0.5]; std = [0.25]; flip = "
    "true; }; // end\n",
};

static const char *const overrides[] = {
    "train.batch=64",
    "--optim.lr=1e-3",
    "+model.layers[0].x=[1, {a = 'b'}, (2)]",
    "~optim.momentum",
    "model=tiny",
    "optim.base=adamw",
    "model.layers.layer1.0.conv1.out=5",
    "data.files=[a, \"b\\x41\", 'c']",
    "optim.groups=({match = fc, lr_scale = 2})",
};

static const char *const words[] = {"{",
                                    "}",
                                    "(",
                                    ")",
                                    "[",
                                    "]",
                                    "=",
                                    ";",
                                    ":",
                                    ",",
                                    "\"",
                                    "\\",
                                    "/*",
                                    "*/",
                                    "//",
                                    "#",
                                    "\n",
                                    " ",
                                    "@include \"part.cfg\"\n",
                                    "true",
                                    "1",
                                    "-",
                                    "+",
                                    "~",
                                    ".",
                                    "1e",
                                    "0x",
                                    "99999999999999999999",
                                    "L",
                                    "base",
                                    "model",
                                    "train",
                                    "seed",
                                    "\xc3\xa9",
                                    "\xff",
                                    "\\x",
                                    "name = \"fc\"",
                                    "[0]",
                                    "'"};

struct random {
    uint32_t seed, n;
};

static uint32_t next(struct random *r, uint32_t below)
{
    return ddp_uniform_int(ddp_philox4(r->n++, 0, 0, 0xc0f1f, r->seed).v[0], below);
}

/* A few cuts, insertions, doublings and changed bytes. */
static void damage(struct random *r, char text[MAX_TEXT])
{
    for (uint32_t k = 1 + next(r, 4); k > 0; k--) {
        uint32_t len = (uint32_t)strlen(text), at = next(r, len + 1), n = next(r, 8);
        char rest[MAX_TEXT];
        switch (next(r, 4)) {
        case 0:
            n = n < len - at ? n : len - at;
            memmove(text + at, text + at + n, len - at - n + 1);
            break;
        case 1:
            snprintf(rest, sizeof rest, "%s", text + at);
            snprintf(text + at, MAX_TEXT - at, "%s%s", words[next(r, DDP_COUNT(words))], rest);
            break;
        case 2:
            snprintf(rest, sizeof rest, "%s", text + (at > 20 ? at - 20 : 0));
            snprintf(text + at, MAX_TEXT - at, "%s", rest);
            break;
        default:
            if (at < len)
                text[at] = (char)(1 + next(r, 255));
        }
    }
}

/* 1 when it was accepted. */
static int check(const char *text, const char *const *override)
{
    struct ddp_error err = {0};
    struct ddp_config *cfg = fixture_load(text, override, &err);
    if (!cfg) {
        assert_int_equal(err.code, DDP_E_CONFIG);
        return 0;
    }
    char *out = NULL, *json = NULL, *again_out = NULL, a[65], b[65];
    assert_int_equal(ddp_config_dump(cfg, true, &out, &err), 0);
    assert_int_equal(ddp_config_dump_json(cfg, &json, &err), 0);
    ddp_config_hash(cfg, a);
    struct ddp_config *again = fixture_ok(out, NONE);
    assert_int_equal(ddp_config_dump(again, true, &again_out, &err), 0);
    ddp_config_hash(again, b);
    assert_string_equal(out, again_out);
    assert_string_equal(a, b);
    free(out);
    free(json);
    free(again_out);
    ddp_config_destroy(cfg);
    ddp_config_destroy(again);
    return 1;
}

static void test_config_damaged_files(void **state)
{
    (void)state;
    fixture_write("part.cfg", "seed = 3;\n");
    int accepted = 0;
    for (uint32_t i = 0; i < FILES; i++) {
        char text[MAX_TEXT];
        struct random r = {i, 0};
        snprintf(text, sizeof text, "%s", seeds[i % DDP_COUNT(seeds)]);
        damage(&r, text);
        accepted += check(text, NONE);
    }
    assert_in_range(accepted, FILES / 50,
                    FILES / 2); /* neither all nor nothing: the damage reaches every stage */
}

static void test_config_damaged_overrides(void **state)
{
    (void)state;
    int accepted = 0;
    for (uint32_t i = 0; i < OVERRIDES; i++) {
        char text[MAX_TEXT];
        struct random r = {i, 1000};
        snprintf(text, sizeof text, "%s", overrides[i % DDP_COUNT(overrides)]);
        damage(&r, text);
        accepted += check("model = \"tiny\";", LIST(text));
    }
    assert_in_range(accepted, OVERRIDES / 50, OVERRIDES / 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {TEST(test_config_damaged_files), TEST(test_config_damaged_overrides)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
