/* Files: what is accepted and into what, what is refused and with which words; groups; includes. */
#include "fixture.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- accepted -------------------------------------------------------------------------------- */

static void test_config_defaults(void **state)
{
    (void)state;
    struct ddp_config *cfg = fixture_ok("", NONE);
    assert_int_equal(cfg->seed, 1);
    assert_int_equal(cfg->train.batch, 128);
    assert_int_equal(cfg->train.shards, 8);
    assert_string_equal(cfg->model.name, "mnist_cnn");
    assert_string_equal(cfg->data.name, "digits");
    assert_string_equal(cfg->optim.name, "sgd");
    char here[300];
    assert_non_null(getcwd(here, sizeof here - 8));
    assert_string_equal(cfg->data.root, strcat(here, "/data"));
    assert_string_equal(cfg->run.name, "main");
    assert_int_equal(cfg->reduce.mode, DDP_REDUCE_CANONICAL);
    assert_int_equal(ddp_node_count(cfg->model.layers), 2);
    assert_null(cfg->optim.groups);
    ddp_config_destroy(cfg);
    cfg = fixture_ok(NULL, LIST("train.batch=16"));
    assert_int_equal(cfg->train.batch, 16);
    assert_string_equal(cfg->run.name, "run");
    ddp_config_destroy(cfg);
    ddp_config_destroy(NULL);
}

/* A line of config and what the resolved one must then say. */
static const struct {
    const char *text, *line;
} accepted[] = {
    {"seed = 9223372036854775807;", "seed = 9223372036854775807L;"},
    {"seed = 9223372036854775807L;", "seed = 9223372036854775807L;"},
    {"seed = 2147483648", "seed = 2147483648L;"},
    {"seed = 0x10;", "seed = 16;"},
    {"seed = 0xFFFFFFFF;", "seed = 4294967295L;"},
    {"seed = 007;", "seed = 7;"},
    {"train: { batch = 256; };", "batch = 256;"},
    {"train = { batch = +64 }", "batch = 64;"},
    {"optim = { lr = 1 };", "lr = 1.0;"},
    {"optim = { lr = .5 };", "lr = 0.5;"},
    {"optim = { lr = 1e-5 };", "lr = 1e-05;"},
    {"optim = { lr = 0.1; eps = 1.0000000000000002e-8 };", "eps = 1.0000000000000002e-08;"},
    {"data = { mean = [0, 0.5]; std = (1, 0.25); };", "mean = [0.0, 0.5];"},
    {"data = { mean = [ ]; };", "mean = [];"},
    {"data = { files = [\"a\", \"b\"]; };", "files = [\"a\", \"b\"];"},
    {"data = { files = (\"a\", \"b\",); };", "files = [\"a\", \"b\"];"},
    {"data = { flip = TRUE; };", "flip = true;"},
    {"optim = { type = \"lamb\"; };", "type = \"lamb\";"},
    {"run = { name = \"a\\\"b\\\\c\\n\\x01\"; };", "name = \"a\\\"b\\\\c\\n\\x01\";"},
    {"run = { name = \"one\" \"two\"; };", "name = \"onetwo\";"},
    {"run = { name = \"gr\xc3\xbc\xc3\x9f\"; };", "name = \"gr\xc3\xbc\xc3\x9f\";"},
    {"/* seed = 3; */ // seed = 4\n# seed = 5\nseed = 6;", "seed = 6;"},
    {"run = { dir = \"/* no comment */ # none\"; };", "dir = \"/* no comment */ # none\";"},
    {"model = \"tiny\";", "name = \"tiny\";"},
    {"model = \"configs/model/tiny.cfg\";", "name = \"tiny\";"},
    {"model = \"on_tiny\";", "input = [1.0, 28.0, 28.0];"},
    {"model = \"on_tiny\";", "name = \"on_tiny\";"},
    {"model = { layers = ( { type = \"x\" } ) };", "name = \"inline\";"},
    {"model = { base = \"tiny\"; input = [3, 8, 8]; };", "input = [3.0, 8.0, 8.0];"},
    {"model = { base = \"tiny\"; };", "name = \"tiny\";"},
    {"data = { base = \"small\"; train_count = 50; };", "train_count = 50;"},
    {"data = { base = \"small\"; train_count = 50; };", "mean = [0.5];"},
    {"optim = { base = \"adamw\"; lr = 0.5; };", "weight_decay = 0.01;"},
    {"optim = { groups = ( { match = \"fc.*\"; lr_scale = 0.1; } ); };",
     "{ match = \"fc.*\"; lr_scale = 0.1; }"},
};

static void test_config_accepts(void **state)
{
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(accepted); i++) {
        struct ddp_error err = {0};
        struct ddp_config *cfg = fixture_ok(accepted[i].text, NONE);
        char *text;
        assert_int_equal(ddp_config_dump(cfg, false, &text, &err), 0);
        if (!strstr(text, accepted[i].line))
            fail_msg("%s: no '%s' in\n%s", accepted[i].text, accepted[i].line, text);
        free(text);
        ddp_config_destroy(cfg);
    }
}

/* ---- refused --------------------------------------------------------------------------------- */

static const struct {
    const char *text;
    const char *fragment[5];
} refused[] = {
    /* keys */
    {"trian: { batch = 1; };", {"main.cfg:1: trian: unknown key", "did you mean 'train'"}},
    {"\n\nlr = 0.1;", {"main.cfg:3: lr: unknown key", "did you mean 'optim.lr'"}},
    {"train: {\n batsch = 1; };", {"main.cfg:2: train.batsch: unknown key", "'train.batch'"}},
    {"train: { lr = 1.0; };", {"train.lr: unknown key", "'optim.lr'"}},
    {"train: { qqqqqq = 1; };", {"train.qqqqqq: unknown key", "known here: batch, batch_per_rank"}},
    {"qqqqqq = 1;", {"qqqqqq: unknown key", "known here: seed, device, train"}},
    {"train = 5;", {"main.cfg:1: train: wants a group", "got 5"}},
    {"seed = 1;\nseed = 2;", {"main.cfg:2: seed: given twice, first in main.cfg:1"}},
    {"train: { batch = 64; };\ntrain: { shards = 2; };", {"main.cfg:2: train: given twice"}},
    {"train: { batch = 64; batch = 64; };", {"train.batch: given twice"}},
    /* types */
    {"train: { batch = 12.5; };",
     {"main.cfg:1: train.batch: wants an integer from 1 to 16777216 images, got 12.5"}},
    {"train: { batch = 128.0; };", {"got 128.0; write it without a point"}},
    {"train: { batch = \"128\"; };", {"got the text \"128\"; write it without quotes"}},
    {"train: { batch = true; };", {"train.batch: wants an integer", "got true"}},
    {"train: { batch = [1]; };", {"got a list of 1; one value, without brackets"}},
    {"train: { batch = { a = 1; }; };", {"train.batch: wants an integer", "got a group"}},
    {"optim: { lr = \"fast\"; };", {"optim.lr: wants a number from 0 to 1000, got the text \"fast\""}},
    {"optim: { lr = \"0.1\"; };", {"write it without quotes"}},
    {"data: { flip = 1; };", {"data.flip: wants true or false, got 1; write true"}},
    {"data: { flip = \"true\"; };",
     {"data.flip: wants true or false, got the text \"true\"; write true or false without"}},
    {"run: { name = 5; };", {"run.name: wants a text in quotes, got 5; write it in quotes"}},
    {"device = \"cuda0\";",
     {"device: wants one of \"auto\", \"cpu\", \"cuda\", got the text \"cuda0\"; did you mean \"cuda\"?"}},
    {"device = 1;", {"device: wants one of", "got 1; write it in quotes"}},
    {"log: { level = \"infos\"; };", {"log.level: wants one of \"error\"", "did you mean \"info\"?"}},
    {"data: { mean = 0.5; std = [1]; };", {"data.mean: wants a list", "got 0.5; write it in brackets"}},
    {"data: { mean = [1]; std = [\"1\"]; };", {"data.std[0]: wants a number", "write it without quotes"}},
    {"data: { files = \"a\"; };", {"data.files: wants a list", "write it in brackets"}},
    {"data: { files = [\"a\", 2]; };", {"data.files[1]: wants a text in quotes, got 2"}},
    {"optim: { groups = 3; };", {"optim.groups: wants a list ( {..}, .. ) of groups, got 3"}},
    /* ranges */
    {"seed = -1;", {"seed: wants an integer from 0 to 9223372036854775807, got -1"}},
    {"train: { batch = 0; };", {"train.batch: wants an integer from 1", "got 0"}},
    {"train: { batch = 16777217; };", {"got 16777217"}},
    {"optim: { momentum = 1; };", {"optim.momentum: wants a number from 0 to 0.999999, got 1"}},
    {"optim: { lr = -0.1; };", {"optim.lr: wants", "got -0.1"}},
    {"data: { mean = [0.5]; std = [0]; };", {"data.std[0]: wants a number from 1e-30 to "}},
    {"seed = 9223372036854775808;", {"main.cfg:1: the integer 9223372036854775808 is out of range"}},
    {"seed = 99999999999999999999L;", {"out of range"}},
    {"seed = 0xFFFFFFFFFFFFFFFF;", {"main.cfg:1: the integer 0xFFFFFFFFFFFFFFFF is out of range"}},
    {"seed = 0x8000000000000000L;", {"main.cfg:1: the integer 0x8000000000000000 is out of range"}},
    {"seed = 0xFFFFFFFFFFFFFFFFFFFFF;", {"out of range"}},
    {"train: { batch = -0xFFFFFFFFFFFFFFFFF; };", {"out of range"}},
    {"train: { batch = 0x1p4; };", {"'0x1p4' is not a number"}},
    {"train: { batch = 0x; };", {"'0x' is not a number"}},
    {"train: { batch = -0x10; };", {"train.batch: wants an integer from 1", "got -16"}},
    {"optim: { lr = \"nan\"; };", {"got the text \"nan\"; nothing can be computed with that"}},
    {"optim: { lr = \"-inf\"; };", {"nothing can be computed with that"}},
    /* the command line's form */
    {"seed = 1;\noptim.lr = 0.1;\nseed = 2;",
     {"main.cfg:2: optim.lr: in a file a key of a group is written optim: { lr = 0.1; }",
      "main.cfg:3: seed: given twice"}},
    {"model.name=\"x y\" ; # z", {"main.cfg:1: model.name: in a file", "written model: { name = \"x y\"; }"}},
    {"optim.lr", {"written optim: { lr = ..; }"}},
    /* names of others */
    {"optim: { wd = 0.1; };", {"optim.wd: unknown key; did you mean 'optim.weight_decay'?"}},
    {"wd = 0.1;", {"did you mean 'optim.weight_decay'?"}},
    {"optim: { learning_rate = 0.1; };", {"did you mean 'optim.lr'?"}},
    {"batch_size = 3;", {"did you mean 'train.batch'?"}},
    {"train: { max_grad_norm = 1.0; };", {"did you mean 'optim.clip_norm'?"}},
    {"data: { num_workers = 1; };", {"did you mean 'data.workers'?"}},
    /* one of a thing */
    {"model: { base = \"tiny\"; input = [1]; };", {"got 1 number"}},
    {"data: { mean = [0.5]; };", {"data.mean has 1 number and data.std 0"}},
    {"train: { batch = 1; };", {"a batch of 1 image cannot"}},
    {"optim: { lr = 1e999; };", {"main.cfg:1: '1e999' is not a number, or too large"}},
    /* text that does not parse */
    {"model = tiny;", {"main.cfg:1: a text needs quotes: write \"tiny\""}},
    {"data: { files = [a, \"b\"]; };", {"a text needs quotes: write \"a\""}},
    {"seed = ;", {"main.cfg:1: a value is missing after 'seed'"}},
    {"train: {\n batch = 1;\n", {"main.cfg:1: '{' is never closed"}},
    {"train: { batch = 1; ) ;", {"main.cfg:1: closes '{' of line 1 with ')'"}},
    {"seed = 1; }", {"main.cfg:1: '}' closes nothing"}},
    {"seed 1;", {"main.cfg:1: syntax error near: seed 1;", "key = value"}},
    {"\nseed = 1 2;", {"main.cfg:2: syntax error"}},
    {"run: { name = \"abc; };\n", {"main.cfg:1: a text that begins here never ends"}},
    {"seed = 1; /* open", {"main.cfg:1: a comment that begins here never ends"}},
    {"seed = 1.2.3;", {"'1.2.3' is not a number"}},
    {"seed = 1; \x01", {"'\\x01' has no meaning here"}},
    {"seed = 1; $", {"'$' has no meaning here"}},
    {"run: { name = \"\xff\"; };", {"main.cfg: is not text in UTF-8"}},
    {"run: { name = \"\xc0\x80\"; };", {"is not text in UTF-8"}},
    {"run: { name = \"\xed\xa0\x80\"; };", {"is not text in UTF-8"}},
    {"run: { name = \"\\xff\"; };", {"main.cfg:1: the text that its \\x escapes make is not UTF-8"}},
    {"run: { name = \"\\x00\"; };", {"cannot hold \\x00"}},
    {"a = ((((((((((((((((((((((((((((((((((1))))))))))))))))))))))))))))))))));", {"nested deeper than 32"}},
    /* groups */
    {"model = \"tinny\";",
     {"main.cfg:1: model: there is no model config named 'tinny'", "did you mean 'tiny'?", "mnist_cnn",
      "configs"}},
    {"data = \"zzzzzz\";", {"there is no data config named 'zzzzzz'; there are:", "digits", "small"}},
    {"optim = \"\";", {"optim: wants the name of a file in configs/optim, got \"\""}},
    {"model = \"./none.cfg\";", {"main.cfg:1: model: the file ./none.cfg does not exist"}},
    {"optim = [1];", {"optim: wants the name of a file in configs/optim or a group { .. }, got a list of 1"}},
    {"optim = { base = 3; };", {"optim.base: wants the name of a file in configs/optim in quotes, got 3"}},
    {"optim = { base = \"adamww\"; };", {"no optim config named 'adamww'; did you mean 'adamw'?"}},
    /* keys that must agree */
    {"train: { batch = 4; };",
     {"main.cfg:1: train.batch: a batch of 4 images cannot be cut into train.shards = 8",
      "lower train.shards to 4"}},
    {"train: { batch = 8192; shards = 4096; accumulate = 17; };",
     {"train.accumulate: train.shards * train.accumulate is 69632; wants at most 65536"}},
    {"train: { early_stop = 2; };\neval: { every_epochs = 0; };",
     {"main.cfg:1: train.early_stop", "eval.every_epochs >= 1"}},
    {"model: { layers = (); };", {"model.layers: the model has no layers"}},
    {"model: { input = [1, 2, 3]; };", {"model.layers: the model has no layers"}},
    {"model: { layers = { type = \"x\"; }; };", {"model.layers: wants a list of groups", "got a group"}},
    {"model: { base = \"tiny\"; input = [1, 2]; };",
     {"model.input: wants [channels, height, width]", "got 2 numbers"}},
    {"model: { base = \"tiny\"; input = [1, 2, 2.5]; };", {"model.input: wants whole numbers"}},
    {"data: { mean = [0.5, 0.5]; std = [1]; };", {"data.mean: data.mean has 2 numbers and data.std 1"}},
    {"data: { std = [1]; };", {"data.std: data.mean has 0 numbers and data.std 1"}},
    {"data: { mean = [1,1,1,1,1]; std = [1,1,1,1,1]; };",
     {"data.mean: has 5 numbers; pictures have 1 to 4 channels"}},
    {"data: { format = \"packed\"; };",
     {"data.path: is empty; format \"packed\" wants the file that `ddp-data pack` wrote"}},
    {"data: { format = \"idx\"; };", {"data.path: is empty; format \"idx\" wants the folder"}},
    {"data: { format = \"\"; };", {"data.format: is empty"}},
    {"optim: { milestones = [3, 2]; };", {"optim.milestones: wants ascending epochs, but 2.0 follows 3.0"}},
    {"optim: { milestones = [2, 2]; };", {"optim.milestones: wants ascending epochs"}},
    {"optim: { schedule = \"step\"; };", {"optim.milestones: is empty"}},
    {"optim: { schedule = \"cosine\"; final_lr = 1.0; };", {"optim.final_lr: is above optim.lr"}},
    {"optim: { nesterov = true; momentum = 0; };", {"optim.nesterov: wants optim.momentum > 0"}},
    {"optim: { nesterov = true; dampening = 0.5; };", {"optim.nesterov: wants"}},
    {"optim: { groups = { match = \"a\"; }; };", {"optim.groups: wants a list of groups"}},
    {"run: { dir = \"\"; };", {"run.dir: is empty"}},
    {"run: { name = \"a/b\"; };", {"run.name", "cannot hold '/'"}},
};

static void test_config_refuses(void **state)
{
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(refused); i++)
        fixture_refused(refused[i].text, NONE, refused[i].fragment);
}

static void test_config_shows_all_errors(void **state)
{
    (void)state;
    setenv("DDP_DATADIR", "x", 1);
    fixture_refused(
        "sed = 1;\ntrain: { batch = \"a\"; shards = 0; };\nmodel = \"nix\";\noptim: { lr = \"x\"; };",
        LIST("nothing", "optm.lr=1"),
        LIST("environment: DDP_DATADIR means nothing", "is DDP_DATA_DIR", "main.cfg:1: sed: unknown key",
             "main.cfg:2: train.batch", "main.cfg:2: train.shards", "main.cfg:3: model: there is no",
             "main.cfg:4: optim.lr", "command line: nothing: an override is KEY=VALUE",
             "command line: optm.lr=1: unknown key; did you mean 'optim.lr'?"));
    unsetenv("DDP_DATADIR");
}

/* ---- files ----------------------------------------------------------------------------------- */

static void test_config_include(void **state)
{
    (void)state;
    mkdir("parts", 0755);
    fixture_write("parts/a.cfg", "batch = 64; # no newline at the end\n@include \"b.cfg\"");
    fixture_write("parts/b.cfg", "shards = 4;\nepochs = \"x\";");
    const char *text = "# comment\ntrain: {\n@include \"parts/a.cfg\"\n};\nseed = -5;\n";
    fixture_refused(text, NONE, LIST("parts/b.cfg:2: train.epochs", "main.cfg:5: seed"));
    fixture_write("parts/b.cfg", "shards = 4;\n");
    struct ddp_config *cfg =
        fixture_ok("# comment\ntrain: {\n  @include \"parts/a.cfg\"\n};\nseed = 5;\n", NONE);
    assert_int_equal(cfg->train.batch, 64);
    assert_int_equal(cfg->train.shards, 4);
    assert_int_equal(cfg->seed, 5);
    ddp_config_destroy(cfg);
    /* in texts and comments it is no include */
    cfg = fixture_ok("/*\n@include \"nix\"\n*/\nrun: { dir = \"\n@include\"; };", NONE);
    assert_string_equal(cfg->run.dir, "\n@include");
    ddp_config_destroy(cfg);
    /* the same file twice, one after the other, is no loop */
    fixture_write("empty.cfg", "# nothing\n");
    ddp_config_destroy(fixture_ok("@include \"empty.cfg\"\n@include \"empty.cfg\"\n", NONE));
}

static void test_config_include_faults(void **state)
{
    (void)state;
    fixture_write("x.cfg", "seed = 1;\n@include \"y.cfg\"\n");
    fixture_write("y.cfg", "\n\n@include \"./x.cfg\"\n");
    fixture_refused("@include \"x.cfg\"\n", NONE,
                    LIST("y.cfg:3: @include \"./x.cfg\" goes round in a circle: x.cfg -> y.cfg -> x.cfg"));
    fixture_refused("@include \"main.cfg\"\n", NONE,
                    LIST("main.cfg:1: @include \"main.cfg\" goes round in a circle: main.cfg -> main.cfg"));
    fixture_refused("\n@include \"nix.cfg\"\n", NONE,
                    LIST("main.cfg:2: @include: cannot read the config: nix.cfg", "No such file"));
    fixture_refused("@include nix\n", NONE, LIST("main.cfg:1: @include wants the name of a file in quotes"));
    fixture_refused("@include \"\"\n", NONE, LIST("main.cfg:1: @include wants the name of a file in quotes"));
    fixture_refused("seed = @include \"x\"\n", NONE, LIST("main.cfg:1: '@' has no meaning here"));
    fixture_write("x.cfg", "seed = 1;\n");
    fixture_refused("seed = 2;\n@include \"x.cfg\"\n", NONE,
                    LIST("x.cfg:1: seed: given twice, first in main.cfg:1"));
}

/* Time may not grow with the square of what is written, nor can a tree of includes. */
static void test_config_is_limited(void **state)
{
    (void)state;
    struct ddp_text t;
    const double began = ddp_now();

    ddp_text_init(&t);
    ddp_text_add(&t, "train: {\n");
    for (int i = 0; i < 20000; i++)
        ddp_text_add(&t, "key%d = %d;\n", i, i);
    ddp_text_add(&t, "};\n");
    fixture_refused(t.s, NONE, LIST("main.cfg:258: more than 256 keys in one group, at key256"));
    ddp_text_finish(&t);

    ddp_text_init(&t);
    ddp_text_add(&t, "model: { layers = (\n{ type = \"flatten\"; }");
    for (int i = 0; i < 150000; i++)
        ddp_text_add(&t, ",\n{ type=\"relu\"; }");
    ddp_text_add(&t, "); };\n");
    fixture_refused(t.s, NONE, LIST("main.cfg:1: model.layers: has 150001 layers; wants at most 10000"));
    ddp_text_finish(&t);

    for (int i = 0; i < 30; i++) {
        char name[32], text[96];
        snprintf(name, sizeof name, "part%d.cfg", i);
        snprintf(text, sizeof text, "@include \"part%d.cfg\"\n@include \"part%d.cfg\"\n", i + 1, i + 1);
        fixture_write(name, text);
    }
    fixture_write("part30.cfg", "\n");
    fixture_refused("@include \"part0.cfg\"\n", NONE,
                    LIST("@include: more than 32 files in each other, 1000 in all"));

    ddp_text_init(&t);
    ddp_text_add(&t, "data.files=[");
    for (int i = 0; i < 30000; i++)
        ddp_text_add(&t, "%s'a'", i ? "," : "");
    ddp_text_add(&t, "]");
    ddp_config_destroy(fixture_ok("seed = 1;", LIST(t.s)));
    ddp_text_finish(&t);
    if (ddp_now() - began > 20) /* 0.3 s; minutes with squares */
        fail_msg("took %.1f s", ddp_now() - began);
}

/* Ranks, and who compares configs, read those files again: a pipe would be empty then, or hang. */
static void test_config_reads_pipes_as_config_only(void **state)
{
    (void)state;
    assert_int_equal(mkfifo("pipe.cfg", 0600), 0);
    fixture_refused("\n@include \"pipe.cfg\"\n", NONE,
                    LIST("main.cfg:2: @include: pipe.cfg is no regular file"));
    fixture_refused("\nmodel = \"./pipe.cfg\";\n", NONE,
                    LIST("main.cfg:2: model: ./pipe.cfg is no regular file"));
    fixture_refused("@include \"/dev/null\"\n", NONE, LIST("/dev/null is no regular file"));
}

static void test_config_passes_over_a_byte_order_mark(void **state)
{
    (void)state;
    fixture_write("part.cfg", "\xef\xbb\xbf\ndevice = \"cpu\";\n");
    struct ddp_config *cfg = fixture_ok("\xef\xbb\xbfseed = 7;\n@include \"part.cfg\"\n", NONE);
    assert_int_equal(cfg->seed, 7);
    assert_int_equal(cfg->device, DDP_DEVICE_CPU);
    ddp_config_destroy(cfg);
    fixture_refused("seed = 7;\xef\xbb\xbf\n", NONE, LIST("has no meaning here"));
}

static void test_config_base_circle(void **state)
{
    (void)state;
    fixture_write("configs/model/a.cfg", "base = \"b\";\n");
    fixture_write("configs/model/b.cfg", "\nbase = \"a\";\n");
    fixture_refused("model = \"a\";", NONE,
                    LIST("configs/model/b.cfg:2: model: base = \"a\" goes round in a circle"));
}

static int refused_as(const char *path, const char *fragment)
{
    struct ddp_error err = {0};
    struct ddp_config *cfg = NULL;
    struct ddp_config_options opt = {.path = path};
    int status = ddp_config_load(&opt, &cfg, &err);
    return status == DDP_E_CONFIG && !cfg && strstr(err.text, path) && strstr(err.text, fragment) ? 0 : 1;
}

static void test_config_unreadable(void **state)
{
    (void)state;
    assert_int_equal(refused_as("none.cfg", "cannot read the config"), 0);
    assert_int_equal(refused_as("configs", "cannot read the config"), 0);
    fixture_write("secret.cfg", "seed = 1;");
    assert_int_equal(chmod("secret.cfg", 0), 0);
    if (access("secret.cfg", R_OK) < 0) { /* root reads it all the same */
        assert_int_equal(refused_as("secret.cfg", "Permission denied"), 0);
    }
    FILE *f = fopen("zeros.cfg", "w");
    assert_non_null(f);
    fwrite("seed\0= 1;", 1, 9, f);
    fclose(f);
    assert_int_equal(refused_as("zeros.cfg", "is not text in UTF-8"), 0);
    f = fopen("large.cfg", "w");
    assert_non_null(f);
    assert_int_equal(ftruncate(fileno(f), DDP_CONFIG_MAX_BYTES + 1), 0);
    fclose(f);
    assert_int_equal(refused_as("large.cfg", "cannot read the config"), 0);
}

/* The nearest folder wins: beside the config, then configs/ upwards, then the named ones. */
static void test_config_group_search(void **state)
{
    (void)state;
    struct ddp_error err = {0};
    assert_int_equal(ddp_dir_make("sub/deep/optim", &err), 0);
    assert_int_equal(ddp_dir_make("named/optim", &err), 0);
    assert_int_equal(ddp_dir_make("env/optim", &err), 0);
    fixture_write("sub/deep/main.cfg", "optim = \"mine\";");
    fixture_write("env/optim/mine.cfg", "lr = 4.0;");
    setenv("DDP_CONFIGS_DIR", "env", 1);
    struct {
        const char *path;
        double lr;
    } nearer[] = {{NULL, 4},
                  {"named/optim/mine.cfg", 3},
                  {"configs/optim/mine.cfg", 2},
                  {"sub/deep/optim/mine.cfg", 1}};
    for (size_t i = 0; i < DDP_COUNT(nearer); i++) {
        char text[32];
        snprintf(text, sizeof text, "lr = %.1f;", nearer[i].lr);
        if (nearer[i].path)
            fixture_write(nearer[i].path, text);
        struct ddp_config_options opt = {.path = "sub/deep/main.cfg", .configs_dir = "named"};
        struct ddp_config *cfg = NULL;
        assert_int_equal(ddp_config_load(&opt, &cfg, &err), 0);
        assert_true(cfg->optim.lr == nearer[i].lr);
        assert_string_equal(cfg->model.name, "mnist_cnn"); /* from configs/ two folders up */
        ddp_config_destroy(cfg);
    }
    unsetenv("DDP_CONFIGS_DIR");
}

static void test_config_data_root(void **state)
{
    (void)state;
    setenv("DDP_DATA_DIR", "/somewhere", 1);
    struct ddp_config *cfg = fixture_ok("", NONE);
    assert_string_equal(cfg->data.root, "/somewhere");
    assert_string_equal(ddp_node_get(cfg->tree, "data.root")->s, "/somewhere");
    ddp_config_destroy(cfg);
    cfg = fixture_ok("data: { root = \"/mine\"; };", NONE);
    assert_string_equal(cfg->data.root, "/mine");
    ddp_config_destroy(cfg);
    unsetenv("DDP_DATA_DIR");
}

static void test_config_environment(void **state)
{
    (void)state;
    for (const struct ddp_env_var *v = ddp_env_vars; v->name; v++) {
        assert_true(strncmp(v->name, "DDP_", 4) == 0 && v->doc[0]);
        setenv(v->name, strcmp(v->name, "DDP_CONFIGS_DIR") == 0 ? "configs" : "1", 1);
    }
    ddp_config_destroy(fixture_ok("", NONE));
    for (const struct ddp_env_var *v = ddp_env_vars; v->name; v++)
        unsetenv(v->name);
    setenv("DDP_IAS", "avx2", 1);
    fixture_refused("", NONE, LIST("environment: DDP_IAS means nothing to ddp", "DDP_ISA"));
    unsetenv("DDP_IAS");
    setenv("DDPX", "fine", 1);
    ddp_config_destroy(fixture_ok("", NONE));
    unsetenv("DDPX");
}

/* What is shipped loads, alone and in every combination that makes sense. */
static void test_config_shipped(void **state)
{
    (void)state;
    static const char *const data[] = {"digits",          "mnist",   "fashion_mnist", "emnist_digits",
                                       "emnist_balanced", "cifar10", "cifar100"};
#define NAME(NUMBER, name) #name,
    static const char *const optim[] = {DDP_OPTIMS(NAME)};
    for (size_t i = 0; i < DDP_COUNT(data); i++)
        for (size_t k = 0; k < DDP_COUNT(optim); k++) {
            char a[64], b[64];
            snprintf(a, sizeof a, "data=%s", data[i]);
            snprintf(b, sizeof b, "optim=%s", optim[k]);
            struct ddp_error err = {0};
            struct ddp_config_options opt = {
                .path = DDP_SOURCE_DIR "/configs/cnn.cfg", .overrides = LIST(a, b), .noverrides = 2};
            struct ddp_config *cfg = NULL;
            if (ddp_config_load(&opt, &cfg, &err) < 0)
                fail_msg("%s %s: %s", a, b, err.text);
            assert_string_equal(cfg->data.name, data[i]);
            assert_string_equal(cfg->optim.name, optim[k]);
            assert_int_equal(cfg->optim.type, (int)k);
            assert_string_equal(cfg->model.name, "mnist_cnn");
            ddp_config_destroy(cfg);
        }
    struct ddp_error err = {0};
    struct ddp_config_options opt = {.path = DDP_SOURCE_DIR "/configs/cnn.cfg",
                                     .overrides = LIST("data=packed", "data.path=x"),
                                     .noverrides = 2};
    struct ddp_config *cfg = NULL;
    assert_int_equal(ddp_config_load(&opt, &cfg, &err), 0);
    ddp_config_destroy(cfg);
}

/* What a GPU can and the CPU cannot: refused by key, with all keys that are wrong. */
static void test_config_device(void **state)
{
    (void)state;
    struct ddp_error err = {0};
    struct ddp_config *cfg = fixture_ok("train: { precision = \"bf16\"; tf32 = true; };", NONE);
    assert_int_equal(ddp_config_check_device(cfg, true, &err), 0);
    assert_int_equal(ddp_config_check_device(cfg, false, &err), DDP_E_CONFIG);
    assert_non_null(strstr(err.text, "main.cfg:1: train.precision: bf16 is for GPUs"));
    assert_non_null(strstr(err.text, "main.cfg:1: train.tf32: true is for GPUs"));
    assert_non_null(strstr(err.text, "auto found no GPU"));
    ddp_config_destroy(cfg);
    cfg = fixture_ok("device = \"cpu\"; train: { precision = \"fp16\"; };", NONE);
    assert_int_equal(ddp_config_check_device(cfg, false, &err), DDP_E_CONFIG);
    assert_non_null(strstr(err.text, "fp16 is for GPUs, and this run computes on the CPU (device=cpu)"));
    ddp_config_destroy(cfg);
    cfg = fixture_ok("train: { loss_scale = 1024; };", NONE);
    assert_int_equal(ddp_config_check_device(cfg, false, &err), 0);
    ddp_config_destroy(cfg);
    fixture_refused("train: { loss_scale = 1000; };", NONE, LIST("train.loss_scale: wants a power of two"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_config_defaults),
        TEST(test_config_accepts),
        TEST(test_config_refuses),
        TEST(test_config_shows_all_errors),
        TEST(test_config_include),
        TEST(test_config_include_faults),
        TEST(test_config_is_limited),
        TEST(test_config_reads_pipes_as_config_only),
        TEST(test_config_passes_over_a_byte_order_mark),
        TEST(test_config_base_circle),
        TEST(test_config_unreadable),
        TEST(test_config_group_search),
        TEST(test_config_data_root),
        TEST(test_config_environment),
        TEST(test_config_shipped),
        TEST(test_config_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
