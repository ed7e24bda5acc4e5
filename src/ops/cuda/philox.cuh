/* Philox on the device: the words of base/philox.h. */
#ifndef DDP_COMPUTE_CUDA_PHILOX_CUH
#define DDP_COMPUTE_CUDA_PHILOX_CUH

#include "ddp_device.h"

#include "base/philox.h"

/* 20 multiplications of 32 by 32 bits and 80 other instructions. */
DDP_DEVICE struct ddp_philox4 ddp_device_philox(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3,
                                                uint64_t seed)
{
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
#pragma unroll
    for (int round = 0; round < 10; round++) {
        const uint32_t n0 = ddp_mulhi(0xCD9E8D57u, c2) ^ c1 ^ k0, n2 = ddp_mulhi(0xD2511F53u, c0) ^ c3 ^ k1;
        c1 = 0xCD9E8D57u * c2;
        c3 = 0xD2511F53u * c0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    struct ddp_philox4 r;
    r.v[0] = c0;
    r.v[1] = c1;
    r.v[2] = c2;
    r.v[3] = c3;
    return r;
}

/* Uniform in 0..n-1, as ddp_uniform_int(). */
DDP_DEVICE int ddp_device_uniform_int(uint32_t word, int n)
{
    return (int)ddp_mulhi(word, (uint32_t)n);
}

#endif
