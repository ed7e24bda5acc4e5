/* Subcommands of ddp-bench: argv[0] is the subcommand's name; each returns an exit status (enum ddp_exit). */
#ifndef DDP_BENCH_H
#define DDP_BENCH_H

#include "base/base.h"
#include "ops/cpu/cpu.h"

int bench_ops(int argc, char **argv);
int bench_gpu(int argc, char **argv);
int bench_startup(int argc, char **argv);
int bench_allreduce(int argc, char **argv);
int bench_step(int argc, char **argv);
int bench_scaling(int argc, char **argv);
int bench_loader(int argc, char **argv);
int bench_repro(int argc, char **argv);
extern const struct ddp_manual bench_ops_manual, bench_gpu_manual, bench_startup_manual;
extern const struct ddp_manual bench_allreduce_manual;
extern const struct ddp_manual bench_step_manual, bench_scaling_manual, bench_loader_manual;
extern const struct ddp_manual bench_repro_manual;

/* cpu/peak.c: independent chains of fused multiply-adds in registers, and a stream through memory. */
struct bench_peak_kernels {
    double (*run)(long rounds, float *sink); /* returns the floating-point operations done */
    /* a = b + c / 2 over n floats, on 64 bytes, n a multiple of 64: bytes read and written */
    double (*triad)(float *a, const float *b, const float *c, long n);
};
DDP_CPU_TABLE(struct bench_peak_kernels, bench_peak_kernels)

#endif
