/* What the project's own code does with errors besides ddp/error.h. Alone, so that the CUDA plug-in, which is
 * built where none of base's libraries may be, takes error.c along. */
#ifndef DDP_BASE_ERROR_H
#define DDP_BASE_ERROR_H

#include <stdbool.h>

#include "ddp/error.h"

/* Put '?' in place of what a terminal would obey and not show: control characters but for newline and tab,
 * DEL, and the controls of U+0080 to U+009F. Names of files and words of other processes are shown through
 * it. */
void ddp_text_plain(char *s);
/* Put a text (an advice that only the caller knows) behind err's. */
void ddp_error_suffix(struct ddp_error *err, const char *text);
/* Whether err's text has no room for another line: ddp_error_add() then only says that there are more. */
bool ddp_error_is_full(const struct ddp_error *err);

#endif
