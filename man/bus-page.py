#!/usr/bin/env python3
"""Writes the manual page of a bus interface, in scdoc's syntax, from its introspection XML and the comments in it.

The XML is the contract and its comments the documentation; this page says the same for people.
"""

import re
import sys
import xml.etree.ElementTree as ET


def scd(text):
    """Plain text for scdoc: what it would take for markup is escaped."""
    return re.sub(r"([\\*_#<>`~|\[\]])", r"\\\1", text)


def comment(text):
    """A comment's lines without their common indent; lines deeper than the first become a literal block."""
    lines = [line.rstrip() for line in text.expandtabs(8).split("\n")]
    while lines and not lines[0].strip():
        lines.pop(0)
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        return []
    lines[0] = lines[0].strip() if len(lines) == 1 else lines[0]
    indent = min(len(x) - len(x.lstrip()) for x in lines if x.strip())
    return [x[indent:] for x in lines]


def prose(lines):
    out, literal = [], False
    for line in lines:
        deep = line.startswith("  ")
        if deep != literal:
            out += ["```", ""] if literal else ["", "```"]
            literal = deep
        out.append(line if deep else scd(line))
    if literal:
        out.append("```")
    return "\n".join(out).strip("\n")


def signature(method):
    def args(direction):
        return ", ".join(f"{a.get('type')} {a.get('name')}" for a in method.findall("arg")
                         if a.get("direction", "in") == direction)
    return args("in"), args("out")


def emits(node):
    for a in node.findall("annotation"):
        if a.get("name") == "org.freedesktop.DBus.Property.EmitsChangedSignal":
            return {"const": "never changes", "false": "its changes are not announced",
                    "invalidates": "its changes are announced without their values"}.get(a.get("value"), "")
    return ""


def walk(parent):
    """The children of a node, each with the comment that stands right before it."""
    text = None
    for child in parent:
        if child.tag is ET.Comment:
            text = child.text
        else:
            yield child, text
            text = None


def main(path):
    parser = ET.XMLParser(target=ET.TreeBuilder(insert_comments=True))
    with open(path, encoding="utf-8") as f:
        source = f.read()
    root = ET.fromstring(source, parser)
    bus = re.search(r"([\w.]+)\.xml$", path).group(1)
    head = re.search(r"<!--(.*?)-->", source.split("<node", 1)[0], re.S)
    out = [f"{bus}(5)", "", "# NAME", "", f"{bus} - the D-Bus interface of {sys.argv[2]}", "", "# DESCRIPTION", ""]
    if head:
        out += [prose(comment(head.group(1))), ""]
    out += ["Whatever *mrctl*(1) shows and does goes over this interface, which *busctl*(1) speaks as well.", ""]
    for interface, text in walk(root):
        if interface.tag != "interface":
            continue
        out += [f"# INTERFACE {scd(interface.get('name'))}", ""]
        if text:
            out += [prose(comment(text)), ""]
        for kind, title in (("method", "Methods"), ("signal", "Signals"), ("property", "Properties")):
            members = [(n, t) for n, t in walk(interface) if n.tag == kind]
            if not members:
                continue
            out += [f"## {title}", ""]
            for node, doc in members:
                name = scd(node.get("name"))
                if kind == "property":
                    out.append(f"*{name}* ({scd(node.get('type'))}" + (f"; {emits(node)})" if emits(node) else ")"))
                else:
                    ins, outs = signature(node)
                    out.append(f"*{name}*({scd(ins)})" + (f" -> {scd(outs)}" if outs else ""))
                out.append("")
                if doc:
                    out += [prose(comment(doc)), ""]
    out += ["# SEE ALSO", "", "*mrctl*(1), *busctl*(1), *mr-masterd*(8), *mr-workerd*(8)"]
    print("\n".join(out))


main(sys.argv[1])
