/* Numbers of the IDX format: inputs of the training or the test split, or, of one dimension, its targets. The
 * other three files are good. */
#include "fuzz.h"
#include "sets.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t inputs[12 + 12] = {0, 0, 8, 2, 0, 0, 0, 4, 0, 0, 0, 3, 1, 2, 3, 5};
    static const uint8_t targets[8 + 4] = {0, 0, 8, 1, 0, 0, 0, 4, 7, 1, 2, 9};
    static const char *const names[] = {"train-inputs.idx", "train-targets.idx", "test-inputs.idx",
                                        "test-targets.idx"};
    char path[300];
    snprintf(path, sizeof path, "data.path=%.250s", fuzz_path(""));
    const char *const overrides[] = {"data.format=idx_real", path, "data.normalize_targets=true"};
    const int which = size >= 4 && data[3] == 1;
    for (int split = 0; split < 2; split++) {
        for (int i = 0; i < 4; i++)
            fuzz_file(names[i], i % 2 ? targets : inputs, i % 2 ? sizeof targets : sizeof inputs);
        fuzz_file(names[2 * split + which], data, size);
        fuzz_read_sets(overrides, 3);
    }
    return 0;
}
