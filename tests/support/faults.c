/* Stands between a program and its C library, and lets every sending of a datagram fail with the error number that the file
 * named by MEANTIME_TEST_FAULT holds, as long as it holds one. Loaded with LD_PRELOAD, by tests/edges.rs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static int fault(int fd) {
    char text[16] = "";
    int family = 0;
    socklen_t length = sizeof family;
    /* Unix sockets are not the network. */
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length) != 0 || family == AF_UNIX) return 0;
    const char *path = getenv("MEANTIME_TEST_FAULT");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return 0;
    ssize_t got = read(file, text, sizeof text - 1);
    close(file);
    return got > 0 ? atoi(text) : 0;
}

#define FAILS(fd)                \
    int number = fault(fd);      \
    if (number) {                \
        errno = number;          \
        return -1;               \
    }

ssize_t send(int fd, const void *buffer, size_t length, int flags) {
    FAILS(fd)
    ssize_t (*real)(int, const void *, size_t, int) = dlsym(RTLD_NEXT, "send");
    return real(fd, buffer, length, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    FAILS(fd)
    ssize_t (*real)(int, const struct msghdr *, int) = dlsym(RTLD_NEXT, "sendmsg");
    return real(fd, message, flags);
}

int sendmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags) {
    FAILS(fd)
    int (*real)(int, struct mmsghdr *, unsigned int, int) = dlsym(RTLD_NEXT, "sendmmsg");
    return real(fd, messages, count, flags);
}
