/* Lines in a buffer of fixed size. */
#include "base/note.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void ddp_note_add(char *notes, size_t size, const char *fmt, ...)
{
    size_t n = strlen(notes);
    va_list ap;
    if (n > 0 && n + 1 < size)
        notes[n++] = '\n';
    va_start(ap, fmt);
    vsnprintf(notes + n, size - n, fmt, ap);
    va_end(ap);
}
