/* The conformance suite: what every transport must do. Each case is collective and returns 0 or a line
 * (ranks.h). */
#ifndef DDP_TESTS_COMM_CASES_H
#define DDP_TESTS_COMM_CASES_H

#include "comm/ranks.h"

struct comm_case {
    const char *name;
    ranks_body body;
};

extern const struct comm_case comm_cases[];
extern const int comm_ncases;

#endif
