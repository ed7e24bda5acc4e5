/* A string that grows, and numbers in and out of text in the C locale. */
#include "base/text.h"

#include <errno.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

void ddp_text_init(struct ddp_text *t)
{
    t->cap = 256;
    t->len = 0;
    t->s = ddp_malloc(t->cap);
    t->s[0] = '\0';
}

void ddp_text_finish(struct ddp_text *t)
{
    free(t->s);
    t->s = NULL;
    t->len = t->cap = 0;
}

static void reserve(struct ddp_text *t, size_t more)
{
    if (t->len + more + 1 > t->cap) {
        while (t->len + more + 1 > t->cap)
            t->cap *= 2;
        t->s = ddp_realloc(t->s, t->cap);
    }
}

void ddp_text_append(struct ddp_text *t, const char *bytes, size_t n)
{
    reserve(t, n);
    memcpy(t->s + t->len, bytes, n);
    t->len += n;
    t->s[t->len] = '\0';
}

void ddp_text_add(struct ddp_text *t, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n > 0) {
        reserve(t, (size_t)n);
        vsnprintf(t->s + t->len, (size_t)n + 1, fmt, again);
        t->len += (size_t)n;
    }
    va_end(again);
}

static locale_t c; /* made once */

static void make_c_locale(void)
{
    c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

/* The C locale, whatever the program around us has set. */
static locale_t c_locale(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_c_locale);
    return c;
}

char *ddp_double_text(double v, char *buf)
{
    if (isnan(v))
        return strcpy(buf, "nan");
    if (isinf(v))
        return strcpy(buf, v < 0 ? "-inf" : "inf");
    locale_t old = uselocale(c_locale());
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(buf, 32, "%.*g", digits, v);
        if (strtod(buf, NULL) == v)
            break;
    }
    uselocale(old);
    if (!strpbrk(buf, ".e"))
        strcat(buf, ".0");
    return buf;
}

const char *ddp_plural(int64_t n)
{
    return n == 1 ? "" : "s";
}

bool ddp_parse_int(const char *s, int64_t *out)
{
    char *end;
    errno = 0;
    const char *digits = s + (*s == '-' || *s == '+');
    int base = digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X') ? 16 : 10;
    if (*digits < '0' || *digits > '9')
        return false;
    long long v = strtoll(s, &end, base);
    if (errno || *end)
        return false;
    *out = v;
    return true;
}

bool ddp_parse_double(const char *s, double *out)
{
    char *end;
    if (*s == '\0' || *s == ' ' || *s == '\t' || *s == '\n')
        return false;
    double v = strtod_l(s, &end, c_locale());
    if (*end || end == s)
        return false;
    if (isinf(v) && !strstr(s, "inf"))
        return false;
    *out = v;
    return true;
}

char *ddp_bytes_text(double bytes, char *buf)
{
    static const char *const unit[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    int u = 0;
    while (bytes >= 1000 && u < 5) {
        bytes /= 1000;
        u++;
    }
    snprintf(buf, 32, u ? "%.1f %s" : "%.0f %s", bytes, unit[u]);
    return buf;
}

int ddp_edit_distance(const char *a, const char *b)
{
    enum { MAX = 127 };
    int na = (int)strnlen(a, MAX), nb = (int)strnlen(b, MAX);
    int d[3][MAX + 1]; /* rows i-2, i-1, i, taken by i % 3 */
    for (int j = 0; j <= nb; j++)
        d[0][j] = j;
    for (int i = 1; i <= na; i++) {
        int *row = d[i % 3], *up = d[(i - 1) % 3], *up2 = d[(i + 1) % 3];
        row[0] = i;
        for (int j = 1; j <= nb; j++) {
            int best = up[j - 1] + (a[i - 1] != b[j - 1]);
            if (up[j] + 1 < best)
                best = up[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && up2[j - 2] + 1 < best)
                best = up2[j - 2] + 1;
            row[j] = best;
        }
    }
    return d[na % 3][nb];
}
