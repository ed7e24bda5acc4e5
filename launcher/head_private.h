/* What head.c and head_looks.c share. */
#ifndef DDP_LAUNCHER_HEAD_PRIVATE_H
#define DDP_LAUNCHER_HEAD_PRIVATE_H

#include "launcher/head.h"

/* A line of ours on stderr. */
void DDP_PRINTF(2, 3) ddp_head_say(const struct ddp_head *h, const char *fmt, ...);
/* This has happened: the job's life goes on, and what follows is done. */
void ddp_head_happened(struct ddp_head *h, enum ddp_life_event event);
/* What the job's life asks for, a set of ddp_life_action. */
void ddp_head_act(struct ddp_head *h, unsigned actions);

#endif
