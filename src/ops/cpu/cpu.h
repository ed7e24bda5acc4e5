/* Which of the kernels compiled per instruction set this machine runs.
 *
 * A kernel file (x_cpu.c, listed in ddp_isa_sources) ends with a table of its entry points,
 *     const struct ddp_conv_kernels ISA(ddp_conv_kernels) = {...};
 * and a header declares it with DDP_CPU_TABLE(struct ddp_conv_kernels, ddp_conv_kernels); callers write
 *     ddp_conv_kernels()->forward(...). */
#ifndef DDP_COMPUTE_CPU_H
#define DDP_COMPUTE_CPU_H

enum ddp_isa { DDP_ISA_SCALAR, DDP_ISA_AVX2, DDP_ISA_AVX512, DDP_ISA_NEON };

/* Chosen by ddp_cpu_select() at the first call. */
enum ddp_isa ddp_cpu_isa_index(void);

#if defined(__x86_64__)
#define DDP_CPU_TABLE(type, name)                                                                            \
    extern const type name##_scalar, name##_avx2, name##_avx512;                                             \
    static inline const type *name(void)                                                                     \
    {                                                                                                        \
        enum ddp_isa isa = ddp_cpu_isa_index();                                                              \
        return isa == DDP_ISA_AVX512 ? &name##_avx512 : isa == DDP_ISA_AVX2 ? &name##_avx2 : &name##_scalar; \
    }
#elif defined(__aarch64__)
#define DDP_CPU_TABLE(type, name)                                                                            \
    extern const type name##_neon;                                                                           \
    static inline const type *name(void)                                                                     \
    {                                                                                                        \
        return &name##_neon;                                                                                 \
    }
#else
#define DDP_CPU_TABLE(type, name)                                                                            \
    extern const type name##_scalar;                                                                         \
    static inline const type *name(void)                                                                     \
    {                                                                                                        \
        return &name##_scalar;                                                                               \
    }
#endif

#endif
