/* ssh that no warning of a batch system ends. */
#include "launcher/ssh.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "launcher/words.h"

int ddp_ssh_main(char **argv)
{
    static const int warnings[] = {SIGUSR1, SIGUSR2, SIGXCPU};
    struct ddp_words words = {0};
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (size_t i = 0; i < DDP_COUNT(warnings); i++)
        signal(warnings[i], SIG_IGN);
    ddp_words_add_all(&words, (const char *const[]){"ssh", "-x", NULL});
    for (; *argv; argv++)
        ddp_words_add(&words, "%s", *argv);
    execvp("ssh", words.w);
    fprintf(stderr, "ddp-launch: ssh cannot be run: %s\n", strerror(errno));
    ddp_words_finish(&words);
    return 127;
}
