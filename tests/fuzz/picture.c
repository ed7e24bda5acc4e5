/* A PNG or JPEG, as grey, as colour and as it is. */
#include "data/image.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int channels[] = {0, 1, 3};
    for (int i = 0; i < 3; i++) {
        struct ddp_image image = {0};
        struct ddp_error err = {0};
        const int status = ddp_image_decode("picture", data, size, channels[i], 1 << 20, &image, &err);
        FUZZ_CHECK_WORDS(status, err);
        FUZZ_CHECK(status || image.c == 1 || image.c == 3);
        FUZZ_CHECK(status || !channels[i] || image.c == channels[i]);
        fuzz_taken += status == 0;
        ddp_image_finish(&image);
    }
    return 0;
}
