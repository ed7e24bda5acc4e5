/* Names of files and folders: what they are relative to, that they are absolute afterwards, and that where
 * data lies is no part of the experiment. */
#include "fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH = 512 };

/* The fixture's folder and what is below it. */
static char *below(const char *rest, char buf[PATH])
{
    assert_non_null(getcwd(buf, PATH - 100));
    return strcat(strcat(buf, "/"), rest);
}

static void make(const char *folder)
{
    struct ddp_error err = {0};
    assert_int_equal(ddp_dir_make(folder, &err), 0);
}

#define DATA(text) "data: { format = \"packed\"; " text " };"

static const struct {
    const char *what, *text, *group, *words[2], *there[2]; /* there: folders that exist */
    const char *path;                                      /* what data.path becomes, below the folder */
} places[] = {
    {"beside the file", "@include \"sub/d.cfg\"", DATA("path = \"x\";"), {NULL}, {"sub/x", "x"}, "sub/x"},
    {"dot", "@include \"sub/d.cfg\"", DATA("path = \"./x\";"), {NULL}, {"sub/x", "x"}, "sub/x"},
    {"dot and more slashes",
     "@include \"sub/d.cfg\"",
     DATA("path = \".//x\";"),
     {NULL},
     {"sub/x", "x"},
     "sub/x"},
    {"folder above", "@include \"sub/d.cfg\"", DATA("path = \"../x\";"), {NULL}, {"x", "sub/x"}, "sub/../x"},
    {"a group's file",
     "data = \"sub/d.cfg\";",
     "format = \"idx\"; path = \"x\";",
     {NULL},
     {"sub/x", "x"},
     "sub/x"},
    {"what is inline",
     "data = { base = \"sub/d.cfg\"; path = \"x\"; };",
     "format = \"idx\"; path = \"y\";",
     {NULL},
     {"sub/x", "x"},
     "x"},
    {"root by default", "@include \"sub/d.cfg\"", DATA("path = \"x\";"), {NULL}, {"data/x", "x"}, "data/x"},
    {"beside before the default root",
     "@include \"sub/d.cfg\"",
     DATA("path = \"x\";"),
     {NULL},
     {"data/x", "sub/x"},
     "sub/x"},
    {"a root that is given",
     "@include \"sub/d.cfg\"",
     DATA("path = \"x\"; root = \"r\";"),
     {NULL},
     {"sub/r/x", "sub/x"},
     "sub/r/x"},
    {"a root of the command line",
     "@include \"sub/d.cfg\"",
     DATA("path = \"x\";"),
     {"data.root=r"},
     {"r/x", "sub/x"},
     "r/x"},
    {"no such thing below the root",
     "@include \"sub/d.cfg\"",
     DATA("path = \"x\";"),
     {"data.root=r"},
     {"r", "sub/x"},
     "sub/x"},
    {"command line", "@include \"sub/d.cfg\"", DATA("path = \"x\";"), {"data.path=y"}, {"sub/y", "y"}, "y"},
    {"command line before the default root",
     "",
     "",
     {"data.format=idx", "data.path=y"},
     {"data/y", "y"},
     "y"},
};

static void test_place_data_path(void **state)
{
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(places); i++) {
        char want[PATH];
        struct ddp_error err = {0};
        make("sub");
        fixture_write("sub/d.cfg", places[i].group);
        for (int k = 0; k < 2; k++)
            make(places[i].there[k]);
        const char *words[3] = {places[i].words[0], places[i].words[1], NULL};
        struct ddp_config *cfg = fixture_ok(places[i].text, words);
        if (strcmp(cfg->data.path, below(places[i].path, want)) != 0)
            fail_msg("%s: %s, not %s", places[i].what, cfg->data.path, want);
        assert_string_equal(ddp_node_get(cfg->tree, "data.path")->s, want);
        assert_null(cfg->data_beside);
        ddp_config_destroy(cfg);
        for (const char *const *d = LIST("sub", "x", "y", "r", "data"); *d; d++)
            if (ddp_path_exists(*d))
                assert_int_equal(ddp_dir_remove(*d, &err), 0);
    }
}

/* It may be on another host: it stays relative to the root, which is absolute. */
static void test_place_nowhere(void **state)
{
    (void)state;
    char want[PATH];
    make("sub");
    fixture_write("sub/d.cfg", DATA("path = \"x\";"));
    struct ddp_config *cfg = fixture_ok("@include \"sub/d.cfg\"", NONE);
    assert_string_equal(cfg->data.path, "x");
    assert_string_equal(cfg->data.root, below("data", want));
    assert_string_equal(cfg->data_beside, below("sub", want));
    ddp_config_destroy(cfg);
}

static void test_place_others(void **state)
{
    (void)state;
    char want[PATH];
    make("sub");
    fixture_write("sub/d.cfg", "init: { from = \"w.safetensors\"; }; run: { dir = \"out\"; };");
    struct ddp_config *cfg = fixture_ok("@include \"sub/d.cfg\"", NONE);
    assert_string_equal(cfg->init.from, below("sub/w.safetensors", want)); /* whether or not it is there */
    assert_string_equal(cfg->run.dir, "out"); /* what is written goes where one is */
    ddp_config_destroy(cfg);
    cfg = fixture_ok("@include \"sub/d.cfg\"", LIST("init.from=v"));
    assert_string_equal(cfg->init.from, below("v", want));
    ddp_config_destroy(cfg);
    cfg = fixture_ok("@include \"sub/d.cfg\"", LIST("init.from=/v"));
    assert_string_equal(cfg->init.from, "/v");
    ddp_config_destroy(cfg);
}

/* From a pipe: the file lies nowhere, so names are relative to the working directory. */
static void test_place_pipe(void **state)
{
    (void)state;
    char want[PATH], name[64];
    make("x");
    int end[2];
    assert_int_equal(pipe(end), 0);
    static const char text[] = DATA("path = \"x\";");
    assert_int_equal(write(end[1], text, sizeof text - 1), sizeof text - 1);
    close(end[1]);
    snprintf(name, sizeof name, "/dev/fd/%d", end[0]);
    struct ddp_error err = {0};
    struct ddp_config *cfg = NULL;
    assert_int_equal(ddp_config_load(&(struct ddp_config_options){.path = name}, &cfg, &err), 0);
    assert_string_equal(cfg->data.path, below("x", want));
    ddp_config_destroy(cfg);
    close(end[0]);
}

/* Resolved, it means the same from everywhere; and the same data elsewhere is the same experiment. */
static void test_place_is_no_part_of_the_experiment(void **state)
{
    (void)state;
    char here[PATH], hash[3][65], *text, *again;
    struct ddp_error err = {0};
    make("sub/x");
    make("y");
    fixture_write("sub/d.cfg", DATA("path = \"x\";"));
    struct ddp_config *cfg = fixture_ok("@include \"sub/d.cfg\"", NONE), *other;
    ddp_config_experiment(cfg, hash[0]);
    assert_int_equal(ddp_config_dump(cfg, false, &text, &err), 0);
    ddp_config_destroy(cfg);
    fixture_write("resolved.cfg", text);
    const struct ddp_config_options resolved = {.path = below("resolved.cfg", here)};
    assert_int_equal(chdir("sub"), 0);
    assert_int_equal(ddp_config_load(&resolved, &cfg, &err), 0);
    assert_int_equal(chdir(".."), 0);
    assert_int_equal(ddp_config_dump(cfg, false, &again, &err), 0);
    assert_string_equal(again, text);
    ddp_config_experiment(cfg, hash[1]);
    other = fixture_ok("@include \"sub/d.cfg\"", LIST("data.path=y"));
    ddp_config_experiment(other, hash[2]);
    assert_string_equal(hash[0], hash[1]);
    assert_string_equal(hash[0], hash[2]);
    assert_int_equal(ddp_config_differ(cfg, other, true, NULL, NULL), 0);
    assert_int_equal(ddp_config_differ(cfg, other, false, NULL, NULL), 1); /* data.path */
    ddp_config_destroy(other);
    ddp_config_destroy(cfg);
    free(text);
    free(again);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_place_data_path), TEST(test_place_nowhere),
                                       TEST(test_place_others), TEST(test_place_pipe),
                                       TEST(test_place_is_no_part_of_the_experiment)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
