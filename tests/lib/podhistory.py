"""podhistory - what the store says about pods: every state of each of them, from the first revision on. The
past is asked for, so nothing between two looks is missed."""
import json
import threading

import etcd3

UNLIMITED = [("grpc.max_receive_message_length", -1)]
READ_SECONDS_MAX = 120


def history(server, prefix="/registry/pods/"):
    """[(revision, key, object or None when it is gone)] of all keys with this prefix, in order."""
    client = etcd3.client(host="127.0.0.1", port=server.port, timeout=60, grpc_options=UNLIMITED)
    last = client.put("end of history", "x").header.revision
    responses, cancel = client.watch_response("\0", range_end="\0", start_revision=1)
    alarm = threading.Timer(READ_SECONDS_MAX, cancel)
    alarm.start()
    found, seen = [], 0
    for response in responses:
        for event in response.events:
            seen = event.mod_revision
            key = event.key.decode(errors="replace")
            if key.startswith(prefix):
                value = event.value
                found.append((seen, key, json.loads(value) if value else None))
        if seen >= last:
            break
    alarm.cancel()
    cancel()
    if seen < last:
        raise AssertionError(f"the history ends at {seen}, not at {last}")
    return found


def owner(pod):
    for reference in pod["metadata"].get("ownerReferences", []):
        if reference.get("controller"):
            return reference["kind"], reference["name"]
    return None


def is_active(pod):
    return "deletionTimestamp" not in pod["metadata"] and pod["status"].get("phase") not in ("Succeeded", "Failed")


def is_available(pod):
    return is_active(pod) and any(c["type"] == "Ready" and c["status"] == "True"
                                  for c in pod["status"].get("conditions", []))


def states(events, choose):
    """After each change of a pod that `choose` takes: (revision, {key: pod}) of all of them that exist."""
    now = {}
    for revision, key, pod in events:
        if pod is None:
            if now.pop(key, None) is None:
                continue
        elif choose(pod):
            now[key] = pod
        else:
            continue
        yield revision, now
