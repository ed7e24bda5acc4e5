/* The options of a command that a later one gives again. */
#include "launcher/options.h"

void ddp_options_again(const struct ddp_options *opt, struct ddp_words *words)
{
    if (opt->hosts)
        ddp_words_add(words, "--hosts=%s", opt->hosts);
    if (opt->hostfile)
        ddp_words_add(words, "--hostfile=%s", opt->hostfile);
    if (opt->by_node)
        ddp_words_add(words, "--map-by=node");
    if (opt->starter)
        ddp_words_add(words, "--starter=%s", opt->starter);
    if (opt->program)
        ddp_words_add(words, "--program=%s", opt->program);
    if (opt->restarts > 0)
        ddp_words_add(words, "--restarts=%d", opt->restarts);
}
