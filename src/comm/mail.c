/* Messages between the threads of one process: letters wait in one queue until their receive is posted,
 * receives wait in one list of each rank until their letter comes; both are matched in order, under one
 * lock. */
#include "comm/mail.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct part { /* one message of an exchange */
    struct ddp_message m;
    struct ddp_mailing *of;
    struct part *next; /* in the queue of letters, or in its rank's list of receives */
    bool open;         /* in one of them */
    char *letter;      /* send: [bytes] the copy that travels */
    size_t came;       /* receive: bytes of the letter */
};

struct list {
    struct part *first, **end;
};

struct ddp_mail {
    pthread_mutex_t lock;
    ddp_word moved;       /* counts letters put and taken: what waits sleep on */
    struct list letters;  /* put and not taken */
    struct list posted[]; /* [ranks] receives begun and not served */
};

struct ddp_mailing {
    struct ddp_mail *mail;
    int rank, tag, n;
    struct part part[];
};

static void append(struct list *l, struct part *p)
{
    p->next = NULL;
    p->open = true;
    *l->end = p;
    l->end = &p->next;
}

static void unlink_part(struct list *l, struct part *p)
{
    struct part **at = &l->first;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    if (l->end == &p->next)
        l->end = at;
    p->open = false;
}

static struct list *list_of(const struct part *p)
{
    return p->m.send ? &p->of->mail->letters : &p->of->mail->posted[p->of->rank];
}

struct ddp_mail *ddp_mail_create(int ranks)
{
    struct ddp_mail *mail = ddp_calloc(1, sizeof *mail + (size_t)ranks * sizeof mail->posted[0]);
    pthread_mutex_init(&mail->lock, NULL);
    mail->letters.end = &mail->letters.first;
    for (int r = 0; r < ranks; r++)
        mail->posted[r].end = &mail->posted[r].first;
    return mail;
}

void ddp_mail_destroy(struct ddp_mail *mail)
{
    if (mail == NULL)
        return;
    pthread_mutex_destroy(&mail->lock);
    free(mail);
}

struct ddp_mailing *ddp_mailing_create(struct ddp_mail *mail, int rank, const struct ddp_message *list, int n,
                                       int tag)
{
    struct ddp_mailing *x = ddp_calloc(1, sizeof *x + (size_t)n * sizeof x->part[0]);
    x->mail = mail;
    x->rank = rank;
    x->tag = tag;
    x->n = n;
    for (int i = 0; i < n; i++) {
        x->part[i].m = list[i];
        x->part[i].of = x;
        if (list[i].send)
            x->part[i].letter = ddp_malloc(list[i].bytes);
    }
    return x;
}

void ddp_mailing_begin(struct ddp_mailing *x)
{
    for (int i = 0; i < x->n; i++)
        if (x->part[i].m.send && x->part[i].m.bytes > 0)
            memcpy(x->part[i].letter, x->part[i].m.buffer, x->part[i].m.bytes);
    pthread_mutex_lock(&x->mail->lock);
    for (int i = 0; i < x->n; i++)
        append(list_of(&x->part[i]), &x->part[i]);
    pthread_mutex_unlock(&x->mail->lock);
    ddp_wait_add(&x->mail->moved, 1);
}

static struct part *find_letter(const struct ddp_mail *mail, const struct part *receive)
{
    struct part *p = mail->letters.first;
    while (p != NULL && (p->of->rank != receive->m.peer || p->m.peer != receive->of->rank ||
                         p->of->tag != receive->of->tag))
        p = p->next;
    return p;
}

/* All receives of a rank that can be served, those posted first before the others. Returns how many were. */
static uint32_t serve(struct ddp_mail *mail, int rank)
{
    uint32_t served = 0;
    for (struct part *p = mail->posted[rank].first, *next; p != NULL; p = next) {
        struct part *letter = find_letter(mail, p);
        next = p->next;
        if (letter == NULL)
            continue;
        p->came = letter->m.bytes;
        if (p->came > 0 && p->came == p->m.bytes)
            memcpy(p->m.buffer, letter->letter, p->came);
        unlink_part(&mail->letters, letter);
        unlink_part(&mail->posted[rank], p);
        served++;
    }
    return served;
}

static int look(const struct ddp_mailing *x, bool *done, struct ddp_error *err)
{
    *done = true;
    for (int i = 0; i < x->n; i++) {
        const struct part *p = &x->part[i];
        if (p->open)
            *done = false;
        else if (!p->m.send && p->came != p->m.bytes)
            return ddp_fail(err, DDP_E_COMM,
                            "exchange: rank %d sent %zu bytes where rank %d expects %zu (tag %d)", p->m.peer,
                            p->came, x->rank, p->m.bytes, x->tag);
    }
    return 0;
}

int ddp_mailing_test(struct ddp_mailing *x, bool wait, int spin, const ddp_word *stop, bool *done,
                     struct ddp_error *err)
{
    for (;;) {
        uint32_t seen = atomic_load_explicit(&x->mail->moved, memory_order_acquire);
        pthread_mutex_lock(&x->mail->lock);
        uint32_t served = serve(x->mail, x->rank);
        int code = look(x, done, err);
        pthread_mutex_unlock(&x->mail->lock);
        if (served > 0)
            ddp_wait_add(&x->mail->moved, served);
        if (code != 0 || *done)
            return code;
        if (atomic_load_explicit(stop, memory_order_acquire) != 0 ||
            (wait && served == 0 && !ddp_wait_reached(&x->mail->moved, seen + 1, spin, stop)))
            return ddp_fail(err, DDP_E_COMM, "exchange: another rank has ended the job");
        if (!wait)
            return 0;
    }
}

void ddp_mailing_destroy(struct ddp_mailing *x)
{
    pthread_mutex_lock(&x->mail->lock);
    for (int i = 0; i < x->n; i++)
        if (x->part[i].open)
            unlink_part(list_of(&x->part[i]), &x->part[i]);
    pthread_mutex_unlock(&x->mail->lock);
    for (int i = 0; i < x->n; i++)
        free(x->part[i].letter);
    free(x);
}
