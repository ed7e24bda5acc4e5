/* A plan lock, and its way back to text. */
#include <string.h>

#include "device/lock.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ddp_gpu_lock *lock = NULL, *again = NULL;
    struct ddp_error err = {0};
    const int status = ddp_gpu_lock_parse("plan.lock.json", (const char *)data, size, &lock, &err);
    FUZZ_CHECK_WORDS(status, err);
    if (status)
        return 0;
    fuzz_taken++;
    struct ddp_text text, second;
    ddp_text_init(&text);
    ddp_text_init(&second);
    ddp_gpu_lock_text(lock, &text);
    FUZZ_CHECK(ddp_gpu_lock_parse("again", text.s, text.len, &again, &err) == 0);
    ddp_gpu_lock_text(again, &second);
    FUZZ_CHECK(strcmp(text.s, second.s) == 0);
    ddp_text_finish(&text);
    ddp_text_finish(&second);
    ddp_gpu_lock_destroy(lock);
    ddp_gpu_lock_destroy(again);
    return 0;
}
