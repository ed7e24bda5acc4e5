/* The command line's grammar. */
#include "fixture.h"

#include <stdlib.h>
#include <string.h>

static const char config[] = "model = \"tiny\";\n"
                             "data = { base = \"small\"; limit_train = 7; };\n"
                             "optim = { base = \"sgd\"; momentum = 0.5; };\n"
                             "train: { batch = 32; };\n";

/* Overrides and a line that the resolved config must then have. */
static const struct {
    const char *override[4];
    const char *line;
} accepted[] = {
    {{"train.batch=64"}, "batch = 64;"},
    {{"--train.batch=64"}, "batch = 64;"},
    {{"train.batch= 64 "}, "batch = 64;"},
    {{"train.batch=64", "train.batch=96"}, "batch = 96;"},
    {{"seed=9223372036854775807"}, "seed = 9223372036854775807L;"},
    {{"seed=5L"}, "seed = 5;"},
    {{"seed=0x20"}, "seed = 32;"},
    {{"optim.lr=1e-3"}, "lr = 0.001;"},
    {{"optim.lr=.5"}, "lr = 0.5;"},
    {{"optim.lr=2"}, "lr = 2.0;"},
    {{"optim.type=adamw"}, "type = \"adamw\";"},
    {{"optim.type=\"adamw\""}, "type = \"adamw\";"},
    {{"optim.type='adamw'"}, "type = \"adamw\";"},
    {{"data.flip=true"}, "flip = true;"},
    {{"data.flip=True"}, "flip = true;"},
    {{"run.name=5"}, "name = \"5\";"},
    {{"run.name=true"}, "name = \"true\";"},
    {{"run.name=a=b [c], {d}"}, "name = \"a=b [c], {d}\";"},
    {{"run.name=\"5 \\\" \\n\""}, "name = \"5 \\\" \\n\";"},
    {{"data.path="}, "path = \"\";"},
    {{"optim.milestones=[1,2.5]"}, "milestones = [1.0, 2.5];"},
    {{"optim.milestones=(1, 2.5,)"}, "milestones = [1.0, 2.5];"},
    {{"optim.milestones=[]"}, "milestones = [];"},
    {{"data.files=[a, 'b c', \"d\", 5]"}, "files = [\"a\", \"b c\", \"d\", \"5\"];"},
    {{"optim.groups=({match = fc.*, lr_scale = 0.5})"}, "{ match = \"fc.*\"; lr_scale = 0.5; }"},
    {{"train={epochs = 3; shards = 4}"}, "batch = 32;"},
    {{"train={epochs = 3; shards = 4}"}, "shards = 4;"},
    /* back to the default of the table, not of the file */
    {{"~train.batch"}, "batch = 128;"},
    {{"~optim.momentum"}, "momentum = 0.9;"},
    {{"train.batch=64", "~train.batch"}, "batch = 128;"},
    {{"~run.name"}, "name = \"main\";"},
    /* groups: first of all, in whatever order they are given */
    {{"optim=adamw"}, "type = \"adamw\";"},
    {{"optim=adamw"}, "momentum = 0.9;"},
    {{"optim.base=adamw"}, "momentum = 0.5;"},
    {{"optim.base=adamw"}, "weight_decay = 0.01;"},
    {{"optim.lr=0.25", "optim=adamw"}, "lr = 0.25;"},
    {{"~optim"}, "momentum = 0.9;"},
    {{"~data.base"}, "limit_train = 7;"},
    {{"~data.base"}, "train_count = 60000;"},
    {{"data=digits"}, "limit_train = 0;"},
    {{"model=mnist_cnn"}, "type = \"softmax_cross_entropy\""},
    {{"model=configs/model/on_tiny.cfg"}, "input = [1.0, 28.0, 28.0];"},
    {{"model={layers = ({type = relu, name = r})}"}, "{ type = \"relu\"; name = \"r\"; }"},
    /* inside the layers */
    {{"model.layers[0].out=64"}, "name = \"layer1.0.conv1\"; out = 64;"},
    {{"model.layers.0.out=64"}, "name = \"layer1.0.conv1\"; out = 64;"},
    {{"model.layers.layer1.0.conv1.out=64"}, "name = \"layer1.0.conv1\"; out = 64;"},
    {{"model.layers.fc.name=5"}, "name = \"5\"; out = 10;"},
    {{"model.layers[2]={type = relu}"}, "{ type = \"relu\"; }\n"},
    {{"+model.layers.fc.bias=false"}, "out = 10; bias = false;"},
    {{"+model.layers.fc.a=[1, 2]", "model.layers.fc.a[1]=3"}, "a = [1, 3];"},
    {{"~model.layers.drop"}, "out = 4; },\n        { type = \"linear\""},
    {{"~model.layers[1].p"}, "{ type = \"dropout\"; name = \"drop\"; }"},
    {{"model=words", "model.layers.fc.out=3"}, "name = \"fc\"; out = 3;"},
    {{"model=words", "model.layers.fc.out=many"}, "name = \"fc\"; out = \"many\";"},
    {{"model=words", "model.layers.fc.name=3"}, "name = \"3\"; out = \"classes\";"},
    {{"model=on_tiny", "model.layers.fc.out=3"}, "name = \"fc\"; out = 3;"},
};

static void test_override_accepts(void **state)
{
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(accepted); i++) {
        struct ddp_error err = {0};
        struct ddp_config *cfg = fixture_ok(config, accepted[i].override);
        char *text;
        assert_int_equal(ddp_config_dump(cfg, false, &text, &err), 0);
        if (!strstr(text, accepted[i].line))
            fail_msg("%s: no '%s' in\n%s", accepted[i].override[0], accepted[i].line, text);
        free(text);
        ddp_config_destroy(cfg);
    }
}

static const struct {
    const char *override;
    const char *fragment[4];
} refused[] = {
    {"train.batch", {"command line: train.batch: an override is KEY=VALUE, +KEY=VALUE or ~KEY"}},
    {"", {"an override is KEY=VALUE"}},
    {"=3", {"its key is not a path"}},
    {"train..batch=3", {"its key is not a path"}},
    {"train.=3", {"its key is not a path"}},
    {"[3]=3", {"its key is not a path"}},
    {"3.a=3", {"its key is not a path"}},
    {"model.layers[x].out=3", {"its key is not a path"}},
    {"model.layers[1=3", {"its key is not a path"}},
    {"model.layers[9999999999].out=3", {"its key is not a path"}},
    {"tr ain.batch=3", {"its key is not a path"}},
    {"run.name=\xff", {"is not UTF-8"}},
    {"~train.batch=3", {"~KEY goes back to the default and takes no value"}},
    {"+train.batch=3", {"+train.batch=3: is a known key; write it without +"}},
    {"+optim=adamw", {"is a known key; write it without +"}},
    {"train.batsch=3", {"train.batsch=3: unknown key; did you mean 'train.batch'?"}},
    {"+new.key=1", {"+new.key=1: unknown key", "known here: seed"}},
    {"~train.batsch", {"unknown key; did you mean 'train.batch'?"}},
    {"batch=3", {"batch=3: unknown key; did you mean 'train.batch'?"}},
    {"train.batch.x=3", {"train.batch.x=3: unknown key"}},
    {"train=3", {"train=3: is a group"}},
    {"train={batch = 0}", {"command line: train.batch: wants an integer from 1", "got 0"}},
    {"train={batsch = 3}", {"command line: train.batsch: unknown key"}},
    {"train.batch=", {"train.batch=: a value is missing"}},
    {"train.batch=12x", {"command line: train.batch: wants an integer", "got the text \"12x\""}},
    {"train.batch=1.5", {"got 1.5"}},
    {"train.batch=\"64\"", {"got the text \"64\"; write it without quotes"}},
    {"seed=9223372036854775808", {"the integer is out of range"}},
    {"seed=0xFFFFFFFFFFFFFFFFF", {"command line: seed: wants an integer"}},
    {"optim.lr=nan", {"command line: optim.lr: wants a number", "nothing can be computed with that"}},
    {"optim.wd=0.1", {"unknown key; did you mean 'optim.weight_decay'?"}},
    {"optim.lr=nan", {"optim.lr: wants a number", "got the text \"nan\""}},
    {"optim.lr=inf", {"optim.lr: wants a number"}},
    {"data.flip=1", {"data.flip: wants true or false, got 1"}},
    {"device=gpuu", {"device: wants one of"}},
    {"optim.milestones=[1,2", {"its list is not closed"}},
    {"optim.milestones=[1 2]", {"optim.milestones[0]: wants a number", "\"1 2\""}},
    {"optim.milestones=['1' 2]", {"a comma is missing in the list"}},
    {"optim.milestones=[1,2]x", {"something follows its end"}},
    {"optim.milestones=[1,,2]", {"a value is missing"}},
    {"optim.milestones=5", {"write it in brackets"}},
    {"run.name='abc", {"its closing quote is missing"}},
    {"run.name='a'b", {"something follows its end"}},
    {"run.name='\\x00'", {"a text cannot hold \\x00"}},
    {"run.name='\\xff'", {"it is not UTF-8"}},
    {"optim.groups=({match})", {"its group wants { key = value, .. }"}},
    {"optim.groups=({a = 1, a = 2})", {"its group gives a key twice"}},
    {"optim.groups=({a = 'x' b = 2})", {"a comma is missing in the group"}},
    {"optim.groups=({a = 1", {"its group is not closed"}},
    {"optim.groups=({", {"its group is not closed"}},
    {"optim.groups=((((((((((((((((((((((((((((((((((", {"nested deeper than 32"}},
    {"model=tinny", {"command line: model: there is no model config named 'tinny'; did you mean 'tiny'?"}},
    {"model={layers = 5}", {"command line: model.layers: wants a list"}},
    {"model={layers = ", {"a value is missing"}},
    {"optim.base=adamww", {"did you mean 'adamw'?"}},
    {"model.layers[7].out=3", {"there is no [7] here", "layer1.0.conv1, drop, fc"}},
    {"model.layers.fd.out=3", {"there is no fd here", "there is: layer1.0.conv1, drop, fc"}},
    {"model.layers.fc.bias=false", {"there is no bias here (+ in front adds it)", "type, name, out"}},
    {"+model.layers.fc.out=3", {"is there already; write it without +"}},
    {"+model.layers.nix.out=3", {"there is no nix here"}},
    {"+model.layers[3]={type = relu}", {"only a key of a group can be added"}},
    {"~model.layers.fc.bias", {"there is no bias here"}},
    {"model.layers.fc.out.x=3", {"there is no x here"}},
};

static void test_override_refuses(void **state)
{
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(refused); i++)
        fixture_refused(config, LIST(refused[i].override), refused[i].fragment);
}

static void test_node_get(void **state)
{
    (void)state;
    struct ddp_config *cfg = fixture_ok(config, NONE);
    static const struct {
        const char *path;
        const char *found; /* its path, NULL: none */
    } cases[] = {
        {"optim.lr", "optim.lr"},
        {"seed", "seed"},
        {"launch.bind", "launch.bind"},
        {"model.layers[2].out", "model.layers[2].out"},
        {"model.layers.fc.out", "model.layers[2].out"},
        {"model.layers.layer1.0.conv1", "model.layers[0]"},
        {"model.layers.1", "model.layers[1]"},
        {"model.layers[3]", NULL},
        {"model.layers.f", NULL},
        {"optim.lrr", NULL},
        {"optim.l", NULL},
        {"optim.lr.x", NULL},
        {"optim[0]", NULL},
        {"optim..lr", NULL},
        {"optim.", NULL},
        {"model.layers[2", NULL},
        {"model.layers[]", NULL},
    };
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        char path[128];
        const struct ddp_node *node = ddp_node_get(cfg->tree, cases[i].path);
        if (!node != !cases[i].found)
            fail_msg("%s", cases[i].path);
        if (node)
            assert_string_equal(ddp_node_path(node, path, sizeof path), cases[i].found);
    }
    char small[6];
    assert_string_equal(ddp_node_path(ddp_node_get(cfg->tree, "optim.lr"), small, sizeof small), "optim");
    assert_ptr_equal(ddp_node_get(cfg->tree, ""), cfg->tree);
    ddp_config_destroy(cfg);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_override_accepts),
        TEST(test_override_refuses),
        TEST(test_node_get),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
