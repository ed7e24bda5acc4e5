/* A config file and all it includes as one text, made ready for libconfig.
 *
 * libconfig 1.5 wraps large integers silently, refuses [1, 0.5], a comma after the last element and includes
 * relative to the including file, loops on include loops until its stack is full, and names no key in its
 * errors. So the text is read token by token here first: includes are put in place (each line remembers its
 * origin), integers are checked and get their L, lists of values become lists of anything, and what libconfig
 * would call a syntax error is explained where the cause is known: a key given twice, a text without quotes,
 * a bracket that does not close. */
#include "config/scan.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

bool ddp_utf8_valid(const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)s[i];
        int more = c < 0x80                ? 0
                   : c >= 0xc2 && c < 0xe0 ? 1
                   : c >= 0xe0 && c < 0xf0 ? 2
                   : c >= 0xf0 && c < 0xf5 ? 3
                                           : -1;
        if (more < 0 || i + (size_t)more >= n)
            return false;
        for (int k = 1; k <= more; k++)
            if (((unsigned char)s[i + (size_t)k] & 0xc0) != 0x80)
                return false;
        unsigned char second = more ? (unsigned char)s[i + 1] : 0;
        if ((c == 0xe0 && second < 0xa0) || (c == 0xed && second > 0x9f) || (c == 0xf0 && second < 0x90) ||
            (c == 0xf4 && second > 0x8f))
            return false; /* overlong, surrogates, beyond Unicode */
        i += (size_t)more + 1;
    }
    return true;
}

bool ddp_source_is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) != 0 || S_ISREG(st.st_mode) || S_ISDIR(st.st_mode);
}

static bool scan_file(struct ddp_scanner *s, const char *path, const char *from, int from_line);

/* @include "FILE", FILE relative to the including file; *in stands on the @. */
static bool include(struct ddp_scanner *s, struct ddp_scan_input *in)
{
    const char *eol = memchr(in->p, '\n', (size_t)(in->end - in->p));
    eol = eol ? eol : in->end;
    const char *p = in->p + strlen("@include");
    while (p < eol && (*p == ' ' || *p == '\t'))
        p++;
    const char *close = p < eol && *p == '"' ? memchr(p + 1, '"', (size_t)(eol - p - 1)) : NULL;
    if (!close || close - p < 2 || close - p >= PATH_MAX) {
        ddp_scan_fault(s, in->file, in->line,
                       "@include wants the name of a file in quotes: @include \"FILE\"%s", "");
        return false;
    }
    struct ddp_text path;
    ddp_text_init(&path);
    const char *slash = strrchr(in->file, '/');
    if (p[1] != '/' && slash)
        ddp_text_append(&path, in->file, (size_t)(slash - in->file) + 1);
    ddp_text_append(&path, p + 1, (size_t)(close - p - 1));
    ddp_scan_mark(s->out, s->out->nlines - 1, path.s, 1);
    bool ok = scan_file(s, path.s, in->file, in->line);
    ddp_text_finish(&path);
    if (!ok)
        return false;
    ddp_text_append(&s->out->text, "\n", 1);
    ddp_scan_mark(s->out, s->out->nlines, in->file, in->line);
    in->p = close + 1;
    in->line_start = false;
    return true;
}

/* Whether the file is already being read: then say through which files. */
static bool is_loop(struct ddp_scanner *s, const char *real, const char *path, const char *from,
                    int from_line)
{
    for (int i = 0; i < s->nopen; i++) {
        if (strcmp(s->open_files[i], real) != 0)
            continue;
        struct ddp_text chain;
        ddp_text_init(&chain);
        for (int k = i; k < s->nopen; k++) {
            const char *slash = strrchr(s->open_files[k], '/');
            ddp_text_add(&chain, "%s -> ", slash ? slash + 1 : s->open_files[k]);
        }
        const char *slash = strrchr(real, '/');
        ddp_error_add(s->err, DDP_E_CONFIG, "%s:%d: @include \"%s\" goes round in a circle: %s%s", from,
                      from_line, path, chain.s, slash ? slash + 1 : real);
        ddp_text_finish(&chain);
        return true;
    }
    return false;
}

static bool read_bytes(struct ddp_scanner *s, const char *path, const char *from, int from_line, char **data,
                       size_t *bytes)
{
    struct ddp_error why = {0};
    if (from && !ddp_source_is_file(path)) {
        ddp_error_add(s->err, DDP_E_CONFIG,
                      "%s:%d: @include: %s is no regular file: only CONFIG itself may be a pipe or a device, "
                      "because others are read more than once",
                      from, from_line, path);
        return false;
    }
    if (ddp_file_read(path, DDP_CONFIG_MAX_BYTES, data, bytes, &why) < 0) {
        if (from)
            ddp_error_add(s->err, DDP_E_CONFIG, "%s:%d: @include: cannot read the config: %s", from,
                          from_line, why.text);
        else
            ddp_error_add(s->err, DDP_E_CONFIG, "cannot read the config: %s", why.text);
        return false;
    }
    const char *nul = memchr(*data, '\0', *bytes);
    if (nul || !ddp_utf8_valid(*data, *bytes)) {
        ddp_error_add(s->err, DDP_E_CONFIG, "%s: is not text in UTF-8 (is it a config file?)", path);
        free(*data);
        return false;
    }
    return true;
}

/* from: the including file; NULL: the main one. */
static bool scan_file(struct ddp_scanner *s, const char *path, const char *from, int from_line)
{
    char real[PATH_MAX];
    if (!realpath(path, real))
        snprintf(real, sizeof real, "%s", path);
    if (is_loop(s, real, path, from, from_line))
        return false;
    if (s->nopen == DDP_CONFIG_MAX_DEPTH || ++s->nfiles > DDP_CONFIG_MAX_FILES ||
        s->bytes > DDP_CONFIG_MAX_BYTES) {
        ddp_error_add(s->err, DDP_E_CONFIG,
                      "%s:%d: @include: more than %d files in each other, %d in all, or %d MiB of text", from,
                      from_line, DDP_CONFIG_MAX_DEPTH, DDP_CONFIG_MAX_FILES, DDP_CONFIG_MAX_BYTES >> 20);
        return false;
    }
    char *data = NULL;
    size_t bytes = 0;
    if (!read_bytes(s, path, from, from_line, &data, &bytes))
        return false;
    s->bytes += bytes;
    s->open_files[s->nopen++] = real;
    const size_t mark = bytes >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0; /* some editors' */
    struct ddp_scan_input in = {ddp_arena_strdup(s->arena, path), data + mark, data + bytes, 1, true};
    ddp_scan_mark(s->out, s->out->nlines ? s->out->nlines - 1 : 0, in.file, 1);
    enum ddp_scan_stop stop;
    while ((stop = ddp_scan_tokens(s, &in)) == DDP_SCAN_INCLUDE && include(s, &in))
        ;
    s->nopen--;
    free(data);
    return stop == DDP_SCAN_END;
}

int ddp_source_read(struct ddp_arena *a, const char *path, struct ddp_source *out, struct ddp_error *err)
{
    *out = (struct ddp_source){0};
    ddp_text_init(&out->text);
    struct ddp_error faults = {0};
    struct ddp_scanner *s = ddp_calloc(1, sizeof *s);
    s->arena = a;
    s->out = out;
    s->err = &faults;
    if (scan_file(s, path, NULL, 0) && s->depth > 0) {
        const struct ddp_scan_scope *open = &s->scope[s->depth];
        char text[2] = {open->open, '\0'};
        ddp_scan_fault(s, open->file, open->line, "'%s' is never closed", text);
    }
    free(s);
    return faults.code ? ddp_error_add(err, faults.code, "%s", faults.text) : 0;
}

void ddp_source_finish(struct ddp_source *s)
{
    ddp_text_finish(&s->text);
    free(s->lines);
    s->lines = NULL;
}
