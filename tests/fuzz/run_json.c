/* run.json: reading its status, closing it, looking for its best checkpoint. */
#include <jansson.h>
#include <string.h>

#include "fuzz.h"
#include "record/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char run[256], name[300], status[32], path[4200];
    snprintf(run, sizeof run, "%s", fuzz_path(""));
    run[strlen(run) - 1] = '\0';
    fuzz_file("run.json", data, size);
    ddp_run_status(run, status, sizeof status);
    snprintf(name, sizeof name, "%s@best", run);
    struct ddp_error err = {0};
    const int found = ddp_run_resolve(name, path, sizeof path, &err);
    FUZZ_CHECK_WORDS(found, err);
    const bool was_open = strcmp(status, "running") == 0, closed = ddp_run_close(run, "fuzz");
    FUZZ_CHECK(was_open || !closed);
    fuzz_taken += closed;
    ddp_run_status(run, status, sizeof status);
    FUZZ_CHECK(!closed || strcmp(status, "failed") == 0);
    return 0;
}
