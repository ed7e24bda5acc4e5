/* How a job has ended, for who may start it again. */
#ifndef DDP_LAUNCHER_ENDING_H
#define DDP_LAUNCHER_ENDING_H

#include "base/base.h"

struct ddp_ending {
    char run[DDP_LIFELINE_TEXT]; /* the run directory that was open; "" none */
    char host[256];              /* that was lost; "" none */
    bool asked;                  /* somebody wanted it to end */
};

#endif
