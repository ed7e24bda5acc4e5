/* An op of one's own: "hard_tanh", y = min(max(x, -limit), limit), usable in a config as
 *     { type = "hard_tanh"; limit = 1.0; }
 * This file has its half for CPUs, and op.cu the one for GPUs; without nvcc the op runs on CPUs alone. It
 * works on tensors in any order (any_strides), 16 channels at a time; padded channels are zero and stay
 * zero. */
#include <ddp/ddp.h>
#include <ddp/op.h>
#include <stdio.h>

#include "op.h"

static const struct ddp_key keys[] = {
    {.name = "limit",
     .type = DDP_KEY_FLOAT,
     .offset = offsetof(struct hard_tanh, limit),
     .dflt = "1.0",
     .min = 0.001,
     .max = 1000,
     .flags = DDP_KEY_RESULT,
     .doc = "largest value that comes out"},
    {.name = NULL},
};

static int plan(const void *conf, const struct ddp_shape *in, int nin, int batch, struct ddp_layer_plan *p,
                struct ddp_error *err)
{
    (void)conf, (void)nin, (void)batch, (void)err;
    p->out = in[0];
    p->any_strides = true;
    p->flops = 2.0 * in->c * in->h * in->w;
    return 0;
}

static void forward(const struct ddp_op_call *call)
{
    const struct hard_tanh *conf = call->conf;
    const struct ddp_tensor *x = call->in[0], *y = call->out;
    const float limit = (float)conf->limit;
    for (int n = 0; n < x->n; n++)
        for (int b = 0; b < ddp_blocks(x->c); b++)
            for (int r = 0; r < x->h; r++)
                for (int c = 0; c < x->w; c++) {
                    const float *from = ddp_at(x, n, b, r, c);
                    float *to = ddp_at(y, n, b, r, c);
                    for (int k = 0; k < DDP_CBLOCK; k++)
                        to[k] = from[k] > limit ? limit : from[k] < -limit ? -limit : from[k];
                }
}

static void backward(const struct ddp_op_call *call)
{
    const struct hard_tanh *conf = call->conf;
    const struct ddp_tensor *x = call->in[0], *dy = call->dout, *dx = call->din[0];
    const float limit = (float)conf->limit;
    if (!dx)
        return;
    for (int n = 0; n < x->n; n++)
        for (int b = 0; b < ddp_blocks(x->c); b++)
            for (int r = 0; r < x->h; r++)
                for (int c = 0; c < x->w; c++) {
                    const float *in = ddp_at(x, n, b, r, c), *g = ddp_at(dy, n, b, r, c);
                    float *to = ddp_at(dx, n, b, r, c);
                    for (int k = 0; k < DDP_CBLOCK; k++) {
                        float v = in[k] > -limit && in[k] < limit ? g[k] : 0;
                        to[k] = call->accumulate[0] ? to[k] + v : v;
                    }
                }
}

#ifdef OP_DEVICE
extern const struct ddp_op_device hard_tanh_device; /* op.cu */
#endif

static const struct ddp_op hard_tanh = {
    .name = "hard_tanh",
    .doc = "x, cut off at limit and -limit",
    .conf_bytes = sizeof(struct hard_tanh),
    .keys = keys,
    .nin = 1,
    .any_shape = true,
    .plan = plan,
    .forward = forward,
    .backward = backward,
#ifdef OP_DEVICE
    .device = &hard_tanh_device,
#endif
};

int main(int argc, char **argv)
{
    struct ddp_error err = {0};
    struct ddp_session *session = NULL;
    struct ddp_result result;
    if (argc < 2) {
        fprintf(stderr, "usage: %s CONFIG [key=value ...]\n", argv[0]);
        return DDP_EXIT_USAGE;
    }
    int status = ddp_op_register(&hard_tanh, &err);
    if (status == 0)
        status = ddp_session_open(&argc, &argv, &session, &err);
    if (status == 0)
        status = ddp_session_config(session, argv[1], (const char *const *)argv + 2, argc - 2, &err);
    if (status == 0)
        status = ddp_session_train(session, NULL, &result, &err);
    if (status == 0 && result.rank == 0)
        printf("accuracy %.4f, weights %s, in %s\n", result.eval_accuracy, result.weights_hash,
               result.run_dir);
    else if (status && ddp_session_reports(session))
        fprintf(stderr, "%s\n", err.text);
    ddp_session_close(session, &err);
    return ddp_error_exit(status);
}
