/* Bracket lists: an item is a product of literal parts and of brackets, multiplied out from the left. */
#include "launcher/hostlist.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIGITS_MAX = 9, EXCERPT = 16 };

int ddp_hostlist_fail(struct ddp_error *err, const char *text, const char *at, const char *fmt, ...)
{
    char why[512], excerpt[EXCERPT + 1] = "";
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    for (int i = 0; i < EXCERPT && at[i]; i++) {
        excerpt[i] = isprint((unsigned char)at[i]) ? at[i] : '?';
        excerpt[i + 1] = '\0';
    }
    if (*at)
        return ddp_fail(err, DDP_E_USAGE, "at character %d, before '%s': %s", (int)(at - text) + 1, excerpt,
                        why);
    return ddp_fail(err, DDP_E_USAGE, "at its end, character %d: %s", (int)(at - text) + 1, why);
}

/* ---- brackets -------------------------------------------------------------------------------- */

struct range {
    long first, last;
    int digits; /* at least so many are written; 0: as many as there are */
};

struct bracket {
    struct range *range; /* [n] */
    int n;
    long names; /* what it multiplies the list by */
};

static int read_number(const char *text, const char **at, long *out, int *digits, struct ddp_error *err)
{
    const char *s = *at;
    long v = 0;
    while (*s >= '0' && *s <= '9') {
        if (s - *at >= DIGITS_MAX)
            return ddp_hostlist_fail(err, text, *at, "a number of more than %d digits", DIGITS_MAX);
        v = 10 * v + (*s++ - '0');
    }
    if (s == *at)
        return ddp_hostlist_fail(err, text, s,
                                 "a number is missing; brackets are written [3], [0-3] or [001,003-010]");
    *digits = (int)(s - *at);
    *out = v;
    *at = s;
    return 0;
}

/* "003-010" */
static int read_range(const char *text, const char **at, struct range *out, struct ddp_error *err)
{
    const char *begin = *at;
    int digits, last_digits;
    int rc = read_number(text, at, &out->first, &digits, err);
    if (rc != 0)
        return rc;
    out->digits = digits > 1 && *begin == '0' ? digits : 0;
    out->last = out->first;
    if (**at != '-')
        return 0;
    ++*at;
    const char *end = *at;
    if ((rc = read_number(text, at, &out->last, &last_digits, err)) != 0)
        return rc;
    if (out->last < out->first)
        return ddp_hostlist_fail(err, text, begin,
                                 "the range runs backwards; write the smaller number first");
    if (*end == '0' && last_digits > 1 && last_digits != digits)
        return ddp_hostlist_fail(err, text, begin,
                                 "one end has leading zeros and the other has not as many digits; write "
                                 "[001-010] or [1-10]");
    return 0;
}

/* From behind '[' to behind ']'. limit: names that are still possible. */
static int read_bracket(const char *text, const char **at, long limit, struct bracket *out,
                        struct ddp_error *err)
{
    for (;;) {
        struct range r;
        const char *begin = *at;
        const int rc = read_range(text, at, &r, err);
        if (rc != 0)
            return rc;
        out->names += r.last - r.first + 1;
        if (out->names > limit)
            return ddp_hostlist_fail(err, text, begin, "the list comes to more than %d hosts here",
                                     DDP_HOSTS_MAX);
        out->range = ddp_realloc(out->range, (size_t)(out->n + 1) * sizeof *out->range);
        out->range[out->n++] = r;
        if (**at == ']') {
            ++*at;
            return 0;
        }
        if (**at == '\0')
            return ddp_hostlist_fail(err, text, *at, "the bracket is not closed; ']' is missing");
        if (**at != ',')
            return ddp_hostlist_fail(err, text, *at,
                                     "inside brackets there are numbers and ranges of them: [001,003-010]");
        ++*at;
    }
}

static void multiply(const struct bracket *b, struct ddp_words *names)
{
    struct ddp_words product = {0};
    for (int i = 0; i < names->n; i++)
        for (int k = 0; k < b->n; k++)
            for (long v = b->range[k].first; v <= b->range[k].last; v++)
                ddp_words_add(&product, "%s%0*ld", names->w[i], b->range[k].digits, v);
    ddp_words_finish(names);
    *names = product;
}

/* ---- literal parts --------------------------------------------------------------------------- */

static bool ends_item(char c)
{
    return c == '\0' || c == ',' || c == ':' || c == '=' || c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool may_stand_in_a_name(char c)
{
    return isalnum((unsigned char)c) || c == '-' || c == '_' || c == '.';
}

static int refuse_character(const char *text, const char *at, struct ddp_error *err)
{
    if (*at == '@')
        return ddp_hostlist_fail(err, text, at,
                                 "hosts are named without a user; 'Host' and 'User' in ~/.ssh/config say as "
                                 "whom to log in");
    if (*at == ']')
        return ddp_hostlist_fail(err, text, at, "no bracket is open here");
    return ddp_hostlist_fail(err, text, at, "names of hosts are made of letters, digits, '-', '_' and '.'");
}

static int read_literal(const char *text, const char **at, struct ddp_words *names, struct ddp_error *err)
{
    const char *begin = *at;
    while (!ends_item(**at) && **at != '[') {
        if (!may_stand_in_a_name(**at))
            return refuse_character(text, *at, err);
        ++*at;
    }
    const int n = (int)(*at - begin);
    for (int i = 0; i < names->n; i++) {
        const size_t old = strlen(names->w[i]);
        names->w[i] = ddp_realloc(names->w[i], old + (size_t)n + 1);
        memcpy(names->w[i] + old, begin, (size_t)n);
        names->w[i][old + (size_t)n] = '\0';
    }
    return 0;
}

/* ---- the face -------------------------------------------------------------------------------- */

static int read_parts(const char *text, const char **at, struct ddp_words *names, struct ddp_error *err)
{
    const char *begin = *at;
    if (ends_item(**at))
        return ddp_hostlist_fail(err, text, *at, "a host's name is missing");
    if (**at == '-' || **at == '.')
        return ddp_hostlist_fail(err, text, *at, "no host's name begins with '%c'", **at);
    ddp_words_add(names, "%s", "");
    while (names->n > 0 && !ends_item(**at)) { /* there is always one */
        int rc;
        if (**at == '[') {
            struct bracket b = {0};
            ++*at;
            rc = read_bracket(text, at, DDP_HOSTS_MAX / names->n, &b, err);
            if (rc == 0)
                multiply(&b, names);
            free(b.range);
        } else {
            rc = read_literal(text, at, names, err);
        }
        if (rc != 0)
            return rc;
        const char *last = names->n > 0 ? names->w[names->n - 1] : "";
        if (strlen(last) > DDP_HOST_NAME_MAX)
            return ddp_hostlist_fail(err, text, begin, "a name of more than %d characters",
                                     DDP_HOST_NAME_MAX);
    }
    return 0;
}

int ddp_hostlist_item(const char *text, const char **at, struct ddp_words *names, struct ddp_error *err)
{
    struct ddp_words item = {0};
    const int rc = read_parts(text, at, &item, err);
    for (int i = 0; rc == 0 && i < item.n; i++)
        ddp_words_add(names, "%s", item.w[i]);
    ddp_words_finish(&item);
    return rc;
}

int ddp_hostlist_expand(const char *text, struct ddp_words *names, struct ddp_error *err)
{
    const char *at = text;
    for (;;) {
        const int rc = ddp_hostlist_item(text, &at, names, err);
        if (rc != 0)
            return rc;
        if (names->n > DDP_HOSTS_MAX)
            return ddp_hostlist_fail(err, text, at, "the list comes to more than %d hosts here",
                                     DDP_HOSTS_MAX);
        if (*at == '\0')
            return 0;
        if (*at != ',')
            return ddp_hostlist_fail(err, text, at, "items are parted by commas");
        at++;
    }
}
