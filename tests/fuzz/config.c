/* A config file, and its way back to text. */
#include <string.h>

#include "config/config.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file("fuzz.cfg", data, size);
    struct ddp_config *cfg = NULL, *again = NULL;
    struct ddp_error err = {0};
    const struct ddp_config_options opt = {.path = path};
    const int status = ddp_config_load(&opt, &cfg, &err);
    FUZZ_CHECK_WORDS(status, err);
    if (status)
        return 0;
    fuzz_taken++;
    char *text, *second, hash[2][65];
    FUZZ_CHECK(ddp_config_dump(cfg, true, &text, &err) == 0);
    fuzz_file("fuzz.cfg", text, strlen(text));
    if (ddp_config_load(&opt, &again, &err) != 0) {
        fprintf(stderr, "%s\n%s\n", err.text, text);
        FUZZ_CHECK(!"what was resolved can be read again");
    }
    FUZZ_CHECK(ddp_config_dump(again, true, &second, &err) == 0);
    FUZZ_CHECK(strcmp(text, second) == 0);
    ddp_config_hash(cfg, hash[0]);
    ddp_config_hash(again, hash[1]);
    FUZZ_CHECK(strcmp(hash[0], hash[1]) == 0);
    free(text);
    free(second);
    ddp_config_destroy(cfg);
    ddp_config_destroy(again);
    return 0;
}
