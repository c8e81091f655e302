"""Runs regorus on a project's own policies in a process of its own, under limits.

Started as `python -I _worker.py FOLDER-OF-REGORUS`; imports regorus and the standard library,
nothing of sovgate.
Reads one JSON request from standard input, writes one JSON reply to standard output. A policy that
never ends, or that the parser chokes on, ends with this process and nothing else.

Request: {"modules": [[name, text], …], "ast": bool, "input": text|null, "rules": [path, …]}.
Reply:   {"ast": …|null, "values": {path: value-as-JSON-text}, "errors": {path: text}}
     or  {"failed": text, "module": name|null}.
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys

CPU_SECONDS = 2
MEMORY = 2 * 1024 * 1024 * 1024


def main() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    with contextlib.suppress(ValueError, OSError):  # macOS knows no such limit
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    sys.path.append(sys.argv[1])  # where the parent found regorus; -I may not look there
    import regorus  # type: ignore[import-untyped]

    request = json.load(sys.stdin)
    engine = regorus.Engine()
    for name, text in request["modules"]:
        try:
            engine.add_policy(name, text)
        except RuntimeError as error:
            json.dump({"failed": str(error), "module": name}, sys.stdout)
            return
    reply: dict[str, object] = {"ast": None, "values": {}, "errors": {}}
    if request["ast"]:
        reply["ast"] = json.loads(engine.get_ast_as_json())
    if request["input"] is not None:
        engine.set_input_json(request["input"])
    values: dict[str, str] = {}
    errors: dict[str, str] = {}
    for path in request["rules"]:
        try:
            values[path] = engine.eval_rule_as_json(path)
        except RuntimeError as error:
            errors[path] = str(error)
    reply["values"], reply["errors"] = values, errors
    json.dump(reply, sys.stdout)


if __name__ == "__main__":
    main()
