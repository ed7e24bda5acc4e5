/* Messages between processes of one host: rings, letters, and receives that take them in order. */
#include "comm/post.h"

#include <stdlib.h>
#include <string.h>

enum { RING_BYTES = 4096 };

/* One writer, one reader; counters of bytes ever put and taken, both wrap alike. */
struct ring {
    _Alignas(64) ddp_word put;
    _Alignas(64) ddp_word taken;
    _Alignas(64) char bytes[RING_BYTES];
};

struct area {
    _Alignas(64) ddp_word moved; /* one of each rank; the rings lie behind the last */
};

struct head { /* before each message in a ring */
    int32_t tag;
    uint32_t unused;
    uint64_t bytes;
};

struct part { /* one message of an exchange */
    struct ddp_message m;
    int tag;
    struct part *next; /* in the list of sends or of receives */
    bool open;         /* in one of them */
    size_t gone;       /* send: bytes in the ring so far, its head included */
    size_t came;       /* receive: bytes of the letter */
};

struct parts {
    struct part *first, **end;
};

struct letter {
    int peer, tag;
    size_t bytes, came, cap;
    char *text;
    struct letter *next;
};

struct letters {
    struct letter *first, **end;
};

struct inbox { /* what is being read from a peer's ring */
    struct head head;
    size_t got; /* bytes of the head */
    struct letter *letter;
};

struct ddp_post {
    struct area *area;
    struct ring *ring; /* [to][from] */
    int rank, size;
    struct parts sends, receives; /* begun and not through, in order */
    struct letters letters;       /* in order of each peer's sends */
    struct letter *spare;
    struct inbox inbox[]; /* [size] */
};

struct ddp_posting {
    struct ddp_post *post;
    int n, tag;
    struct part part[];
};

size_t ddp_post_bytes(int size)
{
    const size_t n = (size_t)size;
    return n * sizeof(struct area) + n * n * sizeof(struct ring);
}

struct ddp_post *ddp_post_create(void *memory, int rank, int size)
{
    struct ddp_post *post = ddp_calloc(1, sizeof *post + (size_t)size * sizeof post->inbox[0]);
    post->area = memory;
    post->ring = (struct ring *)(void *)(post->area + size);
    post->rank = rank;
    post->size = size;
    post->sends.end = &post->sends.first;
    post->receives.end = &post->receives.first;
    post->letters.end = &post->letters.first;
    return post;
}

static void free_letters(struct letter *l)
{
    for (struct letter *next; l != NULL; l = next) {
        next = l->next;
        free(l->text);
        free(l);
    }
}

void ddp_post_destroy(struct ddp_post *post)
{
    if (post == NULL)
        return;
    free_letters(post->letters.first);
    free_letters(post->spare);
    free(post);
}

static struct ring *ring_of(const struct ddp_post *post, int from, int to)
{
    return &post->ring[(size_t)to * (size_t)post->size + (size_t)from];
}

/* ---- rings ---- */

static size_t put(struct ring *r, const void *data, size_t bytes)
{
    const uint32_t at = atomic_load_explicit(&r->put, memory_order_relaxed);
    const uint32_t taken = atomic_load_explicit(&r->taken, memory_order_acquire);
    const size_t room = RING_BYTES - (at - taken), n = bytes < room ? bytes : room;
    const size_t from = at % RING_BYTES, first = n < RING_BYTES - from ? n : RING_BYTES - from;
    if (n > 0) {
        memcpy(r->bytes + from, data, first);
        memcpy(r->bytes, (const char *)data + first, n - first);
        atomic_store_explicit(&r->put, at + (uint32_t)n, memory_order_release);
    }
    return n;
}

static size_t take(struct ring *r, void *data, size_t bytes)
{
    const uint32_t at = atomic_load_explicit(&r->taken, memory_order_relaxed);
    const uint32_t end = atomic_load_explicit(&r->put, memory_order_acquire);
    const size_t there = end - at, n = bytes < there ? bytes : there;
    const size_t from = at % RING_BYTES, first = n < RING_BYTES - from ? n : RING_BYTES - from;
    if (n > 0) {
        memcpy(data, r->bytes + from, first);
        memcpy((char *)data + first, r->bytes, n - first);
        atomic_store_explicit(&r->taken, at + (uint32_t)n, memory_order_release);
    }
    return n;
}

/* ---- lists ---- */

static void append(struct parts *l, struct part *p)
{
    p->next = NULL;
    p->open = true;
    *l->end = p;
    l->end = &p->next;
}

static void unlink_part(struct parts *l, struct part *p)
{
    struct part **at = &l->first;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    if (l->end == &p->next)
        l->end = at;
    p->open = false;
}

static struct letter *new_letter(struct ddp_post *post, int peer, const struct head *h)
{
    struct letter *l = post->spare;
    if (l != NULL)
        post->spare = l->next;
    else
        l = ddp_calloc(1, sizeof *l);
    if (l->cap < h->bytes) {
        l->text = ddp_realloc(l->text, h->bytes);
        l->cap = h->bytes;
    }
    l->peer = peer;
    l->tag = h->tag;
    l->bytes = h->bytes;
    l->came = 0;
    l->next = NULL;
    *post->letters.end = l;
    post->letters.end = &l->next;
    return l;
}

/* ---- moving ---- */

/* Push a send as far as the ring takes it; true when something went. */
static bool push(struct ddp_post *post, struct part *p)
{
    struct ring *r = ring_of(post, post->rank, p->m.peer);
    const struct head h = {.tag = p->tag, .bytes = p->m.bytes};
    const size_t before = p->gone;
    if (p->gone < sizeof h)
        p->gone += put(r, (const char *)&h + p->gone, sizeof h - p->gone);
    if (p->gone >= sizeof h && p->m.bytes > p->gone - sizeof h)
        p->gone +=
            put(r, (const char *)p->m.buffer + (p->gone - sizeof h), p->m.bytes - (p->gone - sizeof h));
    if (p->gone == sizeof h + p->m.bytes)
        unlink_part(&post->sends, p);
    return p->gone > before;
}

/* Whether an earlier send to the same peer is still under way. */
static bool is_behind(const struct ddp_post *post, const struct part *p)
{
    const struct part *q = post->sends.first;
    while (q != p && q->m.peer != p->m.peer)
        q = q->next;
    return q != p;
}

static bool pull(struct ddp_post *post, int peer)
{
    struct ring *r = ring_of(post, peer, post->rank);
    struct inbox *in = &post->inbox[peer];
    bool any = false;
    for (size_t n = 1; n > 0;) {
        if (in->letter == NULL) {
            n = take(r, (char *)&in->head + in->got, sizeof in->head - in->got);
            in->got += n;
            if (in->got == sizeof in->head)
                in->letter = new_letter(post, peer, &in->head);
        } else {
            struct letter *l = in->letter;
            n = l->came < l->bytes ? take(r, l->text + l->came, l->bytes - l->came) : 0;
            l->came += n;
        }
        any |= n > 0;
        if (in->letter != NULL && in->letter->came == in->letter->bytes) {
            in->letter = NULL;
            in->got = 0;
            n = 1;
        }
    }
    return any;
}

/* The first letter for a receive, if it is all there. */
static struct letter **find_letter(struct ddp_post *post, const struct part *receive)
{
    struct letter **at = &post->letters.first;
    while (*at != NULL && ((*at)->peer != receive->m.peer || (*at)->tag != receive->tag))
        at = &(*at)->next;
    return *at != NULL && (*at)->came == (*at)->bytes ? at : NULL;
}

static bool serve(struct ddp_post *post)
{
    bool any = false;
    for (struct part *p = post->receives.first, *next; p != NULL; p = next) {
        struct letter **at = find_letter(post, p), *l = at != NULL ? *at : NULL;
        next = p->next;
        if (l == NULL)
            continue;
        p->came = l->bytes;
        if (p->came > 0 && p->came == p->m.bytes)
            memcpy(p->m.buffer, l->text, p->came);
        unlink_part(&post->receives, p);
        *at = l->next;
        if (post->letters.end == &l->next)
            post->letters.end = at;
        l->next = post->spare;
        post->spare = l;
        any = true;
    }
    return any;
}

/* True when something of ours moved: then there may be more. */
static bool move(struct ddp_post *post)
{
    bool any = false;
    for (struct part *p = post->sends.first, *next; p != NULL; p = next) {
        const int peer = p->m.peer;
        next = p->next;
        if (!is_behind(post, p) && push(post, p)) {
            ddp_wait_add(&post->area[peer].moved, 1);
            any = true;
        }
    }
    for (int peer = 0; peer < post->size; peer++)
        if (peer != post->rank && pull(post, peer)) {
            ddp_wait_add(&post->area[peer].moved, 1);
            any = true;
        }
    return serve(post) || any;
}

/* ---- exchanges ---- */

struct ddp_posting *ddp_posting_create(struct ddp_post *post, const struct ddp_message *list, int n, int tag)
{
    struct ddp_posting *x = ddp_calloc(1, sizeof *x + (size_t)n * sizeof x->part[0]);
    x->post = post;
    x->n = n;
    x->tag = tag;
    for (int i = 0; i < n; i++) {
        x->part[i].m = list[i];
        x->part[i].tag = tag;
    }
    return x;
}

void ddp_posting_begin(struct ddp_posting *x)
{
    for (int i = 0; i < x->n; i++) {
        struct part *p = &x->part[i];
        p->gone = p->came = 0;
        append(p->m.send ? &x->post->sends : &x->post->receives, p);
    }
    move(x->post);
}

static int look(const struct ddp_posting *x, bool *done, struct ddp_error *err)
{
    *done = true;
    for (int i = 0; i < x->n; i++) {
        const struct part *p = &x->part[i];
        if (p->open)
            *done = false;
        else if (!p->m.send && p->came != p->m.bytes)
            return ddp_fail(err, DDP_E_COMM,
                            "exchange: rank %d sent %zu bytes where rank %d expects %zu (tag %d)", p->m.peer,
                            p->came, x->post->rank, p->m.bytes, x->tag);
    }
    return 0;
}

int ddp_posting_test(struct ddp_posting *x, bool wait, int spin, const ddp_word *stop, bool *done,
                     struct ddp_error *err)
{
    ddp_word *mine = &x->post->area[x->post->rank].moved;
    for (;;) {
        const uint32_t seen = atomic_load_explicit(mine, memory_order_acquire);
        const bool moved = move(x->post);
        const int code = look(x, done, err);
        if (code != 0 || *done)
            return code;
        if (atomic_load_explicit(stop, memory_order_acquire) != 0 ||
            (wait && !moved && !ddp_wait_reached(mine, seen + 1, spin, stop)))
            return ddp_fail(err, DDP_E_COMM, "exchange: another rank has ended the job");
        if (!wait)
            return 0;
    }
}

void ddp_posting_destroy(struct ddp_posting *x)
{
    for (int i = 0; i < x->n; i++)
        if (x->part[i].open)
            unlink_part(x->part[i].m.send ? &x->post->sends : &x->post->receives, &x->part[i]);
    free(x);
}
