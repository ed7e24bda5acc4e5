/* Ops by name. Registration happens before a config is read, by one thread. */
#include "ops/ops.h"

#include <string.h>

#include "ddp/op_device.h"
#include "ops/builtin.h"

enum { MAX_REGISTERED = 64 };

#define ENTRY(name) &ddp_op_##name,
static const struct ddp_op *const builtin[] = {DDP_BUILTIN_OPS(ENTRY)};

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

/* What the half for a device lacks; NULL: nothing, or there is no such half. */
static const char *device_lacks(const struct ddp_op *op)
{
    const struct ddp_op_device *d = op->device;
    return !d                             ? NULL
           : !d->forward                  ? "device->forward"
           : !op->is_loss && !d->backward ? "device->backward (only a loss needs none)"
           : !d->forward_stats != !d->backward_stats
               ? "one of device->forward_stats and device->backward_stats"
           : !op->forward_stats != !d->forward_stats
               ? "forward_stats and backward_stats in one of its halves (both have them, or none)"
               : NULL;
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
                              : device_lacks(op);
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
