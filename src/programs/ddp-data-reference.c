/* --help-config and --help-layers of ddp-data and its commands. */
#include <stdlib.h>

#include "ddp-data.h"
#include "model/model.h"

int ddp_data_reference(const struct ddp_manual *m, int argc, char **argv)
{
    struct ddp_option_walk walk = {argc, argv, 1, false};
    struct ddp_error err = {0};
    const char *value, *key = NULL;
    int reference = 0;
    bool markdown = false;
    char *text;
    for (int id = DDP_OPTION_WORD; id != DDP_OPTION_END;) {
        if (ddp_option_next(&walk, m, &id, &value, &err) != 0)
            return ddp_report("ddp-data", &err);
        markdown = markdown || id == DDP_OPTION_MARKDOWN;
        if (id == DDP_OPTION_HELP_CONFIG || id == DDP_OPTION_HELP_LAYERS) {
            reference = id;
            key = value;
        }
    }
    if (!reference)
        return ddp_usage(m, "%s", "--markdown belongs to --help-config or --help-layers");
    if (ddp_reference(reference == DDP_OPTION_HELP_LAYERS, key, markdown, &text, &err) != 0)
        return ddp_report("ddp-data", &err);
    fputs(text, stdout);
    free(text);
    return 0;
}
