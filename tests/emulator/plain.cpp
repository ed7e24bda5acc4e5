/* In place of shadow.cpp where kernels are not instrumented. */
#include <string.h>

#include "private.h"

bool emu_checked()
{
    return false;
}

void emu_misaligned(const void *p, size_t bytes)
{
    emu_fault_at(EMU_ALIGNMENT, __builtin_return_address(0),
                 "access of " + std::to_string(bytes) + " bytes, which has to be aligned to them, at " +
                     emu_place(p));
    if (emu_now.work)
        emu_give_up();
}

extern "C" void *emu_memcpy(void *to, const void *from, size_t n)
{
    return memcpy(to, from, n);
}
extern "C" void *emu_memset(void *to, int c, size_t n)
{
    return memset(to, c, n);
}
