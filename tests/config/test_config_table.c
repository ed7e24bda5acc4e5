/* The table against itself, the struct and docs/config.md; reading a group through another table.
 * Run with --write to write docs/config.md anew. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DOCS DDP_SOURCE_DIR "/docs/config.md"

static size_t size_of(const struct ddp_key *key)
{
    switch (key->type) {
    case DDP_KEY_INT:
        return sizeof(int64_t);
    case DDP_KEY_FLOAT:
        return sizeof(double);
    case DDP_KEY_BOOL:
        return sizeof(bool);
    case DDP_KEY_CHOICE:
        return sizeof(int);
    case DDP_KEY_FLOAT_LIST:
        return sizeof(struct ddp_floats);
    case DDP_KEY_STRING_LIST:
        return sizeof(struct ddp_strings);
    case DDP_KEY_STRING:
    case DDP_KEY_NODE:
        break;
    }
    return sizeof(void *);
}

static void test_table_rows(void **state)
{
    (void)state;
    for (const struct ddp_key *k = ddp_config_keys; k->name; k++) {
        size_t n = strlen(k->doc);
        if (n < 10 || k->doc[n - 1] == '.' || strchr(k->doc, '\n') || !(k->doc[0] >= 'A'))
            fail_msg("%s: its doc is not one line, a sentence without full stop", k->name);
        if (!k->dflt || (k->flags & DDP_KEY_REQUIRED))
            fail_msg("%s: has no default", k->name);
        if (k->min > k->max)
            fail_msg("%s: its range is empty", k->name);
        if ((k->type == DDP_KEY_INT || k->type == DDP_KEY_FLOAT) && k->min == 0 && k->max == 0)
            fail_msg("%s: has no range", k->name);
        if (k->type == DDP_KEY_CHOICE && !k->choices)
            fail_msg("%s: has no choices", k->name);
        if ((k->flags & DDP_KEY_RESULT) && (k->flags & DDP_KEY_STOP))
            fail_msg("%s: is both", k->name);
        const char *dot = strchr(k->name, '.');
        char group[64];
        snprintf(group, sizeof group, "%.*s", dot ? (int)(dot - k->name) : 0, k->name);
        if (!ddp_config_group_find(group) || (dot && strchr(dot + 1, '.')))
            fail_msg("%s: its group has no line of doc", k->name);
        for (const struct ddp_key *other = k + 1; other->name; other++)
            if (strcmp(other->name, k->name) == 0)
                fail_msg("%s: stands twice", k->name);
    }
}

static int by_offset(const void *a, const void *b)
{
    const struct ddp_key *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

/* Every field belongs to one key: no overlap, and no gap that is more than padding. */
static void test_table_covers_struct(void **state)
{
    (void)state;
    struct ddp_key keys[256];
    size_t n = 0, end = 0;
    for (const struct ddp_key *k = ddp_config_keys; k->name && n < DDP_COUNT(keys); k++)
        keys[n++] = *k;
    qsort(keys, n, sizeof keys[0], by_offset);
    for (size_t i = 0; i < n; i++) {
        if (keys[i].offset < end)
            fail_msg("%s: its field is another key's", keys[i].name);
        size_t align = keys[i].type == DDP_KEY_BOOL     ? 1
                       : keys[i].type == DDP_KEY_CHOICE ? sizeof(int)
                                                        : sizeof(void *);
        /* a group ends on its own alignment, so a gap before it may be up to a word; a lost field of a word
         * is more */
        size_t word = align > sizeof(void *) ? align : sizeof(void *);
        if (keys[i].offset - end >= word)
            fail_msg("%s: there is a field before it without a key", keys[i].name);
        end = keys[i].offset + size_of(&keys[i]);
    }
    assert_true(offsetof(struct ddp_config, tree) - end < sizeof(void *));
}

/* Each default, written as an override, is accepted and gives the default. */
static void test_table_defaults(void **state)
{
    (void)state;
    struct ddp_config *dflt =
        fixture_ok("model = { layers = ( { type = \"x\" } ) }; data = { }; optim = { };", NONE);
    for (const struct ddp_key *k = ddp_config_keys; k->name; k++) {
        if (k->type == DDP_KEY_NODE || strcmp(k->name, "data.root") == 0 || strcmp(k->name, "run.name") == 0)
            continue; /* these have a value of their own here */
        char text[256];
        snprintf(text, sizeof text, "%s=%s", k->name, k->dflt);
        struct ddp_config *cfg =
            fixture_ok("model = { layers = ( { type = \"x\" } ) }; data = { }; optim = { };", LIST(text));
        struct ddp_text a, b;
        ddp_text_init(&a);
        ddp_text_init(&b);
        ddp_value_write(&a, k, dflt, 0);
        ddp_value_write(&b, k, cfg, 0);
        assert_string_equal(a.s, b.s);
        ddp_text_finish(&a);
        ddp_text_finish(&b);
        ddp_config_destroy(cfg);
    }
    ddp_config_destroy(dflt);
}

/* The ends of each range are in it, what is beyond is refused by name. */
static void test_table_ranges(void **state)
{
    (void)state;
    struct ddp_config cfg = {.arena = ddp_arena_create()};
    for (const struct ddp_key *k = ddp_config_keys; k->name; k++) {
        if ((k->type != DDP_KEY_INT && k->type != DDP_KEY_FLOAT))
            continue;
        const struct ddp_key one[] = {*k, {.name = NULL}};
        struct {
            double value;
            bool fits;
        } cases[] = {{k->min, true}, {k->max, true}, {k->min - 1, false}, {k->max * 2, false}};
        for (size_t i = 0; i < DDP_COUNT(cases); i++) {
            if (cases[i].value >= 9e18)
                continue; /* beyond int64 */
            struct ddp_error err = {0};
            struct ddp_config conf;
            struct ddp_node *group = ddp_node_create(cfg.arena, DDP_NODE_GROUP, NULL, "file", 1), *at = group;
            char *name = ddp_arena_strdup(cfg.arena, k->name), *dot = strchr(name, '.');
            if (dot) {
                *dot = '\0';
                ddp_node_add(group, at = ddp_node_create(cfg.arena, DDP_NODE_GROUP, name, "file", 2));
                name = dot + 1;
            }
            bool integer = k->type == DDP_KEY_INT;
            struct ddp_node *node =
                ddp_node_create(cfg.arena, integer ? DDP_NODE_INT : DDP_NODE_FLOAT, name, "file", 3);
            if (integer)
                node->i = (int64_t)cases[i].value;
            else
                node->f = cases[i].value;
            ddp_node_add(at, node);
            int status = ddp_keys_read(&cfg, group, one, NULL, &conf, &err);
            if ((status == 0) != cases[i].fits)
                fail_msg("%s = %g: %s", k->name, cases[i].value, err.text);
            if (status < 0)
                assert_non_null(strstr(err.text, k->name));
        }
    }
    ddp_arena_destroy(cfg.arena);
}

/* ---- a table of somebody else: a layer's ----------------------------------------------------- */

struct layer {
    int64_t out, kernel, pad;
    double p;
    bool bias;
    const char *text;
    int mode;
    struct ddp_floats list;
    struct ddp_strings names;
    const struct ddp_node *node;
};

#define AT(f) .name = #f, .offset = offsetof(struct layer, f)
static const struct ddp_key layer_keys[] = {
    {AT(out), .type = DDP_KEY_INT, .min = 1, .max = 100, .unit = "channels", .flags = DDP_KEY_REQUIRED,
     .doc = "Out"},
    {AT(kernel), .type = DDP_KEY_INT, .dflt = "3", .doc = "No range"},
    {AT(pad), .type = DDP_KEY_INT, .dflt = "0", .min = 0, .max = 9, .choices = "same", .doc = "Or a word"},
    {AT(p), .type = DDP_KEY_FLOAT, .dflt = "0.5", .min = 0, .max = 1, .doc = "P"},
    {AT(bias), .type = DDP_KEY_BOOL, .dflt = "true", .doc = "Bias"},
    {AT(text), .type = DDP_KEY_STRING, .doc = "No default"},
    {AT(mode), .type = DDP_KEY_CHOICE, .dflt = "b", .choices = "a|b|c", .doc = "Mode"},
    {AT(list), .type = DDP_KEY_FLOAT_LIST, .dflt = "[1, 0.5]", .doc = "List"},
    {AT(names), .type = DDP_KEY_STRING_LIST, .dflt = "[x, 5]", .doc = "Names"},
    {AT(node), .type = DDP_KEY_NODE, .doc = "Node"},
    {.name = NULL},
};

static void test_keys_read(void **state)
{
    (void)state;
    struct ddp_config *cfg = fixture_ok(
        "model = { layers = ( { type = \"x\"; name = \"l\"; out = 7; },\n"
        "{ type = \"x\"; otu = 7; p = 2; bias = 1; kernel = \"a\"; pad = \"smae\"; typ = 3; mode = \"d\" },\n"
        "{ out = 1; node = ( 1 ); list = ( ); kernel = -5; pad = \"same\"; } ) };",
        NONE);
    struct layer l;
    struct ddp_error err = {0};
    memset(&l, 0xff, sizeof l);
    assert_int_equal(ddp_keys_read(cfg, ddp_node_get(cfg->tree, "model.layers[0]"), layer_keys,
                                   LIST("type", "name"), &l, &err),
                     0);
    assert_int_equal(l.out, 7);
    assert_int_equal(l.kernel, 3);
    assert_int_equal(l.pad, 0);
    assert_true(l.p == 0.5 && l.bias && l.mode == 1);
    assert_string_equal(l.text, "");
    assert_int_equal(l.list.n, 2);
    assert_true(l.list.v[0] == 1 && l.list.v[1] == 0.5);
    assert_int_equal(l.names.n, 2);
    assert_string_equal(l.names.v[1], "5");
    assert_null(l.node);
    err.code = 0;
    int status = ddp_keys_read(cfg, ddp_node_get(cfg->tree, "model.layers[1]"), layer_keys,
                               LIST("type", "name"), &l, &err);
    assert_int_equal(status, DDP_E_CONFIG);
    static const char *const fragments[] = {
        "main.cfg:2: model.layers[1].otu: unknown key; did you mean 'out'?",
        "main.cfg:2: model.layers[1].p: wants a number from 0 to 1, got 2",
        "main.cfg:2: model.layers[1].bias: wants true or false, got 1",
        "main.cfg:2: model.layers[1].kernel: wants an integer, got the text \"a\"",
        "wants an integer from 0 to 9, or \"same\", got the text \"smae\"; did you mean \"same\"?",
        "main.cfg:2: model.layers[1].typ: unknown key; did you mean 'type'?",
        "main.cfg:2: model.layers[1].mode: wants one of \"a\", \"b\", \"c\"",
        "main.cfg:2: model.layers[1].out: is missing; it wants an integer from 1 to 100 channels",
    };
    for (size_t i = 0; i < DDP_COUNT(fragments); i++)
        if (!strstr(err.text, fragments[i]))
            fail_msg("no '%s' in\n%s", fragments[i], err.text);
    err.code = 0;
    assert_int_equal(
        ddp_keys_read(cfg, ddp_node_get(cfg->tree, "model.layers[2]"), layer_keys, NULL, &l, &err), 0);
    assert_int_equal(l.list.n, 0);
    assert_int_equal(l.kernel, -5);
    assert_int_equal(l.pad, -1);
    assert_non_null(l.node);
    /* not a group at all; a table with a default that does not fit */
    err.code = 0;
    assert_int_equal(
        ddp_keys_read(cfg, ddp_node_get(cfg->tree, "model.layers[2].out"), layer_keys, NULL, &l, &err),
        DDP_E_CONFIG);
    assert_non_null(strstr(err.text, "wants a group"));
    const struct ddp_key bad[] = {{AT(p), .type = DDP_KEY_FLOAT, .dflt = "3", .min = 0, .max = 1},
                                  {.name = NULL}};
    struct ddp_node *empty = ddp_node_create(cfg->arena, DDP_NODE_GROUP, NULL, "file", 1);
    err.code = 0;
    assert_int_equal(ddp_keys_read(cfg, empty, bad, NULL, &l, &err), DDP_E_CONFIG);
    assert_non_null(strstr(err.text, "default: p"));
    assert_int_equal(ddp_keys_read(cfg, empty, bad, NULL, &l, NULL), DDP_E_CONFIG);
    ddp_config_destroy(cfg);
}

static void test_suggest(void **state)
{
    (void)state;
    static const char *const names[] = {"resnet18", "resnet34", "lenet5", "mlp", "vgg11"};
    static const struct {
        const char *given, *meant;
    } cases[] = {{"resnet81", "resnet18"}, {"resnet43", "resnet34"}, {"lenet", "lenet5"}, {"mpl", "mlp"},
                 {"vgg", "vgg11"},         {"mobilenet", NULL},      {"x", NULL},         {"", NULL}};
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        const char *got = ddp_suggest(cases[i].given, names, 5);
        if (!got != !cases[i].meant || (got && strcmp(got, cases[i].meant) != 0))
            fail_msg("%s -> %s", cases[i].given, got ? got : "none");
    }
}

/* ---- help ------------------------------------------------------------------------------------ */

static void test_help_keys(void **state)
{
    (void)state;
    struct ddp_error err = {0};
    char *text;
    for (const struct ddp_key *k = ddp_config_keys; k->name; k++)
        for (int markdown = 0; markdown < 2; markdown++) {
            assert_int_equal(ddp_config_help(k->name, markdown, &text, &err), 0);
            assert_non_null(strstr(text, k->name));
            free(text);
        }
    assert_int_equal(ddp_config_help("optim", false, &text, &err), 0);
    assert_non_null(strstr(text, "optim.lr = 0.1"));
    assert_non_null(strstr(text, "[optim]"));
    assert_non_null(strstr(text, "changes the result"));
    assert_null(strstr(text, "train.batch ="));
    free(text);
    assert_int_equal(ddp_config_help(NULL, false, &text, &err), 0);
    assert_non_null(strstr(text, "train.batch = 128"));
    assert_non_null(strstr(text, "one of \"compact\", \"spread\", \"none\""));
    free(text);
    static const struct {
        const char *key, *fragment;
    } unknown[] = {{"optim.lrr", "did you mean 'optim.lr'?"},
                   {"lr", "did you mean 'optim.lr'?"},
                   {"optm.lr", "did you mean 'optim.lr'?"},
                   {"trian", "did you mean 'train'?"},
                   {"qqqqqq", "known here: seed"}};
    for (size_t i = 0; i < DDP_COUNT(unknown); i++) {
        text = NULL;
        assert_int_equal(ddp_config_help(unknown[i].key, false, &text, &err), DDP_E_CONFIG);
        assert_null(text);
        if (!strstr(err.text, unknown[i].fragment))
            fail_msg("%s: %s", unknown[i].key, err.text);
    }
}

static void test_help_docs_are_current(void **state)
{
    (void)state;
    struct ddp_error err = {0};
    char *want, *have = NULL;
    size_t bytes;
    assert_int_equal(ddp_config_help(NULL, true, &want, &err), 0);
    if (ddp_file_read(DOCS, 0, &have, &bytes, &err) < 0 || strcmp(want, have) != 0)
        fail_msg("docs/config.md is not what the table says: ddp-launch --help-config --markdown > "
                 "docs/config.md");
    free(want);
    free(have);
}

static int write_docs(void)
{
    struct ddp_error err = {0};
    char *text;
    if (ddp_config_help(NULL, true, &text, &err) < 0 || ddp_file_write(DOCS, text, strlen(text), &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    free(text);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--write") == 0)
        return write_docs();
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_table_rows),     TEST(test_table_covers_struct),
        TEST(test_table_defaults), TEST(test_table_ranges),
        TEST(test_keys_read),      TEST(test_suggest),
        TEST(test_help_keys),      TEST(test_help_docs_are_current),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
