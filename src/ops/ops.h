/* The face of src/ops: ops and the CPU kernels under them.
 *
 * An op is a table (struct ddp_op, ddp/op.h) in a file of its own: contract, shape rules, and calls of
 * kernels. The kernels are compiled once per instruction set from one source (cpu.h) and give the same bits
 * from each. */
#ifndef DDP_COMPUTE_H
#define DDP_COMPUTE_H

#include "base/base.h"
#include "ddp/op.h"

/* Ops by name: the built-in ones and those registered. NULL: unknown. */
const struct ddp_op *ddp_op_find(const char *name);
/* The i-th known op, NULL past the end: for help and for nearest names. */
const struct ddp_op *ddp_op_at(int i);

/* "avx512", "avx2", "neon", "scalar": the best that this CPU runs, or the one that DDP_ISA names (for tests;
 * a wrong name or one that the CPU lacks is an error, found by ddp_cpu_select). */
const char *ddp_cpu_isa(void);
int ddp_cpu_select(const char *isa, struct ddp_error *err); /* NULL: DDP_ISA, else the best */

/* ---- layouts --------------------------------------------------------------------------------- */

/* Elements that a parameter takes in the flat buffer (padding of channel blocks
 * included, of DDP_BLOCK not). */
int64_t ddp_layout_size(const struct ddp_param *p);
/* Elements in the plain layout: the product of dims. */
int64_t ddp_layout_plain_size(const struct ddp_param *p);
/* plain [dims] -> flat, zeros in the padding, and back. */
void ddp_layout_pack(const struct ddp_param *p, const float *plain, float *flat);
void ddp_layout_unpack(const struct ddp_param *p, const float *flat, float *plain);
/* Plain pixels [n][c][h][w] -> a pictures tensor (halo untouched), and back. */
void ddp_tensor_pack(const float *plain, const struct ddp_tensor *t);
void ddp_tensor_unpack(const struct ddp_tensor *t, float *plain);

/* Describe (no memory yet: p = NULL) a tensor in pictures or features order and say how many floats it takes.
 * `lead` gets the floats before p (the halo). Slack for kernels that read past the end is included. */
int64_t ddp_tensor_pictures(struct ddp_tensor *t, int n, struct ddp_shape s, int halo, int64_t *lead);
int64_t ddp_tensor_features(struct ddp_tensor *t, int n, struct ddp_shape s);

/* First value of t that is not finite: false when there is none. */
bool ddp_tensor_find_bad(const struct ddp_tensor *t, int *n, int *c, int *y, int *x, float *value);

/* Elementwise helpers on flat ranges, in the machine's instruction set. */
void ddp_vec_add(float *a, const float *b, int64_t n); /* a += b */
double ddp_vec_sumsq(const float *a, int64_t n); /* sum of squares in double: 16 lanes, then a fixed tree */
bool ddp_vec_finite(const float *a, int64_t n);  /* no inf and no nan among them */

#endif
