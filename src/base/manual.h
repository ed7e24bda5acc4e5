/* What a program says of itself, once: from one table come --help, the manual page (--man), and the options
 * that its command line is read with, so that none of them can say what the others do not.
 *
 * Texts: paragraphs with an empty line between them, which are filled; a line that begins with a blank stands
 * as it is. In a section a line "TERM<tab>MEANING" is a row. */
#ifndef DDP_BASE_MANUAL_H
#define DDP_BASE_MANUAL_H

#include <stdbool.h>

#include "ddp/error.h"

struct ddp_option {
    const char *name;    /* "--ranks"; NULL: the end of the list */
    const char *shorter; /* "-n"; NULL: none */
    const char *value;   /* what follows it: "N"; "[KEY]" or "[=KEY]" (glued): or nothing; NULL: nothing */
    int id;              /* the program's own, above 0 */
    const char *doc;
};

struct ddp_manual_section {
    const char *title, *text; /* title NULL: the end of the list */
    bool page_only;           /* not in --help */
};

struct ddp_manual;
struct ddp_command {
    const struct ddp_manual *manual;   /* NULL: the end of the list; its name is "PROGRAM COMMAND" */
    int (*run)(int argc, char **argv); /* argv[0] is the command's name; an exit code */
};
/* "pack" of "ddp-data pack". */
const char *ddp_command_name(const struct ddp_command *c);

struct ddp_manual {
    const char *name;         /* "ddp-launch", "ddp-data pack" */
    const char *summary;      /* one line without a full stop */
    const char *const *usage; /* what follows the name, each way; ends with NULL */
    const char *about;        /* "": nothing */
    const struct ddp_option *options;
    const struct ddp_manual_section *sections;
    const struct ddp_command *commands; /* of a program that has them; ends with {0}; NULL: none */
};

/* What every program answers, at the end of its list of options. */
enum { DDP_OPTION_HELP = 10001, DDP_OPTION_VERSION, DDP_OPTION_MAN };
#define DDP_COMMON_OPTIONS                                                                                   \
    {"--version", NULL, NULL, DDP_OPTION_VERSION, "Print the version."},                                     \
        {"--man", NULL, NULL, DDP_OPTION_MAN, "Print the manual page, as man(1) reads it."},                 \
    {                                                                                                        \
        "--help", "-h", NULL, DDP_OPTION_HELP, "Print this summary."                                         \
    }

/* And those that read configs (ddp_reference in model/model.h). */
enum { DDP_OPTION_HELP_CONFIG = 10101, DDP_OPTION_HELP_LAYERS, DDP_OPTION_MARKDOWN };
#define DDP_REFERENCE_OPTIONS                                                                                \
    {"--help-config", NULL, "[KEY]", DDP_OPTION_HELP_CONFIG,                                                 \
     "Print the reference of all keys, or of those that begin with KEY."},                                   \
        {"--help-layers", NULL, "[TYPE]", DDP_OPTION_HELP_LAYERS,                                            \
         "Print the reference of the layer types of model.layers, or of one."},                              \
    {                                                                                                        \
        "--markdown", NULL, NULL, DDP_OPTION_MARKDOWN, "With either: as a page of Markdown."                 \
    }

/* --help of at most 79 columns, and the page as roff. malloc'd. */
char *ddp_manual_help(const struct ddp_manual *m);
char *ddp_manual_page(const struct ddp_manual *m);
/* "NAME VERSION\n" for the first word of m->name. Static until the next call. */
const char *ddp_manual_version(const struct ddp_manual *m);
/* Print what one of the three common options asks for; false: it is none of them. */
bool ddp_manual_answer(const struct ddp_manual *m, int id);

/* The option that `arg` is; *value is what follows "=" or is glued to the short form, NULL without. NULL:
 * none of them. */
const struct ddp_option *ddp_option_find(const struct ddp_option *options, const char *arg,
                                         const char **value);
/* Words the error (DDP_E_USAGE) about an unknown one, with the nearest. */
int ddp_option_unknown(const struct ddp_manual *m, const char *arg, struct ddp_error *err);

/* A command line, word by word. */
struct ddp_option_walk {
    int argc;
    char **argv;
    int at;          /* the next; begins at 1 */
    bool only_words; /* after "--" */
};
enum { DDP_OPTION_WORD = 0, DDP_OPTION_END = -1 };
/* *id: of the option, with its *value (NULL: none); DDP_OPTION_WORD, *value being it; DDP_OPTION_END.
 * DDP_E_USAGE: an option that is unknown, lacks its value, or takes none. A word "-" is no option. */
int ddp_option_next(struct ddp_option_walk *w, const struct ddp_manual *m, int *id, const char **value,
                    struct ddp_error *err);

#endif
