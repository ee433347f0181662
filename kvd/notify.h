/* notify.h - sd_notify(3) by hand: tells the service manager how far we are (contract X-05). */
#ifndef KVD_KVD_NOTIFY_H
#define KVD_KVD_NOTIFY_H

/* Sends `state` ("READY=1", "STOPPING=1") to the socket that `address` names (the value of
 * NOTIFY_SOCKET: a path, or '@' and an abstract name). 0 when sent or address is NULL or empty,
 * else an errno. Never blocks. */
int notify_send(const char *address, const char *state);

#endif
