// The first process of a sandbox: it waits for its end, and takes the exit status of every process that it inherits,
// since in a pod that shares its processes nobody else does.
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>

int main(void) {
    sigset_t waited;
    int signal;

    sigemptyset(&waited);
    sigaddset(&waited, SIGCHLD);
    sigaddset(&waited, SIGINT);
    sigaddset(&waited, SIGTERM);
    sigprocmask(SIG_BLOCK, &waited, NULL);
    while (sigwait(&waited, &signal) == 0) {
        if (signal != SIGCHLD) {
            return 0;
        }
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
    }
    return 1;
}
