/* A program with an op of its own that leaves its input as it is: tests of ddp-runs bisect plant
 * faults in it.
 * With PLANTED (when it is compiled), or the variable PLANTED in the environment, one bit of one gradient is
 * another, of sample 37. */
#include <ddp/ddp.h>
#include <ddp/op.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef PLANTED
#define PLANTED 0
#endif

static const struct ddp_key keys[] = {{.name = NULL}};

static int plan(const void *conf, const struct ddp_shape *in, int nin, int batch, struct ddp_layer_plan *p,
                struct ddp_error *err)
{
    (void)conf, (void)nin, (void)batch, (void)err;
    p->out = in[0];
    p->any_strides = true;
    return 0;
}

static void copy(const struct ddp_tensor *from, const struct ddp_tensor *to, bool add)
{
    for (int n = 0; n < from->n; n++)
        for (int b = 0; b < ddp_blocks(from->c); b++)
            for (int y = 0; y < from->h; y++)
                for (int x = 0; x < from->w; x++)
                    for (int k = 0; k < DDP_CBLOCK; k++) {
                        const float v = ddp_at(from, n, b, y, x)[k];
                        float *at = ddp_at(to, n, b, y, x) + k;
                        *at = add ? *at + v : v;
                    }
}

static void forward(const struct ddp_op_call *call)
{
    copy(call->in[0], call->out, false);
}

/* Of sample n: the first gradient that reaches anything, as its input is no zero of a ReLU. */
static void flip(const struct ddp_op_call *call, int n)
{
    const struct ddp_tensor *dx = call->din[0];
    for (int b = 0; b < ddp_blocks(dx->c); b++)
        for (int k = 0; k < DDP_CBLOCK; k++) {
            float *at = ddp_at(dx, n, b, 0, 0) + k;
            uint32_t bits;
            if (ddp_at(call->in[0], n, b, 0, 0)[k] <= 0 || *at == 0)
                continue;
            memcpy(&bits, at, sizeof bits);
            bits ^= 1 << 16;
            memcpy(at, &bits, sizeof bits);
            return;
        }
}

static void backward(const struct ddp_op_call *call)
{
    if (!call->din[0])
        return;
    copy(call->dout, call->din[0], call->accumulate[0]);
    for (int n = 0; n < call->din[0]->n; n++)
        if (call->sample[n] == 37 && (PLANTED || getenv("PLANTED")))
            flip(call, n);
}

static const struct ddp_op planted = {
    .name = "planted",
    .doc = "its input",
    .keys = keys,
    .nin = 1,
    .any_shape = true,
    .plan = plan,
    .forward = forward,
    .backward = backward,
};

int main(int argc, char **argv)
{
    struct ddp_error err = {0};
    struct ddp_session *session = NULL;
    struct ddp_result result;
    int status = ddp_op_register(&planted, &err);
    if (status == 0)
        status = ddp_session_open(&argc, &argv, &session, &err);
    if (status == 0)
        status = ddp_session_config(session, argv[1], (const char *const *)argv + 2, argc - 2, &err);
    if (status == 0)
        status = ddp_session_train(session, NULL, &result, &err);
    if (status && ddp_session_reports(session))
        fprintf(stderr, "%s\n", err.text);
    ddp_session_close(session, &err);
    return ddp_error_exit(status);
}
