/* Which instruction set the kernels use: chosen once, at the first call or by ddp_cpu_select(). */
#include "ops/cpu/cpu.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "ops/ops.h"

struct isa {
    const char *name;
    enum ddp_isa index;
};

/* The ones compiled in, best first; what is not supported() by this CPU is skipped. */
static const struct isa isas[] = {
#if defined(__x86_64__)
    {"avx512", DDP_ISA_AVX512},
    {"avx2", DDP_ISA_AVX2},
    {"scalar", DDP_ISA_SCALAR},
#elif defined(__aarch64__)
    {"neon", DDP_ISA_NEON},
#else
    {"scalar", DDP_ISA_SCALAR},
#endif
};

static _Atomic int chosen = -1; /* position in isas */

static bool supported(enum ddp_isa isa)
{
#if defined(__x86_64__)
    if (isa == DDP_ISA_AVX512) {
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("fma");
    }
    if (isa == DDP_ISA_AVX2)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    (void)isa;
    return true;
}

static int best(void)
{
    int i = 0;
    while (!supported(isas[i].index)) /* the last always is */
        i++;
    return i;
}

int ddp_cpu_select(const char *isa, struct ddp_error *err)
{
    const char *from = "instruction set";
    if (!isa) {
        isa = getenv("DDP_ISA");
        from = "DDP_ISA";
    }
    if (!isa || !*isa) {
        atomic_store_explicit(&chosen, best(), memory_order_relaxed);
        return 0;
    }
    char names[64] = "";
    for (size_t i = 0; i < DDP_COUNT(isas); i++) {
        if (!supported(isas[i].index))
            continue;
        if (!strcmp(isas[i].name, isa)) {
            atomic_store_explicit(&chosen, (int)i, memory_order_relaxed);
            return 0;
        }
        strcat(names, *names ? ", " : "");
        strcat(names, isas[i].name);
    }
    return ddp_fail(err, DDP_E_USAGE, "%s \"%s\": this machine runs %s; leave it unset for the best", from,
                    isa, names);
}

static int current(void)
{
    int i = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (i >= 0)
        return i;
    if (ddp_cpu_select(NULL, NULL)) /* a wrong DDP_ISA is reported by who calls ddp_cpu_select() at start */
        atomic_store_explicit(&chosen, best(), memory_order_relaxed);
    return atomic_load_explicit(&chosen, memory_order_relaxed);
}

enum ddp_isa ddp_cpu_isa_index(void)
{
    return isas[current()].index;
}

const char *ddp_cpu_isa(void)
{
    return isas[current()].name;
}
