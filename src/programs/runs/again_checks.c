/* What was found of a run that is to be done again. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "again.h"

void ddp_again_note(struct ddp_again *a, enum ddp_again_grade grade, const char *what, const char *fmt, ...)
{
    char says[2048];
    va_list args;
    va_start(args, fmt);
    vsnprintf(says, sizeof says, fmt, args);
    va_end(args);
    a->check = ddp_realloc(a->check, (size_t)(a->checks + 1) * sizeof *a->check);
    a->check[a->checks++] = (struct ddp_again_check){grade, ddp_strdup(what), ddp_strdup(says)};
}

int ddp_again_missing(const struct ddp_again *a)
{
    int n = 0;
    for (int i = 0; i < a->checks; i++)
        n += a->check[i].grade == DDP_AGAIN_MISSING;
    return n;
}
