"""An inspector without torch, for tests of its client: echoes, refuses, prints, dies, sleeps."""

from __future__ import annotations

import json
import os
import sys
import time

for line in sys.stdin:
    question = json.loads(line)
    ask = question["ask"]
    if ask == "echo":
        print("a plugin that prints")
        print(json.dumps({"id": -1, "answer": "to somebody else"}))
        reply = {"id": question["id"], "answer": question["text"]}
    elif ask == "die":
        print("RuntimeError: the plugin took me along", file=sys.stderr)
        sys.stderr.flush()
        os._exit(7)
    elif ask == "sleep":
        time.sleep(600)
    else:
        reply = {"id": question["id"], "error": f'There is no question "{ask}".'}
    print(json.dumps(reply), flush=True)
