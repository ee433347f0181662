/* release.h - kvd's own version; what etcd clients see is in rpc/version.h. */
#ifndef KVD_KVD_RELEASE_H
#define KVD_KVD_RELEASE_H

#define KVD_VERSION "0.1.0"

#endif
