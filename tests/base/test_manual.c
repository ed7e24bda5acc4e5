/* What a program says of itself: --help fits a terminal, the page is roff, options are read by that table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

enum { RANKS = 1, KEY, QUIET, QUOTE, CHECK };

static const struct ddp_option options[] = {
    {"--ranks", "-n", "N", RANKS,
     "Ranks to start, of which there may be as many as there are shards, and no more."},
    {"--help-config", NULL, "[KEY]", KEY, "The reference."},
    {"--quiet", "-q", NULL, QUIET, "Say little."},
    {"--check", NULL, "[=full]", CHECK, "Look."},
    {"--an-option-with-a-name-of-some-length", NULL, "A-VALUE", QUOTE,
     ".begins with a point, holds \\ and 'quotes'"},
    DDP_COMMON_OPTIONS,
    {0},
};
static const char *const usage[] = {"[options] CONFIG", "--resume RUN", NULL};
static const struct ddp_manual_section sections[] = {
    {"Exit codes",
     "0\tdone\n130\tstopped, which is said at such length here that it takes another line of the screen",
     false},
    {"Examples", "  ddp-test -n 8 a.cfg\n\nAnd then\nmore text\n.not a request", false},
    {"Files", "/only/in/the/page\twhat lies there", true},
    {0},
};
static const struct ddp_manual manual = {
    .name = "ddp-test",
    .summary = "a program for tests",
    .usage = usage,
    .about = "First paragraph, which is long enough that it has to be filled over more than one line of a "
             "terminal.\n"
             "\nSecond paragraph.",
    .options = options,
    .sections = sections,
};

static void test_help_fits_a_terminal(void **state)
{
    (void)state;
    char *text = ddp_manual_help(&manual);
    for (const char *line = text; *line; line += strcspn(line, "\n") + 1) {
        if (strcspn(line, "\n") > 79)
            fail_msg("%.*s", (int)strcspn(line, "\n"), line);
        assert_true(strcspn(line, "\n") == 0 || line[strcspn(line, "\n") - 1] != ' ');
    }
    static const char *const says[] = {
        "usage: ddp-test [options] CONFIG\n       ddp-test --resume RUN\n\nFirst paragraph",
        "\n\nSecond paragraph.\n\n",
        "\n  -n, --ranks N           Ranks to start,",
        "\n                          ",
        "\n  --help-config [KEY]     The reference.\n",
        "\n  --check[=full]          Look.\n",
        "\n  --an-option-with-a-name-of-some-length A-VALUE\n                          .begins",
        "\n  -h, --help              Print this summary.\n",
        "\nExit codes:\n  0         done\n  130       stopped",
        "\n    ddp-test -n 8 a.cfg\n\n  And then more text .not a request\n",
    };
    for (size_t i = 0; i < DDP_COUNT(says); i++)
        if (!strstr(text, says[i]))
            fail_msg("not in the text: %s\n%s", says[i], text);
    assert_null(strstr(text, "/only/in/the/page"));
    free(text);
}

static void test_page_is_roff(void **state)
{
    (void)state;
    char *page = ddp_manual_page(&manual);
    static const char *const says[] = {
        ".TH \"DDP-TEST\" 1 \"\" \"ddp ",
        "\n.SH NAME\nddp\\-test \\- a program for tests\n",
        "\n\\fBddp\\-test\\fP [options] CONFIG\n.br\n\\fBddp\\-test\\fP \\-\\-resume RUN\n",
        "\n.TP\n\\fB\\-n\\fP, \\fB\\-\\-ranks\\fP \\fIN\\fP\nRanks",
        "\n\\&.begins with a point, holds \\e and 'quotes'\n",
        "\n.SH \"EXIT CODES\"\n.TP\n\\fB0\\fP\ndone\n",
        "\n.nf\n  ddp\\-test \\-n 8 a.cfg\n.fi\n",
        "\n\\&.not a request\n",
        "\\fB/only/in/the/page\\fP\n",
    };
    for (size_t i = 0; i < DDP_COUNT(says); i++)
        if (!strstr(page, says[i]))
            fail_msg("not in the page: %s\n%s", says[i], page);
    for (const struct ddp_option *o = options; o->name; o++) { /* all of them, in both */
        char *text = ddp_manual_help(&manual);
        assert_non_null(strstr(text, o->name));
        free(text);
    }
    free(page);
}

static void test_options_are_read_by_the_table(void **state)
{
    (void)state;
    static const struct {
        const char *words[8];
        const char *id_and_value[8]; /* of each in turn: "1:8", "word" */
        const char *error;
    } rows[] = {
        {{"-n", "8", "a.cfg"}, {"1:8", "a.cfg"}, NULL},
        {{"-n8", "--ranks=3", "--ranks", "-1"}, {"1:8", "1:3", "1:-1"}, NULL},
        {{"--help-config", "optim", "--help-config"}, {"2:optim", "2:"}, NULL},
        {{"--help-config", "-q", "--help-config=x"}, {"2:", "3:", "2:x"}, NULL},
        {{"--check", "x", "--check=full"}, {"5:", "x", "5:full"}, NULL},
        {{"-q", "--", "-q", "--ranks"}, {"3:", "-q", "--ranks"}, NULL},
        {{"-", "x"}, {"-", "x"}, NULL},
        {{"-h"}, {"10001:"}, NULL},
        {{"--version", "--man"}, {"10002:", "10003:"}, NULL},
        {{"--rank", "8"},
         {NULL},
         "unknown option '--rank'; the nearest known one is --ranks (ddp-test --help"},
        {{"-x"}, {NULL}, "unknown option '-x'"},
        {{"a", "--ranks"}, {"a"}, "option --ranks needs a value behind it: N"},
        {{"--ranks", "--quiet"}, {NULL}, "option --ranks needs a value"},
        {{"--quiet=3"}, {NULL}, "option --quiet takes no value, '--quiet=3' came with one"},
    };
    for (size_t i = 0; i < DDP_COUNT(rows); i++) {
        char *argv[16] = {"ddp-test"};
        struct ddp_option_walk walk = {.argv = argv, .argc = 1, .at = 1};
        struct ddp_error err = {0};
        const char *value;
        int id = DDP_OPTION_WORD, n = 0, rc = 0;
        for (int k = 0; rows[i].words[k]; k++)
            argv[walk.argc++] = (char *)(uintptr_t)rows[i].words[k];
        for (;;) {
            char got[64];
            rc = ddp_option_next(&walk, &manual, &id, &value, &err);
            if (rc != 0 || id == DDP_OPTION_END)
                break;
            if (id == DDP_OPTION_WORD)
                snprintf(got, sizeof got, "%s", value);
            else
                snprintf(got, sizeof got, "%d:%s", id, value ? value : "");
            assert_non_null(rows[i].id_and_value[n]);
            assert_string_equal(got, rows[i].id_and_value[n]);
            n++;
        }
        assert_null(rows[i].id_and_value[n]);
        assert_int_equal(rc, rows[i].error ? DDP_E_USAGE : 0);
        if (rows[i].error && !strstr(err.text, rows[i].error))
            fail_msg("row %zu: %s", i, err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_help_fits_a_terminal),
        cmocka_unit_test(test_page_is_roff),
        cmocka_unit_test(test_options_are_read_by_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
