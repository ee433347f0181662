/* table.c - the one table of calls, filled group by group. */
#include "plugins/host/host_impl.h"

const struct kvp_host *host_table(const char *version)
{
    static struct kvp_host table;
    if (table.size == 0) { /* the first host of the process, before any lane */
        table.abi_major = KVP_ABI_MAJOR;
        table.abi_minor = KVP_ABI_MINOR;
        table.version = version != NULL ? version : "";
        read_calls(&table);
        write_calls(&table);
        txn_calls(&table);
        watch_calls(&table);
        lease_calls(&table);
        time_calls(&table);
        work_calls(&table);
        metric_calls(&table);
        log_calls(&table);
        notice_calls(&table);
        part_calls(&table);
        web_calls(&table);
        object_calls(&table);
        authorize_calls(&table);
        table.size = sizeof(table);
    }
    return &table;
}
