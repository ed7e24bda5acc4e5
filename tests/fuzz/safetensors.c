/* A safetensors file: every tensor that it claims to hold is read. */
#include "checkpoint/private.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file("m.safetensors", data, size);
    struct ddp_st_file *f = NULL;
    struct ddp_error err = {0};
    const int status = ddp_st_open(path, &f, &err);
    FUZZ_CHECK_WORDS(status, err);
    fuzz_taken += status == 0;
    volatile uint8_t sum = 0;
    for (int i = 0; status == 0 && i < ddp_st_count(f); i++) {
        const struct ddp_st_tensor *t = ddp_st_at(f, i);
        char text[200];
        size_t bytes = 0;
        FUZZ_CHECK(ddp_st_find(f, t->name) == t);
        FUZZ_CHECK(ddp_tensor_bytes(t, &bytes) && bytes == t->bytes);
        for (size_t k = 0; k < bytes; k++)
            sum = (uint8_t)(sum + ((const uint8_t *)t->data)[k]);
        ddp_tensor_text(t, text, sizeof text);
        ddp_tensors_finite(&t, 1, &err);
    }
    ddp_st_close(f);
    return 0;
}
