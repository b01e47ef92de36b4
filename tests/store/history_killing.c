/* Ends the process with SIGKILL right before one of the calls that change a file: what a kill, or a crash of the
 * machine's user space, at that very step leaves behind. `kill_at(n)` chooses the n-th call from then on; 0: none. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/types.h>
#include <unistd.h>

static volatile int left;

void kill_at(int n) { left = n; }
int calls_left(void) { return left; }

static void step(void) {
    if (left > 0 && --left == 0)
        kill(getpid(), SIGKILL);
}

#define STEP(type, name, parameters, arguments)                       \
    type name parameters {                                            \
        static type(*real) parameters;                                \
        if (!real)                                                    \
            real = (type(*) parameters)dlsym(RTLD_NEXT, #name);       \
        step();                                                       \
        return real arguments;                                        \
    }

STEP(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at))
STEP(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size))
STEP(int, ftruncate64, (int fd, off64_t size), (fd, size))
STEP(int, fdatasync, (int fd), (fd))
STEP(int, fsync, (int fd), (fd))
STEP(int, unlink, (const char *path), (path))
