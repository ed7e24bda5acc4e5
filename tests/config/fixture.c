/* Writing the small groups, loading a config from text, and expecting errors. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64];
static char before[4096];

void fixture_write(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

int fixture_setup(void **state)
{
    (void)state;
    struct ddp_error err = {0};
    for (const struct ddp_env_var *v = ddp_env_vars; v->name; v++)
        unsetenv(v->name);
    strcpy(folder, "/tmp/ddp-config-XXXXXX");
    if (!getcwd(before, sizeof before) || !mkdtemp(folder) || chdir(folder) < 0)
        return -1;
    if (ddp_dir_make("configs/model", &err) < 0 || ddp_dir_make("configs/data", &err) < 0 ||
        ddp_dir_make("configs/optim", &err) < 0)
        return -1;
    fixture_write("configs/model/mnist_cnn.cfg",
                  "layers = ( { type = \"linear\", name = \"fc\", out = 10 },\n"
                  "           { type = \"softmax_cross_entropy\", name = \"loss\" } )\n");
    fixture_write("configs/model/tiny.cfg", "layers = (\n"
                                            "  { type = \"conv2d\"; name = \"layer1.0.conv1\"; out = 4; },\n"
                                            "  { type = \"dropout\"; name = \"drop\"; p = 0.25; },\n"
                                            "  { type = \"linear\"; name = \"fc\"; out = 10; },\n"
                                            ");\n");
    fixture_write("configs/model/on_tiny.cfg", "base = \"tiny\";\ninput = [1, 28, 28];\n");
    fixture_write("configs/model/words.cfg",
                  "layers = ( { type = \"linear\"; name = \"fc\"; out = \"classes\"; } );\n");
    fixture_write("configs/data/digits.cfg", "format = \"digits\";\n");
    fixture_write("configs/data/small.cfg",
                  "format = \"digits\";\ntrain_count = 100;\nmean = [0.5];\nstd = [0.25];\n");
    fixture_write("configs/optim/sgd.cfg", "type = \"sgd\";\nlr = 0.1;\n");
    fixture_write("configs/optim/adamw.cfg", "type = \"adamw\";\nlr = 0.001;\nweight_decay = 0.01;\n");
    return 0;
}

int fixture_teardown(void **state)
{
    (void)state;
    struct ddp_error err = {0};
    return chdir(before) < 0 || ddp_dir_remove(folder, &err) < 0 ? -1 : 0;
}

struct ddp_config *fixture_load(const char *text, const char *const *overrides, struct ddp_error *err)
{
    int n = 0;
    while (overrides && overrides[n])
        n++;
    if (text)
        fixture_write("main.cfg", text);
    struct ddp_config_options opt = {
        .path = text ? "main.cfg" : NULL, .overrides = overrides, .noverrides = n};
    struct ddp_config *cfg = NULL;
    int status = ddp_config_load(&opt, &cfg, err);
    assert_true((status == 0) == (cfg != NULL));
    assert_int_equal(status, err->code);
    assert_true((status == 0) == (err->text[0] == '\0'));
    return cfg;
}

struct ddp_config *fixture_ok(const char *text, const char *const *overrides)
{
    struct ddp_error err = {0};
    struct ddp_config *cfg = fixture_load(text, overrides, &err);
    if (!cfg)
        fail_msg("refused:\n%s\n%s", text ? text : "", err.text);
    return cfg;
}

void fixture_refused(const char *text, const char *const *overrides, const char *const *fragments)
{
    struct ddp_error err = {0};
    struct ddp_config *cfg = fixture_load(text, overrides, &err);
    if (cfg)
        fail_msg("accepted:\n%s", text ? text : overrides[0]);
    assert_int_equal(err.code, DDP_E_CONFIG);
    for (; *fragments; fragments++)
        if (!strstr(err.text, *fragments))
            fail_msg("not in the message: %s\n%s", *fragments, err.text);
}
