/* The agents of a job's other hosts: called by a starter, they connect to this process, which then asks all
 * of them at once and waits for all of their answers. */
#ifndef DDP_LAUNCHER_CREW_H
#define DDP_LAUNCHER_CREW_H

#include <jansson.h>

#include "launcher/spawn.h"
#include "launcher/starter.h"
#include "launcher/wire.h"

struct ddp_crew_member {
    char *name;             /* of the host, as the user knows it */
    bool here;              /* has reported */
    struct ddp_wire wire;   /* once it has */
    json_t *hello;          /* .. what it said then */
    json_t *task, *answer;  /* the last one; answer NULL: none yet */
    double asked, answered; /* ddp_wall() */
};

struct ddp_crew {
    int n;
    struct ddp_crew_member *member; /* [n] as they were named */
    char token[33];
    int listener, port;
    const struct ddp_starter *starter;
    struct ddp_child called; /* the starter's program; .pid 0: none runs */
    struct ddp_text said;    /* by it */
};

/* Start an agent on each of these hosts and wait until all have reported, no longer than limit_s.
 * Errors (DDP_E_RESOURCE) name the
 * hosts that have not, and what the starter's program said of them. */
int ddp_crew_call(const struct ddp_starter *starter, const struct ddp_words *hosts, double limit_s,
                  struct ddp_crew *out, struct ddp_error *err);
/* The same in two halves, for agents that something else starts: ready to be connected to by agents that know
 * .token and .port; then the wait. */
int ddp_crew_open(const struct ddp_words *hosts, struct ddp_crew *out, struct ddp_error *err);
int ddp_crew_gather(struct ddp_crew *crew, double limit_s, struct ddp_error *err);

/* Give each its task (task[i] becomes the crew's; NULL: nothing for this one) and wait for all answers,
 * .answer of each. An answer that is an error, or none within limit_s, is one: of the first such host. */
int ddp_crew_ask(struct ddp_crew *crew, json_t *const *task, double limit_s, struct ddp_error *err);

/* Close the wires: agents clean up and end, and so does what started them. NULL-initialised is fine. */
void ddp_crew_dismiss(struct ddp_crew *crew);

#endif
