/* The reference, from the table: for the terminal and for docs/config.md. */
#include "config/parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *effect(const struct ddp_key *key)
{
    return key->flags & DDP_KEY_RESULT ? "yes"
           : key->flags & DDP_KEY_STOP ? "by early stop"
           : key->flags & DDP_KEY_PATH ? "by content"
                                       : "no";
}

/* What it accepts in few words: "integer, 1 to 65536". */
static void range_text(const struct ddp_key *key, char *buf, size_t size)
{
    char allowed[DDP_WHERE_SIZE];
    ddp_key_allowed(key, allowed);
    const char *p = allowed;
    if (strncmp(p, "an ", 3) == 0)
        p += 3;
    else if (strncmp(p, "a ", 2) == 0)
        p += 2;
    snprintf(buf, size, "%s", p);
}

static const char *default_text(const struct ddp_key *key, char buf[DDP_WHERE_SIZE])
{
    bool text = key->type == DDP_KEY_STRING || key->type == DDP_KEY_CHOICE;
    snprintf(buf, DDP_WHERE_SIZE, text ? "\"%s\"" : "%s", key->dflt ? key->dflt : "none: must be given");
    return buf;
}

static void group_name(const struct ddp_key *key, char *buf, size_t size)
{
    const char *dot = strchr(key->name, '.');
    snprintf(buf, size, "%.*s", dot ? (int)(dot - key->name) : 0, key->name);
}

/* Whether `key` is the wanted one or stands below it ("optim", "optim.", "optim.l"); wanted NULL is all. */
static bool wanted(const struct ddp_key *key, const char *want)
{
    return !want || strncmp(key->name, want, strlen(want)) == 0;
}

static void add_text(struct ddp_text *t, const struct ddp_key *key)
{
    char range[DDP_WHERE_SIZE], dflt[DDP_WHERE_SIZE];
    range_text(key, range, sizeof range);
    ddp_text_add(t, "%s = %s\n    %s\n    %s%s\n", key->name, default_text(key, dflt), key->doc, range,
                 key->flags & DDP_KEY_RESULT ? "; changes the result"
                 : key->flags & DDP_KEY_STOP ? "; changes the result where train.early_stop is on"
                 : key->flags & DDP_KEY_PATH ? "; what lies there changes the result"
                                             : "");
}

static void add_cell(struct ddp_text *t, const char *s)
{
    for (; *s; s++)
        ddp_text_add(t, *s == '|' ? "\\|" : "%c", *s);
}

static void add_row(struct ddp_text *t, const struct ddp_key *key)
{
    char range[DDP_WHERE_SIZE], dflt[DDP_WHERE_SIZE];
    range_text(key, range, sizeof range);
    ddp_text_add(t, "| `%s` | ", key->name);
    add_cell(t, range);
    ddp_text_add(t, " | `%s` | %s | ", default_text(key, dflt), effect(key));
    add_cell(t, key->doc);
    ddp_text_add(t, " |\n");
}

static void add_group(struct ddp_text *t, const char *name, bool markdown)
{
    const struct ddp_config_group *g = ddp_config_group_find(name);
    if (!g)
        return;
    if (!markdown) {
        if (g->name[0])
            ddp_text_add(t, "%s[%s] %s%s%s%s\n\n", t->len ? "\n" : "", g->name, g->doc,
                         g->file ? "; default " : "", g->file ? g->file : "", "");
        return;
    }
    ddp_text_add(t, "\n## %s\n\n%s.", g->name[0] ? g->name : "Top level", g->doc);
    if (g->file)
        ddp_text_add(t, " Without one `%s` is read.", g->file);
    ddp_text_add(
        t, "\n\n| key | wants | default | changes the result | meaning |\n| --- | --- | --- | --- | --- |\n");
}

void ddp_keys_help(const struct ddp_key *keys, bool markdown, struct ddp_text *out)
{
    if (markdown && keys && keys->name)
        ddp_text_add(
            out,
            "\n| key | wants | default | changes the result | meaning |\n| --- | --- | --- | --- | --- |\n");
    for (const struct ddp_key *k = keys; k && k->name; k++) {
        if (markdown)
            add_row(out, k);
        else
            add_text(out, k);
    }
}

static const char markdown_head[] =
    "# Config reference\n\n"
    "Made from the table in `src/config/schema.c` by\n"
    "`ddp-launch --help-config --markdown > docs/config.md`; a test compares the two.\n\n"
    "A config is a [libconfig](https://hyperrealm.github.io/libconfig/) file. Every key has a default, so\n"
    "a config says only what differs:\n\n"
    "```\n"
    "model = \"resnet18\";           # the file configs/model/resnet18.cfg\n"
    "optim: { base = \"sgd\"; lr = 0.05; };   # configs/optim/sgd.cfg, and what is inline wins\n"
    "train: { batch = 256; epochs = 20; };\n"
    "```\n\n"
    "- Groups (`model`, `data`, `optim`) are searched in the folder of the config, in `configs/` there\n"
    "  and in each folder above, in `DDP_CONFIGS_DIR`, and in what came with the program. A name with a\n"
    "  slash or with `.cfg` is a path.\n"
    "- `@include \"FILE\"` puts a file in place, relative to the file it stands in.\n"
    "- On the command line: `optim.lr=0.1` (or `--optim.lr=0.1`), lists as `a=[1,2]` or `a=(1,2)`, text\n"
    "  with or without quotes; `model=resnet18` takes another file and drops what was given inline for\n"
    "  the group, `optim.base=adamw` keeps it; `~optim.lr` goes back to the default of this table.\n"
    "- Layers are reached by place or name: `model.layers[2].out=64`, `model.layers.conv1.out=64`;\n"
    "  `+model.layers.conv1.bias=false` adds a key that the config does not give, `~model.layers.drop1`\n"
    "  removes a layer.\n"
    "- Types are strict: an integer may stand for a number, nothing else for anything else. Integers\n"
    "  reach 9223372036854775807.\n"
    "- *changes the result*: whether another value gives other weights. Keys with `no` never do; keys\n"
    "  with `yes` and their values are the config hash in `run.json`. Of keys with `by content` it is the\n"
    "  data that counts, not where it lies; its hash is in `run.json`, too.\n"
    "- Files and folders that are read (`data.path`, `data.root`, `init.from`) are relative to the file\n"
    "  that names them, on the command line to the working directory; the resolved config has them\n"
    "  absolute. `run.dir` is always below the working directory.\n";

static void add_env(struct ddp_text *t)
{
    ddp_text_add(t, "\n## Environment\n\n"
                    "Any other variable that begins with `DDP_` is refused.\n\n"
                    "| variable | meaning |\n"
                    "| --- | --- |\n");
    for (const struct ddp_env_var *v = ddp_env_vars; v->name; v++)
        if (!v->internal)
            ddp_text_add(t, "| `%s` | %s |\n", v->name, v->doc);
}

static int unknown(const char *want, struct ddp_error *err)
{
    char near[DDP_WHERE_SIZE], prefix[128], group[128];
    const char *dot = strchr(want, '.');
    snprintf(group, sizeof group, "%.*s", dot ? (int)(dot - want) : 0, want);
    bool known = dot && ddp_key_is_group(ddp_config_keys, group);
    snprintf(prefix, sizeof prefix, "%.100s%s", known ? group : "", known ? "." : "");
    return ddp_fail(err, DDP_E_CONFIG, "there is no key %.100s%s", want,
                    ddp_suggest_key(ddp_config_keys, NULL, prefix, known ? dot + 1 : want, near));
}

int ddp_config_help(const char *key, bool markdown, char **out, struct ddp_error *err)
{
    struct ddp_text t;
    ddp_text_init(&t);
    char group[64], last[64] = "\n";
    int n = 0;
    if (markdown && !key)
        ddp_text_add(&t, "%s", markdown_head);
    for (const struct ddp_key *k = ddp_config_keys; k->name; k++) {
        if (!wanted(k, key))
            continue;
        group_name(k, group, sizeof group);
        if (strcmp(group, last) != 0)
            add_group(&t, group, markdown);
        snprintf(last, sizeof last, "%s", group);
        if (markdown)
            add_row(&t, k);
        else
            add_text(&t, k);
        n++;
    }
    if (n == 0 && key) {
        ddp_text_finish(&t);
        return unknown(key, err);
    }
    if (markdown && !key)
        add_env(&t);
    *out = t.s;
    return 0;
}
