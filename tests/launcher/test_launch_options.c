/* The command line: what is accepted and what is refused, with the nearest name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "launcher/options.h"

enum { WORDS = 12 };

static int parse(const char *const *words, struct ddp_options *opt, struct ddp_error *err)
{
    char *argv[WORDS + 2] = {"ddp-launch"};
    int n = 1;
    for (; *words; words++)
        argv[n++] = (char *)(uintptr_t)*words;
    return ddp_options_parse(n, argv, opt, err);
}

static void test_options_take_what_is_meant(void **state)
{
    static const struct {
        const char *words[WORDS];
        int ranks;
        const char *config, *overrides; /* joined by blanks */
        bool quiet, map, dry_run, print_config;
    } table[] = {
        {{"c.cfg"}, 0, "c.cfg", "", false, false, false, false},
        {{"-n", "4", "c.cfg"}, 4, "c.cfg", "", false, false, false, false},
        {{"--tune", "c.cfg", "--relock"}, 0, "c.cfg", "gpu.tune=true", false, false, false, false},
        {{"-n4", "c.cfg", "--quiet"}, 4, "c.cfg", "", true, false, false, false},
        {{"--ranks=4", "-q", "c.cfg"}, 4, "c.cfg", "", true, false, false, false},
        {{"c.cfg", "optim.lr=0.1", "+a.b=1", "~x.y", "model=resnet18"},
         0,
         "c.cfg",
         "optim.lr=0.1 +a.b=1 ~x.y model=resnet18",
         false,
         false,
         false,
         false},
        {{"c.cfg", "--optim.lr=0.1", "--seed=3"},
         0,
         "c.cfg",
         "--optim.lr=0.1 --seed=3",
         false,
         false,
         false,
         false},
        {{"--threads", "2", "--bind", "spread", "c.cfg"},
         0,
         "c.cfg",
         "train.threads=2 launch.bind=spread",
         false,
         false,
         false,
         false},
        {{"--bind=none", "seed=1", "c.cfg", "--threads=3"},
         0,
         "c.cfg",
         "launch.bind=none seed=1 train.threads=3",
         false,
         false,
         false,
         false},
        {{"--map", "--dry-run", "--print-config", "c.cfg"}, 0, "c.cfg", "", false, true, true, true},
        {{"--", "-odd.cfg", "seed=1"}, 0, "-odd.cfg", "seed=1", false, false, false, false},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct ddp_options opt;
        struct ddp_error err = {0};
        struct ddp_text joined;
        if (parse(table[i].words, &opt, &err) != 0)
            fail_msg("case %zu: %s", i, err.text);
        ddp_text_init(&joined);
        for (int k = 0; k < opt.overrides.n; k++)
            ddp_text_add(&joined, "%s%s", k ? " " : "", opt.overrides.w[k]);
        assert_int_equal(opt.ranks, table[i].ranks);
        assert_string_equal(opt.config, table[i].config);
        assert_string_equal(joined.s, table[i].overrides);
        assert_int_equal(opt.quiet, table[i].quiet);
        assert_int_equal(opt.map, table[i].map);
        assert_int_equal(opt.dry_run, table[i].dry_run);
        assert_int_equal(opt.print_config, table[i].print_config);
        ddp_text_finish(&joined);
        ddp_options_finish(&opt);
    }
}

static void test_options_keep_paths(void **state)
{
    struct ddp_options opt;
    struct ddp_error err = {0};
    (void)state;
    assert_int_equal(
        parse((const char *const[]){"--resume", "latest", "--program", "./mine", "c.cfg", NULL}, &opt, &err),
        0);
    assert_string_equal(opt.resume, "latest");
    assert_string_equal(opt.program, "./mine");
    assert_null(opt.eval);
    ddp_options_finish(&opt);
    assert_int_equal(parse((const char *const[]){"--eval=w.safetensors", "c.cfg", NULL}, &opt, &err), 0);
    assert_string_equal(opt.eval, "w.safetensors");
    ddp_options_finish(&opt);
}

static void test_options_keep_hosts(void **state)
{
    static const struct {
        const char *words[WORDS], *hosts, *hostfile;
        bool by_node;
    } table[] = {
        {{"c.cfg"}, NULL, NULL, false},
        {{"-H", "n0:4,n[1-2]", "c.cfg"}, "n0:4,n[1-2]", NULL, false},
        {{"-Hn0", "c.cfg"}, "n0", NULL, false},
        {{"--hosts=n0", "--map-by", "node", "c.cfg"}, "n0", NULL, true},
        {{"--hostfile", "f", "--map-by=slot", "c.cfg"}, NULL, "f", false},
        {{"--map-by", "node", "c.cfg"}, NULL, NULL, true},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct ddp_options opt;
        struct ddp_error err = {0};
        assert_int_equal(parse(table[i].words, &opt, &err), 0);
        assert_string_equal(opt.hosts ? opt.hosts : "none", table[i].hosts ? table[i].hosts : "none");
        assert_string_equal(opt.hostfile ? opt.hostfile : "none",
                            table[i].hostfile ? table[i].hostfile : "none");
        assert_int_equal(opt.by_node, table[i].by_node);
        ddp_options_finish(&opt);
    }
}

static void test_options_help_config_may_have_a_key(void **state)
{
    static const struct {
        const char *words[WORDS];
        const char *key;
        bool markdown;
    } table[] = {
        {{"--help-config"}, NULL, false},
        {{"--help-config", "optim.lr"}, "optim.lr", false},
        {{"--help-config=optim"}, "optim", false},
        {{"--help-config", "--markdown"}, NULL, true},
        {{"--markdown", "--help-config", "train"}, "train", true},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct ddp_options opt;
        struct ddp_error err = {0};
        assert_int_equal(parse(table[i].words, &opt, &err), 0);
        assert_int_equal(opt.reference, DDP_OPTION_HELP_CONFIG);
        assert_int_equal(opt.markdown, table[i].markdown);
        if (table[i].key)
            assert_string_equal(opt.help_key, table[i].key);
        else
            assert_null(opt.help_key);
        ddp_options_finish(&opt);
    }
}

static void test_options_refuse_slips(void **state)
{
    static const struct {
        const char *words[WORDS];
        const char *says;
    } table[] = {
        {{"--theads", "2", "c.cfg"}, "the nearest known one is --threads"},
        {{"--dryrun", "c.cfg"}, "the nearest known one is --dry-run"},
        {{"--resum=x", "c.cfg"}, "the nearest known one is --resume"},
        {{"-x", "c.cfg"}, "unknown option '-x'"},
        {{"-n"}, "-n needs a value"},
        {{"-n", "0", "c.cfg"}, "from 1 to 65536"},
        {{"-n", "-2", "c.cfg"}, "from 1 to 65536"},
        {{"-n", "two", "c.cfg"}, "-n two"},
        {{"-n", "65537", "c.cfg"}, "from 1 to 65536"},
        {{"--threads", "-1", "c.cfg"}, "from 1 to 4096, or 0"},
        {{"-np", "2", "c.cfg"}, "-np is mpirun's"},
        {{"--wd=0.1", "c.cfg"}, "the key optim.weight_decay=VALUE"},
        {{"--threads", "1.5", "c.cfg"}, "--threads 1.5"},
        {{"--bind", "core", "c.cfg"}, "compact, spread and none"},
        {{"--quiet=yes", "c.cfg"}, "takes no value"},
        {{"--resume", "--quiet", "c.cfg"}, "--resume needs a value"},
        {{"a.cfg", "b.cfg"}, "two configs"},
        {{"seed=1"}, "no CONFIG"},
        {{NULL}, "no CONFIG"},
        {{"--resume", "latest", "--eval", "x", "c.cfg"}, "give one of them"},
        {{"-H"}, "-H needs a value"},
        {{"--map-by", "core", "c.cfg"}, "slot (host by host) and node (round the hosts)"},
        {{"-H", "n0", "--hostfile", "f", "c.cfg"}, "give one of them"},
        {{"--hostflie=f", "c.cfg"}, "the nearest known one is --hostfile"},
        {{"--markdown", "c.cfg"}, "belongs to --help-config"},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct ddp_options opt;
        struct ddp_error err = {0};
        if (parse(table[i].words, &opt, &err) != DDP_E_USAGE)
            fail_msg("case %zu was accepted", i);
        if (!strstr(err.text, table[i].says))
            fail_msg("case %zu: '%s' is not in '%s'", i, table[i].says, err.text);
    }
}

static void test_words_quote_for_the_shell(void **state)
{
    static const char *const table[][2] = {
        {"plain-1.0/a=b", "plain-1.0/a=b"},
        {"", "''"},
        {"a b", "'a b'"},
        {"it's", "'it'\\''s'"},
        {"$x;", "'$x;'"},
        {"~a.b", "'~a.b'"},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct ddp_text t;
        ddp_text_init(&t);
        ddp_words_quote(table[i][0], &t);
        assert_string_equal(t.s, table[i][1]);
        ddp_text_finish(&t);
    }
}

/* What is said again is read again as it was. */
static void test_options_again_are_the_same(void **state)
{
    (void)state;
    struct ddp_options first, second;
    struct ddp_words words = {0};
    struct ddp_error err = {0};
    static const char *const given[] = {"-H",     "n0:2,n1",      "--map-by",  "node",     "--starter",
                                        "mpirun", "--restarts=2", "--program", "./my own", "c.cfg",
                                        NULL};
    assert_int_equal(parse(given, &first, &err), 0);
    ddp_options_again(&first, &words);
    ddp_words_add(&words, "c.cfg");
    assert_int_equal(parse((const char *const *)words.w, &second, &err), 0);
    assert_string_equal(second.hosts, "n0:2,n1");
    assert_string_equal(second.starter, "mpirun");
    assert_string_equal(second.program, "./my own");
    assert_true(second.by_node && second.restarts == 2 && !second.hostfile);
    ddp_options_finish(&second);
    ddp_options_finish(&first);
    ddp_words_finish(&words);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_take_what_is_meant),
        cmocka_unit_test(test_options_keep_paths),
        cmocka_unit_test(test_options_keep_hosts),
        cmocka_unit_test(test_options_help_config_may_have_a_key),
        cmocka_unit_test(test_options_refuse_slips),
        cmocka_unit_test(test_options_again_are_the_same),
        cmocka_unit_test(test_words_quote_for_the_shell),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
