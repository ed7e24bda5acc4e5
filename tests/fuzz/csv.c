/* Tables of numbers: the input is the training and the test table, or the latter beside one that is good. */
#include "fuzz.h"
#include "sets.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char good[] = "a,b\n1,2\n3,5\n";
    char path[300];
    snprintf(path, sizeof path, "data.path=%.250s", fuzz_path(""));
    const char *const overrides[] = {"data.format=csv", path, "data.normalize_targets=true"};
    fuzz_file("test.csv", data, size);
    fuzz_file("train.csv", data, size);
    fuzz_read_sets(overrides, 3);
    fuzz_file("train.csv", good, sizeof good - 1);
    fuzz_read_sets(overrides, 3);
    return 0;
}
