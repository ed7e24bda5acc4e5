/* What a record says of the program, the machine and the environment. Private to src/telemetry. */
#ifndef DDP_TELEMETRY_CAPTURE_H
#define DDP_TELEMETRY_CAPTURE_H

#include <jansson.h>

/* Version and commit, whether the source differed from it, hashes of the difference and of the program. */
json_t *ddp_capture_code(void);
/* System, processor, and libraries: those it was compiled with, and those that are loaded now. isa: of the
 * kernels; transport with the version of its library, or NULL. */
json_t *ddp_capture_machine(const char *isa, const char *transport, const char *transport_version);
json_t *ddp_capture_libraries(void);
/* What of the environment may change how a run goes, by the list of names in config/env.c: no other variable,
 * and so no secret, gets into a record. */
json_t *ddp_capture_environment(void);

#endif
