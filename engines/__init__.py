"""The headless engine: experiments, store, supervisor, workers, comparison, reports. No Qt."""
