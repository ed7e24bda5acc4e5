/* Pictures of the IDX format, beside labels that fit four of them; or such labels, by the input's magic. */
#include <string.h>

#include "fuzz.h"
#include "sets.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t pictures[16 + 16] = {0, 0, 8, 3, 0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0, 2};
    static const uint8_t labels[8 + 4] = {0, 0, 8, 1, 0, 0, 0, 4, 0, 1, 2, 9};
    static const char *const names[] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                        "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};
    const int at = size >= 4 && data[3] == 1;
    for (int i = 0; i < 4; i++)
        fuzz_file(names[i], i % 2 ? labels : pictures, i % 2 ? sizeof labels : sizeof pictures);
    fuzz_file(names[at], data, size);
    char path[300];
    snprintf(path, sizeof path, "data.path=%.250s", fuzz_path(""));
    const char *const overrides[] = {"data.format=idx", path, "data.mean=[0.5]", "data.std=[0.5]"};
    fuzz_read_sets(overrides, 4);
    return 0;
}
