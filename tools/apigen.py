#!/usr/bin/python3
"""Write the C side of one service API.

    apigen.py MODEL.json LIMITS.json OUT.h OUT.c

Reads the facts in model/<service>.json, and what those leave out in errors.json and wire.json
beside LIMITS.json, and emits data only: a struct per shape, tables of fields
with offsetof, the table of operations, the table of errors, and one typed trampoline an operation.
No behaviour is generated: src/aws/ interprets the tables. Run by the build; nothing it writes is
committed. src/aws/model.h describes the layout.
"""
import hashlib
import json
import pathlib
import re
import sys

KEYWORDS = set("""auto break case char const continue default do double else enum extern float for
goto if inline int long register restrict return short signed sizeof static struct switch typedef
union unsigned void volatile while asm typeof bool true false errno unix linux""".split())
AGGREGATES = {"structure", "list", "map"}
C_TYPES = {
    "string": "const char *", "integer": "int64_t", "long": "int64_t", "boolean": "bool",
    "double": "double", "float": "double", "timestamp": "int64_t", "blob": "struct str",
}
ENUM_TYPES = {"float": "DOUBLE"}
LOCATIONS = {"uri": "URI", "querystring": "QUERY", "header": "HEADER", "headers": "HEADERS",
             "statusCode": "STATUS"}
PROTOCOLS = {"rest-json": "REST_JSON", "json": "JSON", "query": "QUERY", "rest-xml": "REST_XML"}
TIMES = {"iso8601": "ISO_TIME", "rfc822": "HTTP_TIME"}


def snake(name):
    """KMSKeyArn -> kms_key_arn, CodeSha256 -> code_sha256, EC2AccessDenied -> ec2_access_denied."""
    for plural in ("ARN", "ID", "URI", "URL"):
        name = re.sub(plural + r"s(?![a-z])", plural.capitalize() + "s", name)
    name = name.replace("IPv", "Ipv").replace("OAuth", "Oauth")
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    name = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
    return re.sub(r"\W", "_", name).lower()


def member_name(name):
    name = snake(name)
    return name + "_" if name in KEYWORDS else name


def text(value):
    """A C string literal, or NULL."""
    if value is None:
        return "NULL"
    out = []
    for byte in value.encode():
        if byte in (0x22, 0x5C):
            out.append("\\" + chr(byte))
        elif 0x20 <= byte < 0x7F and byte != 0x3F:
            out.append(chr(byte))
        else:
            out.append(f"\\{byte:03o}")
    return '"' + "".join(out) + '"'


def pcre(pattern):
    """The models hold Java patterns; PCRE2 differs in two places that occur in them."""
    pattern = re.sub(r"\\u([0-9A-Fa-f]{4})", r"\\x{\1}", pattern)
    return re.sub(r"(\\[wdsWDS])-(?=[^\]])", r"\1\\-", pattern)


class Model:
    def __init__(self, path, limits):
        raw = json.loads(path.read_text())
        self.name = path.stem.replace("-", "_")
        self.meta = raw["metadata"]
        self.operations = dict(sorted(raw["operations"].items()))
        self.limits = json.loads(limits.read_text()).get(path.stem, {})
        self.wire = json.loads((limits.parent / "wire.json").read_text()).get(path.stem, {})
        self.all = raw["shapes"]
        errors = json.loads((limits.parent / "errors.json").read_text()).get(path.stem, {})
        self.add_errors(errors)
        self.add_wire_names()
        self.errors = {n: s for n, s in sorted(self.all.items()) if s.get("exception")}
        self.shapes = self.reachable()
        self.tags = self.name_structs()

    def add_errors(self, errors):
        """Errors that the model leaves out: name -> status, or [status, code in queries]."""
        for name, facts in errors.items():
            status, code = facts if isinstance(facts, list) else (facts, name)
            shape = self.all.setdefault(
                name, {"type": "structure", "exception": True, "members": {}})
            shape["error"] = {"httpStatusCode": status, "code": code}

    def add_wire_names(self):
        """Names in XML and in queries where the model only has those in JSON; open enums
        and patterns."""
        for name in self.wire.get("open", ()):
            for limit in ("enum", "pattern"):
                self.all[name].pop(limit, None)
        for name, facts in self.wire.get("shapes", {}).items():
            for part in ("member", "key", "value"):
                if part in facts:
                    self.all[name][part]["locationName"] = facts[part]
        for name, members in self.wire.get("members", {}).items():
            for member, xml in members.items():
                self.all[name]["members"][member]["xmlName"] = xml

    def refs(self, shape):
        for part in ("key", "value", "member"):
            if part in shape:
                yield shape[part]["shape"]
        for member in shape.get("members", {}).values():
            yield member["shape"]

    def reachable(self):
        """Every shape below an input, an output or an error, in a stable order."""
        todo = []
        for op in self.operations.values():
            todo += [op[d]["shape"] for d in ("input", "output") if d in op]
        for shape in self.errors.values():
            todo += list(self.refs(shape))
        found = set()
        while todo:
            name = todo.pop()
            if name not in found:
                found.add(name)
                todo += self.refs(self.all[name])
        return {n: self.all[n] for n in sorted(found)}

    def name_structs(self):
        """Tag of each aggregate: <op>_in or <op>_out where the shape serves one operation only."""
        users = {}
        for name, op in self.operations.items():
            for direction, suffix in (("input", "_in"), ("output", "_out")):
                if direction in op:
                    users.setdefault(op[direction]["shape"], []).append(snake(name) + suffix)
        nested = {r for s in self.shapes.values() for r in self.refs(s)}
        tags, taken = {}, {"error"}  # enum <service>_error
        for name, shape in self.shapes.items():
            if shape["type"] not in AGGREGATES:
                continue
            own = users.get(name, [])
            tag = own[0] if len(own) == 1 and name not in nested else snake(name)
            while tag in taken:
                tag += "_"
            taken |= {tag, tag + "_entry"} if shape["type"] == "map" else {tag}
            tags[name] = f"{self.name}_{tag}"
        return tags

    def storage(self, name):
        kind = self.shapes[name]["type"]
        return "struct " + self.tags[name] if kind in AGGREGATES else C_TYPES[kind]

    def op_struct(self, op, direction):
        """(tag to be used, tag of the shape or None)"""
        suffix = {"input": "_in", "output": "_out"}[direction]
        want = f"{self.name}_{snake(op)}{suffix}"
        ref = self.operations[op].get(direction)
        return want, self.tags[ref["shape"]] if ref else None

    def error_base(self):
        digest = hashlib.sha256(self.name.encode()).digest()
        return (int.from_bytes(digest[:2], "big") | 0x8000) << 10


def declare(ctype, name):
    return f"{ctype}{name}" if ctype.endswith("*") else f"{ctype} {name}"


def pointer(ctype, name):
    """A pointer to constant storage."""
    if ctype.endswith("*"):
        return f"{ctype}const *{name}"
    return f"const {ctype} *{name}"


def emit_struct(m, name, out):
    shape, tag = m.shapes[name], m.tags[name]
    if shape["type"] == "structure":
        out.append(f"struct {tag} {{")
        for member, ref in shape["members"].items():
            ctype, field = m.storage(ref["shape"]), member_name(member)
            line = declare(ctype, field) if ctype == "const char *" else pointer(ctype, field)
            note = " /* required */" if member in shape.get("required", ()) else ""
            out.append(f"\t{line};{note}")
    elif shape["type"] == "list":
        out += [f"struct {tag} {{", "\tsize_t count;",
                f"\t{pointer(m.storage(shape['member']['shape']), 'items')};"]
    else:
        out += [f"struct {tag}_entry {{", "\tconst char *key;",
                f"\t{declare(m.storage(shape['value']['shape']), 'value')};", "};",
                f"struct {tag} {{", "\tsize_t count;", f"\tconst struct {tag}_entry *entries;"]
    out += ["};", ""]


def struct_order(m):
    """Map entries hold their value itself, so its struct comes first."""
    done, order = set(), []

    def visit(name):
        if name in done or name not in m.tags:
            return
        done.add(name)
        if m.shapes[name]["type"] == "map":
            visit(m.shapes[name]["value"]["shape"])
        order.append(name)

    for name in m.tags:
        visit(name)
    return order


def error_constant(m, name):
    return f"{m.name}_{snake(name)}".upper()


def header(m):
    out = [f"/* Generated by tools/apigen.py from model/{m.name}.json: do not edit. */",
           "#pragma once", "", '#include "aws/aws.h"', "",
           f"extern const struct aws_service {m.name}_service;", "", f"enum {m.name}_error {{"]
    for i, name in enumerate(m.errors):
        out.append(f"\t{error_constant(m, name)} = {m.error_base() + i}, "
                   f"/* {error_status(m.errors[name])} */")
    out += ["};", ""]
    out += [f"struct {tag};" for tag in m.tags.values()] + [""]
    for name in struct_order(m):
        emit_struct(m, name, out)
    for op in m.operations:
        for direction in ("input", "output"):
            want, tag = m.op_struct(op, direction)
            if tag is None:
                out += [f"struct {want} {{", "};", ""]
            elif tag != want:
                out += [f"#define {want} {tag}", ""]
    out.append("/* Define the ones this build has; see aws/aws.h. */")
    for op, facts in m.operations.items():
        name = f"{m.name}_{snake(op)}"
        out += [f"/* {op}: {facts['http']['method']} {facts['http']['requestUri']} */",
                f"_weak_ int {name}(struct call *c, const struct {name}_in *in,",
                f"    struct {name}_out *out, struct err *e);"]
    return "\n".join(out) + "\n"


def flattened(m, ref):
    return bool(ref.get("flattened") or m.all[ref["shape"]].get("flattened"))


def xml_name(m, member, ref):
    """A flattened list is named after its items."""
    shape = m.all[ref["shape"]]
    if shape["type"] == "list" and flattened(m, ref) and "locationName" in shape["member"]:
        return shape["member"]["locationName"]
    return ref.get("xmlName", ref.get("locationName", member))


def emit_field(m, struct_tag, shape, member, ref, offset=True):
    where = LOCATIONS.get(ref.get("location"), "BODY")
    if shape.get("payload") == member:
        where = "PAYLOAD"
    place = f"offsetof(struct {struct_tag}, {member_name(member)})" if offset else "0"
    required = "true" if member in shape.get("required", ()) else "false"
    marks = [mark for mark, on in (("AWS_FIELD_ATTRIBUTE", ref.get("xmlAttribute")),
                                   ("AWS_FIELD_FLATTENED", flattened(m, ref)),
                                   ("AWS_FIELD_STREAMING", ref.get("streaming"))) if on]
    return (f"\t{{{text(member)}, {text(ref.get('locationName', member))}, "
            f"{text(xml_name(m, member, ref))}, &shapes[S_{ref['shape']}], {place}, "
            f"AWS_IN_{where}, {' | '.join(marks) or '0'}, {required}}},")


def flags(shape):
    names = []
    for key, flag in (("min", "HAS_MIN"), ("max", "HAS_MAX"), ("sensitive", "SENSITIVE"),
                      ("eventstream", "EVENTSTREAM"), ("streaming", "STREAMING")):
        if key in shape and shape[key] is not False:
            names.append("AWS_" + flag)
    if shape.get("timestampFormat") in TIMES:
        names.append("AWS_" + TIMES[shape["timestampFormat"]])
    return " | ".join(names) or "0"


def emit_shape(m, name, patterns, out):
    shape = m.shapes[name]
    kind = shape["type"]
    row = [f".name = {text(name)}", f".type = AWS_{ENUM_TYPES.get(kind, kind.upper())}",
           f".flags = {flags(shape)}", f".size = sizeof({m.storage(name)})"]
    if kind == "structure" and shape["members"]:
        row += [f".fields = fields_{name}", f".field_count = {len(shape['members'])}"]
    elif kind == "list":
        row += [f".value = &shapes[S_{shape['member']['shape']}]",
                f".value_name = {text(shape['member'].get('locationName', 'member'))}",
                f".stride = sizeof({m.storage(shape['member']['shape'])})"]
    elif kind == "map":
        entry = f"struct {m.tags[name]}_entry"
        row += [f".key = &shapes[S_{shape['key']['shape']}]",
                f".value = &shapes[S_{shape['value']['shape']}]",
                f".key_name = {text(shape['key'].get('locationName', 'key'))}",
                f".value_name = {text(shape['value'].get('locationName', 'value'))}",
                f".stride = sizeof({entry})", f".value_offset = offsetof({entry}, value)"]
    if shape.get("enum"):
        row += [f".enums = enum_{name}", f".enum_count = {len(shape['enum'])}"]
    if shape.get("pattern"):
        row.append(f".pattern = &patterns[{patterns.index(shape['pattern'])}]")
    for limit in ("min", "max"):
        if limit in shape:
            row.append(f".{limit} = {float(shape[limit])!r}")
    out.append(f"\t[S_{name}] = {{" + ", ".join(row) + "},")


def error_status(shape):
    facts = shape.get("error", {})
    return facts.get("httpStatusCode", 500 if shape.get("fault") else 400)


def emit_errors(m, out):
    rows = []
    for name, shape in m.errors.items():
        facts, members = shape.get("error", {}), shape.get("members", {})
        message = next((n for n in members if n.lower() == "message"), "message")
        extra = {n: r for n, r in members.items() if n.lower() != "message" and n != "Type"}
        fields = "NULL"
        if extra:
            fields = f"error_fields_{name}"
            out.append(f"static const struct aws_field {fields}[] = {{")
            out += [emit_field(m, None, shape, n, r, offset=False) for n, r in extra.items()]
            out += ["};", ""]
        sender = "false" if shape.get("fault") or error_status(shape) >= 500 else "true"
        typed = "true" if "Type" in members else "false"
        rows.append(f"\t{{{error_constant(m, name)}, {text(name)}, "
                    f"{text(facts.get('code', name))}, {error_status(shape)}, {sender}, {typed}, "
                    f"{text(message)}, {fields}, {len(extra)}}},")
    out += ["static const struct aws_error errors[] = {"] + rows + ["};", ""]


def literals(op):
    """What must stand in the query string as it is: ["list-type=2"]."""
    return op["http"]["requestUri"].partition("?")[2].split("&") if "?" in op["http"]["requestUri"] \
        else []


def needs(m, op):
    """Required members outside of body and path: ["uploadId", ":x-amz-copy-source"]."""
    shape = m.all[op["input"]["shape"]] if "input" in op else {}
    refs = [shape["members"][name] for name in shape.get("required", ())]
    return [(":" if ref["location"] == "header" else "") + ref["locationName"] for ref in refs
            if ref.get("location") in ("header", "querystring")]


def strings(values):
    """A NULL-terminated array, or NULL."""
    if not values:
        return "NULL"
    return "(const char *const[]){" + ", ".join(text(v) for v in values) + ", NULL}"


def emit_rest_xml(m, op, facts, row):
    """What routes S3's operations, and the element around an answer."""
    row += [f".labels = {facts['http']['requestUri'].count('{')}",
            f".literals = {strings(literals(facts))}", f".needs = {strings(needs(m, facts))}",
            f".root = {text(m.wire.get('roots', {}).get(op, op + 'Result'))}"]
    if op in m.wire.get("unwrapped", ()):
        row.append(".unwrapped = true")
    if facts.get("deprecated"):
        row.append(".deprecated = true")


def emit_ops(m, out):
    for op in m.operations:
        name = f"{m.name}_{snake(op)}"
        out += [f"static int run_{snake(op)}(struct call *c, const void *in, void *out, "
                "struct err *e)", "{", f"\treturn {name}(c, in, out, e);", "}", ""]
    out.append("static const struct aws_op ops[] = {")
    for op, facts in m.operations.items():
        http, output = facts["http"], facts.get("output", {})
        row = [f".name = {text(op)}", f".method = {text(http['method'])}",
               f".uri = {text(http['requestUri'])}", f".status = {http.get('responseCode', 200)}",
               f".body_max = {m.limits.get(op, m.limits.get('*', 1 << 20))}",
               f".run = run_{snake(op)}",
               f".handler = (void (*)(void)){m.name}_{snake(op)}"]
        if "input" in facts:
            row.append(f".in = &shapes[S_{facts['input']['shape']}]")
        if output:
            row.append(f".out = &shapes[S_{output['shape']}]")
        if "resultWrapper" in output:
            row.append(f".wrapper = {text(output['resultWrapper'])}")
        elif output and "awsQueryCompatible" in m.meta:
            row.append(f".wrapper = {text(op + 'Result')}")
        if facts.get("authtype") == "none" or m.wire.get("unsigned"):
            row.append(".anonymous = true")
        if m.meta["protocol"] == "rest-xml":
            emit_rest_xml(m, op, facts, row)
        out.append("\t{" + ", ".join(row) + "},")
    out += ["};", ""]


def source(m):
    patterns = sorted({s["pattern"] for s in m.shapes.values() if s.get("pattern")})
    out = [f"/* Generated by tools/apigen.py from model/{m.name}.json: do not edit. */",
           f'#include "gen/{m.name}.h"', "", "enum {"]
    out += [f"\tS_{name}," for name in m.shapes] + ["\tSHAPE_COUNT", "};", "",
            "static const struct aws_shape shapes[SHAPE_COUNT];", ""]
    if patterns:
        out.append("static struct aws_pattern patterns[] = {")
        out += [f"\t{{{text(p)}, {text(pcre(p))}, NULL}}," for p in patterns] + ["};", ""]
    for name, shape in m.shapes.items():
        if shape.get("enum"):
            out.append(f"static const char *const enum_{name}[] = {{"
                       + ", ".join(text(v) for v in shape["enum"]) + "};")
        if shape["type"] == "structure" and shape["members"]:
            out.append(f"static const struct aws_field fields_{name}[] = {{")
            out += [emit_field(m, m.tags[name], shape, n, r) for n, r in shape["members"].items()]
            out += ["};", ""]
    out.append("static const struct aws_shape shapes[SHAPE_COUNT] = {")
    for name in m.shapes:
        emit_shape(m, name, patterns, out)
    out += ["};", ""]
    emit_errors(m, out)
    emit_ops(m, out)
    emit_service(m, out)
    return "\n".join(out) + "\n"


def emit_service(m, out):
    out += [f"const struct aws_service {m.name}_service = {{", f"\t.name = {text(m.name)},",
            f"\t.signing_name = {text(m.meta.get('signingName', m.meta['endpointPrefix']))},",
            f"\t.version = {text(m.meta['apiVersion'])},",
            f"\t.target = {text(m.meta.get('targetPrefix'))},",
            f"\t.xmlns = {text(m.wire.get('xmlNamespace', m.meta.get('xmlNamespace')))},",
            f"\t.protocol = AWS_{PROTOCOLS[m.meta['protocol']]},", "\t.ops = ops,",
            "\t.op_count = ARRAY_SIZE(ops),",
            "\t.errors = errors,", "\t.error_count = ARRAY_SIZE(errors),", "\t.shapes = shapes,",
            "\t.shape_count = SHAPE_COUNT,"]
    if m.meta["protocol"] == "json":
        out.append(f"\t.json_version = {text(m.meta.get('jsonVersion', '1.1'))},")
    if "awsQueryCompatible" in m.meta:
        prefix = "com.amazonaws." + m.meta["endpointPrefix"] + "#"
        out += ["\t.query_compatible = true,", f"\t.error_prefix = {text(prefix)},",
                f"\t.path_member = {text(m.wire.get('pathMember'))},"]
    if "missing" in m.wire:
        out.append(f"\t.missing_error = {error_constant(m, m.wire['missing'])},")
    if m.meta["protocol"] == "rest-xml":
        found = sorted({v for op in m.operations.values() for v in literals(op)})
        out.append(f"\t.literals = {strings(found)},")
        if m.wire.get("unclaimed"):
            out.append("\t.unclaimed = true,")
    out.append("};")


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    model, limits, h, c = map(pathlib.Path, sys.argv[1:])
    m = Model(model, limits)
    h.write_text(header(m))
    c.write_text(source(m))


if __name__ == "__main__":
    main()
