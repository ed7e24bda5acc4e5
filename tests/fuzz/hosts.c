/* Lists of hosts: as -H has them, as a file has them, as schedulers write them. */
#include <string.h>

#include "fuzz.h"
#include "launcher/hosts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    struct ddp_hosts hosts = {0};
    struct ddp_words names = {0};
    struct ddp_error err = {0};
    int status = ddp_hosts_parse(text, &hosts, &err);
    FUZZ_CHECK_WORDS(status, err);
    FUZZ_CHECK(status || (hosts.n > 0 && hosts.n <= DDP_HOSTS_MAX));
    fuzz_taken += status == 0;
    ddp_hosts_finish(&hosts);
    err = (struct ddp_error){0};
    hosts = (struct ddp_hosts){0};
    status = ddp_hosts_read(fuzz_file("hosts", data, size), &hosts, &err);
    FUZZ_CHECK_WORDS(status, err);
    for (int i = 0; i < hosts.n; i++)
        FUZZ_CHECK(hosts.host[i].name && *hosts.host[i].name && hosts.host[i].slots >= 0);
    ddp_hosts_finish(&hosts);
    err = (struct ddp_error){0};
    status = ddp_hostlist_expand(text, &names, &err);
    FUZZ_CHECK_WORDS(status, err);
    ddp_words_finish(&names);
    free(text);
    return 0;
}
