/* Notes for people: lines in a buffer of fixed size. */
#ifndef DDP_BASE_NOTE_H
#define DDP_BASE_NOTE_H

#include <stddef.h>

#include "ddp/error.h"

/* Add a line to notes[size], behind a newline unless it is the first; what does not fit is cut off. */
void ddp_note_add(char *notes, size_t size, const char *fmt, ...) DDP_PRINTF(3, 4);

#endif
