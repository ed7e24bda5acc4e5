/* ddp-data fetch against a small HTTP server on 127.0.0.1: whole, resumed, broken, hanging, lying, absent. */
#include "data_testing.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <nettle/md5.h>
#include <pthread.h>
#include <stdatomic.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <zlib.h>

#include "ddp-data.h"

/* ---- the server: one thread, one request per connection -------------------------------------- */

enum mode { WHOLE, NO_RANGE, BREAK_OFF, HANG, NOT_FOUND, GARBAGE, ENDLESS };
static struct {
    int socket, port;
    pthread_t thread;
    atomic_int mode, requests, ranged, pieces, stop;
    struct {
        const char *name;
        uint8_t *data;
        size_t bytes;
    } file[4];
} server;

static void send_all(int fd, const void *data, size_t n)
{
    for (const char *p = data; n > 0;) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        p += sent;
        n -= (size_t)sent;
    }
}

static void answer(int fd)
{
    char request[4096] = "", head[256];
    size_t got = 0;
    while (got < sizeof request - 1 && !strstr(request, "\r\n\r\n")) {
        ssize_t n = recv(fd, request + got, sizeof request - 1 - got, 0);
        if (n <= 0)
            return;
        request[got += (size_t)n] = '\0';
    }
    atomic_fetch_add(&server.requests, 1);
    int mode = server.mode, found = -1;
    for (int i = 0; i < 4; i++) {
        char line[128];
        snprintf(line, sizeof line, "GET /set/%s HTTP/1.1\r\n",
                 server.file[i].name ? server.file[i].name : "?");
        if (strncmp(request, line, strlen(line)) == 0)
            found = i;
    }
    if (found < 0 || mode == NOT_FOUND) {
        static const char text[] =
            "HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n";
        send_all(fd, text, sizeof text - 1);
        return;
    }
    const uint8_t *data = server.file[found].data;
    size_t bytes = server.file[found].bytes, from = 0;
    const char *range = strcasestr(request, "\r\nRange: bytes=");
    if (range) {
        atomic_fetch_add(&server.ranged, 1);
        from = strtoul(range + 15, NULL, 10);
    }
    if (mode == HANG) {
        for (int i = 0; i < 100 && !server.stop && server.mode == HANG; i++)
            nanosleep(&(struct timespec){0, 50000000}, NULL);
        return;
    }
    if (range && mode != NO_RANGE && from >= bytes) {
        static const char text[] =
            "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        send_all(fd, text, sizeof text - 1);
        return;
    }
    if (mode == ENDLESS) { /* until the other side has had enough, but not for ever: 64 MB */
        static const char text[] = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
        static const uint8_t zeros[1 << 16];
        send_all(fd, text, sizeof text - 1);
        for (int i = 0; i < 1024 && send(fd, zeros, sizeof zeros, MSG_NOSIGNAL) > 0; i++)
            atomic_fetch_add(&server.pieces, 1);
        return;
    }
    if (mode == NO_RANGE)
        from = 0;
    int n = from ? snprintf(head, sizeof head,
                            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %zu-%zu/%zu\r\n", from,
                            bytes - 1, bytes)
                 : snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\n");
    n += snprintf(head + n, sizeof head - (size_t)n, "Content-Length: %zu\r\nConnection: close\r\n\r\n",
                  bytes - from);
    send_all(fd, head, (size_t)n);
    uint8_t *body = malloc(bytes);
    memcpy(body, data, bytes);
    if (mode == GARBAGE)
        body[bytes / 2] ^= 0xff;
    size_t end = mode == BREAK_OFF ? from + (bytes - from + 1) / 2 : bytes;
    send_all(fd, body + from, end - from);
    free(body);
}

static void *serve(void *arg)
{
    (void)arg;
    while (!server.stop) {
        int fd = accept(server.socket, NULL, NULL);
        if (fd < 0)
            break;
        answer(fd);
        close(fd);
    }
    return NULL;
}

static void *gzipped(const void *data, size_t bytes, size_t *out_bytes)
{
    z_stream z = {0};
    *out_bytes = bytes + 1000;
    void *out = malloc(*out_bytes);
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)data;
    z.avail_in = (uInt)bytes;
    z.next_out = out;
    z.avail_out = (uInt)*out_bytes;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    *out_bytes = z.total_out;
    deflateEnd(&z);
    return out;
}

/* ---- the sets that are fetched --------------------------------------------------------------- */

enum { ONE = 5000, TWO = 300, MEMBER = 700 };
static uint8_t content[3][ONE];
static char sha_one[65], md5_two[33], md5_tar[33], url[64];
static const char *const members[] = {"m1.bin", "m2.bin", NULL};
static struct ddp_fetch_file files[2], tar_files[1];
static const char *mirrors[3];
static struct ddp_fetch_source plain = {"plain", "plain", mirrors, files, 2},
                               archive = {"archive", "archive", mirrors, tar_files, 1};

static void md5_hex(const void *data, size_t bytes, char hex[33])
{
    struct md5_ctx md5;
    uint8_t sum[16];
    md5_init(&md5);
    md5_update(&md5, bytes, data);
    md5_digest(&md5, 16, sum);
    for (int i = 0; i < 16; i++)
        snprintf(hex + 2 * i, 3, "%02x", sum[i]);
}

static size_t tar_member(uint8_t *to, const char *name, const uint8_t *data, size_t bytes, char type)
{
    memset(to, 0, 512);
    snprintf((char *)to, 100, "%s", name);
    snprintf((char *)to + 124, 12, "%011zo", bytes);
    to[156] = (uint8_t)type;
    memset(to + 148, ' ', 8);
    unsigned sum = 0;
    for (int i = 0; i < 512; i++)
        sum += to[i];
    snprintf((char *)to + 148, 8, "%06o", sum);
    memcpy(to + 512, data, bytes);
    return 512 + (bytes + 511) / 512 * 512;
}

static int start(void **state)
{
    (void)state;
    for (uint32_t k = 0; k < 3; k++)
        for (uint32_t i = 0; i < ONE; i++)
            content[k][i] = test_byte(k, i);
    struct ddp_sha256 sha;
    ddp_sha256_init(&sha);
    ddp_sha256_update(&sha, content[0], ONE);
    ddp_sha256_hex(&sha, sha_one);
    server.file[0].name = "one.gz";
    server.file[0].data = gzipped(content[0], ONE, &server.file[0].bytes);
    server.file[1].name = "two.gz";
    server.file[1].data = gzipped(content[1], TWO, &server.file[1].bytes);
    md5_hex(server.file[1].data, server.file[1].bytes, md5_two);
    uint8_t *tar = calloc(1, 8192);
    size_t n = tar_member(tar, "dir/", content[0], 0, '5');
    n += tar_member(tar + n, "dir/readme.html", content[0], 100, '0');
    n += tar_member(tar + n, "dir/m1.bin", content[1], MEMBER, '0');
    n += tar_member(tar + n, "dir/m2.bin", content[2], MEMBER, '0');
    server.file[2].name = "set.tar.gz";
    server.file[2].data = gzipped(tar, n + 1024, &server.file[2].bytes);
    md5_hex(server.file[2].data, server.file[2].bytes, md5_tar);
    free(tar);
    files[0] = (struct ddp_fetch_file){.name = "one.gz", .unpacked = "one", .sha256 = sha_one, .bytes = ONE};
    files[1] = (struct ddp_fetch_file){.name = "two.gz", .unpacked = "two", .md5 = md5_two, .bytes = TWO};
    tar_files[0] =
        (struct ddp_fetch_file){.name = "set.tar.gz", .md5 = md5_tar, .members = members, .bytes = MEMBER};

    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    server.socket = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(server.socket, (struct sockaddr *)&at, sizeof at) || listen(server.socket, 8) ||
        getsockname(server.socket, (struct sockaddr *)&at, &length) ||
        pthread_create(&server.thread, NULL, serve, NULL))
        return -1;
    server.port = ntohs(at.sin_port);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/set", server.port);
    mirrors[0] = url;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    server.stop = 1;
    shutdown(server.socket, SHUT_RDWR);
    close(server.socket);
    pthread_join(server.thread, NULL);
    for (int i = 0; i < 4; i++)
        free(server.file[i].data);
    curl_global_cleanup();
    return 0;
}

static struct ddp_fetch_options options(const char *root, int mode)
{
    server.mode = mode;
    server.requests = server.ranged = 0;
    mirrors[0] = url;
    mirrors[1] = mirrors[2] = NULL;
    return (struct ddp_fetch_options){.root = root, .timeout_s = 1.0, .quiet = true};
}

static void assert_file(const char *folder, const char *name, const uint8_t *want, size_t bytes)
{
    struct ddp_error err = {0};
    char *data;
    size_t n;
    assert_int_equal(ddp_file_read(in_folder(folder, name), 0, &data, &n, &err), 0);
    assert_int_equal(n, bytes);
    assert_memory_equal(data, want, n);
    free(data);
}

/* ---- the tests ------------------------------------------------------------------------------- */

static void test_fetch_unpacks_and_does_not_fetch_twice(void **state)
{
    (void)state;
    char *root = make_folder();
    struct ddp_fetch_options opt = options(root, WHOLE);
    struct ddp_error err = {0};
    assert_int_equal(ddp_fetch_run(&plain, &opt, &err), 0);
    assert_file(root, "plain/one", content[0], ONE);
    assert_file(root, "plain/two", content[1], TWO);
    assert_int_equal(server.requests, 2);
    assert_false(ddp_path_exists(in_folder(root, "plain/one.gz.part")));
    assert_int_equal(ddp_fetch_run(&plain, &opt, &err), 0);
    assert_int_equal(server.requests, 2);
    assert_int_equal(remove(in_folder(root, "plain/two")), 0);
    assert_int_equal(ddp_fetch_run(&plain, &opt, &err), 0);
    assert_int_equal(server.requests, 3);
    remove_folder(root);
}

static void test_fetch_takes_members_from_an_archive(void **state)
{
    (void)state;
    char *root = make_folder();
    struct ddp_fetch_options opt = options(root, WHOLE);
    struct ddp_error err = {0};
    assert_int_equal(ddp_fetch_run(&archive, &opt, &err), 0);
    assert_file(root, "archive/m1.bin", content[1], MEMBER);
    assert_file(root, "archive/m2.bin", content[2], MEMBER);
    assert_false(ddp_path_exists(in_folder(root, "archive/readme.html")));
    assert_int_equal(ddp_fetch_run(&archive, &opt, &err), 0);
    assert_int_equal(server.requests, 1);
    remove_folder(root);
}

static void test_fetch_resumes(void **state)
{
    (void)state;
    char *root = make_folder();
    struct ddp_fetch_options opt = options(root, BREAK_OFF);
    struct ddp_error err = {0};
    assert_int_equal(ddp_fetch_run(&archive, &opt, &err), DDP_E_IO);
    struct stat st;
    assert_int_equal(stat(in_folder(root, "archive/set.tar.gz.part"), &st), 0);
    assert_int_equal(st.st_size, (server.file[2].bytes + 1) / 2);
    server.mode = WHOLE;
    assert_int_equal(ddp_fetch_run(&archive, &opt, &err), 0);
    assert_int_equal(server.ranged, 1);
    assert_file(root, "archive/m2.bin", content[2], MEMBER);
    remove_folder(root);

    /* all of it had come already; a server that cannot resume; what had come was another file's */
    for (int i = 0; i < 3; i++) {
        root = make_folder();
        opt = options(root, i == 1 ? NO_RANGE : WHOLE);
        assert_int_equal(ddp_dir_make(in_folder(root, "archive"), &err), 0);
        write_bytes(in_folder(root, "archive/set.tar.gz.part"), i == 2 ? content[0] : server.file[2].data,
                    i == 0 ? server.file[2].bytes : 500);
        assert_int_equal(ddp_fetch_run(&archive, &opt, &err), 0);
        assert_file(root, "archive/m1.bin", content[1], MEMBER);
        assert_int_equal(server.requests, i == 0 ? 1 : 2);
        remove_folder(root);
    }
}

/* No more is taken than the file can have, and nothing stays of it. */
static void test_fetch_gives_up_on_what_has_no_end(void **state)
{
    (void)state;
    char *root = make_folder();
    struct ddp_fetch_options opt = options(root, ENDLESS);
    struct ddp_error err = {0};
    server.pieces = 0;
    assert_int_equal(ddp_fetch_run(&plain, &opt, &err), DDP_E_DATA);
    assert_contains(err.text, "one.gz sends more than");
    assert_true(server.pieces < 500); /* some MB, with what lies in buffers */
    assert_false(ddp_path_exists(in_folder(root, "plain/one.gz.part")));
    remove_folder(root);
}

static void test_fetch_never_accepts_wrong_content(void **state)
{
    (void)state;
    char *root = make_folder();
    struct ddp_fetch_options opt = options(root, GARBAGE);
    struct ddp_error err = {0};
    assert_int_equal(ddp_fetch_run(&plain, &opt, &err), DDP_E_DATA);
    assert_contains(err.text, "one.gz");
    assert_false(ddp_path_exists(in_folder(root, "plain/one")));
    assert_false(ddp_path_exists(in_folder(root, "plain/one.gz.part")));
    assert_int_equal(ddp_fetch_run(&archive, &opt, &err), DDP_E_DATA);
    assert_contains(err.text, "MD5");
    assert_false(ddp_path_exists(in_folder(root, "archive/m1.bin")));
    /* valid gzip of something else */
    opt.mirror = url;
    server.mode = WHOLE;
    struct ddp_fetch_file wrong = files[0];
    wrong.sha256 = "0000000000000000000000000000000000000000000000000000000000000000";
    struct ddp_fetch_source lie = {"lie", "lie", mirrors, &wrong, 1};
    assert_int_equal(ddp_fetch_run(&lie, &opt, &err), DDP_E_DATA);
    assert_contains(err.text, "SHA-256");
    assert_false(ddp_path_exists(in_folder(root, "lie/one")));
    wrong.sha256 = sha_one;
    wrong.bytes = ONE + 1;
    assert_int_equal(ddp_fetch_run(&lie, &opt, &err), DDP_E_DATA);
    assert_contains(err.text, "ends after 5000 of 5001");
    remove_folder(root);
}

static void test_fetch_tries_the_next_mirror(void **state)
{
    (void)state;
    char *root = make_folder(), dead[64], absent[80];
    struct ddp_fetch_options opt = options(root, WHOLE);
    struct ddp_error err = {0};
    snprintf(dead, sizeof dead, "http://127.0.0.1:1/set"); /* nobody listens there */
    snprintf(absent, sizeof absent, "http://127.0.0.1:%d/other", server.port);
    mirrors[0] = dead;
    mirrors[1] = url;
    assert_int_equal(ddp_fetch_run(&plain, &opt, &err), 0);
    assert_file(root, "plain/one", content[0], ONE);
    assert_int_equal(remove(in_folder(root, "plain/one")), 0);
    mirrors[0] = absent;
    assert_int_equal(ddp_fetch_run(&plain, &opt, &err), 0);
    assert_file(root, "plain/one", content[0], ONE);
    remove_folder(root);
}

static void test_fetch_says_how_to_go_on_without_a_network(void **state)
{
    (void)state;
    for (int mode = NOT_FOUND; mode >= HANG; mode--) {
        char *root = make_folder();
        struct ddp_fetch_options opt = options(root, mode);
        struct ddp_error err = {0};
        double begin = ddp_now();
        assert_int_equal(ddp_fetch_run(&plain, &opt, &err), DDP_E_IO);
        assert_true(ddp_now() - begin < 8.0);
        assert_contains(err.text, mode == HANG ? "/set/one.gz: " : "404");
        assert_contains(err.text, "To go on without a network");
        assert_contains(err.text, "/set/two.gz");
        assert_contains(err.text, "ddp-data fetch plain --root");
        assert_contains(err.text, in_folder(root, "plain/ as they are"));
        remove_folder(root);
    }
    /* somebody did as told: no request is made */
    char *root = make_folder();
    struct ddp_fetch_options opt = options(root, NOT_FOUND);
    struct ddp_error err = {0};
    assert_int_equal(ddp_dir_make(in_folder(root, "plain"), &err), 0);
    write_bytes(in_folder(root, "plain/one.gz"), server.file[0].data, server.file[0].bytes);
    write_bytes(in_folder(root, "plain/two.gz"), server.file[1].data, server.file[1].bytes);
    assert_int_equal(ddp_fetch_run(&plain, &opt, &err), 0);
    assert_int_equal(server.requests, 0);
    assert_file(root, "plain/two", content[1], TWO);
    assert_true(ddp_path_exists(in_folder(root, "plain/two.gz"))); /* theirs, and left alone */
    remove_folder(root);
}

static void test_known_sources_are_complete(void **state)
{
    (void)state;
    int n = 0;
    for (const struct ddp_fetch_source *s; (s = ddp_fetch_source_at(n)) != NULL; n++) {
        assert_non_null(s->mirrors[0]);
        for (int i = 0; i < s->files; i++) {
            const struct ddp_fetch_file *f = &s->file[i];
            assert_true((f->md5 && strlen(f->md5) == 32) || (f->sha256 && strlen(f->sha256) == 64));
            assert_true(f->bytes > 0 && (f->unpacked != NULL) != (f->members != NULL));
        }
    }
    assert_int_equal(n, 3);
    assert_null(ddp_fetch_source_at(-1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fetch_unpacks_and_does_not_fetch_twice),
        cmocka_unit_test(test_fetch_takes_members_from_an_archive),
        cmocka_unit_test(test_fetch_resumes),
        cmocka_unit_test(test_fetch_gives_up_on_what_has_no_end),
        cmocka_unit_test(test_fetch_never_accepts_wrong_content),
        cmocka_unit_test(test_fetch_tries_the_next_mirror),
        cmocka_unit_test(test_fetch_says_how_to_go_on_without_a_network),
        cmocka_unit_test(test_known_sources_are_complete),
    };
    unsetenv("http_proxy");
    setenv("no_proxy", "127.0.0.1", 1);
    return cmocka_run_group_tests(tests, start, stop);
}
