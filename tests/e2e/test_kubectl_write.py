#!/usr/bin/env python3
"""kubectl changes things: create, apply, patch, edit, rollouts, deletion, drain, taints and all the rest, against a
whole control plane; what it prints is compared with what it prints of a real cluster (texts as in
tests/lib/kubectl.py). Without a kubectl all of it is skipped, with an old one what it cannot do yet."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))
import kubectl  # noqa: E402
from kubetest import Plane  # noqa: E402
from kvdtest import Tally, equal  # noqa: E402

CASES = []
APP = """apiVersion: v1
kind: ConfigMap
metadata: {name: one, labels: {set: ab}}
data: {x: "1"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, labels: {set: ab}}
spec:
  replicas: 2
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec: {containers: [{name: main, image: "img:1"}]}
---
apiVersion: v1
kind: Service
metadata: {name: app, labels: {set: ab}}
spec: {selector: {app: app}, ports: [{port: 80}]}
"""
BAD_NAME = ("""Invalid value: "Bad_Name": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric """
            """characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', """
            """regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')""")


def case(name, since=0, until=kubectl.NEWEST):
    """A case, from 1.since of kubectl to 1.until. It gets a kubectl with a namespace of its own, and the plane."""
    def keep(function):
        CASES.append((name, since, until, function))
        return function
    return keep


# ---- create ----


@case("create: configmap, secret, serviceaccount, namespace, priorityclass")
def _(k, plane):
    k.play("""
$ create configmap cm --from-literal=a=1 --from-literal=b=2
configmap/cm created
$ get configmap cm -o jsonpath={.data}
{"a":"1","b":"2"}
$ create secret generic s --from-literal=password=hunter2
secret/s created
$ get secret s -o jsonpath={.type}:{.data.password}
Opaque:aHVudGVyMg==
$ create serviceaccount robot
serviceaccount/robot created
$ create namespace NS-more
namespace/NS-more created
$ delete namespace NS-more
namespace "NS-more" deleted
<...>
$ create priorityclass NS-high --value=1000 --description=fast
priorityclass.scheduling.k8s.io/NS-high created
$ get priorityclass NS-high -o jsonpath={.value}:{.preemptionPolicy}:{.globalDefault}
1000:PreemptLowerPriority:
$ delete priorityclass NS-high
priorityclass.scheduling.k8s.io "NS-high" deleted
<...>
""")


@case("create deployment, and it runs")
def _(k, plane):
    k.play("""
$ create deployment web --image=nginx:1 --replicas=3
deployment.apps/web created
$ rollout status deployment/web
<...>
deployment "web" successfully rolled out
$ get deployment web -o jsonpath={.status.readyReplicas}
3
$ get pods -l app=web -o jsonpath={.items[*].status.phase}
Running Running Running
""")


@case("create service: clusterip, nodeport, externalname, loadbalancer")
def _(k, plane):
    k.play("""
$ create service clusterip web --tcp=80:8080
service/web created
$ get service web -o jsonpath={.spec.type}:{.spec.ports[0].targetPort}:{.spec.clusterIP}
ClusterIP:8080:10.<*>
$ create service clusterip none --clusterip=None
service/none created
$ get service none -o jsonpath={.spec.clusterIP}
None
$ create service nodeport port --tcp=80:8080 --node-port=30111
service/port created
$ get service port -o jsonpath={.spec.ports[0].nodePort}
30111
$ create service externalname away --external-name=example.com
service/away created
$ create service loadbalancer lb --tcp=80
service/lb created
$ get service lb --no-headers
lb<*>LoadBalancer   10.<*>   <pending>   80:3<*>/TCP   <*>
""")
    status, out, err = k.run("create", "service", "nodeport", "again", "--tcp=80", "--node-port=30111")
    equal(status, 1)
    assert re.search(r'Service "again" is invalid: spec.ports\[0\].nodePort: Invalid value: 30111: '
                     r"provided port is already allocated", err), err
    status, out, err = k.run("create", "service", "nodeport", "again", "--tcp=80", "--node-port=80")
    assert "not in the valid range. The range of valid ports is 30000-32767" in err, err


@case("create token, and it authenticates", since=24)
def _(k, plane):
    k("create", "serviceaccount", "robot")
    token = k("create", "token", "robot").strip()
    equal(len(token.split(".")), 3)
    status, review = plane.api("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": token}})
    equal((status, review["status"]["user"]["username"]), (201, f"system:serviceaccount:{k.namespace}:robot"))
    k.play("""
$ create token nobody
error: failed to create token: serviceaccounts "nobody" not found
[1]
""")


@case("create: what is refused")
def _(k, plane):
    k.play("""
$ create configmap cm
configmap/cm created
$ create configmap cm
<*>configmaps "cm" already exists
[1]
$ create configmap Bad_Name
<*>ConfigMap "Bad_Name" is invalid: metadata.name: """ + BAD_NAME + """
[1]
$ create -f -
error: no objects passed to create
[1]
$ run web --image=nginx --port=99999
The Pod "web" is invalid: spec.containers[0].ports[0].containerPort: Invalid value: 99999: must be between 1 and 65535, inclusive
[1]
""")
    k.namespace = "nowhere-at-all"
    k.play("""
$ create configmap cm
<*>namespaces "NS" not found
[1]
$ get pods
No resources found in NS namespace.
""")


@case("create --dry-run, of the client and of the server")
def _(k, plane):
    k.play("""
$ create deployment dry --image=x --dry-run=client
deployment.apps/dry created (dry run)
$ create deployment dry --image=x --dry-run=server
deployment.apps/dry created (server dry run)
$ create deployment dry --image=x --dry-run=server -o jsonpath={.spec.progressDeadlineSeconds}
600
$ get deployment dry
Error from server (NotFound): deployments.apps "dry" not found
[1]
""")


@case("create -f with several documents, and a second time")
def _(k, plane):
    k.write("app.yaml", APP)
    k.play("""
$ create -f app.yaml
configmap/one created
deployment.apps/app created
service/app created
$ create -f app.yaml
Error from server (AlreadyExists): error when creating "app.yaml": configmaps "one" already exists
Error from server (AlreadyExists): error when creating "app.yaml": deployments.apps "app" already exists
Error from server (AlreadyExists): error when creating "app.yaml": services "app" already exists
[1]
""")


@case("create -f of a List, of generated names, from standard input")
def _(k, plane):
    k.write("list.json", '{"apiVersion":"v1","kind":"List","items":['
            '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}},'
            '{"apiVersion":"v1","kind":"Secret","metadata":{"name":"b"}}]}')
    k.play("""
$ create -f list.json
configmap/a created
secret/b created
$ sh: kubectl get configmap/a secret/b -o yaml | sed '/resourceVersion/d;/uid/d' | kubectl replace -f -
configmap/a replaced
secret/b replaced
$ sh: printf 'apiVersion: v1\\nkind: ConfigMap\\nmetadata: {generateName: gen-}\\n' | kubectl create -f -
configmap/gen-<*> created
""")


# ---- apply, diff, replace ----


@case("apply: created, unchanged, configured; diff tells before")
def _(k, plane):
    k.write("app.yaml", APP)
    k.play("""
$ diff -f app.yaml
<...>
+kind: ConfigMap
<...>
[1]
$ apply -f app.yaml
configmap/one created
deployment.apps/app created
service/app created
$ apply -f app.yaml
configmap/one unchanged
deployment.apps/app unchanged
service/app unchanged
$ diff -f app.yaml
""")
    k.write("app.yaml", APP.replace('x: "1"', 'z: "2"').replace("replicas: 2", "replicas: 3"))
    k.play("""
$ diff -f app.yaml
diff -u -N <*>/apps.v1.Deployment.NS.app <*>/apps.v1.Deployment.NS.app
--- <*>
+++ <*>
<...>
-  generation: 1
+  generation: 2
<...>
-  replicas: 2
+  replicas: 3
<...>
diff -u -N <*>/v1.ConfigMap.NS.one <*>/v1.ConfigMap.NS.one
<...>
-  x: "1"
+  z: "2"
<...>
[1]
$ apply -f app.yaml --dry-run=client
configmap/one configured (dry run)
deployment.apps/app configured (dry run)
service/app <*> (dry run)
$ apply -f app.yaml --dry-run=server
configmap/one configured (server dry run)
deployment.apps/app configured (server dry run)
service/app unchanged (server dry run)
$ apply -f app.yaml
configmap/one configured
deployment.apps/app configured
service/app unchanged
$ get configmap one -o jsonpath={.data}
{"z":"2"}
$ get deployment app -o jsonpath={.spec.replicas}:{.metadata.generation}
3:2
$ apply view-last-applied configmap/one -o json
<...>
    "z": "2"
<...>
""")


@case("apply takes over what was created without it")
def _(k, plane):
    k("create", "configmap", "late", "--from-literal=a=1")
    k.write("late.yaml", 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: late}\ndata: {b: "2"}\n')
    k.play("""
$ apply -f late.yaml
configmap/late configured
Warning: resource configmaps/late is missing the kubectl.kubernetes.io/last-applied-configuration annotation which is required by kubectl apply. kubectl apply should only be used on resources created declaratively by either kubectl create --save-config or kubectl apply. The missing annotation will be patched automatically.
$ get configmap late -o jsonpath={.data}
{"a":"1","b":"2"}
""")


@case("apply --prune, with the kinds that are there", since=26)
def _(k, plane):
    k.write("app.yaml", APP)
    k("apply", "-f", "app.yaml")
    k.write("app.yaml", APP.split("---\n", 1)[1])
    k.play("""
$ apply -f app.yaml --prune -l set=ab --prune-allowlist=core/v1/ConfigMap --prune-allowlist=apps/v1/Deployment
deployment.apps/app unchanged
service/app unchanged
configmap/one pruned
$ get configmap one
Error from server (NotFound): configmaps "one" not found
[1]
""")


@case("apply --server-side is not there yet")
def _(k, plane):
    k.write("one.yaml", APP.split("---")[0])
    k.play("""
$ apply --server-side -f one.yaml
error: Server-side apply not available on the server: (the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json)
[1]
""")


@case("apply: unknown fields, wrong types, unknown kinds, immutable fields", since=27)
def _(k, plane):
    k.write("bad.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndat: {a: b}\n")
    k.write("type.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: 1}\n")
    k.write("kind.yaml", "apiVersion: v1\nkind: Chair\nmetadata: {name: x}\n")
    k.write("space.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: nope}\n")
    k.write("app.yaml", APP)
    k.write("other.yaml", APP.split("---\n")[1].replace("app: app}", "app: other}"))
    space, k.namespace = k.namespace, None
    k.play("""
$ create -f space.yaml
Error from server (NotFound): error when creating "space.yaml": namespaces "nope" not found
[1]
""")
    k.namespace = space
    k.play("""
$ apply -f bad.yaml
Error from server (BadRequest): error when creating "bad.yaml": ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "dat"
[1]
$ apply -f bad.yaml --validate=warn
configmap/b created
Warning: unknown field "dat"
$ apply -f bad.yaml --validate=ignore
configmap/b configured
$ apply -f type.yaml
Error from server (BadRequest): error when creating "type.yaml": ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field ConfigMap.data of type string
[1]
$ apply -f kind.yaml
error: error validating "kind.yaml": <*>the server could not find the requested resource; if you choose to ignore these errors, turn validation off with --validate=false
[1]
$ apply -f kind.yaml --validate=false
error: resource mapping not found for name: "x" namespace: "" from "kind.yaml": no matches for kind "Chair" in version "v1"
ensure CRDs are installed first
[1]
$ apply -f space.yaml
error: the namespace from the provided object "nope" does not match the namespace "NS". You must pass '--namespace=nope' to perform this operation.
[1]
$ apply -f app.yaml
<...>
$ apply -f other.yaml
The Deployment "app" is invalid: spec.selector: Invalid value: {"matchLabels":{"app":"other"}}: field is immutable
[1]
""")


@case("apply: an old kubectl validates by itself, with the document of OpenAPI 2.0", until=24)
def _(k, plane):
    k.write("bad.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndat: {a: b}\n")
    k.write("type.yaml", APP.split("---\n")[1].replace("replicas: 2", "replicas: two"))
    k.play("""
$ apply -f bad.yaml
error: error validating "bad.yaml": error validating data: ValidationError(ConfigMap): unknown field "dat" in io.k8s.api.core.v1.ConfigMap; if you choose to ignore these errors, turn validation off with --validate=false
[1]
$ apply -f type.yaml
error: error validating "type.yaml": error validating data: ValidationError(Deployment.spec.replicas): invalid type for io.k8s.api.apps.v1.DeploymentSpec.replicas: got "string", expected "integer"; if you choose to ignore these errors, turn validation off with --validate=false
[1]
$ apply -f bad.yaml --validate=false
configmap/b created
<...>
""")


@case("replace, of an old version too, and by force")
def _(k, plane):
    k.write("app.yaml", APP)
    k("create", "-f", "app.yaml")
    k("rollout", "status", "deployment/app")
    k.play("""
$ sh: kubectl get configmap one -o yaml >one.yaml
$ sh: sed 's/x: "1"/x: "2"/' one.yaml >two.yaml
$ replace -f two.yaml
configmap/one replaced
$ get configmap one -o jsonpath={.data.x}
2
$ replace -f one.yaml
Error from server (Conflict): error when replacing "one.yaml": Operation cannot be fulfilled on configmaps "one": the object has been modified; please apply your changes to the latest version and try again
[1]
$ replace -f app.yaml
configmap/one replaced
deployment.apps/app replaced
service/app replaced
$ replace --force -f app.yaml
configmap "one" deleted
deployment.apps "app" deleted
service "app" deleted
configmap/one replaced
deployment.apps/app replaced
service/app replaced
""")
    k("delete", "configmap", "one")
    k.play("""
$ replace -f one.yaml
Error from server (NotFound): error when replacing "one.yaml": configmaps "one" not found
[1]
""")


# ---- patch, edit, label, annotate ----


@case("patch: strategic, merge, JSON")
def _(k, plane):
    k.write("app.yaml", APP)
    k("create", "-f", "app.yaml")
    k.play("""
$ patch deployment app -p '{"spec":{"template":{"spec":{"containers":[{"name":"side","image":"s:1"}]}}}}'
deployment.apps/app patched
$ get deployment app -o jsonpath={.spec.template.spec.containers[*].name}
side main
$ patch deployment app --type=merge -p '{"metadata":{"annotations":{"a":"b"}}}'
deployment.apps/app patched
$ patch deployment app -p '{"metadata":{"annotations":{"a":"b"}}}'
deployment.apps/app patched (no change)
$ patch deployment app --type=json -p '[{"op":"test","path":"/spec/replicas","value":2},{"op":"replace","path":"/spec/replicas","value":4}]'
deployment.apps/app patched
$ get deployment app -o jsonpath={.spec.replicas}
4
$ patch deployment app --type=merge -p '{"spec":{"template":{"spec":{"containers":[{"name":"only","image":"o:1"}]}}}}'
deployment.apps/app patched
$ get deployment app -o jsonpath={.spec.template.spec.containers[*].name}
only
$ patch deployment app -p '{"spec":{"replicas":"x"}}'
The request is invalid: patch: Invalid value: <*>
[1]
$ patch deployment app -p '{"spec":{"replicas":-1}}'
The Deployment "app" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0
[1]
$ patch deployment none -p '{}'
Error from server (NotFound): deployments.apps "none" not found
[1]
$ patch configmap one -p '{"metadata":{"resourceVersion":"1"},"data":{"x":"7"}}'
Error from server (Conflict): Operation cannot be fulfilled on configmaps "one": the object has been modified; please apply your changes to the latest version and try again
[1]
""")


@case("patch: JSON patches that do not apply", since=26)
def _(k, plane):
    k("create", "configmap", "one", "--from-literal=x=1")
    k.play("""
$ patch configmap one --type=json -p '[{"op":"replace","path":"/data/nope/x","value":"2"}]'
The request is invalid: the server rejected our request due to an error in our request
[1]
$ patch configmap one --type=json -p '[{"op":"test","path":"/data/x","value":"7"},{"op":"remove","path":"/data"}]'
The request is invalid: the server rejected our request due to an error in our request
[1]
$ get configmap one -o jsonpath={.data}
{"x":"1"}
""")


@case("patch --subresource=scale and status", since=24)
def _(k, plane):
    k("create", "deployment", "app", "--image=x")
    k.play("""
$ patch deployment app --subresource=scale --type=merge -p '{"spec":{"replicas":3}}'
scale.autoscaling/app patched
$ get deployment app -o jsonpath={.spec.replicas}
3
$ patch node hollow-node-1 --subresource=status -p '{"status":{"capacity":{"example.com/gpu":"3"}}}'
node/hollow-node-1 patched
$ get node hollow-node-1 -o 'jsonpath={.status.capacity.example\\.com/gpu}'
3
$ patch node hollow-node-1 --subresource=status --type=json -p '[{"op":"remove","path":"/status/capacity/example.com~1gpu"}]'
node/hollow-node-1 patched
""")


@case("edit by a script")
def _(k, plane):
    k.write("app.yaml", APP)
    k("create", "-f", "app.yaml")
    k.write("two.sh", """#!/bin/sh\nsed -i 's/x: "1"/x: "2"/' "$1"\n""", 0o755)
    k.write("uid.sh", """#!/bin/sh\nsed -i 's/^  uid: .*/  uid: other/' "$1"\n""", 0o755)
    k.play("""
$ sh: KUBE_EDITOR=./two.sh kubectl edit configmap one
configmap/one edited
$ get configmap one -o jsonpath={.data.x}
2
$ sh: KUBE_EDITOR=./two.sh kubectl edit configmap one
Edit cancelled, no changes made.
$ sh: KUBE_EDITOR=./uid.sh kubectl edit configmap one
<...>
[1]
$ sh: KUBE_EDITOR=./two.sh kubectl edit configmap none
Error from server (NotFound): configmaps "none" not found
[1]
""")


@case("label")
def _(k, plane):
    k("create", "configmap", "one")
    k.play("""
$ label configmap one color=red
configmap/one labeled
$ label configmap one color=blue
error: 'color' already has a value (red), and --overwrite is false
[1]
$ label configmap one color=blue --overwrite
configmap/one labeled
$ get configmaps -l color=blue -o name
configmap/one
$ label configmap --all shape=round
<...>
configmap/one labeled
<...>
$ label configmap none color=red
Error from server (NotFound): configmaps "none" not found
[1]
""")
    assert "one" in k("label", "configmap", "one", "color-")
    equal(k("get", "configmap", "one", "-o", "jsonpath={.metadata.labels}"), '{"shape":"round"}')
    assert "a valid label must be an empty string or consist of" in k("label", "configmap", "one", "a=b@d", status=1)


@case("label: nothing changes", since=24)
def _(k, plane):
    k("create", "configmap", "one")
    k.play("""
$ label configmap one color=red
configmap/one labeled
$ label configmap one color=red
configmap/one not labeled
$ label configmap one color-
configmap/one unlabeled
$ label configmap one color-
label "color" not found.
configmap/one <*>labeled
""")


@case("annotate")
def _(k, plane):
    k("create", "configmap", "one")
    k.play("""
$ annotate configmap one note=hi
configmap/one annotated
$ annotate configmap one note=ho
error: --overwrite is false but found the following declared annotation(s): 'note' already has a value (hi)
[1]
$ annotate configmap one note=ho --overwrite
configmap/one annotated
$ annotate configmap one --list
note=ho
$ annotate configmap one note-
configmap/one annotated
$ get configmap one -o jsonpath={.metadata.annotations}
""")


# ---- scale, rollouts ----


@case("scale, and what it finds otherwise than told")
def _(k, plane):
    k("create", "deployment", "app", "--image=x")
    k.play("""
$ scale deployment app --replicas=4
deployment.apps/app scaled
$ rollout status deployment/app
<...>
deployment "app" successfully rolled out
$ scale deployment app --current-replicas=9 --replicas=1
error: Expected replicas to be 9, was 4
[1]
$ scale deployment app --current-replicas=4 --replicas=0
deployment.apps/app scaled
$ wait --for=delete pod -l app=app --timeout=30s
<...>
$ get pods -l app=app
No resources found in NS namespace.
$ scale deployment none --replicas=1
<*>deployments.apps "none" not found
[1]
$ autoscale deployment app --max=3
<*>rror<*>
[1]
""")


@case("rollout: status, history, undo")
def _(k, plane):
    k("create", "deployment", "app", "--image=img:1", "--replicas=2")
    k.play("""
$ rollout status deployment/app
<...>
deployment "app" successfully rolled out
$ annotate deployment/app kubernetes.io/change-cause=first
deployment.apps/app annotated
$ set image deployment/app img=img:2
deployment.apps/app image updated
$ rollout status deployment/app
<...>
deployment "app" successfully rolled out
$ annotate deployment/app kubernetes.io/change-cause=second --overwrite
deployment.apps/app annotated
""")
    plane.until("the replica set has the annotation", lambda: "second" in k("rollout", "history", "deployment/app"))
    k.play("""
$ rollout history deployment/app
deployment.apps/app
REVISION  CHANGE-CAUSE
1         first
2         second

$ rollout history deployment/app --revision=2
deployment.apps/app with revision #2
Pod Template:
  Labels:\tapp=app
\tpod-template-hash=<*>
  Annotations:\tkubernetes.io/change-cause: second
  Containers:
   img:
    Image:\timg:2
    Port:\t<none>
    Host Port:\t<none>
    Environment:\t<none>
    Mounts:\t<none>
  Volumes:\t<none>
<...>
$ rollout history deployment/app --revision=9
error: unable to find the specified revision
[1]
$ rollout undo deployment/app
deployment.apps/app rolled back
$ rollout status deployment/app
<...>
deployment "app" successfully rolled out
$ get deployment app -o jsonpath={.spec.template.spec.containers[0].image}
img:1
$ rollout history deployment/app
deployment.apps/app
REVISION  CHANGE-CAUSE
2         second
3         first

$ rollout undo deployment/app --to-revision=2
deployment.apps/app rolled back
$ rollout status deployment/app
<...>
deployment "app" successfully rolled out
$ rollout undo deployment/app --to-revision=77
error: unable to find specified revision 77 in history
[1]
$ rollout undo deployment/app --to-revision=4
deployment.apps/app skipped rollback (current template already matches revision 4)
$ rollout undo deployment/app --dry-run=server
deployment.apps/app rolled back (server dry run)
""")


@case("rollout: pause, resume, restart")
def _(k, plane):
    k("create", "deployment", "app", "--image=img:1")
    k("rollout", "status", "deployment/app")
    k("set", "image", "deployment/app", "img=img:0")
    k("rollout", "status", "deployment/app")
    k.play("""
$ rollout pause deployment/app
deployment.apps/app paused
$ rollout pause deployment/app
error: deployments.apps "app" is already paused
[1]
$ set image deployment/app img=img:2
deployment.apps/app image updated
$ rollout status deployment/app --timeout=1s
<...>
Waiting for deployment "app" rollout to finish: 0 out of 1 new replicas have been updated...
error: timed out waiting for the condition
[1]
$ rollout undo deployment/app
error: you cannot rollback a paused deployment; resume it first with 'kubectl rollout resume<*>' and try again
[1]
$ rollout restart deployment/app
error: <*>can't restart paused deployment (run rollout resume first)
[1]
$ rollout resume deployment/app
deployment.apps/app resumed
$ rollout resume deployment/app
error: deployments.apps "app" is not paused
[1]
$ rollout status deployment/app
<...>
deployment "app" successfully rolled out
$ rollout restart deployment/app
deployment.apps/app restarted
$ rollout status deployment/app
<...>
deployment "app" successfully rolled out
$ rollout status deployment/app --watch=false
deployment "app" successfully rolled out
$ get replicasets -l app=app -o 'jsonpath={.items[*].metadata.annotations.deployment\\.kubernetes\\.io/revision}'
<*>4<*>
""")


# ---- expose, set, run, wait ----


@case("expose, and the endpoints are those of the pods")
def _(k, plane):
    k("create", "deployment", "app", "--image=x", "--replicas=2")
    k("rollout", "status", "deployment/app")
    k.play("""
$ expose deployment app --port=80 --target-port=8080 --name=one
service/one exposed
$ expose deployment app --port=80 --type=NodePort --name=two
service/two exposed
$ expose deployment app --port=80 --name=one
Error from server (AlreadyExists): services "one" already exists
[1]
$ get service one --no-headers
one<*>ClusterIP   10.<*>   <none>   80/TCP   <*>
""")
    ips = sorted(k("get", "pods", "-o", "jsonpath={.items[*].status.podIP}").split())
    plane.until("the endpoints are there", lambda: sorted(k(
        "get", "endpointslices", "-l", "kubernetes.io/service-name=one", "-o",
        "jsonpath={.items[*].endpoints[*].addresses[0]}").split()) == ips)
    k.play("""
$ describe service one
Name:<*>one
Namespace:<*>NS
Labels:<*>app=app
Annotations:<*><none>
Selector:<*>app=app
Type:<*>ClusterIP
IP Family Policy:<*>SingleStack
IP Families:<*>IPv4
IP:<*>10.<*>
IPs:<*>10.<*>
Port:<*><unset>  80/TCP
TargetPort:<*>8080/TCP
Endpoints:<*>:8080,<*>:8080
Session Affinity:<*>None
<...>
Events:<*><none>
<...>
""")


@case("set: image, env, resources, serviceaccount, selector")
def _(k, plane):
    k("create", "deployment", "app", "--image=x")
    k("create", "service", "clusterip", "app", "--tcp=80")
    k.play("""
$ set image deployment/app x=y:2
deployment.apps/app image updated
$ set image deployment/app none=y
error: unable to find container named "none"
[1]
$ set env deployment/app A=b
deployment.apps/app env updated
$ set env deployment/app --list
# Deployment app, container x
A=b
$ set env deployment/app A-
deployment.apps/app env updated
$ set resources deployment/app -c=x --limits=cpu=200m,memory=64Mi --requests=cpu=100m
deployment.apps/app resource requirements updated
$ get deployment app -o jsonpath={.spec.template.spec.containers[0].resources}
{"limits":{"cpu":"200m","memory":"64Mi"},"requests":{"cpu":"100m"}}
$ set resources deployment/app --limits=cpu=1 --requests=cpu=2
error: failed to patch resources update to pod template Deployment.apps "app" is invalid: spec.template.spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1
[1]
$ set serviceaccount deployment/app robot
deployment.apps/app serviceaccount updated
$ set selector service app app=zz
service/app selector updated
$ get service app -o jsonpath={.spec.selector}
{"app":"zz"}
""")


@case("run, and wait for it")
def _(k, plane):
    k.play("""
$ run one --image=nginx
pod/one created
$ run two --image=nginx --restart=Never --labels=app=p -- sleep 3
pod/two created
$ get pod two -o jsonpath={.spec.restartPolicy}:{.spec.containers[0].args}
Never:["sleep","3"]
$ run one --image=nginx
Error from server (AlreadyExists): pods "one" already exists
[1]
$ run three --image=nginx --port=80 --expose
<...>
$ get pod/three service/three -o name
pod/three
service/three
$ wait --for=condition=Ready pod/one pod/two --timeout=30s
pod/one condition met
pod/two condition met
$ wait --for=condition=Nope pod/one --timeout=1s
error: timed out waiting for the condition on pods/one
[1]
$ describe pod one
Name:<*>one
Namespace:<*>NS
Priority:<*>0
<...>
Node:<*>hollow-node-<*>
Start Time:<*>
Labels:<*>run=one
Annotations:<*><none>
Status:<*>Running
IP:<*>10.244.<*>
<...>
Containers:
  one:
    Container ID:   hollow://<*>
    Image:          nginx
<...>
    State:          Running
<...>
    Ready:          True
    Restart Count:  0
    Environment:    <none>
    Mounts:
      /var/run/secrets/kubernetes.io/serviceaccount from kube-api-access-<*> (ro)
Conditions:
<...>
  Ready                       True
<...>
QoS Class:                   BestEffort
Node-Selectors:              <none>
Tolerations:                 node.kubernetes.io/not-ready:NoExecute op=Exists for 300s
                             node.kubernetes.io/unreachable:NoExecute op=Exists for 300s
Events:
<...>
  Normal  Scheduled  <*>  default-scheduler  Successfully assigned NS/one to hollow-node-<*>
<...>
""")


@case("wait --for=jsonpath", since=23)
def _(k, plane):
    k("run", "one", "--image=nginx")
    k.play("""
$ wait --for=jsonpath={.status.phase}=Running pod/one --timeout=30s
pod/one condition met
$ delete pod one --wait=false
pod "one" deleted
$ wait --for=delete pod/one --timeout=30s
<...>
$ get pod one
Error from server (NotFound): pods "one" not found
[1]
""")


@case("a pod that no account is there for, and an invalid one")
def _(k, plane):
    k.write("pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n"
            "spec: {serviceAccountName: ghost, containers: [{name: a, image: i}]}\n")
    k.write("two.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n"
            "spec: {restartPolicy: Now, containers: [{name: a}]}\n")
    k("run", "one", "--image=nginx")
    k.play("""
$ create -f pod.yaml
Error from server (Forbidden): error when creating "pod.yaml": pods "x" is forbidden: error looking up service account NS/ghost: serviceaccount "ghost" not found
[1]
$ create -f two.yaml
The Pod "x" is invalid:
* spec.containers[0].image: Required value
* spec.restartPolicy: Unsupported value: "Now": supported values: "Always", "OnFailure", "Never"
[1]
$ patch pod one -p '{"spec":{"nodeName":"other"}}'
The Pod "one" is invalid: <*>
<...>
[1]
""")


# ---- delete ----


@case("delete: by name, by label, by file, all")
def _(k, plane):
    k.write("app.yaml", APP)
    k("create", "-f", "app.yaml")
    k("create", "configmap", "two")
    k.play("""
$ delete configmap one two
configmap "one" deleted
configmap "two" deleted
$ delete configmap one
Error from server (NotFound): configmaps "one" not found
[1]
$ delete configmap one --ignore-not-found
$ delete configmap -l none=x
No resources found
$ delete service -l set=ab
service "app" deleted
$ delete -f app.yaml
deployment.apps "app" deleted
Error from server (NotFound): error when deleting "app.yaml": configmaps "one" not found
Error from server (NotFound): error when deleting "app.yaml": services "app" not found
[1]
$ create secret generic a
secret/a created
$ create secret generic b
secret/b created
$ delete secrets --all
secret "a" deleted
secret "b" deleted
$ get secrets
No resources found in NS namespace.
$ delete pod/none service/none
Error from server (NotFound): pods "none" not found
Error from server (NotFound): services "none" not found
[1]
""")


@case("delete --cascade: orphan, foreground, background")
def _(k, plane):
    k("create", "deployment", "app", "--image=x", "--replicas=2")
    k("rollout", "status", "deployment/app")
    k.play("""
$ delete deployment app --cascade=orphan
deployment.apps "app" deleted
$ get deployments,replicasets,pods -o name
replicaset.apps/app-<*>
pod/app-<*>
pod/app-<*>
$ delete replicaset -l app=app --cascade=foreground
replicaset.apps "app-<*>" deleted
$ get replicasets,pods
No resources found in NS namespace.
$ create deployment app --image=x
deployment.apps/app created
$ rollout status deployment/app
<...>
$ delete deployment app --cascade=background --dry-run=server
deployment.apps "app" deleted (server dry run)
$ delete deployment app --cascade=background
deployment.apps "app" deleted
""")
    plane.until("nothing is left", lambda: k("get", "deployments,replicasets,pods", "-o", "name") == "")


@case("delete pods: now, by force, without waiting")
def _(k, plane):
    for name in ("one", "two", "three"):
        k("run", name, "--image=x")
    k("wait", "--for=condition=Ready", "pod", "--all", "--timeout=30s")
    k.play("""
$ delete pod one --grace-period=0 --force
pod "one" force deleted
<*>mmediate deletion does not wait for confirmation that the running resource has been terminated. The resource may continue to run on the cluster indefinitely.
$ delete pod two --now
pod "two" deleted
$ delete pod three --wait=false
pod "three" deleted
$ wait --for=delete pod/three --timeout=60s
<...>
$ get pods
No resources found in NS namespace.
""")


@case("a namespace is emptied and gone; some stay")
def _(k, plane):
    k.play("""
$ create namespace NS-gone
namespace/NS-gone created
$ create deployment web --image=x -n NS-gone
deployment.apps/web created
$ rollout status deployment/web -n NS-gone
<...>
deployment "web" successfully rolled out
$ delete namespace NS-gone
namespace "NS-gone" deleted
<...>
$ get namespace NS-gone
Error from server (NotFound): namespaces "NS-gone" not found
[1]
$ get all -n NS-gone
No resources found in NS-gone namespace.
$ delete namespace default
<...>
Error from server (Forbidden): namespaces "default" is forbidden: this namespace may not be deleted
[1]
$ describe namespace NS
Name:         NS
Labels:       kubernetes.io/metadata.name=NS
Annotations:  <none>
Status:       Active
<...>
""")


# ---- nodes ----


@case("cordon, uncordon, drain")
def _(k, plane):
    k("create", "deployment", "app", "--image=x", "--replicas=6")
    k("rollout", "status", "deployment/app")
    k.play("""
$ cordon hollow-node-1
node/hollow-node-1 cordoned
$ cordon hollow-node-1
node/hollow-node-1 already cordoned
$ get node hollow-node-1 --no-headers
hollow-node-1   Ready,SchedulingDisabled   <none>   <*>   v1.35.4
$ uncordon hollow-node-1
node/hollow-node-1 uncordoned
$ uncordon hollow-node-1
node/hollow-node-1 already uncordoned
$ run lone --image=x --overrides='{"spec":{"nodeSelector":{"kubernetes.io/hostname":"hollow-node-1"}}}'
pod/lone created
$ wait --for=condition=Ready pod/lone --timeout=30s
pod/lone condition met
$ drain hollow-node-1 --ignore-daemonsets --pod-selector=run=lone
node/hollow-node-1 cordoned
<...>
[1]
$ drain hollow-node-1 --ignore-daemonsets --force
node/hollow-node-1 already cordoned
<...>
pod/lone <*>ed
<...>
node/hollow-node-1 <*>
<...>
$ get pods -A --field-selector spec.nodeName=hollow-node-1
No resources found
$ describe node hollow-node-1
Name:               hollow-node-1
<...>
Taints:             node.kubernetes.io/unschedulable:NoSchedule
Unschedulable:      true
<...>
Non-terminated Pods:<*>(0 in total)
<...>
$ uncordon hollow-node-1
node/hollow-node-1 uncordoned
$ drain hollow-node-9
Error from server (NotFound): nodes "hollow-node-9" not found
[1]
$ rollout status deployment/app
<...>
deployment "app" successfully rolled out
""")


@case("drain --dry-run=server", since=24)
def _(k, plane):
    k("create", "deployment", "app", "--image=x", "--replicas=3")
    k("rollout", "status", "deployment/app")
    k.play("""
$ drain hollow-node-3 --ignore-daemonsets --force --dry-run=server
node/hollow-node-3 cordoned (server dry run)
<...>
evicting pod NS/app-<*> (server dry run)
<...>
node/hollow-node-3 drained (server dry run)
<...>
$ get node hollow-node-3 -o jsonpath={.spec.unschedulable}
$ get pods -o jsonpath={.items[*].metadata.deletionTimestamp}
""")


@case("taint: add, change, remove; NoExecute evicts")
def _(k, plane):
    k("create", "deployment", "app", "--image=x", "--replicas=3")
    k("rollout", "status", "deployment/app")
    k.play("""
$ taint node hollow-node-2 a=b:NoSchedule
node/hollow-node-2 tainted
$ taint node hollow-node-2 a=c:NoSchedule
error: <*>hollow-node-2 already has <*> taint(s) with same effect(s) and --overwrite is false
[1]
$ taint node hollow-node-2 a=c:NoSchedule --overwrite
node/hollow-node-2 modified
$ get node hollow-node-2 -o jsonpath={.spec.taints[0].key}:{.spec.taints[0].value}:{.spec.taints[0].effect}
a:c:NoSchedule
$ taint node hollow-node-2 a:NoSchedule-
node/hollow-node-2 untainted
$ taint node hollow-node-2 a:NoSchedule-
error: taint "a:NoSchedule" not found
[1]
$ taint node none a=b:NoSchedule
Error from server (NotFound): nodes "none" not found
[1]
$ taint nodes hollow-node-1 hollow-node-2 k=v:NoExecute
node/hollow-node-1 tainted
node/hollow-node-2 tainted
""")
    for node in ("hollow-node-1", "hollow-node-2"):
        plane.until(f"{node} is empty", lambda: k(
            "get", "pods", "-o", "name", "--field-selector", f"spec.nodeName={node}") == "")
    k.play("""
$ rollout status deployment/app
<...>
deployment "app" successfully rolled out
$ taint nodes --all k-
node/hollow-node-1 untainted
node/hollow-node-2 untainted
<...>
""")


@case("a taint that not all have: what is said of those", since=24)
def _(k, plane):
    k.play("""
$ taint nodes --all k=v:NoExecute
node/hollow-node-1 tainted
node/hollow-node-2 tainted
node/hollow-node-3 tainted
$ run lone --image=x
pod/lone created
$ wait --for=condition=PodScheduled=False pod/lone --timeout=30s
pod/lone condition met
$ get pod lone -o jsonpath={.status.conditions[0].message}
0/3 nodes are available: 3 node(s) had untolerated taint(s). <*>preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.
$ taint nodes --all k-
node/hollow-node-1 untainted
node/hollow-node-2 untainted
node/hollow-node-3 untainted
$ wait --for=condition=Ready pod/lone --timeout=30s
pod/lone condition met
""")


# ---- what needs a kubelet or is not there; who one is ----


@case("logs, exec, attach, port-forward say that no kubelet is there")
def _(k, plane):
    k("run", "one", "--image=x")
    k("wait", "--for=condition=Ready", "pod/one", "--timeout=30s")
    for words in ("logs one", "exec one -- ls", "attach one", "port-forward one 18080:80"):
        error = k(*words.split(), status=1)
        assert re.search(r'pods/\w+ needs the kubelet of node "hollow-node-\d", and this API server does not '
                         r"connect to kubelets\n$", error), f"{words}: {error}"
    assert 'rror from server (NotFound): pods "none" not found' in k("logs", "none", status=1)
    error = k("logs", "one", "-c", "other", status=1)
    assert "container other is not valid for pod one" in error, error


@case("top, kinds that are not there")
def _(k, plane):
    equal(k("top", "pods", status=1), "error: Metrics API not available\n")
    equal(k("top", "nodes", status=1), "error: Metrics API not available\n")
    error = k("create", "role", "r", "--verb=get", "--resource=pods", status=1)
    assert "the server could not find the requested resource" in error, error


@case("auth can-i")
def _(k, plane):
    k.play("""
$ auth can-i create pods
yes
$ auth can-i '*' '*'
yes
$ auth can-i get pods --as=bob
Error from server (Forbidden): <*>this server does not let anybody act for others
[1]
""")
    assert re.search(r"^\*\.\*\s+\[\]\s+\[\]\s+\[\*\]$", k("auth", "can-i", "--list"), re.M)


@case("auth whoami", since=27)
def _(k, plane):
    k.play("""
$ auth whoami
ATTRIBUTE   VALUE
Username    kubernetes-admin
Groups      [system:masters system:authenticated]
""")


@case("cluster-info; its dump stops at a kind that is not there yet")
def _(k, plane):
    text = re.sub(r"\x1b\[[0-9;]*m", "", k("cluster-info"))
    assert f"Kubernetes control plane is running at {plane.url}\n" in text, text
    status, out, err = k.run("cluster-info", "dump", "--output-directory=dump")
    equal((status, err), (1, "Error from server (NotFound): the server could not find the requested resource "
                             "(get daemonsets.apps)\n"))
    with open(os.path.join(k.home, "dump/nodes.json"), encoding="utf-8") as nodes:
        assert '"name": "hollow-node-3"' in nodes.read()


@case("get -w while a deployment changes")
def _(k, plane):
    k("create", "deployment", "app", "--image=x")
    k("rollout", "status", "deployment/app")
    with k.watching("get", "deployment", "app", "-w", "--no-headers") as line:
        equal(line().split()[:2], ["app", "1/1"])
        k("scale", "deployment", "app", "--replicas=3")
        while line().split()[1] != "3/3":
            pass
        k("delete", "deployment", "app")
    k("run", "one", "--image=x")
    with k.watching("get", "pods", "-w", "-o", "name", "-l", "run=one") as line:
        equal(line(), "pod/one")
        k("label", "pod", "one", "more=x")
        equal(line(), "pod/one")


def main():
    tally = Tally()
    if kubectl.PROGRAM is None:
        for name, *_ in CASES:
            tally.skip(name, "no kubectl")
        tally.close()
    only = os.environ.get("CASE", "")
    minor = kubectl.minor_version()
    with Plane("controllers", "scheduler", "hollow-node", plain=False) as plane:
        admin = kubectl.Kubectl(plane.kubeconfig)
        plane.until("three nodes are ready", lambda: admin("get", "nodes", "--no-headers").count(" Ready ") == 3)
        for number, (name, since, until, check) in enumerate(CASES):
            if only not in name:
                continue
            if not since <= minor <= until:
                tally.skip(name, f"from kubectl 1.{since} on" if minor < since else f"up to kubectl 1.{until}")
                continue
            k = kubectl.Kubectl(plane.kubeconfig, f"case-{number}")
            with tally.case(name):
                admin("create", "namespace", f"case-{number}")
                plane.until("the namespace has its account", lambda: k.run("get", "serviceaccount", "default")[0] == 0)
                check(k, plane)
            admin.run("delete", "namespace", f"case-{number}", "--wait=false")
            for node in range(1, 4):  # whatever a failed case left on nodes
                plane.api("PATCH", f"/api/v1/nodes/hollow-node-{node}", {"spec": {"taints": None, "unschedulable": None}},
                          "application/merge-patch+json")
            k.close()
        with tally.case("all namespaces of this exam are emptied"):
            plane.until("they are gone", lambda: "case-" not in admin("get", "namespaces", "-o", "name"), 60)
        admin.close()
    tally.close()


main()
