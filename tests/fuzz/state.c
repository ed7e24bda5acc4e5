/* state.json, as it is and with its last line, the hash over the rest, set right. */
#include <string.h>

#include "checkpoint/private.h"
#include "fuzz.h"

static void parse(const char *text, size_t bytes)
{
    struct ddp_state_file s;
    struct ddp_error err = {0};
    const int status = ddp_state_parse("state.json", text, bytes, &s, &err);
    FUZZ_CHECK_WORDS(status, err);
    if (status)
        return;
    fuzz_taken++;
    FUZZ_CHECK(s.state.step >= 0 && s.state.epoch >= 0 && s.state.batch >= 0);
    char *again = ddp_state_text(&s);
    struct ddp_state_file t;
    FUZZ_CHECK(ddp_state_parse("again", again, strlen(again), &t, &err) == 0);
    FUZZ_CHECK(t.state.step == s.state.step && t.best == s.best);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char mark[] = "  \"check\": \"";
    char *text = fuzz_text(data, size), hex[65];
    parse(text, size);
    const char *last = NULL;
    for (const char *p = text; (p = memmem(p, (size_t)(text + size - p), mark, sizeof mark - 1)); p++)
        last = p;
    const size_t head = last ? (size_t)(last - text) : size;
    struct ddp_sha256 h;
    struct ddp_text sealed;
    ddp_sha256_init(&h);
    ddp_sha256_update(&h, text, head);
    ddp_sha256_hex(&h, hex);
    ddp_text_init(&sealed);
    ddp_text_append(&sealed, text, head);
    ddp_text_add(&sealed, "%s%s\"\n}\n", mark, hex);
    parse(sealed.s, sealed.len);
    ddp_text_finish(&sealed);
    free(text);
    return 0;
}
