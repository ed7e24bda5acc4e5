/* The reference of layer types, from the tables of the ops: for the terminal and for docs/layers.md. */
#include <stdlib.h>
#include <string.h>

#include "model/model.h"

static const char head[] =
    "# Layers\n\n"
    "Made from the tables of the ops by `ddp-train --help-layers --markdown > docs/layers.md`; a test\n"
    "compares the two.\n\n"
    "A model is a list of layers, one after the other:\n\n"
    "```\n"
    "model: {\n"
    "    layers = (\n"
    "        { type = \"conv2d\"; name = \"conv1\"; out = 32; kernel = 3; padding = 1; },\n"
    "        { type = \"relu\"; },\n"
    "        { type = \"global_avg_pool\"; },\n"
    "        { type = \"flatten\"; },\n"
    "        { type = \"linear\"; name = \"fc\"; out = \"classes\"; },\n"
    "        { type = \"softmax_cross_entropy\"; }\n"
    "    );\n"
    "};\n"
    "```\n\n"
    "Every layer has `type`; `name` (by default the type and a number; tensors in files are NAME.weight\n"
    "and so on); and `input`, the name of the layer that it reads, or a list of two for `add` and\n"
    "`concat` (by default the layer before it; `data` is the pictures). Shapes are inferred. The last\n"
    "layer is the loss, and what it reads has as many features as there are classes: `out = \"classes\"`\n"
    "takes their number from the data, `model.layers.fc.out=7` on the command line replaces the word.\n";

char *ddp_layers_help(const char *type, bool markdown)
{
    struct ddp_text t;
    const struct ddp_op *op;
    ddp_text_init(&t);
    if (markdown)
        ddp_text_add(&t, "%s", head);
    for (int i = 0; (op = ddp_op_at(i)); i++) {
        if (type && strcmp(type, op->name) != 0)
            continue;
        ddp_text_add(&t, markdown ? "\n## %s\n\n%s.\n" : "[%s] %s\n", op->name, op->doc);
        ddp_keys_help(op->keys, markdown, &t);
        if (!markdown)
            ddp_text_add(&t, "\n");
    }
    return t.s;
}

int ddp_reference(bool layers, const char *key, bool markdown, char **out, struct ddp_error *err)
{
    const struct ddp_op *op;
    if (!layers)
        return ddp_config_help(key, markdown, out, err);
    *out = ddp_layers_help(key, markdown);
    if (**out)
        return 0;
    const char *nearest = "";
    for (int i = 0; (op = ddp_op_at(i)); i++)
        if (!*nearest || ddp_edit_distance(key, op->name) < ddp_edit_distance(key, nearest))
            nearest = op->name;
    free(*out);
    return ddp_fail(err, DDP_E_USAGE,
                    "there is no layer type %s; the nearest is %s (--help-layers lists all)", key, nearest);
}
