/* pod_template.h - the pod that a template makes for its owner. */
#ifndef KVD_CONTROLLERS_POD_TEMPLATE_H
#define KVD_CONTROLLERS_POD_TEMPLATE_H

#include "plugins/object/object.h"

/* A new pod in owner's namespace with the template's labels, annotations, finalizers and spec, a
 * name generated from owner's, and owner as its controller. template: a PodTemplateSpec; its texts
 * are shared. 0 or ERR_NOMEM. Pure. */
int pod_from_template(const struct object *owner, const struct value *template, struct arena *arena,
                      struct object *pod);

#endif
