#!/usr/bin/env python3
"""generate.py OUT_FOLDER FILE.schema... - checks the schema files and writes schema_tables.c and schema_types.h.

The language is told in README.md beside this file. Each complaint is one line "file:line: what"; after the
last one the exit status is 1 and nothing is written."""
import base64
import hashlib
import os
import re
import shlex
import sys

SCALARS = {"string": "TEXT", "bytes": "BYTES", "bool": "BOOL", "int32": "INT32", "int64": "INT64",
           "double": "DOUBLE", "Time": "TIME", "MicroTime": "MICROTIME", "Quantity": "QUANTITY",
           "IntOrString": "INT_OR_TEXT", "Raw": "RAW"}
GO_NAMES = {"TEXT": "string", "BYTES": "[]uint8", "BOOL": "bool", "INT32": "int32", "INT64": "int64",
            "DOUBLE": "float64", "TIME": "v1.Time", "MICROTIME": "v1.MicroTime",
            "QUANTITY": "resource.Quantity", "INT_OR_TEXT": "intstr.IntOrString",
            "RAW": "runtime.RawExtension"}
VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
NAME_CLASSES = ["any", "subdomain", "label", "dns1035", "path"]
FORMATS = ["none", "label", "subdomain", "labelkey"]
RULES = {"generation": "GENERATION", "create-on-update": "CREATE_ON_UPDATE",
         "conditional-update": "CONDITIONAL_UPDATE"}
FLAG_WORDS = {"always": "ALWAYS", "omitempty": None, "omitzero": "OMITZERO", "needed": "NEEDED",
              "immutable": "IMMUTABLE", "unchecked": "UNCHECKED", "retainkeys": "RETAIN_KEYS", "atomic": None, "set": None}
HASH_BITS_MAX = 12
# C functions that a type may have: for defaults and for validation.
HOOKS = {"defaulted", "checked"}

complaints = []


class Where:
    def __init__(self, path, line):
        self.path, self.line = path, line

    def complain(self, text):
        complaints.append(f"{self.path}:{self.line}: {text}")


class Field:
    def __init__(self, where):
        self.where = where
        self.number = self.outer = 0
        self.name = self.about = self.element = ""
        self.shape, self.kind, self.type = "ONE", "", None
        self.flags, self.presence, self.inline = set(), "VALUE", False
        self.default = self.merge = self.keys = None
        self.patch, self.list, self.format = "REPLACE", "ATOMIC", "none"
        self.min = self.maxitems = None


class Type:
    def __init__(self, where, file, name, form):
        self.where, self.file, self.name, self.form = where, file, name, form
        self.fields, self.values, self.about = [], [], ""
        self.typed = self.atomic = False
        self.package = file.package
        self.flat = None
        self.hooks = set()  # what C functions do for it
        self.deep = set()   # what has to be done for it or for something inside


class Kind:
    def __init__(self, where, type_):
        self.where, self.type, self.list_type = where, type_, None
        self.plural, self.namespaced = "", False
        self.short, self.categories, self.selectors = [], [], []
        self.verbs, self.names, self.rules = list(VERBS), "any", set()
        self.subs, self.columns, self.deprecated = [], [], ""
        self.stored = None  # group/version it is stored in, where that is not its own


class File:
    def __init__(self, path):
        self.path, self.key = path, os.path.basename(path)[:-len(".schema")]
        self.group, self.version, self.package = None, None, None
        self.uses, self.types, self.kinds = [], {}, []


def split(where, line):
    """Words of a line; texts in quotes are one word that keeps its opening quote as a mark."""
    lexer = shlex.shlex(line, posix=False)
    lexer.whitespace_split = True
    lexer.commenters = "#"
    lexer.quotes = '"'
    try:
        return list(lexer)
    except ValueError:
        where.complain("a quote that is not closed")
        return []


def unquote(word):
    return word[1:-1] if len(word) >= 2 and word[0] == '"' and word[-1] == '"' else word


def parse_field(where, words):
    field = Field(where)
    field.number = int(words[0])
    if len(words) < 3:
        where.complain("a field is: number name type [attributes] [\"about\"]")
        return None
    field.name, spec, rest = words[1], words[2], words[3:]
    if spec == "inline":
        if len(rest) != 1:
            where.complain("inline takes one type")
            return None
        field.inline, field.element = True, rest[0]
        return field
    required = spec.startswith("!")
    spec = spec[1:] if required else spec
    if spec.startswith("?"):
        field.presence, spec = "POINTER", spec[1:]
    if spec.startswith("[]"):
        field.shape, spec = "LIST", spec[2:]
    elif spec == "map":
        if not rest:
            where.complain("map needs the type of its values")
            return None
        field.shape, spec, rest = "MAP", rest[0], rest[1:]
    if field.presence == "POINTER" and field.shape != "ONE":
        where.complain("lists and maps have no ?: absent and empty are one")
    field.element = spec
    if required:
        field.flags |= {"ALWAYS", "REQUIRED"}
    for word in rest:
        parse_attribute(where, field, word)
    return field


def parse_attribute(where, field, word):
    if word.startswith('"'):
        field.about = unquote(word)
        return
    key, equals, value = word.partition("=")
    if not equals and key in FLAG_WORDS:
        if FLAG_WORDS[key]:
            field.flags.add(FLAG_WORDS[key])
        if key == "omitempty":
            field.flags.discard("ALWAYS")
        elif key == "set":
            field.list = "SET"
        elif key == "atomic":
            field.list = "FORCED_ATOMIC"
    elif key == "merge":
        field.patch, field.merge = "MERGE", value or None
    elif key == "keys" and value:
        field.keys = value
    elif key == "default" and equals:
        field.default = unquote(value)
    elif key == "format" and value in FORMATS:
        field.format = value
    elif key in ("min", "maxitems") and re.fullmatch(r"-?\d+", value):
        setattr(field, key, int(value))
    else:
        where.complain(f"unknown attribute {word}")


def parse_kind_line(where, kind, words):
    word, rest = words[0], words[1:]
    if word == "short":
        kind.short += rest
    elif word == "categories":
        kind.categories += rest
    elif word == "select":
        kind.selectors += rest
    elif word == "verbs":
        kind.verbs = rest
        for verb in rest:
            if verb not in VERBS:
                where.complain(f"unknown verb {verb}")
    elif word == "names" and len(rest) == 1 and rest[0] in NAME_CLASSES:
        kind.names = rest[0]
    elif word == "rules":
        for rule in rest:
            if rule not in RULES:
                where.complain(f"unknown rule {rule}")
            kind.rules.add(rule)
    elif word == "stored" and len(rest) == 1:
        kind.stored = rest[0]
    elif word == "deprecated" and len(rest) == 1:
        kind.deprecated = unquote(rest[0])
    elif word == "sub" and len(rest) in (2, 3):
        verbs = rest[1].split(",")
        for verb in verbs:
            if verb not in VERBS:
                where.complain(f"unknown verb {verb}")
        kind.subs.append((where, rest[0], verbs, rest[2] if len(rest) == 3 else None))
    elif word == "column" and len(rest) >= 2:
        column = {"name": unquote(rest[0]), "type": rest[1], "wide": False, "format": "", "about": ""}
        if rest[1] not in ("string", "integer", "boolean"):
            where.complain(f"a column is a string, an integer or a boolean, not {rest[1]}")
        for extra in rest[2:]:
            if extra == "wide":
                column["wide"] = True
            elif extra == "name":
                column["format"] = "name"
            elif extra.startswith('"'):
                column["about"] = unquote(extra)
            else:
                where.complain(f"unknown word {extra} in a column")
        kind.columns.append(column)
    else:
        where.complain(f"cannot read this line of a kind: {' '.join(words)}")


def start_type(where, file, words):
    """type, kind, enum, text and wrapper lines. Returns (type, kind)."""
    form, rest = words[0], words[1:]
    about = unquote(rest.pop()) if rest and rest[-1].startswith('"') else ""
    if not rest:
        where.complain(f"{form} needs a name")
        return None, None
    name = rest.pop(0)
    if name in file.types or name in SCALARS:
        where.complain(f"{name} is defined twice")
    made = Type(where, file, name, "type" if form == "kind" else form)
    made.about = about
    file.types[name] = made
    kind = None
    if form == "kind":
        made.hooks = {word for word in rest[2:] if word in HOOKS}
        if len(rest) < 2 or rest[1] not in ("namespaced", "cluster") or set(rest[2:]) - HOOKS:
            where.complain("a kind is: kind Name plural namespaced|cluster [defaulted] [checked] \"about\"")
        else:
            kind = Kind(where, made)
            kind.plural, kind.namespaced = rest[0], rest[1] == "namespaced"
            file.kinds.append(kind)
        made.typed = True
    elif form == "enum":
        made.values = rest
        if not rest:
            where.complain("an enum needs values")
    elif form == "wrapper":
        items = Field(where)
        items.name, items.number, items.shape = "items", 1, "LIST"
        items.element = rest[0] if rest else ""
        made.fields.append(items)
    else:
        for word in rest:
            if word == "typed":
                made.typed = True
            elif word == "atomic":
                made.atomic = True
            elif word in HOOKS:
                made.hooks.add(word)
            elif word.startswith("package="):
                made.package = word[len("package="):]
            else:
                where.complain(f"unknown word {word}")
    return made, kind


def parse(path):
    file = File(path)
    current = kind = None
    with open(path, encoding="utf-8") as handle:
        for number, line in enumerate(handle, 1):
            where = Where(path, number)
            words = split(where, line)
            if not words:
                continue
            if words[0] == "group" and len(words) >= 3:
                file.group, file.version = ("" if words[1] == "-" else words[1]), words[2]
                file.package = words[3].partition("=")[2] if len(words) > 3 else words[2]
            elif words[0] == "uses":
                file.uses += words[1:]
            elif words[0] in ("type", "kind", "enum", "text", "wrapper") and not line[0].isspace():
                current, kind = start_type(where, file, words)
            elif words[0].isdigit():
                if current is None or current.form != "type":
                    where.complain("a field outside of a type")
                    continue
                field = parse_field(where, words)
                if field:
                    current.fields.append(field)
            elif kind is not None and line[0].isspace() and not current.fields:
                parse_kind_line(where, kind, words)
            else:
                where.complain(f"cannot read this line: {' '.join(words)}")
    if file.group is None:
        Where(path, 1).complain("no line: group NAME VERSION")
    return file


def find_type(files, file, name):
    if "/" in name:
        group, version, name = name.split("/")
        for other in files.values():
            if other.group == group and other.version == version:
                return other.types.get(name)
        return None
    if name in file.types:
        return file.types[name]
    for key in file.uses:
        if key in files and name in files[key].types:
            return files[key].types[name]
    return None


def add_lists(files):
    """A kind that can be listed has a list type."""
    for file in files.values():
        for kind in file.kinds:
            if "list" not in kind.verbs:
                continue
            made = Type(kind.where, file, kind.type.name + "List", "type")
            made.typed, made.about = True, f"A list of {kind.type.name}."
            for number, name, element, shape in ((1, "metadata", "ListMeta", "ONE"),
                                                 (2, "items", kind.type.name, "LIST")):
                field = Field(kind.where)
                field.number, field.name, field.element, field.shape = number, name, element, shape
                if shape == "LIST":
                    field.flags |= {"ALWAYS", "REQUIRED"}
                made.fields.append(field)
            file.types[made.name] = made
            kind.list_type = made


def resolve(files, file, field):
    if field.element in SCALARS:
        field.kind = SCALARS[field.element]
        return
    found = find_type(files, file, field.element)
    if found is None:
        field.where.complain(f"unknown type {field.element}")
        field.kind = "TEXT"
        return
    field.type = found
    field.kind = {"type": "MESSAGE", "enum": "TEXT", "text": "TEXT", "wrapper": "WRAPPER"}[found.form]


def flatten(type_):
    if type_.flat is not None:
        return type_.flat
    type_.flat = []
    if type_.typed:
        for name in ("kind", "apiVersion"):
            field = Field(type_.where)
            field.name, field.kind = name, "TEXT"
            field.about = {"kind": "What this is.", "apiVersion": "Group and version of its schema."}[name]
            type_.flat.append(field)
    for field in type_.fields:
        if not field.inline:
            type_.flat.append(field)
            continue
        if field.type is None or field.type.form != "type":
            field.where.complain("only a type can be inline")
            continue
        for inner in field.type.fields:
            if inner.inline:
                inner.where.complain("an inline type inside an inline type")
                continue
            copy = Field(inner.where)
            copy.__dict__.update(inner.__dict__)
            copy.outer = field.number
            type_.flat.append(copy)
    names, numbers = {}, {}
    for field in type_.flat:
        if field.name in names:
            field.where.complain(f"{type_.name} has the field {field.name} twice")
        names[field.name] = field
        key = (field.outer, field.number)
        if field.number and key in numbers:
            field.where.complain(f"{type_.name} has number {field.number} twice: "
                                 f"{numbers[key].name}, {field.name}")
        numbers[key] = field
    for field in type_.fields:
        if field.inline and (0, field.number) in numbers:
            field.where.complain(f"{type_.name} has number {field.number} twice")
    if len(type_.flat) > 250:
        type_.where.complain("more than 250 fields")
    return type_.flat


def check_field(field):
    element = {f.name: f for f in field.type.flat} if field.kind == "MESSAGE" else {}
    if field.patch == "MERGE":
        if field.shape != "LIST":
            field.where.complain("merge is for lists")
        elif field.kind == "MESSAGE" and field.merge not in element:
            field.where.complain(f"merge key {field.merge} is no field of {field.element}")
        elif field.kind != "MESSAGE" and field.merge:
            field.where.complain("a merge key needs a list of messages")
    if field.shape == "LIST" and field.list != "FORCED_ATOMIC":
        keys = field.keys or field.merge
        if keys:
            field.list, field.keys = "KEYED", keys
            for key in keys.split(","):
                if key not in element:
                    field.where.complain(f"key {key} is no field of {field.element}")
        elif field.patch == "MERGE":
            field.list = "SET"
    if field.shape == "MAP":
        field.list = "ATOMIC" if field.list == "FORCED_ATOMIC" else "GRANULAR"
    if field.list == "FORCED_ATOMIC":
        field.list = "ATOMIC"
    if field.default is not None:
        value, kind = field.default, field.kind
        enum = field.type.values if field.type is not None and field.type.form == "enum" else None
        bad = ((kind in ("INT32", "INT64") and not re.fullmatch(r"-?\d+", value)) or
               (kind == "BOOL" and value not in ("true", "false")) or
               (kind == "MESSAGE" and value != "{}") or
               (kind not in ("TEXT", "INT32", "INT64", "BOOL", "MESSAGE")) or
               (enum and value not in enum) or field.shape != "ONE")
        if bad:
            field.where.complain(f"default {value} does not fit the type")
    if field.min is not None and field.kind not in ("INT32", "INT64"):
        field.where.complain("min is for integers")
    if field.maxitems is not None and field.shape != "LIST":
        field.where.complain("maxitems is for lists")
    if field.format != "none" and field.kind != "TEXT":
        field.where.complain("format is for texts")


def own_work(type_):
    """What walking one message of this type has to do, apart from what is inside its fields."""
    work = set(type_.hooks)
    for f in type_.flat:
        if f.default is not None:
            work.add("defaulted")
        if (f.flags & {"NEEDED", "IMMUTABLE"} or f.min is not None or f.maxitems is not None or
                f.format != "none" or (f.type is not None and f.type.form == "enum")):
            work.add("checked")
    return work


def spread_work(types):
    """A type has work to do when a type inside it has."""
    for t in types:
        t.deep = own_work(t)
    changed = True
    while changed:
        changed = False
        for t in types:
            for f in t.flat:
                if f.kind == "MESSAGE" and not f.type.deep <= t.deep:
                    t.deep |= f.type.deep
                    changed = True


def check_kind(files, kind):
    names = {f.name for f in kind.type.flat}
    if "metadata" not in names:
        kind.where.complain(f"{kind.type.name} has no metadata")
    if "list" in kind.verbs and not kind.columns:
        kind.where.complain(f"{kind.type.name} can be listed and has no columns")
    for selector in kind.selectors:
        at = kind.type
        for step in selector.split("."):
            field = next((f for f in at.flat if f.name == step), None) if at else None
            if field is None:
                if selector not in ("source", "reportingController"):
                    kind.where.complain(f"field selector {selector} leads nowhere")
                break
            at = field.type if field.kind == "MESSAGE" else None
    subs = []
    for where, name, verbs, element in kind.subs:
        target = kind.type if element is None else find_type(files, kind.type.file, element)
        if target is None:
            where.complain(f"unknown type {element}")
        subs.append((name, verbs, target))
    kind.subs = subs


def field_key(name):
    """The number the hash is made of; schema_field_key() in schema.c is its twin."""
    data = name.encode()
    first = int.from_bytes(data[:8], "little")
    last = int.from_bytes(data[-8:], "little")
    return (first ^ (last * 0x9E3779B97F4A7C15) ^ len(data)) & (2 ** 64 - 1)


def hash_table(names):
    """(bits, seed, table of index + 1) without collisions."""
    if not names:
        return 0, 1, [0]
    keys = [field_key(name) for name in names]
    bits = max(len(names) - 1, 0).bit_length()
    while bits <= HASH_BITS_MAX:
        seed = 0x2545F4914F6CDD1D
        for _ in range(400):
            seed = (seed * 6364136223846793005 + 1442695040888963407) & (2 ** 64 - 1) | 1
            table = [0] * (1 << bits)
            for index, key in enumerate(keys):
                at = (key * seed & (2 ** 64 - 1)) >> (64 - bits) if bits else 0
                if table[at]:
                    break
                table[at] = index + 1
            else:
                return bits, seed, table
        bits += 1
    raise SystemExit("no perfect hash for " + ",".join(names))


def storage_hash(kind):
    """What tells clients that a kind is stored in another form than before."""
    file = kind.type.file
    stored = kind.stored if kind.stored is not None else f"{file.group}/{file.version}"
    stored = stored if "/" in stored else "/" + stored
    digest = hashlib.sha256(f"{stored}/{kind.type.name}".encode()).digest()
    return base64.b64encode(digest[:8]).decode()


class Strings:
    def __init__(self):
        self.at, self.data, self.length = {"": 0}, [""], 1

    def add(self, text):
        if text not in self.at:
            self.at[text] = self.length
            self.data.append(text)
            self.length += len(text.encode()) + 1
        return self.at[text]


def c_text(text):
    out = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + out + '\\0"'


def go_name(field):
    if field.type is not None:
        name = f"{field.type.package}.{field.type.name}"
    else:
        name = GO_NAMES[field.kind]
    if field.name == "fieldsV1":
        name = "v1.FieldsV1"
    if field.shape == "LIST":
        return "[]" + name
    if field.shape == "MAP":
        return "v1.ResourceList" if field.kind == "QUANTITY" else "map[string]" + name
    return name


def constant(type_):
    group = "core" if type_.file.group == "" else type_.file.group.split(".")[0]
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", type_.name)
    return f"SCHEMA_{group}_{type_.file.version}_{words}".upper()


def write(out, files):
    types = [t for f in files.values() for t in f.types.values() if t.form != "text" or True]
    index = {id(t): i for i, t in enumerate(types)}
    kinds = [k for f in files.values() for k in f.kinds]
    strings, rows, hashes, values = Strings(), [], [], []
    subs, columns = [], []
    out_types, out_fields, out_kinds = [], [], []

    def text(record, value):
        return f"S({record}, {strings.add(value)})" if value else "0"

    def verb_mask(verbs):
        return " | ".join("SCHEMA_VERB_" + v.upper() for v in verbs)

    for t in types:
        me = f"types[{index[id(t)]}]"
        first = len(out_fields)
        bits, seed, table = hash_table([f.name for f in t.flat])
        for f in t.flat:
            rec = f"fields[{len(out_fields)}]"
            flags = set(f.flags)
            if f.presence == "POINTER":
                flags.add("POINTER")
            if f.default is not None:
                flags.add("DEFAULT")
            if f.min is not None:
                flags.add("MIN")
            number = 0
            default = ""
            if f.default is not None:
                if f.kind in ("INT32", "INT64"):
                    number = int(f.default)
                elif f.kind == "BOOL":
                    number = int(f.default == "true")
                elif f.kind == "TEXT":
                    default = f.default
            parts = [f".name = {text(rec, f.name)}", f".name_len = {len(f.name)}",
                     f".go_name = {text(rec, go_name(f))}",
                     f".number = {f.number}", f".kind = SCHEMA_{f.kind}", f".shape = SCHEMA_{f.shape}"]
            if f.about:
                parts.append(f".about = {text(rec, f.about)}")
            if f.type is not None:
                parts.append(f".type = T({rec}, types[{index[id(f.type)]}])")
            if f.outer:
                parts.append(f".outer = {f.outer}")
            if flags:
                parts.append(".flags = " + " | ".join(sorted("SCHEMA_FIELD_" + x for x in flags)))
            if default:
                parts.append(f".fallback = {text(rec, default)}")
            if number:
                parts.append(f".fallback_number = {number}")
            if f.patch == "MERGE":
                parts.append(".patch = SCHEMA_PATCH_MERGE")
            if f.merge:
                parts.append(f".merge_key = {text(rec, f.merge)}")
            if f.list != "ATOMIC":
                parts.append(f".merge = SCHEMA_MERGE_{f.list}")
            if f.keys:
                parts.append(f".list_keys = {text(rec, f.keys)}")
            if f.format != "none":
                parts.append(f".format = SCHEMA_FORMAT_{f.format.upper()}")
            if f.min is not None:
                parts.append(f".min = {f.min}")
            if f.maxitems is not None:
                parts.append(f".max_items = {f.maxitems}")
            out_fields.append("{" + ", ".join(parts) + "}")
        parts = [f".name = {text(me, t.name)}", f".go_name = {text(me, t.package + '.' + t.name)}",
                 f".group = {text(me, t.file.group)}", f".version = {text(me, t.file.version)}",
                 f".form = SCHEMA_FORM_{t.form.upper()}"]
        if t.about:
            parts.append(f".about = {text(me, t.about)}")
        flags = [x for x, on in (("TYPED", t.typed), ("ATOMIC", t.atomic),
                               ("DEFAULTED", "defaulted" in t.deep), ("CHECKED", "checked" in t.deep))
                 if on]
        if flags:
            parts.append(".flags = " + " | ".join("SCHEMA_TYPE_" + x for x in flags))
        if t.flat:
            parts += [f".fields = T({me}, fields[{first}])", f".field_count = {len(t.flat)}",
                      f".hash = T({me}, hashes[{len(hashes)}])", f".hash_bits = {bits}",
                      f".hash_seed = 0x{seed:x}u"]
            hashes += table
        if t.values:
            parts += [f".values = T({me}, values[{len(values)}])", f".value_count = {len(t.values)}"]
            for value in t.values:
                values.append(f"S(values[{len(values)}], {strings.add(value)})")
        own = next((i for i, k in enumerate(kinds) if k.type is t), None)
        if own is not None:
            parts.append(f".resource = T({me}, kinds[{own}])")
        out_types.append("{" + ", ".join(parts) + "}")
    for i, k in enumerate(kinds):
        me = f"kinds[{i}]"
        parts = [f".plural = {text(me, k.plural)}", f".singular = {text(me, k.type.name.lower())}",
                 f".short_names = {text(me, ','.join(k.short))}",
                 f".categories = {text(me, ','.join(k.categories))}",
                 f".selectors = {text(me, ','.join(k.selectors))}",
                 f".deprecated = {text(me, k.deprecated)}",
                 f".storage_hash = {text(me, storage_hash(k) if 'get' in k.verbs else '')}",
                 f".type = T({me}, types[{index[id(k.type)]}])", f".verbs = {verb_mask(k.verbs)}",
                 f".names = SCHEMA_NAMES_{k.names.upper()}"]
        rules = [RULES[r] for r in sorted(k.rules)] + (["NAMESPACED"] if k.namespaced else [])
        if rules:
            parts.append(".rules = " + " | ".join("SCHEMA_RULE_" + r for r in rules))
        if k.list_type is not None:
            parts.append(f".list_type = T({me}, types[{index[id(k.list_type)]}])")
        if k.subs:
            parts += [f".subs = T({me}, subs[{len(subs)}])", f".sub_count = {len(k.subs)}"]
            for name, verbs, target in k.subs:
                rec = f"subs[{len(subs)}]"
                subs.append(f"{{.name = {text(rec, name)}, .verbs = {verb_mask(verbs)}, "
                            f".type = T({rec}, types[{index[id(target)]}])}}")
        if k.columns:
            parts += [f".columns = T({me}, columns[{len(columns)}])",
                      f".column_count = {len(k.columns)}"]
            for c in k.columns:
                rec = f"columns[{len(columns)}]"
                columns.append(f"{{.name = {text(rec, c['name'])}, .type = {text(rec, c['type'])}, "
                               f".format = {text(rec, c['format'])}, .about = {text(rec, c['about'])}, "
                               f".priority = {int(c['wide'])}}}")
        out_kinds.append("{" + ", ".join(parts) + "}")
    parts = [("schema_type", "types", out_types), ("schema_field", "fields", out_fields),
             ("schema_resource", "kinds", out_kinds), ("schema_sub", "subs", subs),
             ("schema_column", "columns", columns)]
    lines = ["/* schema_tables.c - generated from the schema files; do not edit. */",
             '#include "plugins/schema/schema.h"', "", "#include <stddef.h>", "",
             "struct schema_tables {"]
    lines += [f"    struct {kind} {name}[{len(items)}];" for kind, name, items in parts]
    lines += [f"    int32_t values[{len(values)}];", f"    uint8_t hashes[{len(hashes)}];",
              f"    char strings[{strings.length}];", "};", "",
              "#define T(from, to) \\",
              "    ((int32_t)offsetof(struct schema_tables, to) - (int32_t)offsetof(struct schema_tables, from))",
              "#define S(from, at) T(from, strings[at])", "",
              "static const struct schema_tables schema_tables = {"]
    for _, name, items in parts:
        lines += [f"    .{name} = {{"] + [f"        {item}," for item in items] + ["    },"]
    lines += ["    .values = {"] + [f"        {v}," for v in values] + ["    },"]
    lines += ["    .hashes = {"]
    lines += ["        " + ", ".join(map(str, hashes[i:i + 24])) + "," for i in range(0, len(hashes), 24)]
    lines += ["    },", "    .strings ="]
    lines += ["        " + c_text(s) for s in strings.data]
    lines += ["};", "", "const struct schema_type *const schema_types = schema_tables.types;",
              f"const size_t schema_type_count = {len(out_types)};",
              "const struct schema_resource *const schema_resources = schema_tables.kinds;",
              f"const size_t schema_resource_count = {len(out_kinds)};", ""]
    header = ["/* schema_types.h - generated from the schema files: numbers of types for schema_type(). */",
              "#ifndef SCHEMA_TYPES_H", "#define SCHEMA_TYPES_H", "", "enum schema_type_id {"]
    header += [f"    {constant(t)}," for t in types]
    header += ["    SCHEMA_TYPE_COUNT_", "};", "", "#endif", ""]
    for name, body in (("schema_tables.c", lines), ("schema_types.h", header)):
        path = os.path.join(out, name)
        content = "\n".join(body)
        if os.path.exists(path):
            with open(path, encoding="utf-8") as handle:
                if handle.read() == content:
                    os.utime(path)
                    continue
        with open(path, "w", encoding="utf-8") as handle:
            handle.write(content)


def main():
    if len(sys.argv) < 3:
        print(__doc__)
        sys.exit(2)
    files = {}
    for path in sorted(sys.argv[2:]):
        file = parse(path)
        files[file.key] = file
    for file in files.values():
        for use in file.uses:
            if use not in files:
                Where(file.path, 1).complain(f"uses {use}, which is not there")
    add_lists(files)
    every = [t for f in files.values() for t in f.types.values()]
    for t in every:
        for field in t.fields:
            resolve(files, t.file, field)
    for t in every:
        flatten(t)
    for t in every:
        for field in t.flat:
            check_field(field)
    for file in files.values():
        for kind in file.kinds:
            if kind.type.flat is not None:  # else it was defined twice, which has been said
                check_kind(files, kind)
    spread_work(every)
    if complaints:
        print("\n".join(dict.fromkeys(complaints)), file=sys.stderr)
        sys.exit(1)
    os.makedirs(sys.argv[1], exist_ok=True)
    write(sys.argv[1], files)


main()
