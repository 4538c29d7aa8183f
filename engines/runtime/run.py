"""The phases of one run: corpus, model, training, finishing, evaluating."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from engines import probes
from engines.api import Figure
from engines.runtime import checkpoint, evaluate
from engines.runtime.context import Budget, Session
from engines.runtime.finished import Finished, load_finished, save_finished
from engines.runtime.pipeline import Pipeline
from engines.runtime.plan import Parts, PlanError, block, device_of, text_of, threads_of
from engines.runtime.recorder import Recorder
from engines.runtime.train import EVALUATION_BATCH, WARM_UP_STEPS, Control, Trainer
from engines.store import commands, queries
from engines.store.commands import EffectRow, ResultRow
from engines.store.database import Store
from engines.store.queries import RunRow


class Run:
    """One claimed run of one plan."""

    def __init__(self, store: Store, row: RunRow, claim: str, recorder: Recorder, control: Control) -> None:
        self.store, self.row, self.claim, self.recorder, self.control = store, row, claim, recorder, control
        self.plan: Mapping[str, Any] = queries.plan(store, row.id)
        self.folder = store.folder / "runs" / str(row.id)
        self.results: list[ResultRow] = []

    def execute(self) -> None:
        """All phases; raises what ends the run early."""
        commands.set_status(self.store, self.row.id, self.claim, "running")
        threads = threads_of(self.plan.get("threads"))
        torch.set_num_threads(threads)
        device = device_of(self.plan["device"])
        self._event("info", "start", f"device {device}, {threads} torch threads, torch {torch.__version__}, attempt {self.row.attempt}")
        self._phase("corpus")
        parts = Parts.of(self.plan)
        text = text_of(parts.corpus, lambda sentence: self._event("info", "corpus", sentence))
        self._event("info", "corpus", f"{text.fingerprint} {dict(text.facts)}")
        self._phase("model")
        trainer = self._prepare(parts, text, device)
        if not trainer.trained:
            self._phase("training")
            self._train(trainer)
        self._phase("finishing")
        finished, bytes_written = self._finish(trainer)
        self._phase("evaluating")
        self._evaluate(trainer, finished, bytes_written)
        commands.put_results(self.store, self.row.id, self.claim, self.results)
        checkpoint.discard(self.folder / "checkpoint")

    def _prepare(self, parts: Parts, text: Any, device: torch.device) -> Trainer:
        """Model, hooks and, where there is one, the checkpoint of an earlier attempt."""
        plan, seed = self.plan, self.row.seed
        torch.manual_seed(seed)
        training = plan["training"]
        model = parts.task.assemble(plan["model"], block, text, training["sequence"]).to(device)
        session = Session(
            plan=plan, task=parts.task, text=text, device=device, dtype=torch.get_default_dtype(), seed=seed, budget=Budget.of(plan["budget"]),
            model=model, stream=parts.task.batches(text, training["batch"], training["sequence"], seed),
            log=self._log, held_out=lambda: trainer.held_out(), teacher=self._teacher, fine_tune=lambda *a: trainer.fine_tune(*a),
        )  # fmt: skip
        pipeline = Pipeline(parts.techniques, session)
        trainer = Trainer(session, pipeline, self.recorder, self.control, self.folder / "checkpoint")
        found = checkpoint.find(self.folder / "checkpoint")
        earlier = checkpoint.load(found, device) if found else None
        if earlier:
            pipeline.load_state_dict(earlier["techniques"])
        self._session = session
        pipeline.shape_model()
        pipeline.assemble()
        if earlier:
            trainer.restore(earlier)
            self._event("info", "resume", f"continues at step {session.step:,} from the checkpoint of an earlier attempt")
        commands.truncate_points(self.store, self.row.id, self.claim, session.step)
        return trainer

    def _train(self, trainer: Trainer) -> None:
        session = trainer.session
        peak_is_clean = probes.reset_peak()
        if session.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(session.device)
        trainer.train()
        if session.stop_reason:
            self._event("info", "stop", session.stop_reason)
        # Without a reset the high-water mark would include reading the corpus; then the figure is left out.
        if peak_is_clean:
            self._result(Figure("memory/train_peak_host_mib", probes.peak_resident_mib(), "MiB", "lower"), {"resumed": self.row.attempt > 1})
        if session.device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(session.device) / 2**20
            self._result(Figure("memory/train_peak_device_mib", peak, "MiB", "lower"), {"what": "allocator"})
        speed = trainer.tokens_per_second()
        if speed:
            rate, steps = speed
            detail = {"steps": steps, "warm_up_steps": WARM_UP_STEPS, "interleaved": False, "resumed": self.row.attempt > 1}
            self._result(Figure("speed/train_tokens_per_s", rate, "tokens/s", "higher"), detail)

    def _finish(self, trainer: Trainer) -> tuple[Finished, int]:
        session, pipeline = trainer.session, trainer.pipeline
        weights = pipeline.evaluation_weights()
        if weights is not None:
            session.model.load_state_dict(weights)
        records = pipeline.finish()
        self.recorder.flush()
        effects = [
            EffectRow("", "training", f"{session.step:,} updates.", {"loss_digest": trainer.loss_digest, "steps": session.step}),
            EffectRow("", "conditions", f"Text {session.text.fingerprint}.", {"corpus": session.text.fingerprint}),
            *(EffectRow(e.technique, e.hook, e.sentence, e.facts) for e in pipeline.stated_effects()),
        ]
        commands.put_effects(self.store, self.row.id, self.claim, effects)
        folder = self.folder / "model"
        bytes_written = save_finished(session.model, self.plan, records, folder)
        commands.put_artifact(self.store, self.row.id, self.claim, "model", "finished model", folder, bytes_written)
        # Reloaded, so that what is judged is what is kept.
        return load_finished(folder, _evaluation_device(session), session.text), bytes_written

    def _evaluate(self, trainer: Trainer, finished: Finished, bytes_written: int) -> None:
        session = trainer.session
        held_out = int(self.plan["measure"]["held_out_tokens"])
        for split in ("valid", "test"):
            for figure in session.task.evaluate(finished.model, session.text, split, held_out, EVALUATION_BATCH, _evaluation_device(session)):
                self._result(figure, {"held_out_tokens": held_out or "all"})
        teachers = [queries.results(self.store, [need]) for need in self.row.needs]
        inherited = {row.key: row.value for rows in teachers for row in rows if row.key.startswith("cost/") and row.value is not None}
        price = [
            Figure("cost/train_s", session.seconds, "s", "lower"),
            Figure("cost/train_tokens", float(session.tokens), "tokens", "lower"),
        ]
        if trainer.work is not None:
            price.append(Figure("cost/train_flops", trainer.work.flops * session.tokens / trainer.work_tokens, "FLOP", "lower"))
        for figure in price:
            total = figure.value + inherited.get(figure.key, 0.0)
            self._result(Figure(figure.key, total, figure.unit, figure.better), {"own": figure.value, "of_needed_runs": total - figure.value})
        self.results.extend(evaluate.figures(finished, bytes_written, lambda sentence: self._event("info", "measure", sentence)))

    def _teacher(self, reference: str) -> torch.nn.Module:
        """The finished model of the needed run of that variant, on this run's device."""
        for need in self.row.needs:
            other = queries.run(self.store, need)
            if other.variant == reference:
                text = self._session.text
                return load_finished(self.store.folder / "runs" / str(need) / "model", self._session.device, text).model
        raise PlanError(f'The recipe names the variant "{reference}", but run {self.row.id} was queued without it: run the experiment anew.')

    def _phase(self, name: str) -> None:
        commands.set_phase(self.store, self.row.id, self.claim, name)

    def _event(self, level: str, kind: str, sentence: str) -> None:
        commands.put_event(self.store, self.row.id, level, kind, sentence)

    def _log(self, key: str, value: float, unit: str) -> None:
        self.recorder.add(key, self._session.step, float(value), unit)

    def _result(self, figure: Figure, detail: dict[str, Any]) -> None:
        self.results.append(ResultRow(key=figure.key, value=figure.value, unit=figure.unit, better=figure.better, detail=detail))


def _evaluation_device(session: Session) -> torch.device:
    """Where the finished model is judged: where it was trained, but the CPU where its kernels exist only there (int8)."""
    devices = {tensor.device for tensor in (*session.model.parameters(), *session.model.buffers())}
    return devices.pop() if len(devices) == 1 else session.device


def folder_of(store: Store, run_id: int) -> Path:
    """Where a run's files lie."""
    return store.folder / "runs" / str(run_id)
