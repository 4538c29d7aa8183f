"""The door: without arguments the window opens, otherwise the command line answers, without Qt."""

from __future__ import annotations

import os
import sys
from importlib import resources
from pathlib import Path


def main(argv: list[str] | None = None) -> int:
    """Returns the exit code."""
    words = sys.argv[1:] if argv is None else argv
    if not words:
        from workbench import application

        return application.main([])
    if words == ["demo"] and _has_display():
        from workbench import application

        with resources.as_file(resources.files("resources") / "experiments" / "demo.toml") as path:
            return application.main([], experiment_path=path, run=True)
    if len(words) in (2, 3) and words[0] == "open" and words[2:] in ([], ["--copy"]) and os.path.isfile(words[1]) and _has_display():
        from workbench import application

        bundle = os.path.abspath(words[1])
        return application.main([], copy_of=Path(bundle)) if words[2:] else application.main([], store=bundle)
    if words[0] == "desktop-entry":
        from workbench import desktop_entry

        return desktop_entry.main(words[1:])
    from engines import cli

    return cli.main(words)


def _has_display() -> bool:
    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


if __name__ == "__main__":
    sys.exit(main())
