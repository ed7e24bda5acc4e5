/* Looking at a host in a process of its own: with the environment of ranks, and whatever becomes of it. This
 * program is that process, too. */
#include "launcher/inspect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmocka_all.h"

static const char CONFIG[] =
    "device = \"cuda\"; data = {format = \"digits\"; train_count = 64; test_count = 16;};\n";

static json_t *task_of(const char *word)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:b,s:[s]}", "config", CONFIG, "program", "/bin/sh", "folder", "/",
                     "runs", "", "marker", "", "whole", 0, "env", word);
}

/* Which plug-in a host has is a matter of what the user has set, not of what this process has. */
static void test_inspect_has_the_environment_of_ranks(void **state)
{
    struct ddp_error err = {0};
    json_t *task = task_of("DDP_CUDA_PLUGIN=/no/such/plugin.so"), *facts = NULL;
    (void)state;
    if (ddp_inspect(task, 60, &facts, &err) != 0)
        fail_msg("%s", err.text);
    const char *why = json_string_value(json_object_get(json_object_get(facts, "faults"), "gpus"));
    assert_non_null(why);
    assert_non_null(strstr(why, "/no/such/plugin.so"));
    assert_int_equal(strlen(json_string_value(json_object_get(facts, "program"))), 64);
    json_decref(facts);
    json_decref(task);
}

/* A driver that hangs, one that crashes, one that ends the process. */
static void test_inspect_tells_what_became_of_it(void **state)
{
    static const struct {
        const char *word;
        double limit_s;
        const char *says;
    } cases[] = {
        {"DDP_TEST_INSPECT=hang", 0.5, "takes too long"},
        {"DDP_TEST_INSPECT=crash", 60, "ended with signal 6: about to crash"},
        {"DDP_TEST_INSPECT=end", 60, "ended with status 9"},
        {"DDP_TEST_INSPECT=garbage", 60, "ended with status 0"},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_error err = {0};
        json_t *task = task_of(cases[i].word), *facts = NULL;
        assert_int_equal(ddp_inspect(task, cases[i].limit_s, &facts, &err), DDP_E_RESOURCE);
        assert_null(facts);
        if (!strstr(err.text, cases[i].says))
            fail_msg("%s: %s", cases[i].word, err.text);
        json_decref(task);
    }
}

static int misbehave(const char *how)
{
    if (strcmp(how, "hang") == 0)
        sleep(600);
    if (strcmp(how, "crash") == 0) {
        fprintf(stderr, "a line before\nabout to crash\n");
        abort();
    }
    if (strcmp(how, "garbage") == 0)
        printf("[not json");
    return strcmp(how, "end") == 0 ? 9 : 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inspect_has_the_environment_of_ranks),
        cmocka_unit_test(test_inspect_tells_what_became_of_it),
    };
    const char *how = getenv("DDP_TEST_INSPECT");
    if (argc > 1 && strcmp(argv[1], DDP_INSPECT_OPTION) == 0)
        return how ? misbehave(how) : ddp_inspect_main(argc - 2, argv + 2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
