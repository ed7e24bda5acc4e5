/* Messages between the threads of one process: the transport `threads` sends them, and tests rely on its
 * being strict. A send is done when its receive has taken it (nothing is buffered beyond that), and what
 * is taken is a copy: after an abort a rank may leave, and its buffers with it, while another still reads.
 * Allocates when exchanges are made only. */
#ifndef DDP_COMM_MAIL_H
#define DDP_COMM_MAIL_H

#include "comm/transport.h"

struct ddp_mail;    /* of a group of ranks */
struct ddp_mailing; /* an exchange of one of them */

struct ddp_mail *ddp_mail_create(int ranks);
/* All exchanges are destroyed. */
void ddp_mail_destroy(struct ddp_mail *mail);

/* As the members of struct ddp_comm_ops; stop: ends waits when it becomes non-zero. */
struct ddp_mailing *ddp_mailing_create(struct ddp_mail *mail, int rank, const struct ddp_message *list, int n,
                                       int tag);
void ddp_mailing_begin(struct ddp_mailing *x);
int ddp_mailing_test(struct ddp_mailing *x, bool wait, int spin, const ddp_word *stop, bool *done,
                     struct ddp_error *err);
void ddp_mailing_destroy(struct ddp_mailing *x);

#endif
