"""The phases of one run: corpus, model, training, finishing, evaluating."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import torch

from engines import energy, meters, observing, preparing, probes
from engines.api import Figure
from engines.evidence import NO_DISTRIBUTION
from engines.predicting import PredictionError, Predictor, held_against, verdict
from engines.runtime import checkpoint, evaluate, statements
from engines.runtime.clock import wait_for
from engines.runtime.context import Budget, Session
from engines.runtime.examination import Examination
from engines.runtime.finished import Finished, load_finished, save_finished
from engines.runtime.heldout import EVALUATION_BATCH
from engines.runtime.memorylog import before_model
from engines.runtime.ownmetric import OwnMetric
from engines.runtime.pipeline import Pipeline
from engines.runtime.plan import Parts, block, corpus_folder, device_of, text_of, threads_of
from engines.runtime.price import Trained, own_price, price_of_needed
from engines.runtime.recorder import Recorder
from engines.runtime.teachers import TeacherError, Teachers
from engines.runtime.train import WARM_UP_STEPS, Cancelled, Control, Trainer
from engines.store import commands, queries
from engines.store.commands import EffectRow, ResultRow
from engines.store.database import Store
from engines.store.queries import RunRow
from engines.teachers import HOOK
from engines.toolbox.batches import map_tensors


class Run:
    """One claimed run of one plan."""

    def __init__(self, store: Store, row: RunRow, claim: str, recorder: Recorder, control: Control) -> None:
        self.store, self.row, self.claim, self.recorder, self.control = store, row, claim, recorder, control
        self.plan: Mapping[str, Any] = queries.plan(store, row.id)
        self.folder = store.run_folder(row.id)
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
        if not parts.corpus.is_prepared(corpus_folder()):
            preparing.in_own_process(self.plan["corpus"], corpus_folder(), lambda sentence: self._event("info", "corpus", sentence))
        text = text_of(parts.corpus, lambda sentence: self._event("info", "corpus", sentence))
        self._event("info", "corpus", statements.of_text(text))
        # What preparing took here, for a corpus that does not tell, would else be in the peaks of the one run that did it.
        probes.release_memory()
        self._before_model = before_model(device)
        self._phase("model")
        trainer = self._prepare(parts, text, device)
        if not trainer.trained:
            self._phase("training")
            self._train(trainer)
            self._store_results()
        self._phase("finishing")
        finished = self._finish(trainer)
        self._phase("evaluating")
        # It loads torch beside the judging, and measures when nothing else of this run is at work.
        with Examination(self.folder / "model", _evaluation_device(trainer.session)) as examination:
            with ExitStack() as stack:
                predictor = None
                if trainer.tokens_per_second():
                    predictor = Predictor(self.plan, queries.needed_models(self.store, self.row), prepared=True, runs=self.store.runs)
                if predictor and threads < probes.usable_cores():
                    stack.enter_context(predictor)
                self._judge(trainer, finished)
                self._store_results()
                # With no core to spare it would be slowed down beside the judging.
                if predictor and threads >= probes.usable_cores():
                    stack.enter_context(predictor)
                predicted = self._predicted(predictor)
            self._phase("measuring")
            self.results, work = examination.figures(lambda told: self._event("info", "measure", told), lambda: self.control.stop)
        if self.control.stop:
            raise Cancelled
        commands.put_effects(self.store, self.row.id, self.claim, [statements.of_work(work, trainer), *self._error_of(predicted, trainer)])
        self._store_results()

    def discard_checkpoint(self) -> None:
        """Once the run is recorded as done, nothing resumes it."""
        checkpoint.discard(self.folder / "checkpoint")

    def _prepare(self, parts: Parts, text: Any, device: torch.device) -> Trainer:
        """Model, hooks and, where there is one, the checkpoint of an earlier attempt."""
        plan, seed = self.plan, self.row.seed
        torch.manual_seed(seed)
        training = plan["training"]
        self._teachers = Teachers(plan, text, device, queries.needed_models(self.store, self.row), self.store.runs)
        model = parts.task.assemble(plan["model"], block, text, training["sequence"]).to(device)
        session = Session(
            plan=plan, task=parts.task, text=text, device=device, dtype=torch.get_default_dtype(), seed=seed, budget=Budget.of(plan["budget"]),
            model=model, stream=parts.task.batches(text, training["batch"], training["sequence"], seed),
            log=self._log, held_out=lambda: trainer.held_out(), teacher=self._teachers, fine_tune=lambda *a: trainer.fine_tune(*a),
        )  # fmt: skip
        pipeline = Pipeline(parts.techniques, session)
        trainer = Trainer(session, pipeline, self.recorder, self.control, self.folder / "checkpoint")
        found = checkpoint.find(self.folder / "checkpoint")
        # On the CPU: an optimiser's step counters stay there, or every update would wait for the device.
        earlier = checkpoint.load(found) if found else None
        if earlier:
            pipeline.load_state_dict(map_tensors(lambda tensor: tensor.to(device), earlier["techniques"]))
        self._session = session
        pipeline.shape_model()
        pipeline.assemble()
        self._tell_teachers(resumed=bool(earlier))
        if earlier:
            trainer.restore(earlier)
            self._event("info", "resume", f"continues at step {session.step:,} from the checkpoint of an earlier attempt")
        commands.truncate_points(self.store, self.row.id, self.claim, session.step)
        self._own_metric = OwnMetric.of(parts.task, str(plan["folder"]))
        if not trainer.trained:
            self._try_own_metric(trainer)
        return trainer

    def _train(self, trainer: Trainer) -> None:
        session = trainer.session
        trainer.energy = self._energy_tally(session.device)
        trainer.peaks.forget()
        trainer.train()
        self._tell_energy(trainer)
        if session.stop_reason:
            self._event("info", "stop", session.stop_reason)
        if trainer.peaks.host_mib is not None:
            detail = {"what": "training steps alone", "resumed": self.row.attempt > 1}
            self._result(Figure("memory/train_peak_host_mib", trainer.peaks.host_mib, "MiB", "lower"), detail)
        if trainer.peaks.device_mib is not None:
            self._result(Figure("memory/train_peak_device_mib", trainer.peaks.device_mib, "MiB", "lower"), {"what": "allocator"})
        speed = trainer.tokens_per_second()
        if speed:
            rate, steps = speed
            detail = {"steps": steps, "warm_up_steps": WARM_UP_STEPS, "interleaved": False, "resumed": self.row.attempt > 1}
            self._result(Figure("speed/train_tokens_per_s", rate, "tokens/s", "higher"), detail)
        memory = trainer.memory.effect(self._before_model)
        if memory:
            commands.put_effects(self.store, self.row.id, self.claim, [EffectRow("", "memory", *memory)])

    def _energy_tally(self, device: torch.device) -> energy.Tally | None:
        """What counts the energy of training, ready to start; None, and said why, where nothing can."""
        try:
            meter = meters.meter_of(str(device))
            wait_for(device)
            return energy.Tally(meter, energy.rest(meter))
        except meters.NotMeasurable as reason:
            self._event("info", "energy", f"Energy of training is not measurable on this machine: {reason}.")
            return None

    def _tell_energy(self, trainer: Trainer) -> None:
        """Joules per token of this attempt's training, or why there is no such figure."""
        tally, trainer.energy = trainer.energy, None
        if tally is None:
            return
        try:
            self.results.append(evaluate.energy_row("energy/joules_per_token", tally))
        except meters.NotMeasurable as reason:
            self._event("info", "energy", f"Energy of training was not measured: {reason}.")

    def _finish(self, trainer: Trainer) -> Finished:
        session, pipeline = trainer.session, trainer.pipeline
        weights = pipeline.evaluation_weights()
        if weights is not None:
            session.model.load_state_dict(weights)
        self._trained = Trained.of(session)
        records = pipeline.finish()
        self.recorder.flush()
        effects = [
            EffectRow("", "training", *statements.of_training(trainer)),
            EffectRow("", "conditions", *statements.of_conditions(session.text)),
            *(EffectRow(e.technique, e.hook, e.sentence, e.facts) for e in pipeline.stated_effects()),
        ]
        commands.put_effects(self.store, self.row.id, self.claim, effects)
        self._tell_bookkeeping(trainer)
        folder = self.folder / "model"
        bytes_written = save_finished(session.model, self.plan, records, folder, session.text.fingerprint)
        commands.put_artifact(self.store, self.row.id, self.claim, "model", "finished model", folder, bytes_written)
        # Reloaded, so that what is judged is what is kept.
        return load_finished(folder, _evaluation_device(session), session.text)

    def _tell_bookkeeping(self, trainer: Trainer) -> None:
        """What recording this attempt's training cost it; nothing where it trained in an earlier one."""
        if trainer.session.seconds > trainer.bookkeeping.before:
            supervisor = (queries.run(self.store, self.row.id).progress or {}).get("supervisor_cpu_s")
            facts = trainer.bookkeeping.facts(trainer.session.seconds, self.recorder.writer_seconds, supervisor)
            commands.put_effects(self.store, self.row.id, self.claim, [EffectRow("", observing.HOOK, observing.sentence(facts), facts)])

    def _judge(self, trainer: Trainer, finished: Finished) -> None:
        """Quality on the held-out splits, and the price of getting there."""
        session = trainer.session
        held_out = int(self.plan["measure"]["held_out_tokens"])
        for split in ("valid", "test"):
            for figure in session.task.evaluate(finished.model, session.text, split, held_out, EVALUATION_BATCH, _evaluation_device(session)):
                self._result(figure, {"held_out_tokens": held_out or "all", **figure.detail})
        # Last: code that is not ours sees the model when all else has been judged.
        for split in ("valid", "test"):
            for figure in self._own_figures(finished.model, split, [row.key for row in self.results]):
                if not math.isfinite(figure.value):
                    self._event("warning", "own metric", f"{figure.key} came out as {figure.value}, which is no figure: left out.")
                else:
                    self._result(figure, {"held_out_tokens": held_out or "all", **figure.detail})
        head = getattr(finished.model, "head", None)
        if not getattr(head, "normalised", True):
            reason = getattr(head, "no_distribution", "this head gives scores and no probabilities")
            sentence = f"No perplexity, because {reason}: judged by rank and accuracy."
            commands.put_effects(self.store, self.row.id, self.claim, [EffectRow("", NO_DISTRIBUTION, sentence, {"sentence": sentence})])
        self._tell_teachers()
        needed = price_of_needed(self.store, self.row.needs, {"teachers": list(self._teachers.read.values())})
        for figure, detail in own_price(session, self._trained, trainer.work, trainer.work_tokens):
            others = needed[figure.key]
            if others is None:
                self._event("warning", "price", f"{figure.key} of a run or file that this one needed is not known, so its total is left out.")
                continue
            total = Figure(figure.key, figure.value + others, figure.unit, figure.better)
            self._result(total, {**detail, "own": figure.value, "of_needed_runs": others})

    def _try_own_metric(self, trainer: Trainer) -> None:
        """The user's own function on the model as it begins, so that what fails does so before the work."""
        if self._own_metric is not None and not trainer.pipeline.fitted:
            self._own_figures(trainer.session.model, "valid", [figure.key for figure in trainer.held_out()])

    def _own_figures(self, model: torch.nn.Module, split: str, taken: list[str]) -> list[Figure]:
        """What the user's own function says of a model; nothing where the task names none. taken: keys of the task's figures."""
        if self._own_metric is None:
            return []
        session, tokens = self._session, int(self.plan["measure"]["held_out_tokens"])
        return self._own_metric.figures(model, session.task, session.text, split, tokens, EVALUATION_BATCH, session.seed, taken)

    def _predicted(self, predictor: Predictor | None) -> dict[str, Any]:
        """What could be said of this run from its plan alone; nothing where that fails, and the run tells why."""
        if predictor is None:
            return {}
        try:
            return predictor.answer(lambda: self.control.stop)
        except PredictionError as error:
            self._event("info", "prediction", f"Nothing was predicted: {error}")
            return {}

    def _error_of(self, predicted: dict[str, Any], trainer: Trainer) -> list[EffectRow]:
        """The prediction beside what was measured, where both are known."""
        results = {row.key: row.value for row in self.results if not row.target}
        speed, session = trainer.tokens_per_second(), trainer.session
        measured = {
            "step_ms": 1000 * session.tokens / session.step / speed[0] if speed else None,
            "train_peak_mib": trainer.peaks.host_mib if session.device.type == "cpu" else trainer.peaks.device_mib,
            "parameters": results.get("size/parameters"), "flops_per_token": results.get("compute/flops_per_token"),
        }  # fmt: skip
        facts = held_against(predicted, measured)
        return [EffectRow("", "prediction", verdict(facts), facts)] if facts else []

    def _tell_teachers(self, *, resumed: bool = False) -> None:
        """Record what finished models were read. Raises TeacherError where a run goes on with another file than it began with."""
        if not self._teachers.read:
            return
        earlier = next((row.facts for row in queries.effects(self.store, [self.row.id]) if not row.technique and row.hook == HOOK), {})
        for each in earlier.get("teachers", ()) if resumed else ():
            now = self._teachers.read.get(each["reference"])
            if now and now["sha256"] != each["sha256"]:
                raise TeacherError(f'The teacher "{each["reference"]}" is another file than when this run began: bring it back, or run anew.')
        read = list(self._teachers.read.values())
        sentence = "Finished models that were read: " + "; ".join(f'"{each["reference"]}" (SHA-256 {each["sha256"][:12]})' for each in read) + "."
        commands.put_effects(self.store, self.row.id, self.claim, [EffectRow("", HOOK, sentence, {"teachers": read})])

    def _phase(self, name: str) -> None:
        commands.set_phase(self.store, self.row.id, self.claim, name)

    def _event(self, level: str, kind: str, sentence: str) -> None:
        commands.put_event(self.store, self.row.id, level, kind, sentence)

    def _log(self, key: str, value: float, unit: str) -> None:
        self.recorder.add(key, self._session.step, float(value), unit)

    def _result(self, figure: Figure, detail: dict[str, Any]) -> None:
        row = ResultRow(
            key=figure.key, value=figure.value, unit=figure.unit, better=figure.better, low=figure.low, high=figure.high, detail=detail
        )  # fmt: skip
        self.results.append(row)

    def _store_results(self) -> None:
        commands.put_results(self.store, self.row.id, self.claim, self.results)
        self.results = []


def _evaluation_device(session: Session) -> torch.device:
    """Where the finished model is judged: where it was trained, but the CPU where its kernels exist only there (int8)."""
    devices = {tensor.device for tensor in (*session.model.parameters(), *session.model.buffers())}
    return devices.pop() if len(devices) == 1 else session.device
