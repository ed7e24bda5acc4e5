/* A file of CIFAR-100 records. */
#include "fuzz.h"
#include "sets.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[300];
    fuzz_file("train.bin", data, size);
    fuzz_file("test.bin", data, size);
    snprintf(path, sizeof path, "data.path=%.250s", fuzz_path(""));
    const char *const overrides[] = {"data.format=cifar100", path, "data.files=[\"train.bin\", \"test.bin\"]",
                                     "data.mean=[0.5, 0.5, 0.5]", "data.std=[0.5, 0.5, 0.5]"};
    fuzz_read_sets(overrides, 5);
    return 0;
}
