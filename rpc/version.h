/* version.h - the versions kvd reports to etcd clients: the reference behaviour is etcd's main
 * branch (contract, first lines). One place, so that the exams and the answers cannot drift apart.
 */
#ifndef KVD_RPC_VERSION_H
#define KVD_RPC_VERSION_H

#define SERVER_VERSION        "3.8.0-alpha.0" /* Status.version, /version, --version */
#define CLUSTER_VERSION       "3.8.0"         /* /version */
#define CLUSTER_VERSION_SHORT "3.8"           /* metric etcd_cluster_version */
#define STORAGE_VERSION       "3.8.0"         /* Status.storageVersion */

#endif
