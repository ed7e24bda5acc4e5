/* One file over HTTP: resumed, bounded in time, never trusted (the caller checks sums). */
#include "ddp-data.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"

enum { SLOW_BYTES_PER_S = 100 };

struct sink {
    FILE *file;
    bool quiet, full, over;
    size_t bytes, limit; /* bytes: in the file, earlier ones included */
    double shown;
    const char *name;
};

static size_t receive(char *data, size_t one, size_t n, void *user)
{
    struct sink *s = user;
    s->over = s->bytes + one * n > s->limit;
    s->full = !s->over && fwrite(data, 1, one * n, s->file) != one * n;
    if (s->over || s->full)
        return 0;
    s->bytes += one * n;
    double now = ddp_now();
    if (!s->quiet && isatty(2) && now - s->shown > 0.2) {
        char text[32];
        fprintf(stderr, "\r  %s: %s ", s->name, ddp_bytes_text((double)s->bytes, text));
        s->shown = now;
    }
    return one * n;
}

static void set_protocols(CURL *curl)
{
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
}

static int transfer(const char *url, const char *path, size_t have, size_t limit, double timeout_s,
                    bool quiet, bool *again, struct ddp_error *err)
{
    *again = false;
    const char *slash = strrchr(path, '/');
    struct sink sink = {.quiet = quiet, .bytes = have, .limit = limit, .name = slash ? slash + 1 : path};
    sink.file = fopen(path, "ab");
    if (!sink.file)
        return ddp_fail(err, DDP_E_IO, "cannot write %s: %s", path, strerror(errno));
    CURL *curl = curl_easy_init();
    if (!curl) {
        fclose(sink.file);
        return ddp_fail(err, DDP_E_INTERNAL, "libcurl does not start");
    }
    char why[CURL_ERROR_SIZE] = "";
    long seconds = timeout_s < 1.0 ? 1 : (long)timeout_s;
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "ddp-data");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, 8L);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, seconds);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, (long)SLOW_BYTES_PER_S);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, seconds);
    curl_easy_setopt(curl, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)have);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &sink);
    set_protocols(curl);
    CURLcode code = curl_easy_perform(curl);
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(curl);
    if (!quiet && isatty(2))
        fprintf(stderr, "\r\033[K");
    bool closed = fclose(sink.file) == 0;
    if (have && (status == 416 ||
                 code == CURLE_RANGE_ERROR)) { /* nothing behind what we have, or it cannot go on there */
        *again = code == CURLE_RANGE_ERROR;
        return *again ? ddp_fail(err, DDP_E_IO, "%s: the server does not resume", url) : 0;
    }
    if (sink.full)
        return ddp_fail(err, DDP_E_IO, "cannot write %s: the disk is full", path);
    if (sink.over) {
        unlink(path);
        return ddp_fail(err, DDP_E_DATA, "%s sends more than the %zu bytes that the file can have", url,
                        limit);
    }
    if (code != CURLE_OK)
        return ddp_fail(err, DDP_E_IO, "%s: %s", url, why[0] ? why : curl_easy_strerror(code));
    if (!closed)
        return ddp_fail(err, DDP_E_IO, "cannot write %s: %s", path, strerror(errno));
    return 0;
}

int ddp_download(const char *url, const char *path, size_t limit, double timeout_s, bool quiet,
                 struct ddp_error *err)
{
    struct stat st;
    size_t have = stat(path, &st) == 0 ? (size_t)st.st_size : 0;
    bool again;
    int rc = transfer(url, path, have, limit, timeout_s, quiet, &again, err);
    if (rc && again) {
        unlink(path);
        rc = transfer(url, path, 0, limit, timeout_s, quiet, &again, err);
    }
    return rc;
}
