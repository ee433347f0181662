/* release.h - kvctl's own version, and the API it speaks. */
#ifndef KVD_CLI_RELEASE_H
#define KVD_CLI_RELEASE_H

#define KVCTL_VERSION     "0.1.0"
#define KVCTL_API_VERSION "3.8"

#endif
