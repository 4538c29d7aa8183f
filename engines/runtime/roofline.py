"""Measures what this machine can do at best: products in each number format, moving bytes, starting an operator.

    python -m engines.runtime.roofline cpu/1 cpu/15 cuda:0/15

A process of its own for all places (device and threads), one after another; it prints lines of JSON: {"doing": what is measured}, and for each
place {"peaks": the entry of `engines.peaks`} or {"error": sentence}. Each figure is the best of several repeats, since everything that disturbs
makes slower; how far the median lay from the best is told as its spread, and with it what else the machine was doing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch

from engines import probes
from engines.runtime.clock import wait_for
from engines.runtime.plan import PlanError, device_of, threads_of
from engines.telling import tell

SECONDS = 0.4
"""Of repeats for one figure; at least FEWEST of them."""
FEWEST = 5
PLACE_SECONDS = 4.0
"""After so many on one place what is left is measured with two repeats: a slow machine shall not take minutes."""
PRODUCT_SECONDS = 0.05
"""A product lasts about so long: long enough for its start not to count."""
LARGEST_PRODUCT = {"cpu": 2048, "cuda": 8192}
LARGEST_ARRAY_MIB = 256
CACHED_KIB = 256
"""Each of three arrays that stay in the cache of one core."""
LAUNCHES = 2000


class Clock:
    """Times a callable on a device, best of several, and keeps the spread of each figure."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._until = time.perf_counter() + PLACE_SECONDS
        self.spread: dict[str, float] = {}

    def best(self, name: str, function: Callable[[], Any], seconds: float = SECONDS) -> float:
        """Seconds of the fastest call."""
        self._once(function)
        taken = [self._once(function)]
        while len(taken) < 2 or ((len(taken) < FEWEST or sum(taken) < seconds) and time.perf_counter() < self._until):
            taken.append(self._once(function))
        self.spread[name] = statistics.median(taken) / min(taken) - 1
        return min(taken)

    def roughly(self, function: Callable[[], Any]) -> float:
        """Seconds of one call after a first one; not a figure."""
        self._once(function)
        return self._once(function)

    def _once(self, function: Callable[[], Any]) -> float:
        wait_for(self.device)
        start = time.perf_counter()
        function()
        wait_for(self.device)
        return time.perf_counter() - start


def measure(device: torch.device, threads: int, announce: Callable[[str], object] = lambda sentence: None) -> dict[str, Any]:
    """The peaks of one device at so many threads. Formats whose product this device has not are absent."""
    torch.set_num_threads(threads)
    psutil.cpu_percent(None)
    began, used = time.perf_counter(), time.process_time()
    clock = Clock(device)
    with torch.no_grad():
        peaks: dict[str, Any] = {"device": str(device), "threads": threads, "flops_per_s": {}}
        for name in ("float32", "bfloat16", "float16", "int8"):
            announce(f"{name} products")
            rate = _products(name, clock)
            if rate is not None:
                peaks["flops_per_s"][name] = rate
        announce("moving bytes")
        array = _array_mib(device)
        peaks["bytes_per_s"] = _triad("bytes_per_s", array * 2**20, clock)
        peaks["array_mib"] = array
        if device.type == "cpu":
            peaks["cache_bytes_per_s"] = _triad("cache_bytes_per_s", CACHED_KIB * 2**10 * threads, clock, repeats=200)
            if cache := cache_mib():
                peaks["cache_mib"] = cache
        announce("starting operators")
        peaks["launch_us"] = _launch(clock)
    own = 100 * (time.process_time() - used) / (time.perf_counter() - began) / (psutil.cpu_count() or 1)
    return {**peaks, "spread": clock.spread, "measured": time.time(), "load_percent": max(0.0, psutil.cpu_percent(None) - own)}


def _products(name: str, clock: Clock) -> float | None:
    """Operations a second of a product of square matrices; None where there is none in this format, or it overflows what it can hold."""
    size = 256
    largest = LARGEST_PRODUCT.get(clock.device.type, 2048)
    try:
        product = _product(name, size, clock.device)
        seconds = clock.roughly(product)
        while size < largest and seconds < PRODUCT_SECONDS / 4:
            size *= 2
            product = _product(name, size, clock.device)
            seconds = clock.roughly(product)
        return 2 * size**3 / min(seconds, clock.best(name, product))
    except (RuntimeError, NotImplementedError):
        # What torch raises where a kernel does not exist for a format on a device.
        clock.spread.pop(name, None)
        return None


def _product(name: str, size: int, device: torch.device) -> Callable[[], Any]:
    if name == "int8":
        return _integer_product(size, device)
    a, b = (torch.randn(size, size, device=device).to(getattr(torch, name)) for _ in range(2))
    out = torch.empty_like(a)
    return lambda: torch.mm(a, b, out=out)


def _integer_product(size: int, device: torch.device) -> Callable[[], Any]:
    """The path that int8 models take: on the CPU quantised linear layers, which quantise their input themselves, on CUDA `_int_mm`."""
    if device.type != "cpu":
        a, b = (torch.randint(-100, 100, (size, size), dtype=torch.int8, device=device) for _ in range(2))
        return lambda: torch._int_mm(a, b)
    x = torch.randn(size, size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # quantised tensors are deprecated, but there is no other way into these kernels
        weight = torch.quantize_per_tensor(torch.randn(size, size), 0.05, 0, torch.qint8)
    packed = torch.ops.quantized.linear_prepack(weight, None)
    return lambda: torch.ops.quantized.linear_dynamic(x, packed, reduce_range=True)


def _triad(name: str, bytes: int, clock: Clock, repeats: int = 1) -> float:
    """Bytes a second of a = b + s c over arrays of so many bytes: two read, one written."""
    b, c = (torch.ones(bytes // 4, device=clock.device) for _ in range(2))
    a = torch.empty_like(b)

    def triad() -> None:
        for _ in range(repeats):
            torch.add(b, c, alpha=2.0, out=a)

    return 3 * bytes * repeats / clock.best(name, triad)


def _launch(clock: Clock) -> float:
    """Microseconds of an operator on one number, one after another."""
    a, b = torch.ones(1, device=clock.device), torch.ones(1, device=clock.device)

    def launches() -> None:
        for _ in range(LAUNCHES):
            torch.add(a, b)

    return 1e6 * clock.best("launch_us", launches) / LAUNCHES


def _array_mib(device: torch.device) -> int:
    """Size of one of three arrays: well beyond the cache, as far as memory allows."""
    free = torch.cuda.mem_get_info(device)[0] / 2**20 if device.type == "cuda" else probes.load_facts()["memory_available_mib"]
    return int(max(8, min(LARGEST_ARRAY_MIB, 4 * (cache_mib() or 64), free / 12)))


def cache_mib() -> float | None:
    """The largest cache that a core of this machine sees, in MiB; None where the system does not say."""
    sizes = []
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = path.read_text(encoding="ascii").strip()
        if text[-1:] in "KM":
            sizes.append(int(text[:-1]) / (1024 if text[-1] == "K" else 1))
    return max(sizes, default=None)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="engines.runtime.roofline")
    parser.add_argument("places", nargs="+", help="DEVICE/THREADS")
    for place in parser.parse_args(argv).places:
        device, _, threads = place.rpartition("/")
        try:
            found = measure(device_of(device), threads_of(int(threads)), lambda what: tell(doing=what))
        except (PlanError, RuntimeError) as error:  # RuntimeError: what torch raises where a device does not answer or has no memory left
            tell(error=str(error).strip().partition("\n")[0])
        else:
            tell(peaks=found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
