/* The clocks: one that only goes on, and the time of day. */
#ifndef DDP_BASE_CLOCK_H
#define DDP_BASE_CLOCK_H

/* Seconds on the monotonic clock; all processes of a node share its zero. */
double ddp_now(void);
/* Seconds since 1970. */
double ddp_wall(void);

#endif
