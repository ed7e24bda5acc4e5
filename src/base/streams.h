/* Standard input, output and error of our programs: there, never in each other's way, and what was written to
 * standard output has arrived. */
#ifndef DDP_BASE_STREAMS_H
#define DDP_BASE_STREAMS_H

#include <stdbool.h>
#include <stddef.h>

/* First thing in every main(): descriptors 0, 1 and 2 that are closed are opened on /dev/null. The next file
 * would get such a number otherwise, and what is printed would go into it. */
void ddp_streams_open(void);

/* Last thing in every main(), around its status: what was printed on standard output is written. Where some
 * of it could not be (the disk is full), a line on standard error says so for `program`, and 0 becomes
 * DDP_EXIT_RESOURCE. A reader that has left (EPIPE) wanted no more: that is no failure. One that does not
 * read is waited for, but not by a process that was asked to stop (base/stop.h). */
int ddp_streams_close(const char *program, int status);

/* Write all to a descriptor (1, 2, a log), past stdio; pieces that a pipe takes whole. Waits for the reader;
 * once the process is asked to stop a second in all, and then never again. False: not all was written. */
bool ddp_stream_write(int fd, const char *s, size_t n);
/* Writing to standard output in another way has failed with this errno: ddp_streams_close tells. */
void ddp_stream_failed(int error);

#endif
