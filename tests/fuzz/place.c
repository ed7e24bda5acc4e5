/* DDP_PLACE: where the ranks of a host run. */
#include <string.h>

#include "fuzz.h"
#include "topology/topology.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    for (int n = 0; n < 3; n++) {
        struct ddp_place place = {0}, again = {0};
        struct ddp_error err = {0};
        bool over = false, over_again = false;
        const int status = ddp_place_parse_nth(text, n, &place, &over, &err);
        FUZZ_CHECK_WORDS(status, err);
        if (status)
            continue;
        fuzz_taken++;
        const int room = ddp_place_format(&place, over, NULL, 0) + 1;
        char *back = malloc((size_t)room);
        FUZZ_CHECK(back);
        ddp_place_format(&place, over, back, room);
        FUZZ_CHECK(ddp_place_parse(back, &again, &over_again, &err) == 0);
        FUZZ_CHECK(again.npus == place.npus && again.threads == place.threads && over_again == over);
        free(back);
        ddp_place_finish(&place);
        ddp_place_finish(&again);
    }
    free(text);
    return 0;
}
