/* Lists on a command line. */
#ifndef DDP_BENCH_LISTS_H
#define DDP_BENCH_LISTS_H

#include "ddp/error.h"

/* "1,2,4": whole numbers from `least` to `most`, at most `room` of them, into out. Returns how many; below 0:
 * an error that names `option`. */
int bench_list_parse(const char *option, const char *text, long least, long most, int room, long *out,
                     struct ddp_error *err);
/* One number. */
int bench_number_parse(const char *option, const char *text, long least, long most, long *out,
                       struct ddp_error *err);

#endif
