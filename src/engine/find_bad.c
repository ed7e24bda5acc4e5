/* Words for a value that is not finite, the same on every device. */
#include "engine/pass.h"

#include <math.h>
#include <stdio.h>

const char *ddp_pass_bad_kind(float x)
{
    return isnan(x) ? "nan" : x < 0 ? "-inf" : "inf";
}

/* In the plain layout an element would have to be searched for; its place among `size` is enough to say how
 * bad it is. */
bool ddp_pass_bad_param(const struct ddp_flat_tensor *t, const float *values, char *text, int size)
{
    int64_t bad = 0;
    float value = 0;
    for (int64_t k = t->size - 1; k >= 0; k--)
        if (!isfinite(values[k])) {
            bad++;
            value = values[k];
        }
    if (bad)
        snprintf(text, size, "parameter '%s' holds %s (%lld of %lld elements are not finite)", t->name,
                 ddp_pass_bad_kind(value), (long long)bad, (long long)ddp_layout_plain_size(&t->param));
    return bad > 0;
}
