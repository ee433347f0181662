/* notify.c - one datagram to the service manager, see notify.h. */
#include "kvd/notify.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int notify_send(const char *address, const char *state)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (address == NULL || *address == '\0') {
        return 0;
    }
    size_t n = strlen(address);
    if ((*address != '/' && *address != '@') || n >= sizeof(to.sun_path)) {
        return EINVAL;
    }
    memcpy(to.sun_path, address, n);
    if (*address == '@') {
        to.sun_path[0] = '\0';
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return errno;
    }
    ssize_t sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
    int err = sent < 0 ? errno : 0;
    close(fd);
    return err;
}
