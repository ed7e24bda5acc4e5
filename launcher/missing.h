/* Why hosts have not reported: a pure function of what was said meanwhile. */
#ifndef DDP_LAUNCHER_MISSING_H
#define DDP_LAUNCHER_MISSING_H

#include "launcher/words.h"

/* missing: hosts that have not reported, of `total`. address: of each, those that its name stands for, with
 * spaces between; ssh speaks of them. said: by the program that should have started agents there. A line
 * for each host of which ssh or the scheduler said something, with the way out; where they said nothing of
 * any, one for all, and what was said, and false is returned. Added to out, no newline at the end. */
bool ddp_missing_explain(const struct ddp_words *missing, const struct ddp_words *address, int total,
                         const char *said, struct ddp_text *out);

#endif
