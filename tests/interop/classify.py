"""The component `classify` in an engine that is not ours: Node's, by jco."""

import json
import os
import pathlib
import subprocess
import tomllib

import edge_hosts

ROW = "edge, Node: classify"
ROWS = [ROW]
RULES = pathlib.Path(__file__).resolve().parents[2] / "components" / "classify" / "src" / "rules.toml"

ASK = """
import { createInterface } from "node:readline";
import { classify } from "./classify.js";
const classifier = classify.load(undefined);
for await (const text of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(classifier.classify({ text, own: [] })));
}
"""


def run(table, binary, folder):
    if ROW in table.rows:
        table.run(ROW, lambda: check(binary, folder / "classify-js"))


def check(binary, folder):
    """Node gives the same answers as the relay to the cases of all rules."""
    folder.mkdir(parents=True)
    (folder / "node_modules").symlink_to(os.environ["NODE_PATH"])
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "ask.js").write_text(ASK)
    target = edge_hosts.built(binary)
    jco = target / "plugin-tools" / "javascript" / "node_modules" / ".bin" / "jco"
    component = target / "components" / "classify.wasm"
    subprocess.run([jco, "transpile", component, "--quiet", "--no-typescript", "-o", folder], check=True)
    replies = "".join(f"{reply}\n" for reply in cases())
    ours, theirs = (answers(command, replies, folder) for command in ([binary, "classify", "--json"], ["node", "ask.js"]))
    if len(ours) < 150:
        raise AssertionError(f"only {len(ours)} replies were classified")
    for reply, own, other in zip(replies.splitlines(), ours, theirs, strict=True):
        if own != normal(other):
            raise AssertionError(f"{reply}: the relay says {own}, Node says {other}")


def cases():
    """Of each rule, the cases that are one line and need no host."""
    rules = tomllib.loads(RULES.read_text())["rule"]
    return [case for rule in rules for case in rule.get("cases", []) if isinstance(case, str) and "\n" not in case]


def answers(command, replies, folder):
    said = subprocess.run(command, input=replies, capture_output=True, text=True, check=True, cwd=folder).stdout
    return [json.loads(line) for line in said.splitlines()]


def normal(answer):
    """As the relay writes it."""
    enum = lambda name: answer[name].replace("-", "_")
    found = {"type": enum("bounceType"), "category": answer["category"], "about": enum("about"), "action": enum("action"),
             "rule": answer["rule"], "rules_version": answer["rulesVersion"], "explanation": answer["explanation"]}
    return {**found, "doc": answer["doc"]} if answer.get("doc") is not None else found
