/* Ops by name. Registration happens before a config is read, by one thread. */
#include "ops/ops.h"

#include <string.h>

#include "ops/builtin.h"

enum { MAX_REGISTERED = 64 };

static const struct ddp_op *const builtin[] = {
    &ddp_op_conv2d,
    &ddp_op_linear,
    &ddp_op_batch_norm,
    &ddp_op_relu,
    &ddp_op_gelu,
    &ddp_op_silu,
    &ddp_op_max_pool,
    &ddp_op_avg_pool,
    &ddp_op_global_avg_pool,
    &ddp_op_dropout,
    &ddp_op_flatten,
    &ddp_op_add,
    &ddp_op_softmax_cross_entropy,
    &ddp_op_mse,
};

static const struct ddp_op *registered[MAX_REGISTERED];
static int nregistered;

const struct ddp_op *ddp_op_at(int i)
{
    int nbuiltin = (int)DDP_COUNT(builtin);
    if (i < 0 || i >= nbuiltin + nregistered)
        return NULL;
    return i < nbuiltin ? builtin[i] : registered[i - nbuiltin];
}

const struct ddp_op *ddp_op_find(const char *name)
{
    const struct ddp_op *op;
    for (int i = 0; (op = ddp_op_at(i)); i++)
        if (strcmp(op->name, name) == 0)
            return op;
    return NULL;
}

int ddp_op_register(const struct ddp_op *op, struct ddp_error *err)
{
    if (!op || !op->name || !op->name[0])
        return ddp_fail(err, DDP_E_USAGE, "an op was registered without a name; set .name in its table");
    const char *missing = !op->doc                        ? "doc"
                          : !op->keys                     ? "keys (an array that ends with name NULL)"
                          : !op->plan                     ? "plan"
                          : !op->forward                  ? "forward"
                          : !op->is_loss && !op->backward ? "backward (only a loss needs none)"
                          : !op->forward_stats != !op->backward_stats
                              ? "one of forward_stats and backward_stats"
                              : NULL;
    if (missing)
        return ddp_fail(err, DDP_E_USAGE, "op '%s': its table lacks %s", op->name, missing);
    if (op->nin < 1 || op->nin > DDP_OP_MAX_IN)
        return ddp_fail(err, DDP_E_USAGE, "op '%s': .nin is %d, allowed are 1 to %d inputs", op->name,
                        op->nin, DDP_OP_MAX_IN);
    if (op->keys[0].name && op->conf_bytes == 0)
        return ddp_fail(err, DDP_E_USAGE,
                        "op '%s': it has keys but .conf_bytes is 0; set it to the size of its conf struct",
                        op->name);
    if (ddp_op_find(op->name))
        return ddp_fail(err, DDP_E_USAGE, "op '%s': there is one of this name already; choose another name",
                        op->name);
    if (nregistered == MAX_REGISTERED)
        return ddp_fail(err, DDP_E_USAGE, "op '%s': %d ops are registered already, which is the limit",
                        op->name, MAX_REGISTERED);
    registered[nregistered++] = op;
    return 0;
}
