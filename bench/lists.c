/* Lists of whole numbers. */
#include "bench/lists.h"

#include <stdio.h>
#include <string.h>

#include "base/base.h"

int bench_list_parse(const char *option, const char *text, long least, long most, int room, long *out,
                     struct ddp_error *err)
{
    int n = 0;
    for (const char *s = text;; s++) {
        char word[32];
        int64_t v;
        const size_t len = strcspn(s, ",");
        snprintf(word, sizeof word, "%.*s", (int)(len < sizeof word ? len : sizeof word - 1), s);
        if (!ddp_parse_int(word, &v) || v < least || v > most)
            return ddp_fail(err, DDP_E_USAGE, "%s %s: '%s' is no whole number from %ld to %ld", option, text,
                            word, least, most);
        if (n == room)
            return ddp_fail(err, DDP_E_USAGE, "%s %s: more than %d numbers", option, text, room);
        out[n++] = (long)v;
        s += len;
        if (!*s)
            return n;
    }
}

int bench_number_parse(const char *option, const char *text, long least, long most, long *out,
                       struct ddp_error *err)
{
    const int n = bench_list_parse(option, text, least, most, 1, out, err);
    return n < 0 ? n : 0;
}
