/* Ten rounds of Philox 4x32. */
#include "base/philox.h"

#include <string.h>

#include "ddp/op.h"

void ddp_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    struct ddp_philox4 r =
        ddp_philox4(counter[0], counter[1], counter[2], counter[3], key[0] | (uint64_t)key[1] << 32);
    memcpy(out, r.v, sizeof r.v);
}
