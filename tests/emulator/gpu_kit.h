/* Put in front of every file of a suite that is built for a real GPU (-include): what the suite calls of
 * emu.h is then gpu_kit.c's. The names are others, so that both can be in one program. */
#ifndef DDP_GPU_KIT_H
#define DDP_GPU_KIT_H

#define emu_alloc        gpu_kit_alloc
#define emu_free         gpu_kit_free
#define emu_owns         gpu_kit_owns
#define emu_mark_written gpu_kit_mark_written
#define emu_poison       gpu_kit_poison
#define emu_unwritten    gpu_kit_unwritten
#define emu_copy_in      gpu_kit_copy_in
#define emu_copy_out     gpu_kit_copy_out
#define emu_faults       gpu_kit_faults
#define emu_last_fault   gpu_kit_last_fault
#define emu_clear_faults gpu_kit_clear_faults
#define emu_set_seed     gpu_kit_set_seed

#endif
