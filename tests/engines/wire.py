"""Listens in on what a timing session says to its processes, for tests."""

from __future__ import annotations

from engines import stopwatches


class Wire:
    """What is said to the processes, in order; a test may change the answers. events: loaded, warm, turn; watches: the loaded ones."""

    def __init__(self, monkeypatch, change):
        self.events, self.watches = [], []
        loaded, ask = stopwatches.Stopwatch.loaded, stopwatches.Stopwatch.ask

        def note_loaded(watch):
            loaded(watch)
            self.watches.append(watch)
            self.events.append("loaded")

        def note_asked(watch, **request):
            answer = ask(watch, **request)
            self.events.extend(request)
            change(self, watch, request, answer)
            return answer

        monkeypatch.setattr(stopwatches.Stopwatch, "loaded", note_loaded)
        monkeypatch.setattr(stopwatches.Stopwatch, "ask", note_asked)
