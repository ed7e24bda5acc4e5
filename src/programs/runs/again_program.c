/* Which program does a run again, where it was one of the user's own. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "again.h"

/* As it was typed: all that there is of runs that recorded no path. */
static const char *typed(const struct ddp_past *p)
{
    const json_t *command = ddp_past_at(p->record, "command");
    for (size_t i = 0; i < json_array_size(command); i++) {
        const char *word = json_string_value(json_array_get(command, i));
        if (word && strncmp(word, "--program=", 10) == 0)
            return word + 10;
        if (word && strcmp(word, "--program") == 0)
            return json_string_value(json_array_get(command, i + 1));
    }
    return NULL;
}

const char *ddp_again_program(const struct ddp_past *p, const struct ddp_again_options *opt)
{
    const char *recorded = ddp_past_text(p, "program");
    return opt->program ? opt->program : *recorded ? recorded : typed(p);
}

/* NULL: it can be run. */
static const char *why_not(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return strerror(errno);
    if (!S_ISREG(st.st_mode))
        return S_ISDIR(st.st_mode) ? "it is a folder" : "it is no file";
    return access(path, X_OK) == 0 ? NULL : strerror(errno);
}

bool ddp_again_check_program(const struct ddp_past *p, const struct ddp_again_options *opt,
                             struct ddp_again *a)
{
    const char *path = ddp_again_program(p, opt), *then = ddp_past_text(p, "code.binary_sha256");
    char hex[65];
    if (!path)
        return false;
    if (!strchr(path, '/')) /* ddp-launch looks for it beside itself and on PATH */
        return true;
    const char *why = why_not(path);
    if (why)
        ddp_again_note(a, DDP_AGAIN_MISSING, "own program",
                       "%s cannot be run: %s; name where it is now with --program", path, why);
    else if (ddp_file_sha256(path, hex, NULL) == 0 && strcmp(hex, then) == 0)
        ddp_again_note(a, DDP_AGAIN_SAME, "own program", "%s, the same bytes", path);
    else
        ddp_again_note(a, DDP_AGAIN_OTHER, "own program", "%s has other bytes than what ran then", path);
    return true;
}
