/* What the stand-ins for cuDNN and cuBLASLt share: element types, checks of the memory that they are given,
 * and work on a stream. */
#ifndef DDP_VENDOR_STANDIN_H
#define DDP_VENDOR_STANDIN_H

#include <cstdint>
#include <cstring>
#include <functional>
#include <vector>

#include "device/cuda/plan.h"

namespace vendor
{

/* Run work on the stream, after what is on it already; captured work runs as often as
 * its graph is launched. */
void enqueue(struct ddp_gpu_stream *s, const char *what, std::function<void()> work);

/* A plan of the stand-in: the problem, and an odd workspace size, so that a caller who does not ask for it is
 * found out. lock must be NULL or "emu". */
template <class Problem> struct Plan {
    struct ddp_gpu_plan head;
    Problem problem;
    enum ddp_gpu_conv_pass pass; /* convolutions */
};
int plan_head(const char *lock, size_t workspace, struct ddp_gpu_plan *head, struct ddp_error *err);
/* 0, or DDP_E_RESOURCE where there is to be no epilogue: DDP_EMU_EPILOGUE=0. */
int check_epilogue(unsigned epilogue, struct ddp_error *err);

/* false, and a failure kept in the stream's device, unless p is there and aligned. */
bool usable(struct ddp_gpu_stream *s, const char *what, const char *name, const void *p, size_t align);
/* Garbage in all of the workspace, as a real library may leave it. */
void scribble(const char *what, void *workspace, size_t bytes);

/* Of work that runs: all of an operand must be device memory that something wrote; its elements as floats. */
std::vector<float> load(const char *what, const char *name, const void *p, enum ddp_gpu_type type,
                        size_t count);
/* The result [rows][k] so far, rounded to its type as a call without an epilogue leaves it, then bias and
 * ReLU as our kernel does them: so both ways have the same bits. bias: of bias_type. */
void epilogue(const char *what, std::vector<float> &v, enum ddp_gpu_type type, unsigned which,
              const void *bias, enum ddp_gpu_type bias_type, size_t k);
/* What TF32 leaves of factors of fp32: 10 bits behind the first, to nearest. */
void round_tf32(std::vector<float> &v);
/* The result, each element rounded once to nearest even. */
void store(const char *what, const char *name, void *p, enum ddp_gpu_type type, const std::vector<float> &v);

/* Bare conversions. */
std::vector<float> to_floats(const void *p, enum ddp_gpu_type type, size_t count);
void from_floats(void *p, enum ddp_gpu_type type, const float *v, size_t count);

} // namespace vendor

#endif
