/* What the two halves of the op share: its keys as a struct, which both read. */
#ifndef EXAMPLE_OP_H
#define EXAMPLE_OP_H

struct hard_tanh {
    double limit;
};

#endif
