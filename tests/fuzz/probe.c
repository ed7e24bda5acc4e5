/* RUN/probe/rank-0.jsonl: what is read is whole, in order, and equal to itself. */
#include <string.h>

#include "fuzz.h"
#include "src/programs/runs/probed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char run[256];
    struct ddp_probed p;
    struct ddp_parting parting;
    struct ddp_error err = {0};
    snprintf(run, sizeof run, "%s", fuzz_path(""));
    run[strlen(run) - 1] = '\0';
    FUZZ_CHECK(ddp_dir_make(fuzz_path("probe"), NULL) == 0);
    fuzz_file("probe/rank-0.jsonl", data, size);
    const int status = ddp_probed_read(run, &p, &err);
    FUZZ_CHECK_WORDS(status, err);
    FUZZ_CHECK((status == 0) == (p.n > 0));
    for (int i = 0; i < p.n; i++) {
        const struct ddp_probed_node *node = &p.node[i];
        FUZZ_CHECK(*node->kind && *node->name && node->of > 0 && node->step >= 0 && node->at >= 0);
        FUZZ_CHECK(i == 0 || node->step > node[-1].step ||
                   (node->step == node[-1].step && node->at >= node[-1].at));
        char *words = ddp_probed_words(node);
        FUZZ_CHECK(*words);
        free(words);
    }
    ddp_probed_part(&p, &p, &parting);
    fuzz_taken += status == 0;
    ddp_probed_finish(&p);
    return 0;
}
