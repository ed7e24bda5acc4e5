/* A packed data set. Its checksums are set right before it is read, as a fuzzer cannot guess them: what comes
 * behind them is to stand on its own. */
#include <string.h>

#include "data/packed.h"
#include "fuzz.h"
#include "sets.h"

/* Seal head and tail where the file has them. */
static void seal(uint8_t *p, size_t n)
{
    struct ddp_packed_head head;
    struct ddp_packed_tail tail;
    if (n < sizeof head)
        return;
    memcpy(&head, p, sizeof head);
    if (head.names_bytes <= n - sizeof head)
        ddp_packed_seal_head(&head, (const char *)p + sizeof head);
    memcpy(p, &head, sizeof head);
    if (head.tail_at > n || n - head.tail_at < sizeof tail)
        return;
    memcpy(&tail, p + head.tail_at, sizeof tail);
    ddp_packed_seal_tail(&tail);
    memcpy(p + head.tail_at, &tail, sizeof tail);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[300];
    for (int sealed = 0; sealed < 2; sealed++) {
        uint8_t *copy = (uint8_t *)fuzz_text(data, size);
        if (sealed)
            seal(copy, size);
        snprintf(path, sizeof path, "data.path=%.250s", fuzz_file("set.ddp", copy, size));
        const char *const overrides[] = {"data.format=packed", path, "data.mean=[0.5]", "data.std=[0.5]"};
        fuzz_read_sets(overrides, 4);
        free(copy);
    }
    return 0;
}
