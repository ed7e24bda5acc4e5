/* Errors as values: the text of the first fault, and what callers put in front of or behind it. */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void ddp_text_plain(char *s)
{
    for (unsigned char *p = (unsigned char *)s; *p; p++) {
        if ((*p < 0x20 && *p != '\n' && *p != '\t') || *p == 0x7f)
            *p = '?';
        else if (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)
            p[0] = p[1] = '?';
    }
}

int ddp_fail(struct ddp_error *err, int code, const char *fmt, ...)
{
    if (err) {
        err->code = code;
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(err->text, sizeof err->text, fmt, ap);
        va_end(ap);
        ddp_text_plain(err->text);
    }
    return code;
}

int ddp_error_prefix(struct ddp_error *err, const char *fmt, ...)
{
    if (!err)
        return DDP_E_INTERNAL;
    char text[sizeof err->text];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof text - 3)
        return err->code; /* a prefix that leaves no room for the reason is dropped */
    snprintf(text + n, sizeof text - (size_t)n, ": %s", err->text);
    memcpy(err->text, text, sizeof text);
    ddp_text_plain(err->text);
    return err->code;
}

void ddp_error_suffix(struct ddp_error *err, const char *text)
{
    const size_t len = err ? strlen(err->text) : 0;
    if (err && len + strlen(text) < sizeof err->text)
        strcpy(err->text + len, text);
}

/* The last line of a text that took not all that was added. */
static const char more[] = "\n.. and more than there is room to list here";

bool ddp_error_is_full(const struct ddp_error *err)
{
    const size_t len = strlen(err->text), n = sizeof more - 1;
    return len + n >= sizeof err->text || (len > n && strcmp(err->text + len - n, more) == 0);
}

int ddp_error_add(struct ddp_error *err, int code, const char *fmt, ...)
{
    if (!err)
        return code;
    if (err->code == 0) {
        err->code = code;
        err->text[0] = '\0';
    }
    const size_t len = strlen(err->text), room = sizeof err->text - sizeof more;
    if (len > 0 && ddp_error_is_full(err))
        return err->code;
    char line[sizeof err->text];
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    ddp_text_plain(line);
    if (len == 0)
        strcpy(err->text, line);
    else if (n >= 0 && len + 1 + (size_t)n < room)
        snprintf(err->text + len, sizeof err->text - len, "\n%s", line);
    else
        strcpy(err->text + len, more);
    return err->code;
}

static const struct {
    int code, status;
    const char *name;
} codes[] = {
#define DDP_ERROR_ROW(name, text, status) {name, status, text},
    DDP_ERRORS(DDP_ERROR_ROW)
#undef DDP_ERROR_ROW
};

const char *ddp_error_name(int code)
{
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (codes[i].code == code)
            return codes[i].name;
    return code == 0 ? "ok" : "unknown error";
}

int ddp_error_exit(int code)
{
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (codes[i].code == code)
            return codes[i].status;
    return code == 0 ? DDP_EXIT_OK : DDP_EXIT_RANK;
}
