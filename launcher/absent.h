/* Of hosts that ssh did not reach, who is not there at all: ssh may say no more than "Broken pipe". */
#ifndef DDP_LAUNCHER_ABSENT_H
#define DDP_LAUNCHER_ABSENT_H

#include "launcher/words.h"

/* Add a line to *said for each of the first hosts that does not answer at the port of ssh. address: as in
 * missing.h. Takes some seconds where there are such. */
void ddp_absent_tell(const struct ddp_words *missing, const struct ddp_words *address, struct ddp_text *said);

#endif
