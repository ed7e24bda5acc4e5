/* How an agent comes to the head, or to the agent that it is behind: it connects and shows the job's token,
 * and has to hear it back. */
#ifndef DDP_LAUNCHER_HELLO_H
#define DDP_LAUNCHER_HELLO_H

#include "launcher/wire.h"
#include "launcher/words.h"

enum { DDP_HELLO_HEAD = -1 };

/* Try these addresses in turn, two times, some seconds each. number: by which the agent there knows us;
 * DDP_HELLO_HEAD: it is the head. False: nobody there knows the token. */
bool ddp_hello(const struct ddp_words *addresses, int port, const char *token, int number,
               struct ddp_wire *out);

#endif
