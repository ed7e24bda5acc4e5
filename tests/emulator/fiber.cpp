/* Fibers: a stack each, and the switch from one to another. Only what a call preserves is saved. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "private.h"

#if defined(__x86_64__)
asm(R"(
.text
.globl emu_switch
.hidden emu_switch
.type emu_switch, @function
emu_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size emu_switch, .-emu_switch
)");
enum { SAVED = 6, ENTRY = 6 }; /* words on the stack of a stopped fiber, the one of them to go on at */
enum { BEHIND = 1 };           /* words above: the stack is as after a call */
#elif defined(__aarch64__)
asm(R"(
.text
.globl emu_switch
.hidden emu_switch
.type emu_switch, %function
emu_switch:
    stp x19, x20, [sp, #-160]!
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    ldp x19, x20, [sp], #160
    ret
.size emu_switch, .-emu_switch
)");
enum { SAVED = 20, ENTRY = 11 };
enum { BEHIND = 0 };
#else
#error "the emulator's fibers know x86-64 and aarch64"
#endif

emu_fiber *emu_fiber_create(int number)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *m = (char *)mmap(NULL, EMU_STACK + page, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m == MAP_FAILED || mprotect(m, page, PROT_NONE) != 0) {
        fprintf(stderr, "emu: no memory for the stack of thread %d\n", number);
        abort();
    }
    emu_fiber *f = new emu_fiber;
    f->stack = m + page;
    f->sp = (void *)(intptr_t)number;
    return f;
}

void emu_fiber_reset(emu_fiber *f, void (*entry)(void))
{
    /* Stacks that all begin at one offset of a page would share a few sets of the cache. */
    const size_t colour = ((uintptr_t)f->stack >> 12) % 61 * 64;
    void **top = (void **)(f->stack + EMU_STACK - colour) - BEHIND;
    void **sp = top - SAVED - (ENTRY == SAVED);
    memset(sp, 0, (size_t)((char *)(f->stack + EMU_STACK - colour) - (char *)sp));
    sp[ENTRY] = (void *)entry;
    f->sp = sp;
}
